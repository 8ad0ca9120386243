//! What we ask one remote about one log.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use multibee_log::{Error, Proof, Request, RequestBlock, RequestUpgrade, flat_tree};

use crate::channel::{Cx, Remote};
use crate::event::{Event, Fault};
use crate::forecast::Forecast;
use crate::limits::{
    IN_FLIGHT_LEN, IN_FLIGHT_MIN, PENDING_REQUESTS_MAX, REQUEST_AGE_MAX, STORE_BATCH_BLOCKS,
    STORE_BATCH_LEN, TIMEOUTS_MAX, WANT_BLOCKS_MAX,
};
use crate::log_state::{Blame, Effect};
use crate::message::Message;
use crate::options::ReplicatorOptions;
use crate::ranges::RangeSet;
use crate::wants::Next;

/// Requests under way, and answers that wait to be stored.
#[derive(Debug, Default)]
pub(crate) struct Download {
    /// The number of the last request. Numbers are not used again, so a late answer fits nothing.
    last_id: u64,
    in_flight: BTreeMap<u64, Asked>,
    forecast: Forecast,
    /// Answers in an order in which they can be stored.
    arrived: Vec<Arrival>,
    arrived_len: usize,
    /// Answers that came before another on whose nodes they build, by that other request.
    parked: BTreeMap<u64, Vec<Arrival>>,
    /// Requests whose answers are parked.
    parked_ids: BTreeSet<u64>,
    parked_len: usize,
    upgrade: Option<UpgradeAsked>,
    /// What was tried for nothing, so that it is not tried again before something changes.
    tried: Option<Tried>,
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

/// A block that was asked for.
#[derive(Clone, Copy, Debug)]
struct Asked {
    block: u64,
    levels: u64,
    /// The earlier request whose answer makes this one's verifiable.
    after: Option<u64>,
    at: Instant,
}

#[derive(Debug)]
struct Arrival {
    id: u64,
    asked: Asked,
    proof: Proof,
}

/// A length that was asked for.
#[derive(Clone, Copy, Debug)]
struct UpgradeAsked {
    id: u64,
    from: u64,
    /// Our length and the remote's at that time.
    ours: u64,
    theirs: u64,
    at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tried {
    ours: u64,
    theirs: u64,
    /// Whether an older length than ours was tried too.
    older: bool,
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
        let block = self.in_flight.first_key_value().map(|(_, asked)| {
            let quiet_until = self.quiet_since(asked.at) + options.request_timeout;
            quiet_until.min(asked.at + REQUEST_AGE_MAX)
        });
        let upgrade = self.upgrade.map(|asked| self.quiet_since(asked.at) + options.upgrade_timeout);
        let idle = self.idle.and_then(|idle| idle.look_again);
        [block, upgrade, idle].into_iter().flatten().min()
    }

    /// Asks for a new length if the remote has one and nobody else is asked.
    pub(crate) fn ask_upgrade(&mut self, remote: &Remote, cx: &mut Cx<'_>) {
        let log = &cx.state.log;
        let (ours, theirs) = (log.len(), remote.sync.length);
        let fork_fits = remote.sync.fork == log.fork() || ours == 0;
        if !cx.state.follows()
            || cx.state.upgrade_asked_of.is_some()
            || !fork_fits
            || theirs <= ours
            || (remote.sync.remote_length != ours && remote.sync.fork == log.fork())
        {
            return;
        }
        let tried = self.tried.filter(|tried| (tried.ours, tried.theirs) == (ours, theirs));
        let from = match tried {
            None if remote.sync.can_upgrade => ours,
            // Only a Multibee peer says no where a Hypercore 11 would hang up.
            None | Some(Tried { older: false, .. }) if remote.is_kin => {
                let Some(older) = older_end(cx) else { return };
                older
            }
            _ => return,
        };
        let has_manifest = cx.state.log.manifest().is_some();
        let request = Request {
            upgrade: Some(RequestUpgrade { start: from, length: theirs - from }),
            manifest: !has_manifest && remote.sync.has_manifest,
            ..Request::default()
        };
        let id = self.next_id();
        self.upgrade = Some(UpgradeAsked { id, from, ours, theirs, at: cx.now });
        cx.state.upgrade_asked_of = Some(cx.connection);
        cx.out.push(Message::Request { id, fork: remote.sync.fork, priority: 0, request });
    }

    /// Asks for blocks until the window is full or nothing is left to ask of this remote.
    pub(crate) fn fill(&mut self, remote: &Remote, cx: &mut Cx<'_>) -> Result<(), Error> {
        let window = self.window(remote, cx);
        if self.in_flight.len() >= window {
            self.idle = None;
            return Ok(());
        }
        let limit = provable_len(remote, cx)?;
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
        while self.in_flight.len() < window {
            match cx.state.wants.next(cx.connection, &remote.holdings, limit, cx.now) {
                Next::Block { block, priority } => self.ask_block(block, priority, cx)?,
                Next::Nothing { look_again } => {
                    let idle = Idle { wants_version, holdings_version, limit, look_again };
                    self.idle = Some(idle);
                    self.ask_where(remote, limit, cx);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Takes the answer to a request; late ones are ignored.
    pub(crate) fn handle_data(
        &mut self,
        id: u64,
        proof: Proof,
        remote: &mut Remote,
        cx: &mut Cx<'_>,
    ) -> Result<(), Fault> {
        if let Some(asked) = self.upgrade.take_if(|asked| asked.id == id) {
            self.last_answer = Some(cx.now);
            return self.handle_upgrade(asked, &proof, cx);
        }
        let Some(asked) = self.in_flight.remove(&id) else { return Ok(()) };
        self.last_answer = Some(cx.now);
        self.silent_rounds = 0;
        let Some(block) = proof.block.as_ref().filter(|_| proof.fork == cx.state.log.fork()) else {
            self.refused(id, asked, remote, cx);
            return Ok(());
        };
        if block.index != asked.block || proof.upgrade.is_some() {
            return Err(Fault::WrongData { what: "block" });
        }
        let len = block.value.len();
        self.block_len_mean = (self.block_len_mean * 15 + len as u64) / 16;
        self.arrive(Arrival { id, asked, proof }, len, cx);
        if self.arrived.len() >= STORE_BATCH_BLOCKS || self.arrived_len >= STORE_BATCH_LEN {
            self.store(cx)?;
        }
        Ok(())
    }

    /// Takes a refusal.
    pub(crate) fn handle_no_data(&mut self, id: u64, remote: &mut Remote, cx: &mut Cx<'_>) {
        if let Some(asked) = self.upgrade.take_if(|asked| asked.id == id) {
            self.upgrade_failed(asked, cx);
        } else if let Some(asked) = self.in_flight.remove(&id) {
            self.last_answer = Some(cx.now);
            self.silent_rounds = 0;
            self.refused(id, asked, remote, cx);
        }
    }

    /// Stores what has arrived.
    pub(crate) fn store(&mut self, cx: &mut Cx<'_>) -> Result<(), Fault> {
        if self.arrived.is_empty() {
            return Ok(());
        }
        let arrived = std::mem::take(&mut self.arrived);
        self.arrived_len = 0;
        let (late, fresh): (Vec<_>, Vec<_>) =
            arrived.into_iter().partition(|arrival| cx.state.log.has(arrival.asked.block));
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
                }
                Err(error) => outcome = outcome.and(self.not_stored(&arrival, error, cx)),
            }
        }
        if !stored.is_empty() {
            cx.effects.push(Effect::Stored(stored));
        }
        outcome
    }

    /// A block came from elsewhere, or is no longer wanted.
    pub(crate) fn cancel(&mut self, block: u64, cx: &mut Cx<'_>) {
        let found = self.in_flight.iter().find(|(_, asked)| asked.block == block);
        let Some((&id, &asked)) = found else { return };
        self.in_flight.remove(&id);
        self.forecast.settle(id, asked.block, asked.levels);
        self.release(id);
        cx.out.push(Message::Cancel { request: id });
    }

    /// Gives up requests that ran out of time.
    pub(crate) fn handle_timeout(&mut self, cx: &mut Cx<'_>) -> Result<(), Fault> {
        if self.idle.is_some_and(|idle| idle.look_again.is_some_and(|at| at <= cx.now)) {
            self.idle = None;
        }
        let now = cx.now;
        let is_late = |at: Instant, after| now.saturating_duration_since(at) >= after;
        if let Some(asked) =
            self.upgrade.filter(|asked| {
                is_late(self.quiet_since(asked.at), cx.options.upgrade_timeout)
            })
        {
            self.upgrade = None;
            cx.out.push(Message::Cancel { request: asked.id });
            self.upgrade_failed(asked, cx);
            self.silent_round()?;
        }
        let late: Vec<(u64, Asked)> = self
            .in_flight
            .iter()
            .map(|(&id, &asked)| (id, asked))
            .take_while(|(_, asked)| {
                is_late(self.quiet_since(asked.at), cx.options.request_timeout)
                    || is_late(asked.at, REQUEST_AGE_MAX)
            })
            .collect();
        if late.is_empty() {
            return Ok(());
        }
        for (id, asked) in late {
            self.in_flight.remove(&id);
            self.forecast.settle(id, asked.block, asked.levels);
            self.release(id);
            cx.state.wants.give_back(asked.block, cx.connection);
            cx.out.push(Message::Cancel { request: id });
        }
        cx.effects.push(Effect::Freed);
        self.idle = None;
        self.silent_round()
    }

    /// Ends the download: all that is under way may be asked of others.
    pub(crate) fn abandon(&mut self, cx: &mut Cx<'_>) {
        let parked = std::mem::take(&mut self.parked);
        let waiting = parked.into_values().flatten().chain(std::mem::take(&mut self.arrived));
        let blocks = waiting.map(|arrival| arrival.asked.block);
        let in_flight = std::mem::take(&mut self.in_flight);
        for block in blocks.chain(in_flight.into_values().map(|asked| asked.block)) {
            cx.state.wants.give_back(block, cx.connection);
        }
        if self.upgrade.take().is_some() {
            cx.state.upgrade_asked_of = None;
        }
        *self = Self { last_id: self.last_id, ..Self::default() };
        cx.effects.push(Effect::Freed);
    }

    /// Since when nothing has come of all that was asked for by `at`.
    fn quiet_since(&self, at: Instant) -> Instant {
        self.last_answer.map_or(at, |last| last.max(at))
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// How many requests may be under way: fewer when blocks are large, one when the remote has
    /// left requests unanswered.
    fn window(&self, remote: &Remote, cx: &Cx<'_>) -> usize {
        if self.silent_rounds > 0 {
            return 1;
        }
        let most = if remote.is_kin { cx.options.window } else { cx.options.foreign_window };
        let by_len = IN_FLIGHT_LEN / self.block_len_mean.max(1);
        let by_len = usize::try_from(by_len).unwrap_or(usize::MAX);
        by_len.clamp(IN_FLIGHT_MIN, PENDING_REQUESTS_MAX).min(most)
    }

    fn ask_block(&mut self, block: u64, priority: u64, cx: &mut Cx<'_>) -> Result<(), Error> {
        let id = self.next_id();
        let (levels, after) = self.levels(block, priority, cx)?;
        self.forecast.expect(id, block, levels);
        self.in_flight.insert(id, Asked { block, levels, after, at: cx.now });
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
    fn levels(
        &self,
        block: u64,
        priority: u64,
        cx: &Cx<'_>,
    ) -> Result<(u64, Option<u64>), Error> {
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

    /// Lines an answer up to be stored, behind the one on whose nodes it builds.
    fn arrive(&mut self, arrival: Arrival, len: usize, cx: &mut Cx<'_>) {
        let outstanding = |id: &u64| self.in_flight.contains_key(id) || self.parked_ids.contains(id);
        if let Some(after) = arrival.asked.after.filter(outstanding) {
            if self.parked_len + len > STORE_BATCH_LEN {
                // Not worth the memory: asked for again, later.
                self.retry(&arrival, cx);
                return;
            }
            self.parked_ids.insert(arrival.id);
            self.parked_len += len;
            self.parked.entry(after).or_default().push(arrival);
            return;
        }
        let id = arrival.id;
        self.arrived_len += len;
        self.arrived.push(arrival);
        self.release(id);
    }

    /// What waited for the answer to a request waits no longer.
    fn release(&mut self, id: u64) {
        let mut settled = vec![id];
        while let Some(id) = settled.pop() {
            for arrival in self.parked.remove(&id).unwrap_or_default() {
                let len = arrival.proof.block.as_ref().map_or(0, |block| block.value.len());
                self.parked_len -= len;
                self.arrived_len += len;
                self.parked_ids.remove(&arrival.id);
                settled.push(arrival.id);
                self.arrived.push(arrival);
            }
        }
    }

    /// A block is here: nothing of its request is under way any more.
    fn settle(&mut self, arrival: &Arrival, cx: &mut Cx<'_>) {
        let Asked { block, levels, .. } = arrival.asked;
        self.forecast.settle(arrival.id, block, levels);
        cx.state.plain.remove(&block);
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
            Blame::Peer => Err(Fault::BadData(error)),
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
        self.release(id);
        remote.holdings.remove(asked.block..asked.block + 1, cx.budget);
        if cx.state.wants.give_back(asked.block, cx.connection) {
            cx.effects.push(Effect::Freed);
        }
    }

    fn silent_round(&mut self) -> Result<(), Fault> {
        self.silent_rounds += 1;
        if self.silent_rounds >= TIMEOUTS_MAX {
            return Err(Fault::Unresponsive { rounds: self.silent_rounds });
        }
        Ok(())
    }

    fn handle_upgrade(
        &mut self,
        asked: UpgradeAsked,
        proof: &Proof,
        cx: &mut Cx<'_>,
    ) -> Result<(), Fault> {
        self.silent_rounds = 0;
        self.store(cx)?;
        if proof.upgrade.is_none() {
            self.upgrade_failed(asked, cx);
            return Ok(());
        }
        match cx.state.log.apply(proof) {
            Ok(applied) => {
                cx.state.upgrade_asked_of = None;
                match applied.upgraded {
                    Some((old, new)) => {
                        self.tried = None;
                        let (key, from) = (cx.state.key, cx.connection);
                        cx.effect(Event::Upgraded { key, old, new, from });
                        cx.effects.push(Effect::Upgraded);
                    }
                    // Somebody else was faster.
                    None => cx.effects.push(Effect::Freed),
                }
                Ok(())
            }
            Err(error) => {
                self.upgrade_failed(asked, cx);
                match Blame::of(&error) {
                    // From an older length it could only guess what we hold.
                    Blame::Peer
                        if asked.from == asked.ours
                            || !matches!(error, Error::BadProof { .. }) =>
                    {
                        Err(Fault::BadData(error))
                    }
                    Blame::Peer | Blame::Nobody => Ok(()),
                    Blame::Machine => {
                        cx.effects.push(Effect::Failed(error));
                        Ok(())
                    }
                }
            }
        }
    }

    fn upgrade_failed(&mut self, asked: UpgradeAsked, cx: &mut Cx<'_>) {
        let UpgradeAsked { from, ours, theirs, .. } = asked;
        self.tried = Some(Tried { ours, theirs, older: from != ours });
        cx.state.upgrade_asked_of = None;
        cx.effects.push(Effect::Freed);
    }
}

fn note_stored(arrival: &Arrival, cx: &mut Cx<'_>) {
    let block = arrival.proof.block.as_ref();
    cx.state.stats.blocks_in += 1;
    cx.state.stats.block_bytes_in += block.map_or(0, |block| block.value.len() as u64);
    cx.state.stats.nodes_in += block.map_or(0, |block| block.nodes.len() as u64);
    let (key, seq, from) = (cx.state.key, arrival.asked.block, cx.connection);
    cx.effect(Event::Stored { key, seq, from });
}

/// The end of the last block that we hold below our length, if that is an older length.
///
/// Whoever signed up to there may have been met by a sparse remote at just that length.
fn older_end(cx: &Cx<'_>) -> Option<u64> {
    let len = cx.state.log.len();
    let near = cx.state.log.held(len.saturating_sub(NEAR_BLOCKS)..len);
    let held = if near.is_empty() { cx.state.log.held(0..len) } else { near };
    held.last().map(|last| last.end).filter(|&end| end > 0 && end < len)
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
/// How far back an older length is looked for first.
const NEAR_BLOCKS: u64 = 1 << 16;
