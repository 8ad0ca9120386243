//! What is known of each connected peer.

use std::collections::{BTreeMap, BTreeSet};

use multibee_log::LogKey;
use multibee_merge::Clock;
use multibee_replica::{ChannelId, ConnectionId, Role};

use crate::peer_message::Status;

/// How far a connection has come.
#[derive(Debug)]
pub(crate) enum Contact {
    /// The transport stands; nobody has said who they are.
    Anonymous { handshake_hash: [u8; 64], role: Role },
    /// It knows the key of a device of this database, and says to be that device.
    Recognised { handshake_hash: [u8; 64], role: Role, channel: ChannelId, key: LogKey },
    /// A device of this database, proven.
    Device(Peer),
    /// Not a device of this database, or none that takes us for one. It may read what it can name.
    Stranger { why: String },
    /// The connection has ended.
    Gone { why: String },
}

/// A device of this database at the other end of a connection.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) key: LogKey,
    pub(crate) channel: ChannelId,
    /// Removed devices learn their fate, and get nothing else.
    pub(crate) removed: bool,
    /// Hashes of the statements that it has from us, or we from it.
    pub(crate) told: BTreeSet<[u8; 32]>,
    /// What we said last of how far we are.
    pub(crate) our_status: Option<Status>,
    /// What it said last of how far it is.
    pub(crate) status: Option<Status>,
    /// Questions for ranges that it has not answered.
    pub(crate) asked: BTreeSet<LogKey>,
    /// Logs that were offered to it.
    pub(crate) offered: BTreeSet<LogKey>,
    /// Set once its data was found to differ though its clock is equal.
    pub(crate) diverged: bool,
}

impl Peer {
    pub(crate) const fn new(key: LogKey, channel: ChannelId, removed: bool) -> Self {
        Self {
            key,
            channel,
            removed,
            told: BTreeSet::new(),
            our_status: None,
            status: None,
            asked: BTreeSet::new(),
            offered: BTreeSet::new(),
            diverged: false,
        }
    }
}

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    contacts: BTreeMap<ConnectionId, Contact>,
}

impl Peers {
    pub(crate) fn set(&mut self, id: ConnectionId, contact: Contact) -> Option<Contact> {
        self.contacts.insert(id, contact)
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
            Contact::Device(peer) => Some(peer),
            _ => None,
        })
    }

    /// The connected devices of this database, to be changed.
    pub(crate) fn devices_mut(&mut self) -> impl Iterator<Item = (ConnectionId, &mut Peer)> {
        self.contacts.iter_mut().filter_map(|(id, contact)| match contact {
            Contact::Device(peer) => Some((*id, peer)),
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
    if !ours.clock.same_lengths(&theirs.clock) {
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
    use multibee_merge::{Applied, DeviceId, Digest};

    use super::*;

    fn status(length: u64, tag: u8, digest: u8) -> Status {
        let at = Applied { length, tag: Some([tag; 8]) };
        let clock = [(DeviceId::from_u64(1), at)].into_iter().collect();
        Status { clock, digest: Digest::from_bytes([digest; 16]), length: 9 }
    }

    /// Digests are compared at equal clocks only; equal lengths of two histories are a divergence.
    #[test]
    fn digests_count_at_equal_clocks() {
        assert_eq!(compare(&status(5, 1, 1), &status(5, 1, 1)), Standing::Same);
        assert_eq!(compare(&status(5, 1, 1), &status(6, 1, 2)), Standing::Apart);
        assert_eq!(compare(&status(5, 1, 1), &status(5, 1, 2)), Standing::Diverged);
        assert_eq!(compare(&status(5, 1, 1), &status(5, 2, 1)), Standing::Diverged);
    }
}
