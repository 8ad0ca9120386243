//! Asking one remote for runs of one log: many neighbouring blocks with one proof.

use std::ops::Range;

use multibee_log::{Error, ProofRun, RequestRun};

use super::Requests;
use super::asked::{Asked, Kind, Patience, Terms};
use super::download::Download;
use super::in_flight::{InFlight, Load};
use crate::channel::{Cx, Remote};
use crate::event::Fault;
use crate::kin::KinMessage;
use crate::limits::{
    ALONE_RANGES_MAX, HEDGE_MAX, REQUEST_AGE_MAX, RUN_BLOCKS_MAX, RUN_BLOCKS_MIN, RUN_LEN,
    RUNS_IN_FLIGHT_LEN, STORE_BATCH_LEN,
};
use crate::log_state::{Blame, Effect};
use crate::options::ReplicatorOptions;
use crate::ranges::RangeSet;
use crate::wants::Seeker;

/// Runs that have come and wait to be stored, and what is not asked for in runs.
#[derive(Debug, Default)]
pub(super) struct Runs {
    ready: Vec<(u64, Run, ProofRun)>,
    ready_len: usize,
    /// Blocks that are asked for one by one, since the remote refused the run that they are in.
    alone: RangeSet,
}

/// A run that was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    request: RequestRun,
    top: u64,
    /// Whether it relies on what an earlier answer brings.
    relies: bool,
}

/// What became of an attempt to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// A run was asked for.
    Asked,
    /// The next blocks are to be had as a run, once others have arrived.
    Full,
    /// The next blocks are not to be had as a run.
    NoRun,
}

impl Run {
    pub(super) fn blocks(&self) -> Range<u64> {
        self.request.start..self.request.start + self.request.len()
    }

    /// Its answer has brought what it would, or will not come.
    pub(super) fn settle(&self, id: u64, download: &mut Download) {
        download.forecast.settle_above(id, self.top, self.request.nodes);
    }

    /// Others may be asked for it.
    fn give_back(&self, id: u64, download: &mut Download, cx: &mut Cx<'_>) {
        self.settle(id, download);
        if let Some(blocks) = cx.state.runs.give_back(self.request.start, cx.connection) {
            cx.state.want_once(blocks, 0);
            cx.effects.push(Effect::Freed);
        }
    }

    /// Its proof does not fit: asked for anew, relying on nothing.
    fn retry(&self, id: u64, download: &mut Download, cx: &mut Cx<'_>) {
        cx.state.plain.insert(self.request.start);
        cx.state.stats.retries += 1;
        self.give_back(id, download, cx);
    }
}

impl Terms for Run {
    type Answer = ProofRun;

    fn patience(options: &ReplicatorOptions) -> Patience {
        Patience { timeout: options.request_timeout, extended_to: Some(REQUEST_AGE_MAX) }
    }

    fn answered(
        self,
        id: u64,
        run: ProofRun,
        requests: &mut Requests,
        remote: &mut Remote,
        cx: &mut Cx<'_>,
    ) -> Result<(), Fault> {
        let download = &mut requests.download;
        let count = run.lens.len() as u64;
        let is_of_our_fork = run.fork == cx.state.log.fork();
        let is_it = run.start == self.request.start && count == self.request.len();
        if is_of_our_fork && is_it {
            let len = run.data.len();
            download.runs.ready_len += len;
            download.runs.ready.push((id, self, run));
            download.note_len(len as u64 / count.max(1));
        } else {
            self.give_back(id, download, cx);
        }
        download.arrivals.release(id);
        if is_of_our_fork && !is_it {
            return Err(Fault::WrongData { what: "run of blocks" });
        }
        if download.runs.is_full() { requests.store(remote, cx) } else { Ok(()) }
    }

    /// Its blocks are asked for one by one then, as far as the remote says that it has them.
    fn refused(
        self,
        id: u64,
        requests: &mut Requests,
        _: &mut Remote,
        cx: &mut Cx<'_>,
    ) -> Result<(), Fault> {
        let download = &mut requests.download;
        cx.state.wants.roster().note_miss(cx.connection);
        if download.runs.alone.range_count() >= ALONE_RANGES_MAX {
            download.runs.alone.clear();
        }
        download.runs.alone.insert(self.blocks());
        self.give_back(id, download, cx);
        download.arrivals.release(id);
        Ok(())
    }

    fn given_up(self, id: u64, requests: &mut Requests, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let download = &mut requests.download;
        self.give_back(id, download, cx);
        download.arrivals.release(id);
        Ok(())
    }
}

impl Runs {
    /// Whether so much is ready that it should be stored before more is taken.
    fn is_full(&self) -> bool {
        self.ready_len >= STORE_BATCH_LEN
    }

    /// Takes what has come and is not stored.
    fn take_ready(&mut self) -> Vec<(u64, Run, ProofRun)> {
        self.ready_len = 0;
        std::mem::take(&mut self.ready)
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
}

impl Download {
    /// Asks for the next run, if the next blocks that are wanted make one.
    pub(super) fn ask_run(
        &mut self,
        in_flight: &mut InFlight,
        remote: &Remote,
        seeker: Seeker<'_>,
        cx: &mut Cx<'_>,
    ) -> Result<Attempt, Error> {
        if !remote.gives_runs || !cx.options.ask_for_runs {
            return Ok(Attempt::NoRun);
        }
        let mean = self.mean(cx);
        let Some(blocks) = self.runs.next(mean, remote, seeker, cx) else {
            return Ok(Attempt::NoRun);
        };
        let load = load_of(&blocks, mean);
        let under_way = in_flight.tally(Kind::Run).load;
        let has_room = cx.pace.has_room_for_run(load.blocks, under_way.blocks, mean);
        let is_too_long = under_way.len > 0 && under_way.len + load.len > RUNS_IN_FLIGHT_LEN;
        if !has_room || is_too_long {
            return Ok(Attempt::Full);
        }
        cx.state.wants.take(blocks.clone());
        self.send_run(blocks, load, in_flight, cx)?;
        Ok(Attempt::Asked)
    }

    /// Asks for a run that another remote is slow to deliver. Returns whether there was one.
    pub(super) fn hedge_run(
        &mut self,
        in_flight: &mut InFlight,
        remote: &Remote,
        limit: u64,
        cx: &mut Cx<'_>,
    ) -> Result<bool, Error> {
        if !remote.gives_runs || !cx.options.ask_for_runs {
            return Ok(false);
        }
        let slow = cx.state.runs.stalled(cx.connection, &remote.holdings, limit, cx.now);
        let Some(blocks) = slow else { return Ok(false) };
        let load = load_of(&blocks, self.mean(cx));
        self.send_run(blocks, load, in_flight, cx)?;
        Ok(true)
    }

    fn send_run(
        &mut self,
        blocks: Range<u64>,
        load: Load,
        in_flight: &mut InFlight,
        cx: &mut Cx<'_>,
    ) -> Result<(), Error> {
        let depth = (blocks.end - blocks.start).trailing_zeros();
        let request = RequestRun { start: blocks.start, depth, nodes: 0 };
        let top = request.top().unwrap_or(u64::MAX);
        let stored = cx.state.log.missing_nodes(top)?;
        let is_plain = cx.state.plain.contains(&blocks.start);
        let stop = self.forecast.stop_above(top).filter(|stop| {
            let is_run = matches!(in_flight.get(stop.request), Some(Asked::Run(_)));
            !is_plain && stop.levels < stored && is_run
        });
        let (nodes, relies) = stop.map_or((stored, false), |stop| (stop.levels, true));
        let request = RequestRun { nodes, ..request };
        let fork = cx.state.log.fork();
        let id = in_flight.send(Run { request, top, relies }, load, cx, |id| {
            KinMessage::AskRun { id, fork, request }.encode()
        });
        self.forecast.expect_above(id, top, nodes);
        // Nobody waits for it in particular.
        let until = cx.now + (cx.pace.patience() * 2).min(HEDGE_MAX);
        cx.state.runs.ask(blocks, cx.connection, until);
        cx.state.stats.requests_out += 1;
        Ok(())
    }

    /// Stores the runs that have come. Returns the stretches that were.
    pub(super) fn store_runs(&mut self, cx: &mut Cx<'_>) -> (RangeSet, Result<(), Fault>) {
        let mut stored = RangeSet::default();
        let mut outcome = Ok(());
        if self.runs.ready.is_empty() {
            return (stored, outcome);
        }
        let (mut asked, mut runs) = (Vec::new(), Vec::new());
        for (id, what, run) in self.runs.take_ready() {
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
                self.note_run(id, &asked, run, cx);
                stored.insert(asked.blocks());
                continue;
            };
            asked.retry(id, self, cx);
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

    /// A run is stored.
    fn note_run(&mut self, id: u64, asked: &Run, run: &ProofRun, cx: &mut Cx<'_>) {
        asked.settle(id, self);
        cx.state.plain.remove(&asked.request.start);
        for other in cx.state.runs.stored(asked.request.start, cx.connection) {
            cx.effects.push(Effect::Cancel(other, asked.request.start));
        }
        let (count, len) = (asked.request.len(), run.data.len() as u64);
        self.meter.note(count, len, cx.now);
        cx.state.meter.note(count, len, cx.now);
        cx.state.wants.roster().note_hit(cx.connection);
        cx.state.stats.blocks_in += count;
        cx.state.stats.block_bytes_in += len;
        cx.state.stats.nodes_in += run.nodes.len() as u64;
    }

    /// Runs that have come and are not stored may be asked of others.
    pub(super) fn drop_ready_runs(&mut self, cx: &mut Cx<'_>) {
        for (id, asked, _) in self.runs.take_ready() {
            asked.give_back(id, self, cx);
        }
    }
}

fn load_of(blocks: &Range<u64>, mean: u64) -> Load {
    let count = blocks.end - blocks.start;
    let blocks = usize::try_from(count).unwrap_or(usize::MAX);
    Load { blocks, len: mean.saturating_mul(count) }
}
