//! What we lack of one log: which blocks, how badly, and of whom they were asked.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Instant;

use crate::asked_blocks::AskedBlocks;
use crate::event::ConnectionId;
use crate::holdings::Holdings;
use crate::ranges::RangeSet;
use crate::roster::Roster;

/// The blocks of one log that are wanted and not here.
///
/// A block is either queued (asked of nobody) or asked (of one remote, or of two when the first
/// is slow). Ranges cost one entry however long they are, so "everything, for ever" is
/// `0..u64::MAX`.
///
/// Remotes come and [take](Self::next) what they are to be asked for. Together with the
/// [`Roster`] of those who do, and the [`Pace`](crate::pace::Pace) of each, this is the scheduler:
/// it knows nothing of messages.
#[derive(Debug, Default)]
pub(crate) struct Wants {
    queues: BTreeMap<Reverse<u64>, RangeSet>,
    asked: AskedBlocks,
    /// Grows when blocks are added to a queue, so that a search that found nothing need not be
    /// repeated.
    version: u64,
    roster: Roster,
}

/// Who looks for something to be asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seeker<'a> {
    pub(crate) connection: ConnectionId,
    /// What it has.
    pub(crate) holdings: &'a Holdings,
    /// The length up to which it can prove blocks.
    pub(crate) limit: u64,
    pub(crate) now: Instant,
    /// It can be asked only for what readers wait for.
    pub(crate) is_full: bool,
}

/// What a connection may ask for next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// This block, which now counts as asked of that connection.
    Block { block: u64, priority: u64 },
    /// Nothing now. Look again at the time, or when the wants or the remote's blocks change.
    Nothing { look_again: Option<Instant> },
}

impl Wants {
    /// Changes whenever blocks were queued.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Wants blocks, none of which is here. What is wanted already keeps the higher priority.
    pub(crate) fn add(&mut self, blocks: Range<u64>, priority: u64) {
        if blocks.start >= blocks.end {
            return;
        }
        let mut fresh = RangeSet::default();
        fresh.insert(blocks.clone());
        for block in self.asked.raise(blocks.clone(), priority) {
            fresh.remove(block..block + 1);
        }
        for (&Reverse(other), queue) in &mut self.queues {
            if other < priority {
                queue.remove(blocks.clone());
            } else {
                for stretch in queue.within(blocks.clone()) {
                    fresh.remove(stretch);
                }
            }
        }
        self.queues.retain(|_, queue| !queue.is_empty());
        if fresh.is_empty() {
            return;
        }
        let queue = self.queues.entry(Reverse(priority)).or_default();
        fresh.iter().for_each(|stretch| queue.insert(stretch));
        self.version += 1;
    }

    /// Whether a block is wanted and not here.
    pub(crate) fn is_wanted(&self, block: u64) -> bool {
        let queued = || self.first_queued(block, block.saturating_add(1)).is_some();
        self.asked.contains(block) || queued()
    }

    /// No longer wants blocks. Returns those that were asked for, and of whom.
    pub(crate) fn remove(&mut self, blocks: Range<u64>) -> Vec<(u64, ConnectionId)> {
        if blocks.start >= blocks.end {
            return Vec::new();
        }
        self.queues.values_mut().for_each(|queue| queue.remove(blocks.clone()));
        self.queues.retain(|_, queue| !queue.is_empty());
        self.asked.remove(blocks)
    }

    /// A block is here. Returns who else was asked for it.
    pub(crate) fn stored(&mut self, block: u64, from: Option<ConnectionId>) -> Vec<ConnectionId> {
        if let Some(others) = self.asked.stored(block, from) {
            return others;
        }
        self.queues.values_mut().for_each(|queue| queue.remove(block..block.saturating_add(1)));
        self.queues.retain(|_, queue| !queue.is_empty());
        Vec::new()
    }

    /// Picks a block that a remote has: the highest priority first; what readers wait for in
    /// order, unless a nearer remote is about to take it; the rest where the [`Roster`] places it.
    /// When nothing is queued, a block that another remote is slow to deliver.
    pub(crate) fn next(&mut self, seeker: Seeker<'_>) -> Next {
        let Seeker { connection, now, .. } = seeker;
        let left_until = match self.queues.first_key_value() {
            Some((&Reverse(highest), _)) if highest > 0 => {
                self.roster.leaves_until(connection, self.version, now)
            }
            _ => None,
        };
        if let Some((block, priority)) = self.find_queued(&seeker, left_until.is_some()) {
            if let Some(queue) = self.queues.get_mut(&Reverse(priority)) {
                queue.remove(block..block + 1);
                if queue.is_empty() {
                    self.queues.remove(&Reverse(priority));
                }
            }
            let until = now + self.roster.patience(connection);
            self.asked.ask(block, priority, connection, until);
            return Next::Block { block, priority };
        }
        let until = now + self.roster.patience(connection);
        let late = self.asked.ask_late(&seeker, until);
        let Next::Nothing { look_again } = late else { return late };
        Next::Nothing { look_again: look_again.into_iter().chain(left_until).min() }
    }

    /// Who serves the log.
    pub(crate) fn roster(&mut self) -> &mut Roster {
        &mut self.roster
    }

    /// A remote has taken what it can of what is queued. Returns whether others have left
    /// something to it, and should look for what is left.
    pub(crate) fn looked(&mut self, connection: ConnectionId, has_room: bool) -> bool {
        self.roster.looked(connection, self.version, has_room);
        self.roster.take_leavers(connection, self.version)
            && self.queues.keys().next().is_some_and(|&Reverse(highest)| highest > 0)
    }

    /// The next blocks that a remote has the first of, unless something more urgent is queued that it
    /// has.
    pub(crate) fn next_stretch(&mut self, seeker: Seeker<'_>) -> Option<Range<u64>> {
        // A run has a window of its own.
        let (block, priority) = self.find_queued(&Seeker { is_full: false, ..seeker }, false)?;
        if priority > 0 {
            return None;
        }
        self.queues.get(&Reverse(0))?.first_within(block..seeker.limit)
    }

    /// Takes blocks out of the queue that is not urgent: they are asked for by other means.
    pub(crate) fn take(&mut self, blocks: Range<u64>) {
        if let Some(queue) = self.queues.get_mut(&Reverse(0)) {
            queue.remove(blocks);
            if queue.is_empty() {
                self.queues.remove(&Reverse(0));
            }
        }
    }

    /// The first queued stretch at or after `from` and below `limit`, whatever its priority.
    pub(crate) fn first_queued(&self, from: u64, limit: u64) -> Option<Range<u64>> {
        let stretches = self.queues.values().filter_map(|queue| queue.first_within(from..limit));
        stretches.min_by_key(|stretch| stretch.start)
    }

    /// A remote did not deliver a block. Returns whether it is queued again (nobody else is
    /// asked for it).
    pub(crate) fn give_back(&mut self, block: u64, connection: ConnectionId) -> bool {
        let Some(priority) = self.asked.give_back(block, connection) else { return false };
        self.queues.entry(Reverse(priority)).or_default().insert(block..block + 1);
        self.version += 1;
        true
    }

    /// How many blocks below `limit` are wanted, asked ones included.
    pub(crate) fn count_below(&self, limit: u64) -> u64 {
        let queued: u64 = self.queues.values().map(|queue| queue.count_within(0..limit)).sum();
        queued + self.asked.count()
    }

    /// How many blocks are asked for.
    pub(crate) fn asked_count(&self) -> u64 {
        self.asked.count()
    }

    fn find_queued(&mut self, seeker: &Seeker<'_>, leaves_urgent: bool) -> Option<(u64, u64)> {
        let &Seeker { connection, holdings, limit, is_full, .. } = seeker;
        for (&Reverse(priority), queue) in &self.queues {
            let is_urgent = priority > 0;
            if if is_urgent { leaves_urgent } else { is_full } {
                continue;
            }
            let first = |range: Range<u64>| {
                let range = range.start..range.end.min(limit);
                queue.within(range).find_map(|stretch| holdings.next_within(stretch))
            };
            let placed = if is_urgent { None } else { self.roster.place(connection, first) };
            if let Some(block) = placed.or_else(|| first(0..limit)) {
                return Some((block, priority));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::time::{Duration, Instant};

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::{Next, Seeker, Wants};
    use crate::event::ConnectionId;
    use crate::holdings::{Holdings, PageBudget};
    use crate::limits::{ASKERS_MAX, HEDGE_UNKNOWN, HEDGED_MAX};

    const A: ConnectionId = ConnectionId(1);
    const B: ConnectionId = ConnectionId(2);
    const C: ConnectionId = ConnectionId(3);

    fn holder(len: u64) -> Holdings {
        let mut held = Holdings::default();
        held.add(0..len, &mut PageBudget::default());
        held
    }

    fn seeker(
        connection: ConnectionId,
        holdings: &Holdings,
        limit: u64,
        now: Instant,
    ) -> Seeker<'_> {
        Seeker { connection, holdings, limit, now, is_full: false }
    }

    fn block(next: Next) -> Option<u64> {
        match next {
            Next::Block { block, .. } => Some(block),
            Next::Nothing { .. } => None,
        }
    }

    /// Higher priorities go first, then lower numbers; each block goes to one remote only, and
    /// nothing beyond the verified length or outside what the remote has is asked for.
    #[test]
    fn hands_out_each_block_once_in_order() {
        let (mut wants, now, held) = (Wants::default(), Instant::now(), holder(6));
        wants.add(0..u64::MAX, 0);
        wants.add(4..5, 1);
        wants.add(3..5, 0);
        let mut order = Vec::new();
        for connection in [A, B].into_iter().cycle() {
            let Some(block) = block(wants.next(seeker(connection, &held, 8, now))) else { break };
            order.push(block);
        }
        assert_eq!(order, [4, 0, 1, 2, 3, 5]);
        assert_eq!(wants.count_below(8), 8, "6 asked, 2 that nobody has");
    }

    /// What one remote fails to deliver is queued again at its old priority; a connection gets
    /// back only what nobody else was asked for.
    #[test]
    fn undelivered_blocks_are_queued_again() {
        let (mut wants, now, held) = (Wants::default(), Instant::now(), holder(4));
        wants.add(0..2, 0);
        wants.add(2..4, 7);
        assert_eq!(block(wants.next(seeker(A, &held, 4, now))), Some(2));
        let before = wants.version();
        assert!(wants.give_back(2, A));
        assert!(wants.version() > before);
        assert_eq!(wants.next(seeker(B, &held, 4, now)), Next::Block { block: 2, priority: 7 });
        assert!(!wants.give_back(2, A), "A is not asked for it any more");
    }

    /// A block that is slow to come is asked of one more remote, not of the same and not of a
    /// third; when it comes, the other is named so that it can be told.
    #[test]
    fn slow_blocks_are_asked_of_a_second_remote() {
        let (mut wants, start, held) = (Wants::default(), Instant::now(), holder(4));
        wants.add(1..2, 0);
        assert_eq!(block(wants.next(seeker(A, &held, 4, start))), Some(1));
        let Next::Nothing { look_again } = wants.next(seeker(B, &held, 4, start)) else {
            panic!("early")
        };
        assert_eq!(look_again, Some(start + HEDGE_UNKNOWN));
        let later = start + HEDGE_UNKNOWN;
        assert_eq!(block(wants.next(seeker(A, &held, 4, later))), None);
        assert_eq!(block(wants.next(seeker(B, &held, 1, later))), None, "beyond what it can prove");
        assert_eq!(block(wants.next(seeker(B, &held, 4, later))), Some(1));
        assert_eq!(block(wants.next(seeker(C, &held, 4, later + Duration::from_secs(60)))), None);
        assert_eq!(wants.stored(1, Some(B)), [A]);
        assert_eq!(wants.count_below(4), 0);
    }

    /// What is no longer wanted is neither queued nor asked; who was asked is named.
    #[test]
    fn unwanted_blocks_are_forgotten() {
        let (mut wants, now, held) = (Wants::default(), Instant::now(), holder(10));
        wants.add(0..10, 0);
        assert_eq!(block(wants.next(seeker(A, &held, 10, now))), Some(0));
        assert_eq!(block(wants.next(seeker(B, &held, 10, now))), Some(1));
        assert_eq!(wants.remove(1..8), [(1, B)]);
        assert!(!wants.give_back(1, B), "a late failure does not bring it back");
        assert_eq!(wants.first_queued(0, 10), Some(8..10));
        assert_eq!(wants.stored(8, None), []);
        assert_eq!(wants.first_queued(0, 10), Some(9..10));
    }

    /// What one remote does next in a run.
    #[derive(Clone, Debug)]
    enum Step {
        /// It takes up to so many blocks.
        Ask(u8, u8, bool),
        /// It delivers the oldest that it was asked for.
        Deliver(u8),
        /// It fails to.
        Refuse(u8),
        /// It goes, and comes again.
        Leave(u8),
        Want(u64, u64, u64),
        Unwant(u64, u64),
        Pass(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..4_u8, 1..9_u8, any::<bool>()).prop_map(|(who, n, full)| Step::Ask(who, n, full)),
            4 => (0..4_u8).prop_map(Step::Deliver),
            1 => (0..4_u8).prop_map(Step::Refuse),
            1 => (0..4_u8).prop_map(Step::Leave),
            1 => (0..LEN, 1..40_u64, 0..3_u64).prop_map(|(start, n, p)| Step::Want(start, n, p)),
            1 => (0..LEN, 1..10_u64).prop_map(|(start, n)| Step::Unwant(start, n)),
            2 => (1..400_u64).prop_map(Step::Pass),
        ]
    }

    const LEN: u64 = 300;

    /// Some remotes with parts of a log, and what each was asked for.
    struct Run {
        wants: Wants,
        held: Vec<Holdings>,
        asked: Vec<Vec<u64>>,
        lacking: BTreeSet<u64>,
        now: Instant,
    }

    impl Run {
        fn new(parts: &[(u64, u64)]) -> Self {
            let held = parts.iter().map(|&(start, len)| {
                let mut held = Holdings::default();
                held.add(start..start + len, &mut PageBudget::default());
                held
            });
            let held: Vec<Holdings> = held.collect();
            let asked = vec![Vec::new(); held.len()];
            Self {
                wants: Wants::default(),
                held,
                asked,
                lacking: BTreeSet::new(),
                now: Instant::now(),
            }
        }

        fn id(who: usize) -> ConnectionId {
            ConnectionId(who as u64)
        }

        /// As a remote does it: comes in, takes, says that it has looked. The farther, the higher
        /// its number.
        fn ask(&mut self, who: usize, count: usize, is_full: bool) -> usize {
            let (holdings, id, now) = (&self.held[who], Self::id(who), self.now);
            let round_trip = Some(Duration::from_millis(30 * who as u64));
            let known = (holdings, LEN);
            self.wants.roster().enter(id, round_trip, Duration::from_millis(200), known, now);
            let mut took = 0;
            while took < count {
                let seeker = Seeker { connection: id, holdings, limit: LEN, now, is_full };
                let Next::Block { block, priority } = self.wants.next(seeker) else { break };
                assert!(holdings.contains(block) && self.lacking.contains(&block));
                assert!(!self.asked[who].contains(&block), "asked of the same one twice");
                assert!(!is_full || priority > 0);
                self.asked[who].push(block);
                took += 1;
            }
            self.wants.looked(id, took == count);
            let asked = self.asked.iter().flatten();
            let askers = asked.fold(BTreeMap::<u64, usize>::new(), |mut askers, block| {
                *askers.entry(*block).or_default() += 1;
                askers
            });
            assert!(askers.values().all(|count| *count <= ASKERS_MAX));
            assert!(askers.values().filter(|count| **count > 1).count() <= HEDGED_MAX);
            took
        }

        fn deliver(&mut self, who: usize) {
            if !self.asked[who].is_empty() {
                let block = self.asked[who].remove(0);
                self.lacking.remove(&block);
                for other in self.wants.stored(block, Some(Self::id(who))) {
                    self.asked[other.0 as usize].retain(|asked| *asked != block);
                }
            }
        }

        fn apply(&mut self, step: &Step) {
            let who_of = |who: u8, run: &Self| usize::from(who) % run.held.len();
            match *step {
                Step::Ask(who, count, is_full) => {
                    self.ask(who_of(who, self), count.into(), is_full);
                }
                Step::Deliver(who) => self.deliver(who_of(who, self)),
                Step::Refuse(who) => {
                    let who = who_of(who, self);
                    if !self.asked[who].is_empty() {
                        let block = self.asked[who].remove(0);
                        self.wants.give_back(block, Self::id(who));
                        self.wants.roster().note_miss(Self::id(who));
                    }
                }
                Step::Leave(who) => {
                    let who = who_of(who, self);
                    for block in std::mem::take(&mut self.asked[who]) {
                        self.wants.give_back(block, Self::id(who));
                    }
                    self.wants.roster().leave(Self::id(who));
                }
                Step::Want(start, len, priority) => {
                    let end = LEN.min(start + len);
                    self.wants.add(start..end, priority);
                    self.lacking.extend(start..end);
                }
                Step::Unwant(start, len) => {
                    for (block, other) in self.wants.remove(start..start + len) {
                        self.asked[other.0 as usize].retain(|asked| *asked != block);
                    }
                    self.lacking.retain(|block| !(start..start + len).contains(block));
                }
                Step::Pass(millis) => self.now += Duration::from_millis(millis),
            }
        }
    }

    proptest! {
        /// Whatever remotes do, no block is asked of more than two of them, not twice of one, and of
        /// two only a bounded number; who has no room gets only what readers wait for; and in the
        /// end all has been asked for that is wanted and that anybody has.
        #[test]
        fn everything_is_asked_for_once(
            parts in vec((0..LEN, 1..LEN), 1..5),
            steps in vec(step(), 0..60),
        ) {
            let mut run = Run::new(&parts);
            run.apply(&Step::Want(0, LEN, 0));
            steps.iter().for_each(|step| run.apply(step));
            loop {
                run.now += Duration::from_secs(1);
                let mut took = 0;
                for who in 0..parts.len() {
                    took += run.ask(who, 50, false);
                    while !run.asked[who].is_empty() {
                        run.deliver(who);
                    }
                }
                if took == 0 {
                    break;
                }
            }
            let held = |block| run.held.iter().any(|held| held.contains(block));
            prop_assert!(!run.lacking.iter().any(|block| held(*block)), "{:?}", run.lacking);
            prop_assert_eq!(run.wants.asked_count(), 0);
            prop_assert_eq!(run.wants.count_below(LEN), run.lacking.len() as u64);
            prop_assert_eq!(run.wants.asked.hedged_count(), 0);
        }
    }
}
