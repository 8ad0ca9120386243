//! Runs a replicator over TCP, other byte streams and transports of messages, on tokio.

mod carrier;
mod dialer;
mod driver;
mod events;
mod listener;
mod shutdown;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

pub use self::dialer::{DialNews, DialOptions, Dialer, dial};
pub use self::events::EventReceiver;
pub use self::listener::Listener;
pub use self::shutdown::ShutdownError;

use self::carrier::{ByteStream, Carrier, Messages};
use self::driver::Run;
use self::events::Backlog;
use crate::event::{CloseReason, ConnectionId, Event};
use crate::framed::FramedTransport;
use crate::link::Link;
use crate::replicator::Replicator;
use crate::secure::{Role, SessionKeys};

/// A [`Replicator`] that is driven over byte streams, each by its own [`drive`](Self::drive).
///
/// Cheap to clone; all clones are the same replicator. It is locked for each batch of bytes that
/// arrives, while what they bring is verified and stored, and never while waiting for the
/// network.
#[derive(Clone, Debug)]
pub struct Endpoint {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    events: mpsc::UnboundedSender<Event>,
    backlog: Arc<Backlog>,
    /// Told whenever a connection is driven no more.
    driver_gone: Notify,
    /// Set once the endpoint is being shut down.
    stopping: watch::Sender<bool>,
}

#[derive(Debug)]
struct State {
    replicator: Replicator,
    drivers: BTreeMap<ConnectionId, Driver>,
    /// When all must have ended, once the endpoint is being shut down.
    end_by: Option<std::time::Instant>,
}

/// What the task of one connection waits for.
#[derive(Debug)]
struct Driver {
    wake: Arc<Notify>,
    closed: Option<CloseReason>,
    is_driven: bool,
    /// All was sent, and the end of the stream after it.
    is_finished: bool,
}

impl Endpoint {
    /// An endpoint for a replicator, and its events.
    #[must_use]
    pub fn new(replicator: Replicator) -> (Self, EventReceiver) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let backlog = Arc::new(Backlog::default());
        let inner = Inner {
            state: Mutex::new(State { replicator, drivers: BTreeMap::new(), end_by: None }),
            events: sender,
            backlog: backlog.clone(),
            driver_gone: Notify::new(),
            stopping: watch::Sender::new(false),
        };
        (Self { inner: Arc::new(inner) }, EventReceiver::new(receiver, backlog))
    }

    /// Does something with the replicator; what it brings about is sent and told right after.
    ///
    /// Everything else waits meanwhile, so this is not the place to wait in. It must not be called
    /// from within itself.
    pub fn with<R>(&self, act: impl FnOnce(&mut Replicator) -> R) -> R {
        self.on_state(|state| act(&mut state.replicator))
    }

    /// Runs a connection over a byte stream until it ends, and returns why it ended.
    ///
    /// The stream should send small writes at once (`TCP_NODELAY`). Dropping the future ends the
    /// connection, and what is queued is lost. Must run within a tokio runtime that has its timer on.
    pub async fn drive<S>(&self, stream: S, role: Role) -> CloseReason
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let id = self.connect(role);
        self.drive_connection(id, stream).await
    }

    /// As [`drive`](Self::drive), with keys that were agreed on elsewhere, and that were never used
    /// before: see [`Link::with_keys`].
    pub async fn drive_keyed<S>(&self, stream: S, role: Role, keys: SessionKeys) -> CloseReason
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let id = self.connect_link(Link::with_keys(role, keys));
        self.drive_connection(id, stream).await
    }

    /// As [`drive`](Self::drive), over a transport of messages that encrypts by itself.
    pub async fn drive_framed(&self, transport: impl FramedTransport) -> CloseReason {
        let mut link = Link::framed(transport.role(), transport.handshake());
        if let Some(address) = transport.address() {
            link = link.from_address(address);
        }
        let id = self.connect_link(link);
        self.drive_framed_connection(id, transport).await
    }

    /// Begins a connection that [`drive_connection`](Self::drive_connection) is to run, for
    /// callers that want to know its id beforehand.
    pub fn connect(&self, role: Role) -> ConnectionId {
        self.connect_link(Link::noise(role))
    }

    /// As [`connect`](Self::connect), in whichever way. One that is
    /// [framed](Link::framed) is to be run by
    /// [`drive_framed_connection`](Self::drive_framed_connection).
    pub fn connect_link(&self, link: Link) -> ConnectionId {
        self.on_state(|state| {
            let id = state.replicator.connect_link(link, now());
            let driver = Driver {
                wake: Arc::new(Notify::new()),
                closed: None,
                is_driven: false,
                is_finished: false,
            };
            state.drivers.insert(id, driver);
            if state.end_by.is_some() {
                state.replicator.close(id);
            }
            id
        })
    }

    /// As [`drive`](Self::drive), for a connection that [`connect`](Self::connect) began. Returns
    /// at once if it is none, or was driven before.
    pub async fn drive_connection<S>(&self, id: ConnectionId, stream: S) -> CloseReason
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        self.run(id, ByteStream(stream), || {}).await
    }

    /// As [`drive_framed`](Self::drive_framed), for a connection that
    /// [`connect_link`](Self::connect_link) began.
    pub async fn drive_framed_connection(
        &self,
        id: ConnectionId,
        transport: impl FramedTransport,
    ) -> CloseReason {
        self.run(id, Messages(transport), || {}).await
    }

    /// As [`drive_connection`](Self::drive_connection), and tells when the handshake is done.
    async fn drive_until_live<S>(
        &self,
        id: ConnectionId,
        stream: S,
        on_live: impl FnOnce() + Send,
    ) -> CloseReason
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        self.run(id, ByteStream(stream), on_live).await
    }

    async fn run(
        &self,
        id: ConnectionId,
        carrier: impl Carrier,
        on_live: impl FnOnce() + Send,
    ) -> CloseReason {
        let wake = {
            let mut state = self.lock();
            let driver = state.drivers.get_mut(&id).filter(|driver| !driver.is_driven);
            let Some(driver) = driver else { return CloseReason::Local };
            driver.is_driven = true;
            driver.wake.clone()
        };
        Run { endpoint: self, id, wake }.until_closed(carrier, on_live).await
    }

    /// When a connection that has ended must be done with its remote.
    fn hang_up_by(&self) -> Instant {
        let state = self.lock();
        let until = now() + state.replicator.close_timeout();
        state.end_by.map_or(until, |end_by| end_by.min(until)).into()
    }

    /// All of a connection was sent.
    fn finished(&self, id: ConnectionId) {
        if let Some(driver) = self.lock().drivers.get_mut(&id) {
            driver.is_finished = true;
        }
    }

    fn on_state<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = act(&mut state);
        self.spread(&mut state);
        result
    }

    /// A panic in a caller's closure does not keep the others from going on: each call into a
    /// replicator leaves it whole or panics by itself.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands out what the replicator has to tell, and wakes who has something to send.
    fn spread(&self, state: &mut State) {
        while let Some(event) = state.replicator.poll_event() {
            if let &Event::Closed { id, reason } = &event
                && let Some(driver) = state.drivers.get_mut(&id)
            {
                driver.closed = Some(reason);
                driver.wake.notify_one();
            }
            self.inner.backlog.add_one();
            if self.inner.events.send(event).is_err() {
                self.inner.backlog.abandon();
            }
        }
        while let Some(id) = state.replicator.poll_wake() {
            if let Some(driver) = state.drivers.get(&id) {
                driver.wake.notify_one();
            }
        }
    }
}

/// The time as the runtime has it, which tests may hold still.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}
