//! What readers see: entries, conflicts, devices, status.

use bytes::Bytes;
use multibee_log::LogKey;
use multibee_merge::{Clock, DeviceId, Digest, Dot, Time, Version};

use crate::devices::Device;
use crate::source::Source;
use crate::sync_status::SyncStatus;

/// One key and what it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key, as it was put.
    pub key: Bytes,
    /// The value, as it was put; of a mergeable type, the join of what was put concurrently.
    pub value: Bytes,
    /// The type of the value: [`PLAIN`](crate::PLAIN), or that of a mergeable type.
    pub kind: u32,
    /// The block of this device's log that holds the entry.
    pub seq: u64,
    /// Who wrote the value; of a joined one, its latest part.
    pub device: DeviceId,
    /// When, by the writer's hybrid clock.
    pub time: Time,
    /// Concurrent versions that the value does not come from: 0 unless the key is in conflict.
    pub conflicts: usize,
}

/// A key with several concurrent versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The key.
    pub key: Bytes,
    /// All versions, sorted by dot; a delete is a version without a value.
    pub versions: Vec<Version>,
    /// Which of them is shown, if any is. If several were joined, the latest of these.
    pub shown: Option<usize>,
    /// What is shown: the value of that version, or what several were joined to.
    pub value: Option<Bytes>,
}

/// A version that this program can't read. It is kept and passed on, and shown once it can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotMerged {
    /// The key.
    pub key: Bytes,
    /// Who wrote the version, and in which block of its log.
    pub dot: Dot,
    /// When, by the writer's hybrid clock.
    pub time: Time,
    /// The type of its value.
    pub kind: u32,
    /// Why it can't be read.
    pub reason: String,
}

/// How a database is doing.
#[derive(Clone, Debug)]
pub struct Status {
    /// The key of this device's log.
    pub key: LogKey,
    /// Its short id.
    pub device: DeviceId,
    /// Blocks in its log.
    pub length: u64,
    /// Bytes in its log.
    pub bytes: u64,
    /// The vector clock: how far each device's own commits are applied, this device included.
    pub clock: Clock,
    /// The digest of the data, equal on all devices with equal clocks.
    pub digest: Digest,
    /// All devices.
    pub devices: Vec<Device>,
    /// Blocks of others that are known and not yet merged.
    pub remaining: u64,
    /// Versions that this program can't read: see [`Multibee::not_merged`](crate::Multibee::not_merged).
    pub not_merged: u64,
    /// How far it is behind the devices that it can reach.
    pub sync: SyncStatus,
    /// Plain Hyperbees that are or were taken in.
    pub sources: Vec<Source>,
    /// Blocks downloaded since the database was opened.
    pub blocks_downloaded: u64,
    /// Bytes sent over all connections since the database was opened.
    pub bytes_sent: u64,
    /// Bytes received over all connections since the database was opened.
    pub bytes_received: u64,
}

/// What a full scan found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Keys with a value.
    pub keys: u64,
    /// Keys in conflict.
    pub conflicts: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// The digest, computed from the data as read.
    pub digest: Digest,
}
