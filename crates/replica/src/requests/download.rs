//! Which blocks of one log are asked of one remote, alone or in runs, and when they are stored.

use std::collections::BTreeSet;
use std::time::Instant;

use multibee_log::{Error, flat_tree};

use super::arrivals::Arrivals;
use super::asked::{Asked, Kind};
use super::forecast::Forecast;
use super::in_flight::InFlight;
use super::runs::{Attempt, Runs};
use crate::channel::{Cx, Remote};
use crate::event::{Event, Fault};
use crate::limits::{IN_FLIGHT_LEN, WANT_BLOCKS_MAX, WINDOW_FLOOR, WINDOW_MAX};
use crate::log_state::{Effect, LogState};
use crate::message::Message;
use crate::meter::Meter;
use crate::ranges::RangeSet;
use crate::wants::{Next, Seeker};

/// What [single blocks](super::blocks) and [runs](super::runs) have in common: which of them is
/// next, and what has come and waits to be stored.
#[derive(Debug, Default)]
pub(super) struct Download {
    pub(super) forecast: Forecast,
    pub(super) arrivals: Arrivals,
    pub(super) runs: Runs,
    pub(super) meter: Meter,
    /// Running mean of the blocks that came, in bytes.
    block_len_mean: u64,
    idle: Option<Idle>,
    /// Stretches of 2^21 blocks that we asked to be told about.
    pieces: BTreeSet<u64>,
}

/// A search for something to ask for has found nothing.
#[derive(Clone, Copy, Debug)]
struct Idle {
    seen: Seen,
    look_again: Option<Instant>,
}

/// What decides what there is to ask for, but for the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    wants_version: u64,
    holdings_version: u64,
    limit: u64,
}

/// Why no more was asked for.
#[derive(Clone, Copy, Debug)]
enum Filled {
    /// The window is full.
    Window,
    /// Nothing is left to ask of this remote. Some may be then.
    All { look_again: Option<Instant> },
}

/// How many requests may be under way.
#[derive(Clone, Copy, Debug)]
struct Windows {
    /// Of whichever blocks.
    any: usize,
    /// If a reader waits for those that are asked for next.
    urgent: usize,
}

impl Download {
    /// Asks for blocks until the window is full or nothing is left to ask of this remote. For what
    /// readers wait for the window is as wide as it may ever be.
    pub(super) fn ask(
        &mut self,
        in_flight: &mut InFlight,
        remote: &Remote,
        cx: &mut Cx<'_>,
    ) -> Result<(), Error> {
        if remote.sync.fork != cx.state.log.fork() {
            return Ok(());
        }
        let mut limit = provable_len(remote, cx.state)?;
        if cx.state.is_disputed {
            limit = limit.min(cx.state.log.trusted_len());
        }
        let wants_version = cx.state.wants.version();
        let seen = Seen { wants_version, holdings_version: remote.holdings.version(), limit };
        if let Some(idle) = self.idle
            && idle.seen == seen
            && idle.look_again.is_none_or(|at| cx.now < at)
        {
            return Ok(());
        }
        self.idle = None;
        let (round_trip, patience) = (cx.pace.round_trip(), cx.pace.patience());
        let (connection, known) = (cx.connection, (&remote.holdings, limit));
        cx.state.wants.roster().enter(connection, round_trip, patience, known, cx.now);
        let windows = self.windows(in_flight, remote, cx);
        if let Filled::All { look_again } = self.fill(windows, limit, in_flight, remote, cx)? {
            self.idle = Some(Idle { seen, look_again });
            self.ask_where(remote, limit, cx);
        }
        let has_room = in_flight.tally(Kind::Block).requests < windows.any;
        if cx.state.wants.looked(connection, has_room) {
            cx.effects.push(Effect::Freed);
        }
        Ok(())
    }

    /// Asks for blocks below `limit` until the windows are full, and while that is not too much for the
    /// remote's pace.
    fn fill(
        &mut self,
        windows: Windows,
        limit: u64,
        in_flight: &mut InFlight,
        remote: &Remote,
        cx: &mut Cx<'_>,
    ) -> Result<Filled, Error> {
        let (connection, now, holdings) = (cx.connection, cx.now, &remote.holdings);
        while in_flight.tally(Kind::Block).requests < windows.urgent {
            let runs = usize::from(in_flight.tally(Kind::Run).requests > 0);
            let own = in_flight.tally(Kind::Block).requests + runs;
            let has_room = in_flight.tally(Kind::Block).requests < windows.any;
            let is_full = !has_room || cx.pace.room(own, self.mean(cx)) == 0;
            let seeker = Seeker { connection, holdings, limit, now, is_full };
            match self.ask_run(in_flight, remote, seeker, cx)? {
                Attempt::Asked => continue,
                Attempt::Full => {
                    note_full(has_room, cx);
                    break;
                }
                Attempt::NoRun => {}
            }
            match cx.state.wants.next(seeker) {
                // It came by other means.
                Next::Block { block, .. } if cx.state.log.has(block) => {
                    cx.state.wants.stored(block, None);
                }
                Next::Block { block, priority } => {
                    self.ask_block((block, priority), in_flight, cx)?;
                }
                Next::Nothing { .. } if is_full => {
                    note_full(has_room, cx);
                    break;
                }
                Next::Nothing { look_again } => {
                    if self.hedge_run(in_flight, remote, limit, cx)? {
                        continue;
                    }
                    let late_runs = cx.state.runs.look_again(connection, now);
                    let look_again = look_again.into_iter().chain(late_runs).min();
                    return Ok(Filled::All { look_again });
                }
            }
        }
        Ok(Filled::Window)
    }

    /// Whether nothing was left to ask for.
    pub(super) fn is_idle(&self) -> bool {
        self.idle.is_some()
    }

    /// When [`ask`](Self::ask) may find something that it has not found before.
    pub(super) fn look_again(&self) -> Option<Instant> {
        self.idle?.look_again
    }

    /// [`ask`](Self::ask) is to look anew, whether or not anything has changed.
    pub(super) fn wake(&mut self) {
        self.idle = None;
    }

    /// A block came from elsewhere, or is no longer wanted; with it the run that it is in, if it was
    /// not asked for alone.
    pub(super) fn cancel(&mut self, block: u64, in_flight: &mut InFlight, cx: &mut Cx<'_>) {
        let is_it = |asked: &Asked| matches!(asked, Asked::Block(asked) if asked.block == block);
        let has_it =
            |asked: &Asked| matches!(asked, Asked::Run(asked) if asked.blocks().contains(&block));
        let Some(id) = in_flight.find(is_it).or_else(|| in_flight.find(has_it)) else { return };
        match in_flight.remove(id, cx.pace).map(|sent| sent.asked) {
            Some(Asked::Block(asked)) => asked.settle(id, self),
            Some(Asked::Run(asked)) => asked.settle(id, self),
            _ => {}
        }
        self.arrivals.release(id);
        cx.out.push(Message::Cancel { request: id });
    }

    /// Stores what has arrived.
    ///
    /// # Errors
    ///
    /// [`Fault::BadData`] if some of it does not verify.
    pub(super) fn store(&mut self, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let (stored, of_runs) = self.store_runs(cx);
        for run in stored.iter() {
            // Some may have been asked for alone as well, since somebody waits for them.
            for (block, other) in cx.state.wants.remove(run) {
                cx.effects.push(Effect::Cancel(other, block));
            }
        }
        tell_stored(stored, cx);
        let (stored, of_blocks) = self.store_blocks(cx);
        tell_stored(stored, cx);
        of_runs.and(of_blocks)
    }

    /// Begins anew. What has come and is not stored may be asked of others.
    pub(super) fn reset(&mut self, cx: &mut Cx<'_>) {
        cx.state.wants.roster().leave(cx.connection);
        self.drop_arrivals(cx);
        self.drop_ready_runs(cx);
        *self = Self { meter: self.meter, ..Self::default() };
    }

    /// A block of so many bytes has come, or a run of such blocks.
    pub(super) fn note_len(&mut self, len: u64) {
        let mean = if self.block_len_mean == 0 { len } else { self.block_len_mean };
        self.block_len_mean = ((mean * 15 + len) / 16).max(1);
    }

    /// How long blocks are: those that came lately, and until some have come those of the whole log.
    pub(super) fn mean(&self, cx: &Cx<'_>) -> u64 {
        if self.block_len_mean > 0 {
            return self.block_len_mean;
        }
        (cx.state.log.byte_len() / cx.state.log.len().max(1)).max(1)
    }

    /// How many requests may be under way at the very most: fewer when blocks are large, one when
    /// the remote has left requests unanswered.
    fn windows(&self, in_flight: &InFlight, remote: &Remote, cx: &Cx<'_>) -> Windows {
        if in_flight.is_silent() {
            return Windows { any: 1, urgent: 1 };
        }
        let by_len = usize::try_from(IN_FLIGHT_LEN / self.mean(cx)).unwrap_or(usize::MAX);
        // No more than comes in a second: what waits for the limit would look like silence.
        let by_rate = cx.options.download_limit.map_or(u64::MAX, |rate| rate / self.mean(cx));
        let by_rate = usize::try_from(by_rate).unwrap_or(usize::MAX);
        let at_most =
            |most: usize| by_len.clamp(WINDOW_FLOOR, WINDOW_MAX).min(most).min(by_rate).max(1);
        match remote.is_kin {
            true => Windows { any: at_most(cx.options.window), urgent: at_most(WINDOW_MAX) },
            false => {
                let any = at_most(cx.options.foreign_window);
                Windows { any, urgent: any }
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
}

/// Notes that the remote's pace is what keeps us from asking for more, if it is.
fn note_full(has_room: bool, cx: &mut Cx<'_>) {
    if has_room {
        cx.pace.note_full();
    }
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
pub(super) fn provable_len(remote: &Remote, state: &LogState) -> Result<u64, Error> {
    let (ours, theirs) = (state.log.len(), remote.sync.length);
    if theirs >= ours {
        return Ok(ours);
    }
    let mut provable = 0;
    for root in flat_tree::full_roots(theirs) {
        if state.log.missing_nodes(root)? > 0 {
            break;
        }
        provable = flat_tree::right_span(root) / 2 + 1;
    }
    Ok(provable)
}

/// Stretches of 2^21 blocks that one remote is asked to tell about, at most.
const PIECES_MAX: usize = 256;
