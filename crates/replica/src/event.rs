//! What a replicator tells its owner.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use multibee_log::LogKey;

use crate::fault::PeerFault;
use crate::secure::Role;
use crate::stats::{Progress, RemoteProgress};

/// One connection of a [`Replicator`](crate::Replicator). Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub(crate) u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {}", self.0)
    }
}

/// One channel of an own protocol. Never used again within a replicator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(pub(crate) u64);

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "channel {}", self.0)
    }
}

/// Something happened that the owner of a [`Replicator`](crate::Replicator) may act on.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// The handshake is done: the stream is encrypted, logs and channels can be opened.
    Connected {
        /// The connection.
        id: ConnectionId,
        /// Names this very connection; the same on both sides.
        handshake_hash: [u8; 64],
        /// The remote's static public key, proven to be its own.
        remote_static: [u8; 32],
        /// Our side of the handshake.
        role: Role,
    },
    /// Both sides have shown that they know the log's key; replication of it begins.
    LogOpened {
        /// The connection.
        id: ConnectionId,
        /// The log.
        key: LogKey,
    },
    /// A remote wants a log whose key [`add_key`](crate::Replicator::add_key) named, has proven that
    /// it knows the key, and waits. Answer with [`add_log`](crate::Replicator::add_log) or
    /// [`refuse_log`](crate::Replicator::refuse_log) within
    /// [`log_request_timeout`](crate::ReplicatorOptions::log_request_timeout).
    LogRequested {
        /// The connection.
        id: ConnectionId,
        /// The log.
        key: LogKey,
    },
    /// A log that we offered is not known to the remote, or it does not know the log's key.
    LogRejected {
        /// The connection.
        id: ConnectionId,
        /// The log.
        key: LogKey,
    },
    /// The remote has closed the log's channel. (When the connection ends, only
    /// [`Closed`](Self::Closed) is told.)
    LogClosed {
        /// The connection.
        id: ConnectionId,
        /// The log.
        key: LogKey,
    },
    /// A message of an extension that
    /// [`accept_extension`](crate::Replicator::accept_extension) named, on a log's channel.
    Extension {
        /// The connection.
        id: ConnectionId,
        /// The log.
        key: LogKey,
        /// The extension's name.
        name: String,
        /// The message, of at most 1 MiB. Nothing about it is checked.
        payload: Bytes,
    },
    /// The remote has told its length and fork, different from what it told before. A claim only:
    /// nothing is verified yet.
    RemoteHead {
        /// The connection.
        id: ConnectionId,
        /// The log.
        key: LogKey,
        /// In blocks.
        length: u64,
        /// Number of truncations.
        fork: u64,
    },
    /// A remote has a longer head than ours, and has no way left to lead to it: it holds too little of
    /// the log to prove it from any length that both are known to have seen. Told once for each pair
    /// of heads; others may prove it, or the remote may get to where it can.
    HeadOutOfReach {
        /// The connection.
        id: ConnectionId,
        /// The log.
        key: LogKey,
        /// Our length, in blocks.
        ours: u64,
        /// The remote's length, in blocks.
        theirs: u64,
    },
    /// A new signed length of a replica was verified and stored.
    Upgraded {
        /// The log.
        key: LogKey,
        /// Length before, in blocks.
        old: u64,
        /// Length now, in blocks.
        new: u64,
        /// Who sent the proof.
        from: ConnectionId,
    },
    /// A replica has followed its writer to a higher fork: what it held beyond the blocks that both
    /// histories share is gone, and of that what was [wanted](crate::Replicator::want) is fetched
    /// anew.
    Truncated {
        /// The log.
        key: LogKey,
        /// The forks before and after.
        fork: (u64, u64),
        /// The lengths before and after, in blocks.
        len: (u64, u64),
        /// Blocks that stayed.
        shared_len: u64,
        /// Who proved it.
        from: ConnectionId,
    },
    /// The writer of a log has signed two histories: its key is in use twice, or in the wrong
    /// hands. [`Log::conflict`](multibee_log::Log::conflict) has the proof. No newer head is taken
    /// from now on, and nothing beyond [`trusted_len`](multibee_log::Log::trusted_len).
    Conflict {
        /// The log.
        key: LogKey,
        /// The fork for which both are signed.
        fork: u64,
        /// The length in blocks at which they differ.
        length: u64,
        /// Who showed the other history, perhaps only passing it on.
        from: ConnectionId,
    },
    /// A log that is written here was cut elsewhere, with the same key: never append to it again.
    WrittenElsewhere {
        /// The log.
        key: LogKey,
        /// Our fork.
        ours: u64,
        /// The fork that was signed elsewhere, greater.
        theirs: u64,
        /// Who showed it, perhaps only passing it on.
        from: ConnectionId,
    },
    /// The block that [`seek`](crate::Replicator::seek) looked for. It need not be here.
    Sought {
        /// The log.
        key: LogKey,
        /// The byte's offset from the start of the log.
        byte: u64,
        /// The block's number; the log's length for the place just past the last byte.
        seq: u64,
        /// The byte's offset in the block.
        within: u64,
    },
    /// The download of a log has got on, or its rate has changed. Told if
    /// [`progress_interval`](crate::ReplicatorOptions::progress_interval) is set.
    Progress {
        /// The log.
        key: LogKey,
        /// The whole of it.
        progress: Box<Progress>,
        /// The share of each remote with which it is open.
        remotes: BTreeMap<ConnectionId, RemoteProgress>,
    },
    /// Neighbouring blocks were verified and stored.
    Stored {
        /// The log.
        key: LogKey,
        /// The blocks' numbers.
        blocks: Range<u64>,
        /// Who sent it.
        from: ConnectionId,
    },
    /// The remote wants to open a channel of a protocol that
    /// [`accept_protocol`](crate::Replicator::accept_protocol) named. Answer with
    /// [`open_channel`](crate::Replicator::open_channel) and the same names, or with
    /// [`reject_channel`](crate::Replicator::reject_channel).
    ChannelRequested {
        /// The connection.
        id: ConnectionId,
        /// The protocol's name.
        protocol: String,
        /// Which channel of that protocol.
        channel_id: Bytes,
        /// What the remote sent along.
        handshake: Bytes,
    },
    /// Both sides have opened a channel.
    ChannelOpened {
        /// The connection.
        id: ConnectionId,
        /// The channel.
        channel: ChannelId,
        /// What the remote sent along.
        handshake: Bytes,
    },
    /// The remote does not speak the protocol, or not on this channel.
    ChannelRejected {
        /// The connection.
        id: ConnectionId,
        /// The channel.
        channel: ChannelId,
    },
    /// A message on a channel of an own protocol.
    ChannelMessage {
        /// The connection.
        id: ConnectionId,
        /// The channel.
        channel: ChannelId,
        /// The message's type number.
        ty: u64,
        /// The message.
        payload: Bytes,
    },
    /// The remote has closed a channel.
    ChannelClosed {
        /// The connection.
        id: ConnectionId,
        /// The channel.
        channel: ChannelId,
    },
    /// The remote did what an honest and healthy peer does not. Unless the fault says
    /// otherwise, its connection is closed.
    Fault {
        /// The connection.
        id: ConnectionId,
        /// The log that it is about, if about one.
        key: Option<LogKey>,
        /// What it did.
        fault: Fault,
    },
    /// Something that a remote asked for could not be read from our own storage. It was told that
    /// we do not have it; all else goes on. Told once for each channel.
    ReadFailed {
        /// The log.
        key: LogKey,
        /// Blames this machine.
        error: multibee_log::Error,
    },
    /// Our own storage of a log failed. The log is not replicated any more until it is added
    /// again; its channels are closed.
    LogFailed {
        /// The log.
        key: LogKey,
        /// Blames this machine.
        error: multibee_log::Error,
    },
    /// The connection has ended; nothing more is told about it.
    Closed {
        /// The connection.
        id: ConnectionId,
        /// Why.
        reason: CloseReason,
    },
}

/// What a remote did wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// It broke the protocol, or failed a check of the transport.
    #[error(transparent)]
    Peer(#[from] PeerFault),
    /// It sent data that the log's signature does not cover.
    #[error("data that does not verify")]
    BadData(#[source] multibee_log::Error),
    /// It sent data that is not what was asked for.
    #[error("an answer to another request than ours: {what}")]
    WrongData {
        /// What differs.
        what: &'static str,
    },
    /// It has a history of the log that begins anew after a cut, and
    /// [`follow_cuts`](crate::ReplicatorOptions::follow_cuts) is off. The connection stays; nothing of
    /// this log is asked of it.
    #[error("the log was cut: fork {theirs}, {length} blocks; ours is fork {ours}")]
    ForkAhead {
        /// Our fork.
        ours: u64,
        /// The remote's, greater.
        theirs: u64,
        /// The remote's length, as it says.
        length: u64,
    },
    /// It has taken back a length without a new fork. The connection stays; nothing of this log is
    /// asked of it until it has another fork.
    #[error("the remote's length fell from {from} to {to}")]
    WentBack {
        /// The length it told before, in blocks.
        from: u64,
        /// The length it tells now, in blocks.
        to: u64,
    },
    /// It answers nothing, though it says that it has what we ask for.
    #[error("no answer to {rounds} rounds of requests")]
    Unresponsive {
        /// How often all requests ran out of time with no answer in between.
        rounds: u32,
    },
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// We closed it.
    Local,
    /// The remote ended the byte stream. Not authenticated: it proves nothing.
    Remote,
    /// The handshake was not done in time.
    HandshakeTimeout,
    /// The remote said nothing, or took nothing, for too long.
    Silence,
    /// The remote did something that an [`Event::Fault`] tells.
    Fault,
    /// [`Admission`](crate::Admission) did not let the remote in.
    Refused,
    /// The byte stream failed.
    Io(std::io::ErrorKind),
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("closed by this side"),
            Self::Remote => f.write_str("closed by the remote"),
            Self::HandshakeTimeout => f.write_str("handshake not done in time"),
            Self::Silence => f.write_str("the remote was silent for too long"),
            Self::Fault => f.write_str("the remote is faulty"),
            Self::Refused => f.write_str("the remote is not let in"),
            Self::Io(kind) => write!(f, "stream failed: {kind}"),
        }
    }
}
