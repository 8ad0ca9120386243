//! What an application can choose.

use std::time::Duration;

use crate::admission::Admission;

/// Options of a [`Replicator`](crate::Replicator).
///
/// The defaults suit connections over the internet; set fields with struct update syntax.
#[derive(Clone, Debug)]
pub struct ReplicatorOptions {
    /// Seed of the static key that remotes see in the handshake. `None` makes a new one from the
    /// replicator's seed, so that connections of two runs cannot be linked by it.
    pub static_seed: Option<[u8; 32]>,
    /// Who may connect.
    pub admission: Admission,
    /// A keepalive is sent when nothing else was for this long. `None`: never.
    pub keepalive: Option<Duration>,
    /// A connection on which nothing arrives for this long is closed, and so is one whose remote
    /// takes nothing of what waits for it for this long. `None`: never. A Hypercore peer that sends
    /// no keepalives may be silent for as long as it likes.
    pub read_silence: Option<Duration>,
    /// The handshake must be done in this time.
    pub handshake_timeout: Duration,
    /// A block request is given up when no answer to any request has come for this long.
    pub request_timeout: Duration,
    /// The same for requests of a new length.
    pub upgrade_timeout: Duration,
    /// How long the owner may take to answer an [`Event::LogRequested`](crate::Event::LogRequested).
    /// After that the remote is told that the log is not known.
    pub log_request_timeout: Duration,
    /// Whether replicas follow their writers to higher forks: what was cut off is dropped then. If
    /// not, a remote with a higher fork is told by [`Fault::ForkAhead`](crate::Fault::ForkAhead).
    pub follow_cuts: bool,
    /// How long what is queued may take to leave when a connection is closed.
    pub close_timeout: Duration,
    /// Block requests under way to one Multibee peer for one log (at most 2048), but for blocks that
    /// readers wait for, of which there may be as many.
    pub window: usize,
    /// The same to any other peer.
    pub foreign_window: usize,
    /// Bytes per second that all connections together may send, about: answers wait, while
    /// handshakes and short messages go out at once and are made up for. `None`: no limit.
    pub upload_limit: Option<u64>,
    /// The same for what they receive: no more is asked for and read.
    pub download_limit: Option<u64>,
    /// [`Event::Progress`](crate::Event::Progress) is told of each log whose progress has changed,
    /// at most this often. `None`: never.
    pub progress_interval: Option<Duration>,
    /// Whether Multibee peers are asked for many neighbouring blocks at once, which takes less work
    /// and fewer bytes than to ask for each. Others are always asked for each.
    pub ask_for_runs: bool,
}

impl Default for ReplicatorOptions {
    fn default() -> Self {
        Self {
            static_seed: None,
            admission: Admission::Open,
            keepalive: Some(Duration::from_secs(5)),
            read_silence: Some(Duration::from_secs(60)),
            handshake_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(20),
            upgrade_timeout: Duration::from_secs(10),
            log_request_timeout: Duration::from_secs(10),
            follow_cuts: true,
            close_timeout: Duration::from_secs(5),
            window: 512,
            foreign_window: 256,
            upload_limit: None,
            download_limit: None,
            progress_interval: None,
            ask_for_runs: true,
        }
    }
}
