//! Counters.

use std::collections::BTreeMap;
use std::time::Duration;

use multibee_log::LogKey;

use crate::event::ConnectionId;

/// What one connection has moved, since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionStats {
    /// Bytes received, as on the wire.
    pub bytes_in: u64,
    /// Bytes given out to be sent, as on the wire.
    pub bytes_out: u64,
}

impl ConnectionStats {
    pub(crate) fn add(&mut self, other: Self) {
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
    }
}

/// What was moved of one log over all connections, since the log was added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Blocks received, verified and stored.
    pub blocks_in: u64,
    /// Bytes of those blocks.
    pub block_bytes_in: u64,
    /// Blocks sent.
    pub blocks_out: u64,
    /// Bytes of those blocks.
    pub block_bytes_out: u64,
    /// Tree nodes received with blocks.
    pub nodes_in: u64,
    /// Requests for blocks sent.
    pub requests_out: u64,
    /// Answers that did not fit (any more) and were asked for again.
    pub retries: u64,
}

/// All counters of a replicator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Of all connections that there ever were.
    pub total: ConnectionStats,
    /// Of the connections that are there now.
    pub connections: BTreeMap<ConnectionId, ConnectionStats>,
    /// Of the logs that are there now.
    pub logs: BTreeMap<LogKey, LogStats>,
}

/// How far the download of a log has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The verified length, in blocks.
    pub length: u64,
    /// Blocks below it that were wanted since the log was added and were not here: `received` and
    /// `remaining`.
    pub wanted: u64,
    /// Blocks received since the log was added.
    pub received: u64,
    /// Bytes of those blocks.
    pub received_bytes: u64,
    /// Blocks below the length that are wanted and not here, those asked for included.
    pub remaining: u64,
    /// Blocks asked for whose answers are under way.
    pub in_flight: u64,
    /// Blocks received per second, over the last seconds.
    pub blocks_per_s: u64,
    /// Bytes of blocks received per second, likewise.
    pub bytes_per_s: u64,
    /// The greatest length that a connected remote tells, in blocks; unverified.
    pub remote_length: u64,
}

/// What one remote does for the download of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoteProgress {
    /// The length that it tells, in blocks; unverified.
    pub length: u64,
    /// Blocks received from it since the log was opened on its connection.
    pub received: u64,
    /// Bytes of those blocks.
    pub received_bytes: u64,
    /// Blocks that it is asked for and has not answered.
    pub in_flight: u64,
    /// Blocks received from it per second, over the last seconds.
    pub blocks_per_s: u64,
    /// Bytes of blocks received from it per second, likewise.
    pub bytes_per_s: u64,
    /// How long its answers usually take; `None` before the first.
    pub round_trip: Option<Duration>,
}
