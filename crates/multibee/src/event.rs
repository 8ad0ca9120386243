//! What a database tells about its dealings with other devices.

use bytes::Bytes;
use multibee_log::LogKey;

/// Something happened between this device and others.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A device of this database is connected, and has proven who it is.
    Connected {
        /// The device.
        peer: LogKey,
    },
    /// A device went away.
    Disconnected {
        /// The device.
        peer: LogKey,
    },
    /// Other devices' writes were merged.
    Merged {
        /// Blocks of others that were joined.
        blocks: u64,
        /// Keys that changed by it.
        keys: u64,
    },
    /// A merge brought a key into conflict. If one brings very many, some are left out:
    /// [`Multibee::conflicts`](crate::Multibee::conflicts) has them all.
    Conflict {
        /// The key.
        key: Bytes,
    },
    /// A key is in conflict no more: somebody wrote it, this device or another one.
    ConflictResolved {
        /// The key.
        key: Bytes,
    },
    /// Devices were added or removed.
    DevicesChanged,
    /// This device was removed from the database: what it writes nobody takes, and nothing more is told
    /// to it. [`Multibee::unmerged`](crate::Multibee::unmerged) has what the others did not take.
    Removed {
        /// Who removed it: a device, or a recovery secret.
        by: LogKey,
    },
    /// A device's clock is further ahead than we follow. If it is this device's own: its clock was
    /// once, and its writes go on from there. Told once in each run.
    ClockAhead {
        /// The device.
        device: LogKey,
        /// Milliseconds ahead of our own clock.
        by_ms: u64,
    },
    /// Other devices know more of this device's log than is here, or other things: an older state of it
    /// was put back, or it is in use twice. Nothing is written until it is known where the two part;
    /// then this device goes on in a fresh log, with all that it has.
    StaleRestore {
        /// The log.
        log: LogKey,
        /// How long it is here.
        length: u64,
        /// How long another device knows it to be.
        known: u64,
    },
    /// This device goes on in a fresh log, under another key.
    Moved {
        /// The log that is finished.
        from: LogKey,
        /// The log that goes on for it.
        to: LogKey,
    },
    /// A device that applied the same writes holds other data: a bug, a bad disk, or a hidden fork.
    Diverged {
        /// The device.
        peer: LogKey,
    },
    /// A device's log holds something that can't be read; nothing behind it is merged.
    Stuck {
        /// The device.
        device: LogKey,
        /// What is wrong, and where.
        why: String,
    },
    /// A peer broke the rules of the protocol, or the connection failed.
    PeerFault {
        /// What it did.
        why: String,
    },
}
