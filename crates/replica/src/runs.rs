//! Asking one remote for runs of one log: many neighbouring blocks with one proof.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Instant;

use multibee_log::{Error, ProofRun, RequestRun};

use crate::channel::{Cx, Remote};
use crate::event::Fault;
use crate::forecast::Forecast;
use crate::kin::KinMessage;
use crate::limits::{
    ALONE_RANGES_MAX, HEDGE_MAX, RUN_BLOCKS_MAX, RUN_BLOCKS_MIN, RUN_LEN, RUNS_IN_FLIGHT_LEN,
    STORE_BATCH_LEN,
};
use crate::log_state::{Blame, Effect};
use crate::meter::Meter;
use crate::pace::Mark;
use crate::ranges::RangeSet;
use crate::wants::Seeker;

/// Runs under way, and such as wait to be stored.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    in_flight: BTreeMap<u64, Asked>,
    /// Bytes of the answers under way, as estimated when they were asked for.
    in_flight_len: u64,
    ready: Vec<(u64, Asked, ProofRun)>,
    ready_len: usize,
    /// Blocks that are asked for one by one, since the remote refused the run that they are in.
    alone: RangeSet,
}

/// A run that was asked for.
#[derive(Clone, Copy, Debug)]
struct Asked {
    request: RequestRun,
    top: u64,
    /// Whether it relies on what an earlier answer brings.
    relies: bool,
    /// Bytes of the answer, estimated.
    len: u64,
    mark: Mark,
}

impl Asked {
    fn blocks(&self) -> Range<u64> {
        self.request.start..self.request.start + self.request.len()
    }
}

/// What became of an attempt to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// A run was asked for.
    Asked,
    /// The next blocks are to be had as a run, once others have arrived.
    Full,
    /// The next blocks are not to be had as a run.
    NoRun,
}

impl Runs {
    /// When the oldest run under way was asked for.
    pub(crate) fn asked_at(&self) -> Option<Instant> {
        self.in_flight.first_key_value().map(|(_, asked)| asked.mark.at)
    }

    /// Blocks of the runs under way.
    pub(crate) fn block_count(&self) -> usize {
        self.in_flight.values().map(|asked| count_of(&asked.request)).sum()
    }

    /// Whether a request is for a run.
    pub(crate) fn is_asked(&self, id: u64) -> bool {
        self.in_flight.contains_key(&id)
    }

    /// Asks for the next run, by the number `id`, if the next blocks that are wanted make one.
    /// `mean` is what a block may have, in bytes.
    pub(crate) fn ask(
        &mut self,
        (id, mean): (u64, u64),
        remote: &Remote,
        seeker: Seeker<'_>,
        forecast: &mut Forecast,
        cx: &mut Cx<'_>,
    ) -> Result<Attempt, Error> {
        if !remote.gives_runs || !cx.options.ask_for_runs {
            return Ok(Attempt::NoRun);
        }
        let Some(blocks) = self.next(mean, remote, seeker, cx) else { return Ok(Attempt::NoRun) };
        let count = blocks.end - blocks.start;
        let len = mean.saturating_mul(count);
        let own = self.block_count();
        let has_room =
            usize::try_from(count).is_ok_and(|count| cx.pace.has_room_for_run(count, own, mean));
        if !has_room || self.in_flight_len > 0 && self.in_flight_len + len > RUNS_IN_FLIGHT_LEN {
            return Ok(Attempt::Full);
        }
        cx.state.wants.take(blocks.clone());
        self.send(id, blocks, len, forecast, cx)?;
        Ok(Attempt::Asked)
    }

    /// Asks for a run that another remote is slow to deliver.
    pub(crate) fn hedge(
        &mut self,
        (id, mean): (u64, u64),
        remote: &Remote,
        limit: u64,
        forecast: &mut Forecast,
        cx: &mut Cx<'_>,
    ) -> Result<bool, Error> {
        if !remote.gives_runs || !cx.options.ask_for_runs {
            return Ok(false);
        }
        let slow = cx.state.runs.stalled(cx.connection, &remote.holdings, limit, cx.now);
        let Some(blocks) = slow else { return Ok(false) };
        let len = mean.saturating_mul(blocks.end - blocks.start);
        self.send(id, blocks, len, forecast, cx)?;
        Ok(true)
    }

    /// The next blocks that are wanted, if they make a run that the remote has.
    fn next(
        &self,
        mean: u64,
        remote: &Remote,
        seeker: Seeker<'_>,
        cx: &mut Cx<'_>,
    ) -> Option<Range<u64>> {
        let stretch = cx.state.wants.next_stretch(seeker)?;
        let start = stretch.start;
        // No more than comes in a second: what waits for the limit would look like silence.
        let len = cx.options.download_limit.map_or(RUN_LEN, |rate| rate.min(RUN_LEN));
        let most = (len / mean.max(1)).clamp(1, RUN_BLOCKS_MAX).min(stretch.end - start);
        let mut count = 1_u64 << most.ilog2();
        if start > 0 {
            count = count.min(1 << start.trailing_zeros().min(63));
        }
        let is_had = |count: u64| {
            let blocks = start..start + count;
            let has_all = remote.holdings.contiguous_len() >= blocks.end
                || blocks.clone().all(|block| remote.holdings.contains(block));
            has_all && self.alone.first_within(blocks).is_none()
        };
        while count >= RUN_BLOCKS_MIN {
            if is_had(count) {
                return Some(start..start + count);
            }
            count /= 2;
        }
        None
    }

    fn send(
        &mut self,
        id: u64,
        blocks: Range<u64>,
        len: u64,
        forecast: &mut Forecast,
        cx: &mut Cx<'_>,
    ) -> Result<(), Error> {
        let depth = (blocks.end - blocks.start).trailing_zeros();
        let request = RequestRun { start: blocks.start, depth, nodes: 0 };
        let top = request.top().unwrap_or(u64::MAX);
        let stored = cx.state.log.missing_nodes(top)?;
        let is_plain = cx.state.plain.contains(&blocks.start);
        let stop = forecast.stop_above(top).filter(|stop| {
            !is_plain && stop.levels < stored && self.in_flight.contains_key(&stop.request)
        });
        let (nodes, relies) = stop.map_or((stored, false), |stop| (stop.levels, true));
        forecast.expect_above(id, top, nodes);
        let request = RequestRun { nodes, ..request };
        let mark = cx.pace.asked(count_of(&request), cx.now);
        self.in_flight.insert(id, Asked { request, top, relies, len, mark });
        self.in_flight_len += len;
        // Nobody waits for it in particular.
        let until = cx.now + (cx.pace.patience() * 2).min(HEDGE_MAX);
        cx.state.runs.ask(blocks, cx.connection, until);
        cx.state.stats.requests_out += 1;
        cx.out.push(KinMessage::AskRun { id, fork: cx.state.log.fork(), request }.encode());
        Ok(())
    }

    /// Takes the answer to a request; late ones are ignored. Returns the mean length of its blocks.
    pub(crate) fn handle(
        &mut self,
        id: u64,
        run: ProofRun,
        forecast: &mut Forecast,
        cx: &mut Cx<'_>,
    ) -> Result<Option<u64>, Fault> {
        let Some(asked) = self.take(id, cx) else { return Ok(None) };
        cx.pace.answered(asked.mark, count_of(&asked.request), cx.now);
        if run.fork != cx.state.log.fork() {
            self.give_back(id, &asked, forecast, cx);
            return Ok(None);
        }
        let count = run.lens.len() as u64;
        if run.start != asked.request.start || count != asked.request.len() {
            self.give_back(id, &asked, forecast, cx);
            return Err(Fault::WrongData { what: "run of blocks" });
        }
        let len = run.data.len();
        self.ready_len += len;
        self.ready.push((id, asked, run));
        Ok(Some(len as u64 / count.max(1)))
    }

    /// Whether so much is ready that it should be stored before more is taken.
    pub(crate) fn is_full(&self) -> bool {
        self.ready_len >= STORE_BATCH_LEN
    }

    /// Takes a refusal. Its blocks are asked for one by one then, as far as the remote says that it
    /// has them.
    pub(crate) fn refused(&mut self, id: u64, forecast: &mut Forecast, cx: &mut Cx<'_>) {
        let Some(asked) = self.take(id, cx) else { return };
        cx.state.wants.roster().note_miss(cx.connection);
        if self.alone.range_count() >= ALONE_RANGES_MAX {
            self.alone.clear();
        }
        self.alone.insert(asked.blocks());
        self.give_back(id, &asked, forecast, cx);
    }

    /// Stores what has arrived. Returns the stretches that were.
    pub(crate) fn store(
        &mut self,
        meter: &mut Meter,
        forecast: &mut Forecast,
        cx: &mut Cx<'_>,
    ) -> (RangeSet, Result<(), Fault>) {
        let mut stored = RangeSet::default();
        let mut outcome = Ok(());
        if self.ready.is_empty() {
            return (stored, outcome);
        }
        self.ready_len = 0;
        let (mut asked, mut runs) = (Vec::new(), Vec::new());
        for (id, what, run) in std::mem::take(&mut self.ready) {
            asked.push((id, what));
            runs.push(run);
        }
        let results = match cx.state.log.apply_runs(&runs) {
            Ok(results) => results,
            Err(error) => {
                // The log leaves this replicator, and with it all that is under way.
                cx.effects.push(Effect::Failed(error));
                return (stored, outcome);
            }
        };
        for (((id, asked), run), result) in asked.into_iter().zip(&runs).zip(results) {
            let Err(error) = result else {
                forecast.settle_above(id, asked.top, asked.request.nodes);
                cx.state.plain.remove(&asked.request.start);
                for other in cx.state.runs.stored(asked.request.start, cx.connection) {
                    cx.effects.push(Effect::Cancel(other, asked.request.start));
                }
                let (count, len) = (asked.request.len(), run.data.len() as u64);
                meter.note(count, len, cx.now);
                cx.state.meter.note(count, len, cx.now);
                cx.state.wants.roster().note_hit(cx.connection);
                cx.state.stats.blocks_in += asked.request.len();
                cx.state.stats.block_bytes_in += run.data.len() as u64;
                cx.state.stats.nodes_in += run.nodes.len() as u64;
                stored.insert(asked.blocks());
                continue;
            };
            cx.state.plain.insert(asked.request.start);
            cx.state.stats.retries += 1;
            self.give_back(id, &asked, forecast, cx);
            match Blame::of(&error) {
                // It may have been right for the nodes that an earlier answer should have brought.
                Blame::Peer | Blame::Writer if asked.relies => {}
                Blame::Peer | Blame::Writer => outcome = outcome.and(Err(Fault::BadData(error))),
                Blame::Nobody => {}
                Blame::Machine => cx.effects.push(Effect::Failed(error)),
            }
        }
        (stored, outcome)
    }

    /// A run came from elsewhere, or is no longer wanted: whichever has this block. Returns the
    /// number of its request.
    pub(crate) fn cancel(
        &mut self,
        block: u64,
        forecast: &mut Forecast,
        cx: &mut Cx<'_>,
    ) -> Option<u64> {
        let found = self.in_flight.iter().find(|(_, asked)| asked.blocks().contains(&block));
        let id = *found?.0;
        let asked = self.take(id, cx)?;
        forecast.settle_above(id, asked.top, asked.request.nodes);
        Some(id)
    }

    /// Gives up those that `is_late`. Returns the numbers of their requests.
    pub(crate) fn give_up(
        &mut self,
        is_late: impl Fn(Instant) -> bool,
        forecast: &mut Forecast,
        cx: &mut Cx<'_>,
    ) -> Vec<u64> {
        let late = self.in_flight.iter().take_while(|(_, asked)| is_late(asked.mark.at));
        let late: Vec<u64> = late.map(|(id, _)| *id).collect();
        for id in &late {
            if let Some(asked) = self.take(*id, cx) {
                self.give_back(*id, &asked, forecast, cx);
            }
        }
        late
    }

    /// All that is under way, or waits, may be asked of others.
    pub(crate) fn abandon(&mut self, forecast: &mut Forecast, cx: &mut Cx<'_>) {
        self.ready_len = 0;
        for (id, asked, _) in std::mem::take(&mut self.ready) {
            self.give_back(id, &asked, forecast, cx);
        }
        self.give_up(|_| true, forecast, cx);
        self.alone.clear();
    }

    fn take(&mut self, id: u64, cx: &mut Cx<'_>) -> Option<Asked> {
        let asked = self.in_flight.remove(&id)?;
        cx.pace.settled(count_of(&asked.request));
        self.in_flight_len = self.in_flight_len.saturating_sub(asked.len);
        Some(asked)
    }

    fn give_back(&self, id: u64, asked: &Asked, forecast: &mut Forecast, cx: &mut Cx<'_>) {
        forecast.settle_above(id, asked.top, asked.request.nodes);
        if let Some(blocks) = cx.state.runs.give_back(asked.request.start, cx.connection) {
            cx.state.want_again(blocks);
            cx.effects.push(Effect::Freed);
        }
    }
}

fn count_of(request: &RequestRun) -> usize {
    usize::try_from(request.len()).unwrap_or(usize::MAX)
}
