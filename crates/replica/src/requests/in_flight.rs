//! The requests under way to one remote about one log.

use std::collections::BTreeMap;
use std::time::Instant;

use super::asked::{Asked, Kind, Patience};
use crate::channel::Cx;
use crate::event::Fault;
use crate::limits::TIMEOUTS_MAX;
use crate::message::Message;
use crate::options::ReplicatorOptions;
use crate::pace::{Mark, Pace};

/// What was asked, by the number of the request, and how the remote answers.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    /// The number of the last request. Numbers are not used again, so a late answer fits nothing.
    last_id: u64,
    requests: BTreeMap<u64, Sent>,
    /// By kind.
    tallies: [Tally; Kind::ALL.len()],
    last_answer: Option<Instant>,
    /// How often in a row requests ran out of time.
    silent_rounds: u32,
}

/// A request that was sent.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) asked: Asked,
    load: Load,
    mark: Mark,
}

/// What an answer brings, about, as far as it counts for the remote's [`Pace`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) blocks: usize,
    /// Their bytes.
    pub(super) len: u64,
}

/// The requests of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) requests: usize,
    /// What they bring together.
    pub(super) load: Load,
}

impl InFlight {
    /// Sends the message that `message` makes for a new number, and keeps what it asks for. Returns
    /// the number.
    pub(super) fn send(
        &mut self,
        asked: impl Into<Asked>,
        load: Load,
        cx: &mut Cx<'_>,
        message: impl FnOnce(u64) -> Message,
    ) -> u64 {
        self.last_id += 1;
        self.send_as(self.last_id, asked, load, cx, message);
        self.last_id
    }

    /// The same by the number 0, which is for heads alone.
    pub(super) fn send_unnumbered(
        &mut self,
        asked: impl Into<Asked>,
        cx: &mut Cx<'_>,
        message: impl FnOnce(u64) -> Message,
    ) {
        self.remove(0, cx.pace);
        self.send_as(0, asked, Load::default(), cx, message);
    }

    fn send_as(
        &mut self,
        id: u64,
        asked: impl Into<Asked>,
        load: Load,
        cx: &mut Cx<'_>,
        message: impl FnOnce(u64) -> Message,
    ) {
        let asked = asked.into();
        let tally = self.tally_mut(asked.kind());
        tally.requests += 1;
        tally.load.blocks += load.blocks;
        tally.load.len += load.len;
        let mark = cx.pace.asked(load.blocks, cx.now);
        self.requests.insert(id, Sent { asked, load, mark });
        cx.out.push(message(id));
    }

    /// Forgets a request: it has ended.
    pub(super) fn remove(&mut self, id: u64, pace: &mut Pace) -> Option<Sent> {
        let sent = self.requests.remove(&id)?;
        let tally = self.tally_mut(sent.asked.kind());
        tally.requests -= 1;
        tally.load.blocks -= sent.load.blocks;
        tally.load.len -= sent.load.len;
        pace.settled(sent.load.blocks);
        Some(sent)
    }

    /// What a request has asked for.
    pub(super) fn get(&self, id: u64) -> Option<&Asked> {
        self.requests.get(&id).map(|sent| &sent.asked)
    }

    /// Whether a request is under way.
    pub(super) fn contains(&self, id: u64) -> bool {
        self.requests.contains_key(&id)
    }

    /// The oldest request that is so.
    pub(super) fn find(&self, is_it: impl Fn(&Asked) -> bool) -> Option<u64> {
        self.requests.iter().find(|(_, sent)| is_it(&sent.asked)).map(|(id, _)| *id)
    }

    /// Those of some kinds, in the order in which they were sent.
    pub(super) fn ids_of(&self, is_of_them: impl Fn(Kind) -> bool) -> Vec<u64> {
        let found = self.requests.iter().filter(|(_, sent)| is_of_them(sent.asked.kind()));
        found.map(|(id, _)| *id).collect()
    }

    /// How many of a kind there are.
    pub(super) fn tally(&self, kind: Kind) -> Tally {
        *self.tallies.get(kind as usize).expect("there is one for each kind")
    }

    /// Blocks that are asked for, of whatever kind the requests are.
    pub(super) fn block_count(&self) -> usize {
        self.tallies.iter().map(|tally| tally.load.blocks).sum()
    }

    /// The remote has said something to a request.
    pub(super) fn note_answer(&mut self, now: Instant) {
        self.last_answer = Some(now);
        self.silent_rounds = 0;
    }

    /// Requests have run out of time.
    ///
    /// # Errors
    ///
    /// [`Fault::Unresponsive`] if that has happened too often without an answer in between.
    pub(super) fn note_silence(&mut self) -> Result<(), Fault> {
        self.silent_rounds += 1;
        if self.silent_rounds >= TIMEOUTS_MAX {
            return Err(Fault::Unresponsive { rounds: self.silent_rounds });
        }
        Ok(())
    }

    /// Whether requests have run out of time since the last answer.
    pub(super) fn is_silent(&self) -> bool {
        self.silent_rounds > 0
    }

    /// Forgets how the remote has answered.
    pub(super) fn forget_silence(&mut self) {
        (self.last_answer, self.silent_rounds) = (None, 0);
    }

    /// When the next request runs out of time.
    pub(super) fn deadline(&self, options: &ReplicatorOptions) -> Option<Instant> {
        let kinds = Kind::ALL.iter().filter(|kind| self.tally(**kind).requests > 0);
        // Of each kind the oldest does first.
        let oldest = kinds.filter_map(|kind| {
            let sent = self.requests.values().find(|sent| sent.asked.kind() == *kind)?;
            Some(self.expires_at(sent, kind.patience(options)))
        });
        oldest.min()
    }

    /// The requests that have run out of time, in the order in which they were sent.
    pub(super) fn late(&self, now: Instant, options: &ReplicatorOptions) -> Vec<u64> {
        let is_late =
            |sent: &Sent| self.expires_at(sent, sent.asked.kind().patience(options)) <= now;
        self.requests.iter().filter(|(_, sent)| is_late(sent)).map(|(id, _)| *id).collect()
    }

    fn expires_at(&self, sent: &Sent, patience: Patience) -> Instant {
        let at = sent.mark.at;
        let Patience { timeout, extended_to } = patience;
        let Some(most) = extended_to else { return at + timeout };
        let quiet_since = self.last_answer.map_or(at, |last| last.max(at));
        (quiet_since + timeout).min(at + most)
    }

    fn tally_mut(&mut self, kind: Kind) -> &mut Tally {
        self.tallies.get_mut(kind as usize).expect("there is one for each kind")
    }
}

impl Sent {
    /// The remote has answered: that tells how fast it is.
    pub(super) fn note_answer(&self, cx: &mut Cx<'_>) {
        if self.load.blocks > 0 {
            cx.pace.answered(self.mark, self.load.blocks, cx.now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use multibee_log::{KeyPair, Log, LogOptions, MemoryStorage};
    use proptest::prelude::*;

    use super::super::blocks::Block;
    use super::super::upgrades::Upgrade;
    use super::*;
    use crate::event::ConnectionId;
    use crate::holdings::PageBudget;
    use crate::limits::REQUEST_AGE_MAX;
    use crate::log_state::LogState;

    const SECOND: Duration = Duration::from_secs(1);

    /// Everything that a [`Cx`] borrows.
    struct Fixture {
        options: ReplicatorOptions,
        extensions: BTreeSet<String>,
        state: LogState,
        budget: PageBudget,
        pace: Pace,
        out: Vec<Message>,
        start: Instant,
    }

    impl Fixture {
        fn new() -> Self {
            let keys = KeyPair::from_seed([1; 32]);
            let log = Log::create(MemoryStorage::default(), keys, LogOptions::default());
            Self {
                options: ReplicatorOptions::default(),
                extensions: BTreeSet::new(),
                state: LogState::new(log.unwrap()),
                budget: PageBudget::default(),
                pace: Pace::default(),
                out: Vec::new(),
                start: Instant::now(),
            }
        }

        /// Sends something so long after the start.
        fn send(
            &mut self,
            table: &mut InFlight,
            asked: impl Into<Asked>,
            blocks: usize,
            at: Duration,
        ) -> u64 {
            let mut cx = Cx {
                connection: ConnectionId(1),
                now: self.start + at,
                options: &self.options,
                extensions: &self.extensions,
                state: &mut self.state,
                budget: &mut self.budget,
                pace: &mut self.pace,
                out: &mut self.out,
                effects: &mut Vec::new(),
            };
            let load = Load { blocks, len: 10 * blocks as u64 };
            table.send(asked, load, &mut cx, |request| Message::Cancel { request })
        }
    }

    fn block() -> Block {
        Block { block: 7, levels: 0, after: None }
    }

    /// Answers to anything prolong what waits in line with them, but not for ever; what is late is
    /// just what the deadline was told for.
    #[test]
    fn answers_prolong_the_wait_up_to_a_bound() {
        let (mut fixture, mut table) = (Fixture::new(), InFlight::default());
        let (options, start) = (fixture.options.clone(), fixture.start);
        assert_eq!(table.deadline(&options), None);
        let first = fixture.send(&mut table, block(), 1, Duration::ZERO);
        let second = fixture.send(&mut table, Upgrade::default(), 0, SECOND);
        let at = start + SECOND + options.upgrade_timeout;
        assert_eq!(table.deadline(&options), Some(at));
        assert_eq!(table.late(at, &options), [second]);
        assert_eq!(table.late(at - SECOND, &options), [0; 0]);
        table.note_answer(start + 5 * SECOND);
        assert_eq!(table.deadline(&options), Some(at + 4 * SECOND));
        table.note_answer(start + REQUEST_AGE_MAX);
        assert_eq!(table.deadline(&options), Some(start + REQUEST_AGE_MAX));
        assert_eq!(table.late(start + REQUEST_AGE_MAX, &options), [first]);
    }

    /// Silence is told only after some rounds without an answer in between.
    #[test]
    fn silence_is_counted_in_rounds() {
        let mut table = InFlight::default();
        for _ in 0..3 {
            (1..TIMEOUTS_MAX).for_each(|_| table.note_silence().unwrap());
            assert!(table.is_silent());
            table.note_answer(Instant::now());
            assert!(!table.is_silent());
        }
        (1..TIMEOUTS_MAX).for_each(|_| table.note_silence().unwrap());
        assert!(matches!(table.note_silence(), Err(Fault::Unresponsive { rounds: TIMEOUTS_MAX })));
    }

    proptest! {
        /// However requests of several kinds come and go, the tallies are those of the requests
        /// under way, the window is free again at the end, and no number is used twice.
        #[test]
        fn tallies_are_those_of_the_table(steps in prop::collection::vec((0..3_u8, 1..9_usize), 1..60)) {
            let (mut fixture, mut table) = (Fixture::new(), InFlight::default());
            let mut open = Vec::new();
            for (step, which) in steps {
                let at = Duration::ZERO;
                match step {
                    0 => open.push((Kind::Block, which, fixture.send(&mut table, block(), which, at))),
                    1 => {
                        let id = fixture.send(&mut table, Upgrade::default(), 0, at);
                        open.push((Kind::Upgrade, 0, id));
                    }
                    _ if open.is_empty() => continue,
                    _ => {
                        let (_, _, id) = open.remove(which % open.len());
                        prop_assert!(table.remove(id, &mut fixture.pace).is_some());
                        prop_assert!(table.remove(id, &mut fixture.pace).is_none());
                    }
                }
                for kind in [Kind::Block, Kind::Upgrade, Kind::Run] {
                    let of_kind: Vec<_> = open.iter().filter(|(other, ..)| *other == kind).collect();
                    prop_assert_eq!(table.tally(kind).requests, of_kind.len());
                    let blocks: usize = of_kind.iter().map(|(_, blocks, _)| *blocks).sum();
                    prop_assert_eq!(table.tally(kind).load, Load { blocks, len: 10 * blocks as u64 });
                }
            }
            for (.., id) in open {
                table.remove(id, &mut fixture.pace);
            }
            prop_assert_eq!(table.block_count(), 0);
            prop_assert!(fixture.pace.has_room_for_run(1 << 20, 1, 1), "nothing is under way");
            prop_assert_eq!(fixture.out.len() as u64, table.last_id);
        }
    }
}
