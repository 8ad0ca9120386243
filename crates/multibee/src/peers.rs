//! What is known of each connected peer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use bytes::Bytes;
use multibee_log::{Log, LogKey};
use multibee_merge::Clock;
use multibee_replica::{ChannelId, ConnectionId};

use crate::catch_up::Reachable;
use crate::core::Core;
use crate::hello::Side;
use crate::inquiries::Inquiries;
use crate::look::Looks;
use crate::peer_message::Status;

/// Connections that ended of which is known why.
const GONE_MAX: usize = 1024;

/// How far a connection has come.
#[derive(Debug)]
pub(crate) enum Contact {
    /// The transport stands; nobody has said who they are. `side` is ours.
    Anonymous { side: Side },
    /// It knows the key of a device of this database, and says to be that device, or to go on for it.
    /// `own` is the key of ours that the connection is about: what is proven on it, first.
    ///
    /// No logs move if it was barred, as the one it is known as was a removed device then.
    Recognised { side: Side, channel: ChannelId, known: LogKey, own: LogKey, is_barred: bool },
    /// A device of this database, proven.
    Device(Box<Peer>),
    /// Not a device of this database, or none that takes us for one. It may read what it can name.
    Stranger { why: String, shown: Option<Shown> },
    /// The connection has ended.
    Gone { why: String },
}

/// What a stranger has shown of itself: it may be known later on.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) tags: Bytes,
    /// Who sent them.
    pub(crate) side: Side,
}

/// A device of this database at the other end of a connection.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) key: LogKey,
    pub(crate) channel: ChannelId,
    /// Our side of the connection.
    pub(crate) side: Side,
    /// The key that we have proven on it to have.
    pub(crate) known_as: Option<LogKey>,
    /// Removed devices learn their fate, and get nothing else; so do finished logs, until the device
    /// proves which one goes on for it.
    pub(crate) removed: bool,
    /// Hashes of the statements that it has from us, or we from it.
    pub(crate) told: BTreeSet<[u8; 32]>,
    /// How many there were when it had all of them.
    pub(crate) told_count: usize,
    /// What we said last of how far we are.
    pub(crate) our_status: Option<Status>,
    /// What it said last of how far it is.
    pub(crate) status: Option<Status>,
    /// Where it was asked last for a log's news.
    pub(crate) asked: BTreeMap<LogKey, Asked>,
    /// Questions where histories of logs part, its and ours.
    pub(crate) inquiries: Inquiries,
    /// Logs that were offered to it.
    pub(crate) offered: BTreeSet<LogKey>,
    /// Set once its data was found to differ though its clock is equal.
    pub(crate) diverged: bool,
}

impl Peer {
    /// Whether to ask for a log's news from `since` on, which it has applied up to `theirs`. Notes
    /// that it is asked.
    pub(crate) fn is_to_be_asked(
        &mut self,
        key: LogKey,
        since: u64,
        theirs: u64,
        head: u64,
    ) -> bool {
        let asked = Asked { since, theirs, head, is_answered: false, is_had: false };
        let before = self.asked.get(&key);
        let is_new = before.is_none_or(|before| {
            let is_same = (before.since, before.theirs) == (since, theirs) && before.head >= head;
            before.is_answered && !is_same
        });
        if is_new {
            self.asked.insert(key, asked);
        }
        is_new
    }

    /// Whether it was asked for a log's news, in this state of affairs or an earlier one.
    pub(crate) fn was_asked(&self, key: &LogKey) -> bool {
        self.asked.contains_key(key)
    }

    /// Whether it has said that it can't hand out a log's news from `since` on, though it has applied
    /// the log up to `theirs`.
    pub(crate) fn lacks(&self, key: &LogKey, since: u64, theirs: u64) -> bool {
        self.asked.get(key).is_some_and(|asked| {
            (asked.since, asked.theirs) == (since, theirs) && asked.is_answered && !asked.is_had
        })
    }

    /// An answer has come: the news is to be had, or not. Whether it was asked for.
    pub(crate) fn answered(&mut self, key: &LogKey, is_had: bool) -> bool {
        let waiting = self.asked.get_mut(key).filter(|asked| !asked.is_answered);
        waiting.is_some_and(|asked| {
            (asked.is_answered, asked.is_had) = (true, is_had);
            true
        })
    }

    pub(crate) fn new(key: LogKey, channel: ChannelId, side: Side) -> Self {
        Self {
            key,
            channel,
            side,
            known_as: None,
            removed: false,
            told: BTreeSet::new(),
            told_count: 0,
            our_status: None,
            status: None,
            asked: BTreeMap::new(),
            inquiries: Inquiries::default(),
            offered: BTreeSet::new(),
            diverged: false,
        }
    }
}

/// A question for where a log's news lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// From this block on.
    pub(crate) since: u64,
    /// How far the peer had applied the log: asking the same once more brings nothing new.
    pub(crate) theirs: u64,
    /// How long the log was here, if news was planned that did not come; else 0.
    pub(crate) head: u64,
    pub(crate) is_answered: bool,
    /// It can hand out the news.
    pub(crate) is_had: bool,
}

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    contacts: BTreeMap<ConnectionId, Contact>,
    /// Connections that were begun from here, and the sources that were asked for on each.
    reached: BTreeMap<ConnectionId, BTreeSet<LogKey>>,
    /// Connections that ended, the latest last: why is kept for those who wait to know.
    gone: VecDeque<ConnectionId>,
}

impl Peers {
    pub(crate) fn set(&mut self, id: ConnectionId, contact: Contact) -> Option<Contact> {
        let is_gone = matches!(contact, Contact::Gone { .. });
        if is_gone {
            self.reached.remove(&id);
        }
        let before = self.contacts.insert(id, contact);
        if is_gone && !matches!(before, Some(Contact::Gone { .. })) {
            self.gone.push_back(id);
            if self.gone.len() > GONE_MAX
                && let Some(forgotten) = self.gone.pop_front()
            {
                self.contacts.remove(&forgotten);
            }
        }
        before
    }

    pub(crate) fn contact(&self, id: ConnectionId) -> Option<&Contact> {
        self.contacts.get(&id)
    }

    pub(crate) fn forget(&mut self, id: ConnectionId) {
        self.contacts.remove(&id);
    }

    /// The peer at the other end, if it has proven to be a device of this database.
    pub(crate) fn peer_mut(&mut self, id: ConnectionId) -> Option<&mut Peer> {
        match self.contacts.get_mut(&id) {
            Some(Contact::Device(peer)) => Some(peer),
            _ => None,
        }
    }

    /// The connected devices of this database.
    pub(crate) fn devices(&self) -> impl Iterator<Item = &Peer> {
        self.contacts.values().filter_map(|contact| match contact {
            Contact::Device(peer) => Some(&**peer),
            _ => None,
        })
    }

    /// A connection was begun from here: sources are asked for on it.
    pub(crate) fn reached(&mut self, id: ConnectionId) {
        self.reached.insert(id, BTreeSet::new());
    }

    /// Sources, and logs that are looked at, that are to be asked for, on connections that were begun
    /// from here. Each is told once.
    pub(crate) fn sources_to_offer(
        &mut self,
        core: &Core,
        looks: &Looks,
    ) -> Vec<(ConnectionId, LogKey)> {
        let mut offers = Vec::new();
        let keys: BTreeSet<LogKey> = core.source_logs().map(Log::key).chain(looks.keys()).collect();
        for (&id, offered) in &mut self.reached {
            offered.retain(|key| keys.contains(key));
            let new = keys.iter().copied().filter(|key| offered.insert(*key));
            offers.extend(new.map(|key| (id, key)));
        }
        offers
    }

    /// A log is to be asked for anew.
    pub(crate) fn offer_again(&mut self, key: &LogKey) {
        self.reached.values_mut().for_each(|offered| {
            offered.remove(key);
        });
    }

    /// What connected devices say of themselves: of those whose state may be absorbed, or of those who
    /// may only read.
    ///
    /// `is_cut_off` says whether a device can't prove blocks of a log to us, or, without any, its head.
    pub(crate) fn reachable(
        &self,
        core: &Core,
        may_write: bool,
        is_cut_off: impl Fn(ConnectionId, &LogKey, Option<&Range<u64>>) -> bool,
    ) -> Vec<Reachable> {
        let devices = self.contacts.iter().filter_map(|(&id, contact)| match contact {
            Contact::Device(peer) if !peer.removed => Some((id, peer, peer.status.clone()?)),
            _ => None,
        });
        let devices = devices.filter(|(_, peer, _)| core.is_writer(&peer.key) == may_write);
        let reachable = devices.map(|(id, peer, status)| {
            let lacks = core.following().iter().filter(|(key, following)| {
                let follower = &following.follower;
                let (applied, theirs) =
                    (core.applied(follower.device()), status.clock.length(follower.device()));
                let needs_head = theirs > follower.bee().log().len();
                let is_planned_cut_off =
                    || follower.planned().is_some_and(|blocks| is_cut_off(id, key, Some(&blocks)));
                // Of whom nothing is news here nothing has to be had.
                theirs > applied
                    && (follower.is_disputed(applied, theirs)
                        || peer.lacks(key, applied, theirs)
                        || (needs_head && is_cut_off(id, key, None))
                        || is_planned_cut_off())
            });
            Reachable { key: peer.key, lacks: lacks.map(|(key, _)| *key).collect(), status }
        });
        reachable.collect()
    }

    /// What strangers have shown of themselves.
    pub(crate) fn shown(&self) -> impl Iterator<Item = (ConnectionId, &Shown)> {
        self.contacts.iter().filter_map(|(&id, contact)| match contact {
            Contact::Stranger { shown: Some(shown), .. } => Some((id, shown)),
            _ => None,
        })
    }

    /// Connections on which nobody has proven to be a device of this database.
    pub(crate) fn others(&self) -> impl Iterator<Item = ConnectionId> {
        self.contacts.iter().filter_map(|(&id, contact)| match contact {
            Contact::Device(_) | Contact::Gone { .. } => None,
            _ => Some(id),
        })
    }

    /// The connected devices of this database, and on which connections they are.
    pub(crate) fn devices_by_id(&self) -> impl Iterator<Item = (ConnectionId, &Peer)> {
        self.contacts.iter().filter_map(|(id, contact)| match contact {
            Contact::Device(peer) => Some((*id, &**peer)),
            _ => None,
        })
    }

    /// The connected devices of this database, to be changed.
    pub(crate) fn devices_mut(&mut self) -> impl Iterator<Item = (ConnectionId, &mut Peer)> {
        self.contacts.iter_mut().filter_map(|(id, contact)| match contact {
            Contact::Device(peer) => Some((*id, &mut **peer)),
            _ => None,
        })
    }
}

/// How two devices stand to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Both applied the same writes and hold the same data.
    Same,
    /// One of them lacks something.
    Apart,
    /// Both applied the same writes but hold different data.
    Diverged,
}

/// Compares two devices by what they say of themselves.
pub(crate) fn compare(ours: &Status, theirs: &Status) -> Standing {
    let is_whole = ours.ahead.is_empty() && theirs.ahead.is_empty();
    if !is_whole || !ours.clock.same_lengths(&theirs.clock) {
        return Standing::Apart;
    }
    if ours.digest == theirs.digest && same_tags(&ours.clock, &theirs.clock) {
        Standing::Same
    } else {
        Standing::Diverged
    }
}

/// Whether two clocks of equal lengths mean the same histories, as far as both know.
fn same_tags(ours: &Clock, theirs: &Clock) -> bool {
    ours.iter().all(|(device, at)| match (at.tag, theirs.get(device).and_then(|at| at.tag)) {
        (Some(ours), Some(theirs)) => ours == theirs,
        _ => true,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use multibee_merge::{Applied, DeviceId, Digest};
    use multibee_replica::{Replicator, ReplicatorOptions, Role};

    use super::*;

    fn status(length: u64, tag: u8, digest: u8) -> Status {
        let at = Applied { length, tag: Some([tag; 8]) };
        let clock = [(DeviceId::from_u64(1), at)].into_iter().collect();
        Status {
            clock,
            digest: Digest::from_bytes([digest; 16]),
            length: 9,
            ahead: Clock::new(),
            yours: Clock::new(),
        }
    }

    /// One question at a time, and none twice; but again when either side has come further.
    #[test]
    fn questions_are_asked_once() {
        let key = LogKey::from_bytes([1; 32]);
        let channels = || {
            let mut replicator = Replicator::new(ReplicatorOptions::default(), [0; 32]);
            let id = replicator.connect(Role::Initiator, Instant::now());
            replicator.open_channel(id, "own", b"", b"")
        };
        let side = Side { role: Role::Initiator, handshake_hash: [0; 64] };
        let mut peer = Peer::new(key, channels(), side);
        assert!(peer.is_to_be_asked(key, 2, 9, 0));
        assert!(!peer.is_to_be_asked(key, 2, 20, 0), "the first is not answered");
        assert!(peer.answered(&key, true) && !peer.answered(&key, true));
        assert!(!peer.is_to_be_asked(key, 2, 9, 0), "that was answered");
        assert!(peer.is_to_be_asked(key, 2, 20, 0));
        assert!(peer.answered(&key, false) && peer.lacks(&key, 2, 20));
        assert!(!peer.lacks(&key, 2, 21) && peer.is_to_be_asked(key, 9, 20, 0));
        assert!(!peer.lacks(&key, 9, 20), "it has not answered yet");
        assert!(
            peer.answered(&key, true) && peer.is_to_be_asked(key, 9, 20, 30),
            "news has not come"
        );
        assert!(peer.answered(&key, true) && !peer.is_to_be_asked(key, 9, 20, 30));
    }

    /// However many connections come and go, a bounded number of them is remembered, and those that
    /// are there always.
    #[test]
    fn connections_that_ended_are_forgotten() {
        let mut replicator = Replicator::new(ReplicatorOptions::default(), [0; 32]);
        let mut peers = Peers::default();
        let gone = || Contact::Gone { why: "it left".into() };
        let mut connect = || replicator.connect(Role::Initiator, Instant::now());
        let (here, first) = (connect(), connect());
        peers.set(here, Contact::Stranger { why: String::new(), shown: None });
        peers.set(first, gone());
        for _ in 1..GONE_MAX {
            let id = connect();
            peers.set(id, gone());
            peers.set(id, gone());
        }
        assert!(peers.contact(first).is_some());
        peers.set(connect(), gone());
        assert!(peers.contact(first).is_none() && peers.contact(here).is_some());
        assert_eq!(peers.contacts.len(), GONE_MAX + 1);
    }

    /// Digests are compared at equal clocks only; equal lengths of two histories are a divergence.
    #[test]
    fn digests_count_at_equal_clocks() {
        assert_eq!(compare(&status(5, 1, 1), &status(5, 1, 1)), Standing::Same);
        assert_eq!(compare(&status(5, 1, 1), &status(6, 1, 2)), Standing::Apart);
        assert_eq!(compare(&status(5, 1, 1), &status(5, 1, 2)), Standing::Diverged);
        assert_eq!(compare(&status(5, 1, 1), &status(5, 2, 1)), Standing::Diverged);
        let partly = Status { ahead: status(9, 1, 1).clock, ..status(5, 1, 2) };
        assert_eq!(compare(&status(5, 1, 1), &partly), Standing::Apart);
    }
}
