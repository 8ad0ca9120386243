//! The messages of a `hypercore/alpha` channel (docs/spec/wire.md sections 4 and 5).

mod codec;

use bytes::Bytes;
use multibee_log::{Proof, Request};

/// The protocol of the channels that replicate a log. The channel id is the discovery key.
pub const PROTOCOL: &str = "hypercore/alpha";

/// What both sides say in their open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelHandshake {
    /// Whether the sender answers requests with a seek.
    pub seeks: bool,
    /// Proof that the sender knows the key of the log, see [`capability`](crate::capability()).
    pub capability: [u8; 32],
}

/// The state of the sender's log, and what it has last heard of the receiver's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sync {
    /// How often the log was cut.
    pub fork: u64,
    /// Blocks that are verified, whether or not they are held.
    pub length: u64,
    /// The receiver's length as the sender knows it: the acknowledgement of its last sync.
    pub remote_length: u64,
    /// The sender can prove the way from the receiver's length to its own.
    pub can_upgrade: bool,
    /// The sender answers requests.
    pub uploading: bool,
    /// The sender wants blocks.
    pub downloading: bool,
    /// The sender has a manifest to give.
    pub has_manifest: bool,
    /// The sender takes blocks that it has not asked for.
    pub allow_push: bool,
}

/// Why there is no answer to a request. Hypercore 10 does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoDataReason(pub u64);

impl NoDataReason {
    /// No reason given.
    pub const UNSTATED: Self = Self(0);
    /// The sender does not have it.
    pub const NOT_AVAILABLE: Self = Self(1);
    /// The request makes no sense.
    pub const INVALID_REQUEST: Self = Self(2);
}

/// A message between two replicas of a log. The forms written are those of Hypercore 11; those of
/// version 10 are read as well.
#[expect(missing_docs, reason = "the fields are those of the wire format")]
#[expect(clippy::large_enum_variant, reason = "messages are made, looked at and dropped, not kept")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The state of the sender's log.
    Sync(Sync),
    /// Asks for blocks, nodes or a newer head. `id` is 0 for checks of forks only. `priority` is 0,
    /// or 1 if a reader waits.
    Request { id: u64, fork: u64, priority: u64, request: Request },
    /// The answer to `request` is no longer wanted, though it may be under way.
    Cancel { request: u64 },
    /// Answers `request`; 0 is a push.
    Data { request: u64, proof: Proof },
    /// There is no answer to `request`.
    NoData { request: u64, reason: NoDataReason },
    /// Asks to be told which blocks of a stretch the receiver has, now and from now on.
    Want { start: u64, length: u64, any: bool },
    /// Takes a `Want` back.
    Unwant { start: u64, length: u64, any: bool },
    /// The sender's blocks from `start`, a multiple of 32, on, lowest bit first.
    Bitfield { start: u64, words: Vec<u32> },
    /// The sender has, or with `drop` no longer has, these blocks. May go beyond its length.
    Range { drop: bool, start: u64, length: u64 },
    /// Something between applications. An empty name repeats the last one.
    Extension { name: String, payload: Bytes },
}
