#![forbid(unsafe_code)]
//! Sparse, verified, encrypted replication of many logs over one connection.
//!
//! Two programs that know the key of a log meet on a byte stream. [`SecureStream`] encrypts it,
//! [`Mux`] divides it into channels, and on one channel for each log the two sides tell each
//! other what they have and ask for blocks, every one of which is checked against the log's
//! signature before it is stored. The protocol is Hypercore's, versions 10 and 11.
//!
//! [`Replicator`] is all of that for any number of logs and connections, as a state machine: bytes
//! and the time go in, bytes and [`Event`]s come out. It opens no socket and reads no clock.
//!
//! [`Endpoint`] runs it, on tokio: over TCP by a [`Listener`] and by [`Dialer`]s that connect again;
//! over any other byte stream; and over a [`FramedTransport`], which encrypts by itself. A [`Link`]
//! says how a connection is set up, [`Admission`] who may connect at all.
//!
//! # What this crate does not do
//!
//! It does not decide what to download: [`Replicator::want`] and [`Replicator::want_all`] do that
//! from above. It does not know what a block means. It does not find peers.

mod admission;
mod announcements;
mod asked_blocks;
mod asked_runs;
mod bucket;
mod capability;
mod channel;
mod connection;
mod cuts;
mod endpoint;
mod event;
mod fault;
mod feed;
mod frame;
mod framed;
mod holdings;
mod kin;
mod limits;
mod link;
mod log_state;
mod message;
mod meter;
mod mux;
mod mux_frame;
mod noise;
mod options;
mod pace;
mod pushes;
mod ranges;
mod redial;
mod remote_wants;
mod replicator;
mod requests;
mod roster;
mod secretstream;
mod secure;
mod slots;
mod stats;
#[cfg(feature = "testing")]
pub mod testing;
mod upload;
mod wants;

pub use admission::{Admission, Applicant};
pub use capability::{capability, capability_matches};
pub use endpoint::{
    DialNews, DialOptions, Dialer, Endpoint, EventReceiver, Listener, ShutdownError, dial,
};
pub use event::{ChannelId, CloseReason, ConnectionId, Event, Fault};
pub use fault::PeerFault;
pub use framed::FramedTransport;
pub use link::Link;
pub use message::{ChannelHandshake, Message, NoDataReason, PROTOCOL, Sync};
pub use mux::{LocalId, Mux, MuxEvent, RemoteId};
pub use noise::{NoiseHandshake, Pattern, StaticKeys};
pub use options::ReplicatorOptions;
pub use redial::{Redial, RedialOptions};
pub use replicator::Replicator;
pub use secretstream::{Pull, Push, Tag};
pub use secure::{EphemeralSource, Handshake, Role, SecureStream, SendError, SessionKeys};
pub use slots::ListenLimits;
pub use stats::{ConnectionStats, LogStats, Progress, RemoteProgress, Stats};
