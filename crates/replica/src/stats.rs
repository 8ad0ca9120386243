//! Counters.

use std::collections::BTreeMap;

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
    /// Blocks below it that are wanted and not here, those asked for included.
    pub wanted: u64,
    /// Blocks asked for whose answers are under way.
    pub in_flight: u64,
    /// Blocks received since the log was added.
    pub received: u64,
    /// The greatest length that a connected remote tells, in blocks; unverified.
    pub remote_length: u64,
}
