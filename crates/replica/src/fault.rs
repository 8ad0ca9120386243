use multibee_log::DecodeError;

/// What a remote did that makes its connection useless or hostile.
///
/// Always the peer's fault, never ours and never the machine's: hang up, keep everything else.
/// Nothing is sent back, because the wire protocol has no error codes (docs/spec/wire.md section 9).
#[expect(missing_docs, reason = "each variant's message names its fields")]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerFault {
    /// A frame is longer than this phase of the connection allows. Lengths are in bytes.
    #[error("frame of {len} bytes where at most {limit} are allowed")]
    FrameTooLong { len: usize, limit: usize },
    /// The Noise handshake failed: a bad key, a bad tag or a message of the wrong length.
    #[error("the handshake does not authenticate")]
    Handshake,
    /// The frame that carries stream id and header has a length of its own, in bytes.
    #[error("header frame of {len} bytes")]
    HeaderLength { len: usize },
    /// The stream id is not the one of this handshake and role.
    #[error("wrong stream id")]
    StreamId,
    /// An encrypted message is shorter than its tag and its authenticator.
    #[error("encrypted message of {len} bytes")]
    ShortMessage { len: usize },
    /// An encrypted message was changed on the way, repeated, left out or reordered.
    #[error("message authentication failed")]
    Mac,
    /// Bytes that are no message of this protocol.
    #[error("undecodable {what}")]
    Decode { what: &'static str, source: DecodeError },
    /// A decodable field whose size goes beyond what this implementation takes.
    #[error("{what} of {len} where at most {limit} are allowed")]
    TooLong { what: &'static str, len: u64, limit: u64 },
    /// A bitfield starts inside a 32-bit word.
    #[error("bitfield starts at block {start}, not a multiple of 32")]
    UnalignedBitfield { start: u64 },
    /// A batch inside a batch.
    #[error("nested batch")]
    NestedBatch,
    /// A batch entry claims more bytes than the frame has left.
    #[error("batch entry of {len} bytes with {left} left")]
    BatchEntry { len: u64, left: usize },
    /// An open with number zero, with one in use, or with one beyond the next new number.
    #[error("open of channel {id}, which is not free (the next new one is {next})")]
    OpenId { id: u64, next: u64 },
    /// A reject of a channel that we do not wait for.
    #[error("reject of channel {id}, which is not being opened")]
    UnknownReject { id: u64 },
    /// So many opens were rejected that the rejects alone are a burden.
    #[error("more than {limit} opens to reject at once")]
    TooManyOpens { limit: usize },
    /// The remote does not know the key of the log whose channel it opens.
    #[error("wrong capability")]
    Capability,
    /// Too many requests that no honest peer would send.
    #[error("{count} invalid requests")]
    InvalidRequests { count: u64 },
    /// The remote did not do in time what the protocol wants of it.
    #[error("no {what} in time")]
    Timeout { what: &'static str },
}

impl PeerFault {
    /// For `map_err`: the bytes were to be a `what`.
    pub(crate) fn decode(what: &'static str) -> impl Fn(DecodeError) -> Self {
        move |source| Self::Decode { what, source }
    }
}
