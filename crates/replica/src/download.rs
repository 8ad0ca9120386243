//! What we ask one remote about one log.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use multibee_log::{Error, Proof, ProofRun, Request, RequestBlock, flat_tree};

use crate::arrivals::{Arrival, Arrivals, Asked};
use crate::channel::{Cx, Remote};
use crate::event::{Event, Fault};
use crate::forecast::Forecast;
use crate::limits::{
    IN_FLIGHT_LEN, REQUEST_AGE_MAX, TIMEOUTS_MAX, WANT_BLOCKS_MAX, WINDOW_FLOOR, WINDOW_MAX,
};
use crate::log_state::{Blame, Effect};
use crate::message::Message;
use crate::meter::Meter;
use crate::options::ReplicatorOptions;
use crate::ranges::RangeSet;
use crate::runs::{Attempt, Runs};
use crate::upgrades::Upgrades;
use crate::wants::{Next, Seeker};

/// Requests under way, and answers that wait to be stored.
#[derive(Debug, Default)]
pub(crate) struct Download {
    /// The number of the last request. Numbers are not used again, so a late answer fits nothing.
    last_id: u64,
    in_flight: BTreeMap<u64, Asked>,
    forecast: Forecast,
    arrivals: Arrivals,
    meter: Meter,
    runs: Runs,
    upgrades: Upgrades,
    last_answer: Option<Instant>,
    /// How often in a row all requests ran out of time.
    silent_rounds: u32,
    /// Running mean of the blocks that came, in bytes.
    block_len_mean: u64,
    /// A search that found nothing.
    idle: Option<Idle>,
    /// Stretches of 2^21 blocks that we asked to be told about.
    pieces: BTreeSet<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Idle {
    wants_version: u64,
    holdings_version: u64,
    limit: u64,
    look_again: Option<Instant>,
}

impl Download {
    /// When [`handle_timeout`](Self::handle_timeout) or [`fill`](Self::fill) has something to do.
    pub(crate) fn deadline(&self, options: &ReplicatorOptions) -> Option<Instant> {
        let oldest = self.in_flight.first_key_value().map(|(_, asked)| asked.mark.at);
        let oldest = oldest.into_iter().chain(self.runs.asked_at()).min();
        let block = oldest.map(|at| {
            let quiet_until = self.quiet_since(at) + options.request_timeout;
            quiet_until.min(at + REQUEST_AGE_MAX)
        });
        let upgrade =
            self.upgrades.asked_at().map(|at| self.quiet_since(at) + options.upgrade_timeout);
        let idle = self.idle.and_then(|idle| idle.look_again);
        [block, upgrade, idle].into_iter().flatten().min()
    }

    /// Asks for a new length if the remote has one and nobody else is asked.
    pub(crate) fn ask_upgrade(&mut self, remote: &Remote, cx: &mut Cx<'_>) {
        if self.upgrades.ask(self.next_id(), remote, cx) {
            self.take_id();
        }
    }

    /// Asks for blocks until the window is full or nothing is left to ask of this remote. For what
    /// readers wait for the window is as wide as it may ever be.
    pub(crate) fn fill(&mut self, remote: &Remote, cx: &mut Cx<'_>) -> Result<(), Error> {
        if remote.sync.fork != cx.state.log.fork() {
            return Ok(());
        }
        let mut limit = provable_len(remote, cx)?;
        if cx.state.is_disputed {
            limit = limit.min(cx.state.log.trusted_len());
        }
        let (wants_version, holdings_version) =
            (cx.state.wants.version(), remote.holdings.version());
        if let Some(idle) = self.idle
            && (idle.wants_version, idle.holdings_version) == (wants_version, holdings_version)
            && idle.limit == limit
            && idle.look_again.is_none_or(|at| cx.now < at)
        {
            return Ok(());
        }
        self.idle = None;
        let (round_trip, patience) = (cx.pace.round_trip(), cx.pace.patience());
        let (connection, now, known) = (cx.connection, cx.now, (&remote.holdings, limit));
        cx.state.wants.roster().enter(connection, round_trip, patience, known, now);
        let most = self.window_max(remote, cx);
        while self.in_flight.len() < most {
            let own = self.in_flight.len() + usize::from(self.runs.asked_at().is_some());
            let is_full = cx.pace.room(own, self.mean(cx)) == 0;
            let holdings = &remote.holdings;
            let seeker = Seeker { connection, holdings, limit, now, is_full };
            match self.ask_run(remote, seeker, cx)? {
                Attempt::Asked => continue,
                Attempt::Full => {
                    cx.pace.note_full();
                    break;
                }
                Attempt::NoRun => {}
            }
            match cx.state.wants.next(seeker) {
                // It came by other means.
                Next::Block { block, .. } if cx.state.log.has(block) => {
                    cx.state.wants.stored(block, None);
                }
                Next::Block { block, priority } => self.ask_block(block, priority, cx)?,
                Next::Nothing { .. } if is_full => {
                    cx.pace.note_full();
                    break;
                }
                Next::Nothing { look_again } => {
                    let what = (self.next_id(), self.mean(cx));
                    if self.runs.hedge(what, remote, limit, &mut self.forecast, cx)? {
                        self.take_id();
                        continue;
                    }
                    let late_runs = cx.state.runs.look_again(connection, now);
                    let look_again = look_again.into_iter().chain(late_runs).min();
                    let idle = Idle { wants_version, holdings_version, limit, look_again };
                    self.idle = Some(idle);
                    self.ask_where(remote, limit, cx);
                    break;
                }
            }
        }
        let has_room = self.in_flight.len() < most;
        if cx.state.wants.looked(connection, has_room) {
            cx.effects.push(Effect::Freed);
        }
        Ok(())
    }

    /// What has come, and how many blocks are under way.
    pub(crate) fn progress(&self) -> (Meter, usize) {
        (self.meter, self.in_flight.len() + self.runs.block_count())
    }

    /// Whether it may have more to ask for, or waits for something.
    pub(crate) fn is_hungry(&self) -> bool {
        self.idle.is_none() || !self.in_flight.is_empty() || self.runs.asked_at().is_some()
    }

    /// Takes the answer to a request; late ones are ignored.
    pub(crate) fn handle_data(
        &mut self,
        id: u64,
        proof: Proof,
        remote: &mut Remote,
        cx: &mut Cx<'_>,
    ) -> Result<(), Fault> {
        if self.upgrades.is_asked(id) {
            self.note_answer(cx);
            self.store(cx)?;
            return self.upgrades.handle_data(&proof, cx);
        }
        let Some(asked) = self.take_in_flight(id, cx) else { return Ok(()) };
        self.note_answer(cx);
        cx.pace.answered(asked.mark, 1, cx.now);
        let Some(block) = proof.block.as_ref().filter(|_| proof.fork == cx.state.log.fork()) else {
            self.refused(id, asked, remote, cx);
            return Ok(());
        };
        if block.index != asked.block || proof.upgrade.is_some() {
            return Err(Fault::WrongData { what: "block" });
        }
        self.note_len(block.value.len() as u64);
        let arrival = Arrival { id, asked, proof };
        let is_awaited = |id| self.in_flight.contains_key(&id) || self.runs.is_asked(id);
        if let Some(arrival) = self.arrivals.push(arrival, is_awaited) {
            // Not worth the memory: asked for again, later.
            self.retry(&arrival, cx);
            self.arrivals.release(id);
        }
        if self.arrivals.is_full() {
            self.store(cx)?;
        }
        Ok(())
    }

    /// Takes a run of blocks; late ones are ignored.
    pub(crate) fn handle_run(
        &mut self,
        id: u64,
        run: ProofRun,
        cx: &mut Cx<'_>,
    ) -> Result<(), Fault> {
        if self.runs.is_asked(id) {
            self.note_answer(cx);
        }
        let mean = self.runs.handle(id, run, &mut self.forecast, cx)?;
        mean.into_iter().for_each(|mean| self.note_len(mean));
        self.arrivals.release(id);
        if self.runs.is_full() { self.store(cx) } else { Ok(()) }
    }

    /// Takes a refusal.
    pub(crate) fn handle_no_data(&mut self, id: u64, remote: &mut Remote, cx: &mut Cx<'_>) {
        if self.upgrades.is_asked(id) {
            self.note_answer(cx);
            self.upgrades.fail(cx);
        } else if self.runs.is_asked(id) {
            self.note_answer(cx);
            self.runs.refused(id, &mut self.forecast, cx);
            self.arrivals.release(id);
        } else if let Some(asked) = self.take_in_flight(id, cx) {
            self.note_answer(cx);
            self.refused(id, asked, remote, cx);
        }
    }

    /// Stores what has arrived.
    pub(crate) fn store(&mut self, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let (stored, outcome) = self.runs.store(&mut self.meter, &mut self.forecast, cx);
        for run in stored.iter() {
            // Some may have been asked for alone as well, since somebody waits for them.
            for (block, other) in cx.state.wants.remove(run) {
                cx.effects.push(Effect::Cancel(other, block));
            }
        }
        tell_stored(stored, cx);
        outcome.and(self.store_blocks(cx))
    }

    /// Stores the blocks that have arrived alone.
    fn store_blocks(&mut self, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let ready = self.arrivals.take_ready();
        if ready.is_empty() {
            return Ok(());
        }
        let (late, fresh): (Vec<_>, Vec<_>) =
            ready.into_iter().partition(|arrival| cx.state.log.has(arrival.asked.block));
        for arrival in late {
            self.settle(&arrival, cx);
        }
        let (mut asked, mut proofs) = (Vec::new(), Vec::new());
        for arrival in fresh {
            asked.push((arrival.id, arrival.asked));
            proofs.push(arrival.proof);
        }
        let results = match cx.state.log.apply_all(&proofs) {
            Ok(results) => results,
            Err(error) => {
                // The log leaves this replicator, and with it all that is under way.
                cx.effects.push(Effect::Failed(error));
                return Ok(());
            }
        };
        let mut stored = RangeSet::default();
        let mut outcome = Ok(());
        for (((id, asked), proof), result) in asked.into_iter().zip(proofs).zip(results) {
            let arrival = Arrival { id, asked, proof };
            match result {
                Ok(_) => {
                    self.settle(&arrival, cx);
                    stored.insert(asked.block..asked.block + 1);
                    note_stored(&arrival, cx);
                    self.meter.note(1, arrival.len() as u64, cx.now);
                }
                Err(error) => outcome = outcome.and(self.not_stored(&arrival, error, cx)),
            }
        }
        tell_stored(stored, cx);
        outcome
    }

    /// A block came from elsewhere, or is no longer wanted.
    pub(crate) fn cancel(&mut self, block: u64, cx: &mut Cx<'_>) {
        let found = self.in_flight.iter().find(|(_, asked)| asked.block == block);
        let id = if let Some((&id, &asked)) = found {
            self.take_in_flight(id, cx);
            self.forecast.settle(id, asked.block, asked.levels);
            id
        } else {
            let Some(id) = self.runs.cancel(block, &mut self.forecast, cx) else { return };
            id
        };
        self.arrivals.release(id);
        cx.out.push(Message::Cancel { request: id });
    }

    /// Gives up requests that ran out of time.
    pub(crate) fn handle_timeout(&mut self, cx: &mut Cx<'_>) -> Result<(), Fault> {
        if self.idle.is_some_and(|idle| idle.look_again.is_some_and(|at| at <= cx.now)) {
            self.idle = None;
        }
        let now = cx.now;
        let is_late = |at: Instant, after| now.saturating_duration_since(at) >= after;
        let upgrade_at = self.upgrades.asked_at().map(|at| self.quiet_since(at));
        if upgrade_at.is_some_and(|at| is_late(at, cx.options.upgrade_timeout)) {
            let request = self.upgrades.give_up(cx);
            cx.out.extend(request.map(|request| Message::Cancel { request }));
            self.note_silence()?;
        }
        let late: Vec<(u64, Asked)> = self
            .in_flight
            .iter()
            .map(|(&id, &asked)| (id, asked))
            .take_while(|(_, asked)| {
                is_late(self.quiet_since(asked.mark.at), cx.options.request_timeout)
                    || is_late(asked.mark.at, REQUEST_AGE_MAX)
            })
            .collect();
        let last_answer = self.last_answer;
        let late_runs = self.runs.give_up(
            |at| {
                let quiet_since = last_answer.map_or(at, |last| last.max(at));
                is_late(quiet_since, cx.options.request_timeout) || is_late(at, REQUEST_AGE_MAX)
            },
            &mut self.forecast,
            cx,
        );
        if late.is_empty() && late_runs.is_empty() {
            return Ok(());
        }
        for id in late_runs {
            self.arrivals.release(id);
            cx.out.push(Message::Cancel { request: id });
        }
        for (id, asked) in late {
            self.take_in_flight(id, cx);
            cx.state.wants.roster().note_miss(cx.connection);
            self.forecast.settle(id, asked.block, asked.levels);
            self.arrivals.release(id);
            cx.state.wants.give_back(asked.block, cx.connection);
            cx.out.push(Message::Cancel { request: id });
        }
        cx.effects.push(Effect::Freed);
        self.idle = None;
        self.note_silence()
    }

    /// Ends the download: all that is under way may be asked of others.
    pub(crate) fn abandon(&mut self, cx: &mut Cx<'_>) {
        let waiting = self.arrivals.take_all().into_iter().map(|arrival| arrival.asked.block);
        let in_flight = std::mem::take(&mut self.in_flight);
        cx.pace.settled(in_flight.len());
        cx.state.wants.roster().leave(cx.connection);
        for block in waiting.chain(in_flight.into_values().map(|asked| asked.block)) {
            cx.state.wants.give_back(block, cx.connection);
        }
        self.runs.abandon(&mut self.forecast, cx);
        self.upgrades.give_up(cx);
        *self = Self { last_id: self.last_id, meter: self.meter, ..Self::default() };
        cx.effects.push(Effect::Freed);
    }

    /// A request has brought something.
    pub(crate) fn note_answer(&mut self, cx: &Cx<'_>) {
        self.last_answer = Some(cx.now);
        self.silent_rounds = 0;
    }

    fn note_len(&mut self, len: u64) {
        let mean = if self.block_len_mean == 0 { len } else { self.block_len_mean };
        self.block_len_mean = ((mean * 15 + len) / 16).max(1);
    }

    /// Since when nothing has come of all that was asked for by `at`.
    fn quiet_since(&self, at: Instant) -> Instant {
        self.last_answer.map_or(at, |last| last.max(at))
    }

    /// The number that the next request gets.
    pub(crate) fn next_id(&self) -> u64 {
        self.last_id + 1
    }

    /// As [`next_id`](Self::next_id), for a request that is sent.
    pub(crate) fn take_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn take_in_flight(&mut self, id: u64, cx: &mut Cx<'_>) -> Option<Asked> {
        let asked = self.in_flight.remove(&id)?;
        cx.pace.settled(1);
        Some(asked)
    }

    /// How many requests may be under way at the very most: fewer when blocks are large, one when
    /// the remote has left requests unanswered.
    fn window_max(&self, remote: &Remote, cx: &Cx<'_>) -> usize {
        if self.silent_rounds > 0 {
            return 1;
        }
        let most = if remote.is_kin { cx.options.window } else { cx.options.foreign_window };
        let by_len = usize::try_from(IN_FLIGHT_LEN / self.mean(cx)).unwrap_or(usize::MAX);
        let by_len = by_len.clamp(WINDOW_FLOOR, WINDOW_MAX);
        // No more than comes in a second: what waits for the limit would look like silence.
        let by_rate = cx.options.download_limit.map_or(u64::MAX, |rate| rate / self.mean(cx));
        by_len.min(most).min(usize::try_from(by_rate).unwrap_or(usize::MAX)).max(1)
    }

    /// How long blocks are: those that came lately, and until some have come those of the whole log.
    fn mean(&self, cx: &Cx<'_>) -> u64 {
        let log_mean = cx.state.log.byte_len() / cx.state.log.len().max(1);
        if self.block_len_mean == 0 { log_mean.max(1) } else { self.block_len_mean }
    }

    fn ask_run(
        &mut self,
        remote: &Remote,
        seeker: Seeker<'_>,
        cx: &mut Cx<'_>,
    ) -> Result<Attempt, Error> {
        let what = (self.next_id(), self.mean(cx));
        let attempt = self.runs.ask(what, remote, seeker, &mut self.forecast, cx)?;
        if attempt == Attempt::Asked {
            self.take_id();
        }
        Ok(attempt)
    }

    fn ask_block(&mut self, block: u64, priority: u64, cx: &mut Cx<'_>) -> Result<(), Error> {
        let id = self.take_id();
        let (levels, after) = self.levels(block, priority, cx)?;
        self.forecast.expect(id, block, levels);
        let mark = cx.pace.asked(1, cx.now);
        self.in_flight.insert(id, Asked { block, levels, after, mark });
        cx.state.stats.requests_out += 1;
        let request = Request {
            block: Some(RequestBlock { index: block, nodes: levels }),
            ..Request::default()
        };
        cx.out.push(Message::Request { id, fork: cx.state.log.fork(), priority, request });
        Ok(())
    }

    /// How many siblings to ask for with a block, and the request under way that this relies on.
    ///
    /// Urgent requests rely on none, because they are answered before others.
    fn levels(&self, block: u64, priority: u64, cx: &Cx<'_>) -> Result<(u64, Option<u64>), Error> {
        let may_forecast = priority == 0 && !cx.state.plain.contains(&block);
        let stop = if may_forecast { self.forecast.stop(block) } else { None };
        match stop {
            // A stored node could only be lower by a level or two: not worth a look.
            Some(stop) if stop.levels <= 2 => Ok((stop.levels, Some(stop.request))),
            stop => {
                let stored = cx.state.log.missing_nodes(block.saturating_mul(2))?;
                Ok(match stop {
                    Some(stop) if stop.levels < stored => (stop.levels, Some(stop.request)),
                    _ => (stored, None),
                })
            }
        }
    }

    /// Asks to be told which blocks the remote has where we know of none that we want.
    fn ask_where(&mut self, remote: &Remote, limit: u64, cx: &mut Cx<'_>) {
        let mut from = remote.holdings.contiguous_len();
        while let Some(stretch) = cx.state.wants.first_queued(from, limit) {
            let piece = stretch.start / WANT_BLOCKS_MAX;
            if self.pieces.len() >= PIECES_MAX {
                return;
            }
            if self.pieces.insert(piece) {
                let start = piece * WANT_BLOCKS_MAX;
                cx.out.push(Message::Want { start, length: WANT_BLOCKS_MAX, any: false });
            }
            from = (piece + 1) * WANT_BLOCKS_MAX;
        }
    }

    /// A block is here: nothing of its request is under way any more.
    fn settle(&mut self, arrival: &Arrival, cx: &mut Cx<'_>) {
        let Asked { block, levels, .. } = arrival.asked;
        self.forecast.settle(arrival.id, block, levels);
        cx.state.plain.remove(&block);
        cx.state.wants.roster().note_hit(cx.connection);
        for other in cx.state.wants.stored(block, Some(cx.connection)) {
            cx.effects.push(Effect::Cancel(other, block));
        }
    }

    fn not_stored(
        &mut self,
        arrival: &Arrival,
        error: Error,
        cx: &mut Cx<'_>,
    ) -> Result<(), Fault> {
        let relied = arrival.asked.after.is_some();
        self.retry(arrival, cx);
        match Blame::of(&error) {
            // It may have been right for the nodes that an earlier answer should have brought.
            Blame::Peer if relied => Ok(()),
            Blame::Peer | Blame::Writer => Err(Fault::BadData(error)),
            Blame::Nobody => Ok(()),
            Blame::Machine => {
                cx.effects.push(Effect::Failed(error));
                Ok(())
            }
        }
    }

    /// Asks for a block anew, relying on nothing.
    fn retry(&mut self, arrival: &Arrival, cx: &mut Cx<'_>) {
        let Asked { block, levels, .. } = arrival.asked;
        self.forecast.settle(arrival.id, block, levels);
        cx.state.plain.insert(block);
        cx.state.stats.retries += 1;
        if cx.state.wants.give_back(block, cx.connection) {
            cx.effects.push(Effect::Freed);
        }
    }

    /// The remote does not have (any more) what it was asked for.
    fn refused(&mut self, id: u64, asked: Asked, remote: &mut Remote, cx: &mut Cx<'_>) {
        self.forecast.settle(id, asked.block, asked.levels);
        self.arrivals.release(id);
        remote.holdings.refuse(asked.block, cx.now, cx.budget);
        cx.state.wants.roster().note_miss(cx.connection);
        if cx.state.wants.give_back(asked.block, cx.connection) {
            cx.effects.push(Effect::Freed);
        }
    }

    /// A request has run out of time.
    pub(crate) fn note_silence(&mut self) -> Result<(), Fault> {
        self.silent_rounds += 1;
        if self.silent_rounds >= TIMEOUTS_MAX {
            return Err(Fault::Unresponsive { rounds: self.silent_rounds });
        }
        Ok(())
    }
}

fn note_stored(arrival: &Arrival, cx: &mut Cx<'_>) {
    let block = arrival.proof.block.as_ref();
    cx.state.meter.note(1, arrival.len() as u64, cx.now);
    cx.state.stats.blocks_in += 1;
    cx.state.stats.block_bytes_in += block.map_or(0, |block| block.value.len() as u64);
    cx.state.stats.nodes_in += block.map_or(0, |block| block.nodes.len() as u64);
}

/// Tells the owner and the other remotes which blocks came.
fn tell_stored(stored: RangeSet, cx: &mut Cx<'_>) {
    let (key, from) = (cx.state.key, cx.connection);
    for blocks in stored.iter() {
        cx.effect(Event::Stored { key, blocks, from });
    }
    if !stored.is_empty() {
        cx.effects.push(Effect::Stored(stored));
    }
}

/// The length up to which a remote can prove blocks to us.
///
/// All of what it has, if it is at least as long as we are. A shorter one has other roots; it can
/// prove what lies below those of them that we hold too, and takes a climb beyond them for an
/// invalid request.
fn provable_len(remote: &Remote, cx: &Cx<'_>) -> Result<u64, Error> {
    let (ours, theirs) = (cx.state.log.len(), remote.sync.length);
    if theirs >= ours {
        return Ok(ours);
    }
    let mut provable = 0;
    for root in flat_tree::full_roots(theirs) {
        if cx.state.log.missing_nodes(root)? > 0 {
            break;
        }
        provable = flat_tree::right_span(root) / 2 + 1;
    }
    Ok(provable)
}

/// Stretches of 2^21 blocks that one remote is asked to tell about, at most.
const PIECES_MAX: usize = 256;
