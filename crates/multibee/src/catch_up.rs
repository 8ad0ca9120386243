//! How to catch up: follow the writes one by one, or absorb another device's state.
//!
//! A choice is made from facts alone: what connected devices say of themselves, what they say they
//! can hand out, and what was found out by looking.

use std::collections::BTreeMap;

use multibee_log::LogKey;
use multibee_merge::{Clock, DeviceId};

use crate::peer_message::Status;

/// Blocks of news from which on it is found out whether the difference is smaller.
pub(crate) const NEWS_MIN: u64 = 16_384;
/// Keys in one commit of what is absorbed: each takes one to three blocks.
const ABSORB_KEYS: usize = 2048;
/// Blocks after which it is seen what may be given back.
const TIDY_BLOCKS: u64 = 16_384;
/// Looking at a difference may cost this part of what following would.
const PROBE_SHARE: u64 = 4;
/// The part of what would be much news that is asked for at a time, while it may still turn out that
/// there is less to be read.
const PART_SHARE: u64 = 8;

/// How much is done at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Blocks of news from which on it is found out whether the difference is smaller.
    pub(crate) news_min: u64,
    /// Keys in one commit of what is absorbed.
    pub(crate) absorb_keys: usize,
    /// Blocks after which it is seen what of the own log, or of another one, may be given back.
    pub(crate) tidy_blocks: u64,
    /// Tombstones are collected without being asked for.
    pub(crate) forget_deletes: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            news_min: NEWS_MIN,
            absorb_keys: ABSORB_KEYS,
            tidy_blocks: TIDY_BLOCKS,
            forget_deletes: false,
        }
    }
}

impl Limits {
    /// Blocks to ask for at a time, while following may turn out not to be the best.
    pub(crate) fn part(&self) -> u64 {
        (self.news_min / PART_SHARE).max(1)
    }

    /// The usual ones, but for those that were chosen.
    #[cfg(feature = "testing")]
    pub(crate) fn chosen(
        news_min: Option<u64>,
        absorb_keys: Option<usize>,
        tidy_blocks: Option<u64>,
    ) -> Self {
        let usual = Self::default();
        Self {
            tidy_blocks: tidy_blocks.unwrap_or(usual.tidy_blocks),
            news_min: news_min.unwrap_or(usual.news_min),
            absorb_keys: absorb_keys.unwrap_or(usual.absorb_keys),
            ..usual
        }
    }
}

/// A connected device of the database.
#[derive(Clone, Debug)]
pub(crate) struct Reachable {
    pub(crate) key: LogKey,
    pub(crate) status: Status,
    /// Logs of which it can't hand out the news that it has applied.
    pub(crate) lacks: Vec<LogKey>,
}

/// Who is connected, and what is to be had of others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    pub(crate) reachable: Vec<Reachable>,
    /// Devices that may only read: what one of them wrote would come with its state.
    pub(crate) readers: Vec<Reachable>,
    /// The lengths that sources have at those who are no devices.
    pub(crate) sources: BTreeMap<LogKey, u64>,
}

/// What is known of a log that somebody is ahead of us in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// This device's own.
    Ours,
    /// A device's.
    Device(LogKey),
    /// A source that can be read by ourselves.
    AtHand,
    /// Nobody's that we know, or a source that is out of reach.
    Nobody,
}

/// A connected device's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It can be looked at.
    AtHand,
    /// The head of the device's log is not here yet.
    OnItsWay,
    /// It was absorbed already, or can't be.
    OfNoUse,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Follow every log.
    Follow,
    /// Follow every log a part at a time: a device's state is on its way that is to be looked at.
    FollowInParts,
    /// Absorb a device's state, whatever it takes.
    Absorb(LogKey),
    /// Absorb a device's state if no more blocks than this have to be read to see all that
    /// differs.
    Probe(LogKey, u64),
}

/// Our own part in the choice.
#[derive(Debug)]
pub(crate) struct Situation<'a> {
    /// The clock, with the own log in it.
    pub(crate) clock: &'a Clock,
    /// Nothing of any other device is here.
    pub(crate) is_new: bool,
    /// Blocks of news, as far as they are known.
    pub(crate) news: u64,
    /// It was found out that following is better, this time.
    pub(crate) is_following: bool,
    /// So many blocks of news are much.
    pub(crate) news_min: u64,
}

/// Chooses among devices by what is known of them, and where their states are.
pub(crate) fn choose(
    ours: &Situation<'_>,
    reachable: &[Reachable],
    state: impl Fn(&Reachable) -> State,
    whose: impl Fn(DeviceId, u64) -> Whose,
) -> Choice {
    let is_ahead = |peer: &&Reachable| !ours.clock.covers_all(&peer.status.clock);
    let ahead: Vec<_> = reachable.iter().filter(is_ahead).collect();
    let most_advanced = |peers: &mut dyn Iterator<Item = &&Reachable>| {
        let peers = peers.filter(|peer| state(peer) == State::AtHand);
        peers.max_by_key(|peer| (gap(ours.clock, &peer.status.clock), peer.key)).map(|one| one.key)
    };
    let stranded = |peer: &&&Reachable| {
        let beyond = peer.status.clock.beyond(ours.clock);
        let mut logs = beyond.iter();
        logs.any(|(device, at)| is_stranded(ours.clock, &ahead, device, whose(device, at.length)))
    };
    if let Some(key) = most_advanced(&mut ahead.iter().filter(stranded)) {
        return Choice::Absorb(key);
    }
    if ours.news < ours.news_min || ours.is_following {
        return Choice::Follow;
    }
    match most_advanced(&mut ahead.iter()) {
        Some(key) if ours.is_new => Choice::Absorb(key),
        Some(key) => Choice::Probe(key, ours.news / PROBE_SHARE),
        None if ahead.iter().any(|peer| state(peer) == State::OnItsWay) => Choice::FollowInParts,
        None => Choice::Follow,
    }
}

/// Chooses a device that may only read, whose state is at hand, if a log's news is to be had in no other
/// way. `is_over` says of which logs no more is to be expected of their authors.
pub(crate) fn choose_reader(
    ours: &Clock,
    around: &Surroundings,
    state: impl Fn(&Reachable) -> State,
    is_over: impl Fn(&LogKey) -> bool,
    whose: impl Fn(DeviceId, u64) -> Whose,
) -> Option<LogKey> {
    let is_last = |reader: &&Reachable| {
        reader.status.clock.beyond(ours).iter().any(|(device, at)| {
            let Whose::Device(key) = whose(device, at.length) else { return false };
            let mut all = around.reachable.iter().chain(&around.readers);
            is_over(&key)
                && !around
                    .reachable
                    .iter()
                    .any(|peer| peer.status.clock.length(device) >= at.length)
                && all.all(|peer| {
                    peer.status.clock.length(device) <= ours.length(device)
                        || peer.lacks.contains(&key)
                })
        })
    };
    let mut readers = around.readers.iter().filter(|reader| state(reader) == State::AtHand);
    readers.find(is_last).map(|reader| reader.key)
}

/// Whether the news of a log is to be had from nobody: its author is not there, and all who have
/// applied it say that they can't hand it out.
fn is_stranded(ours: &Clock, ahead: &[&Reachable], device: DeviceId, whose: Whose) -> bool {
    let key = match whose {
        Whose::Ours | Whose::AtHand => return false,
        Whose::Nobody => return true,
        Whose::Device(key) => key,
    };
    let mut having =
        ahead.iter().filter(|peer| peer.status.clock.length(device) > ours.length(device));
    having.all(|peer| peer.key != key && peer.lacks.contains(&key))
}

/// Blocks by which a clock is ahead of ours, over all logs.
pub(crate) fn gap(ours: &Clock, theirs: &Clock) -> u64 {
    let gaps = theirs.iter().map(|(device, at)| at.length.saturating_sub(ours.length(device)));
    gaps.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use multibee_merge::Applied;

    use super::*;

    fn clock(lengths: &[(u8, u64)]) -> Clock {
        let entry = |&(device, length): &(u8, u64)| {
            (DeviceId::from_u64(device.into()), Applied { length, tag: None })
        };
        lengths.iter().map(entry).collect()
    }

    fn key(device: u8) -> LogKey {
        LogKey::from_bytes([device; 32])
    }

    fn peer(device: u8, lengths: &[(u8, u64)], lacks: &[u8]) -> Reachable {
        let status = Status { clock: clock(lengths), ..Status::default() };
        Reachable { key: key(device), status, lacks: lacks.iter().map(|&d| key(d)).collect() }
    }

    fn chosen(lengths: &[(u8, u64)], news: u64, reachable: &[Reachable]) -> Choice {
        let clock = clock(lengths);
        let (is_new, is_following, news_min) = (false, false, NEWS_MIN);
        let ours = Situation { clock: &clock, is_new, news, is_following, news_min };
        choose(
            &ours,
            reachable,
            |_| State::AtHand,
            |device, _| match device.as_u64() {
                9 => Whose::Nobody,
                device => Whose::Device(key(u8::try_from(device).unwrap())),
            },
        )
    }

    /// A log whose news nobody can hand out has its news absorbed; as long as somebody may hand it
    /// out, or has not said that it can't, it is followed.
    #[test]
    fn what_nobody_can_hand_out_is_absorbed() {
        let has = |lacks: &[u8]| peer(3, &[(1, 20), (2, 5), (3, 7)], lacks);
        let ours: &[(u8, u64)] = &[(1, 10), (2, 5), (3, 7)];
        assert_eq!(chosen(ours, 0, &[has(&[1])]), Choice::Absorb(key(3)));
        assert_eq!(chosen(ours, 0, &[has(&[])]), Choice::Follow, "it may have it");
        assert_eq!(chosen(ours, 0, &[has(&[2])]), Choice::Follow, "of 2 nothing is news");
        let author = peer(1, &[(1, 30)], &[]);
        assert_eq!(chosen(ours, 0, &[has(&[1]), author]), Choice::Follow, "the author has it");
        let behind = peer(2, &[(1, 10)], &[]);
        assert_eq!(chosen(ours, 0, &[has(&[1]), behind]), Choice::Absorb(key(3)));
    }

    /// What stems from a log that we don't know can't be followed.
    #[test]
    fn unknown_logs_are_absorbed() {
        assert_eq!(chosen(&[(1, 1)], 0, &[peer(2, &[(9, 1)], &[])]), Choice::Absorb(key(2)));
        assert_eq!(chosen(&[(9, 1)], 0, &[peer(2, &[(9, 1)], &[])]), Choice::Follow);
    }

    /// Who may only read is asked for its state only if what an author wrote who is gone is to be had
    /// nowhere else.
    #[test]
    fn readers_are_the_last_resort() {
        let ours = clock(&[(1, 10), (2, 5)]);
        let reader = |lacks: &[u8]| peer(4, &[(1, 20), (2, 5)], lacks);
        let chosen = |reachable: &[Reachable], readers: &[Reachable], is_over: bool| {
            let sources = BTreeMap::new();
            let (reachable, readers) = (reachable.to_vec(), readers.to_vec());
            let around = Surroundings { reachable, readers, sources };
            let whose =
                |device: DeviceId, _| Whose::Device(key(u8::try_from(device.as_u64()).unwrap()));
            choose_reader(&ours, &around, |_| State::AtHand, |_| is_over, whose)
        };
        let behind = peer(2, &[(1, 10), (2, 5)], &[]);
        assert_eq!(chosen(std::slice::from_ref(&behind), &[reader(&[1])], true), Some(key(4)));
        assert_eq!(
            chosen(std::slice::from_ref(&behind), &[reader(&[1])], false),
            None,
            "1 may come back"
        );
        assert_eq!(
            chosen(std::slice::from_ref(&behind), &[reader(&[])], true),
            None,
            "it has the blocks"
        );
        let other = peer(5, &[(1, 12)], &[]);
        assert_eq!(chosen(&[behind], &[reader(&[1]), other], true), None, "another has some");
        let ahead = peer(2, &[(1, 20), (2, 5)], &[1]);
        assert_eq!(chosen(&[ahead], &[reader(&[1])], true), None, "2 may write");
        let partly = peer(2, &[(1, 15), (2, 5)], &[1]);
        assert_eq!(chosen(&[partly], &[reader(&[1])], true), Some(key(4)));
    }

    /// Much news is compared with the difference to the most advanced device; little is followed.
    #[test]
    fn much_news_is_looked_at_first() {
        let peers = [peer(2, &[(1, 50_000)], &[]), peer(3, &[(1, 60_000)], &[])];
        assert_eq!(chosen(&[(1, 1)], NEWS_MIN - 1, &peers), Choice::Follow);
        assert_eq!(chosen(&[(1, 1)], 40_000, &peers), Choice::Probe(key(3), 10_000));
        let clock = Clock::new();
        let (is_new, is_following, news_min) = (true, false, NEWS_MIN);
        let ours = Situation { clock: &clock, is_new, news: 40_000, is_following, news_min };
        let whose = |_, _| Whose::Device(key(1));
        assert_eq!(choose(&ours, &peers, |_| State::AtHand, whose), Choice::Absorb(key(3)));
        let all_but_three = |state: State| {
            move |peer: &Reachable| if peer.key == key(3) { state } else { State::AtHand }
        };
        assert_eq!(
            choose(&ours, &peers, all_but_three(State::OnItsWay), whose),
            Choice::Absorb(key(2))
        );
        // Until the state is here not much is asked for that it may save.
        let only = &peers[1..];
        let on_its_way = choose(&ours, only, all_but_three(State::OnItsWay), whose);
        assert_eq!(on_its_way, Choice::FollowInParts);
        let of_no_use = choose(&ours, only, all_but_three(State::OfNoUse), whose);
        assert_eq!(of_no_use, Choice::Follow);
        let ours = Situation { is_following: true, ..ours };
        assert_eq!(choose(&ours, &peers, |_| State::AtHand, whose), Choice::Follow);
    }
}
