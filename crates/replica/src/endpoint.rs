//! Runs a replicator over byte streams of tokio.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, Sleep};

use crate::event::{CloseReason, ConnectionId, Event};
use crate::limits::{EVENTS_MAX, READ_LEN};
use crate::replicator::Replicator;
use crate::secure::Role;

/// A [`Replicator`] that is driven over byte streams, each by its own [`drive`](Self::drive).
///
/// Cheap to clone; all clones are the same replicator. It is locked for each batch of bytes that
/// arrives, while what they bring is verified and stored, and never while waiting for the
/// network.
#[derive(Clone, Debug)]
pub struct Endpoint {
    inner: Arc<Inner>,
}

/// Where the events of an [`Endpoint`] come out, in order.
///
/// None is ever lost. Instead, when 16,384 wait here, the connections stop reading until some are
/// taken; so take them, or drop the receiver if nobody is to know.
#[derive(Debug)]
pub struct EventReceiver {
    events: mpsc::UnboundedReceiver<Event>,
    backlog: Arc<Backlog>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    events: mpsc::UnboundedSender<Event>,
    backlog: Arc<Backlog>,
}

#[derive(Debug)]
struct State {
    replicator: Replicator,
    drivers: BTreeMap<ConnectionId, Driver>,
}

/// What the task of one connection waits for.
#[derive(Debug)]
struct Driver {
    wake: Arc<Notify>,
    closed: Option<CloseReason>,
}

/// How many events nobody has taken yet.
#[derive(Debug, Default)]
struct Backlog {
    len: AtomicUsize,
    drained: Notify,
}

impl Endpoint {
    /// An endpoint for a replicator, and its events.
    #[must_use]
    pub fn new(replicator: Replicator) -> (Self, EventReceiver) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let backlog = Arc::new(Backlog::default());
        let inner = Inner {
            state: Mutex::new(State { replicator, drivers: BTreeMap::new() }),
            events: sender,
            backlog: backlog.clone(),
        };
        (Self { inner: Arc::new(inner) }, EventReceiver { events: receiver, backlog })
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
    /// connection. Must run within a tokio runtime that has its timer on.
    pub async fn drive<S>(&self, stream: S, role: Role) -> CloseReason
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let id = self.connect(role);
        self.drive_connection(id, stream).await
    }

    /// Begins a connection that [`drive_connection`](Self::drive_connection) is to run, for
    /// callers that want to know its id beforehand.
    pub fn connect(&self, role: Role) -> ConnectionId {
        self.on_state(|state| {
            let id = state.replicator.connect(role, now());
            let wake = Arc::new(Notify::new());
            state.drivers.insert(id, Driver { wake, closed: None });
            id
        })
    }

    /// As [`drive`](Self::drive), for a connection that [`connect`](Self::connect) began. Returns
    /// at once if it is none, or was driven before.
    pub async fn drive_connection<S>(&self, id: ConnectionId, stream: S) -> CloseReason
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let wake = self.lock().drivers.get(&id).map(|driver| driver.wake.clone());
        let Some(wake) = wake else { return CloseReason::Local };
        let run = Run { endpoint: self, id, wake };
        run.until_closed(stream).await
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
            self.inner.backlog.len.fetch_add(1, Ordering::Relaxed);
            if self.inner.events.send(event).is_err() {
                self.inner.backlog.len.store(0, Ordering::Relaxed);
            }
        }
        while let Some(id) = state.replicator.poll_wake() {
            if let Some(driver) = state.drivers.get(&id) {
                driver.wake.notify_one();
            }
        }
    }
}

impl EventReceiver {
    /// The next event; `None` when all clones of the endpoint are gone.
    ///
    /// Dropping the future loses no event.
    pub async fn recv(&mut self) -> Option<Event> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// As [`recv`](Self::recv), for hand-written futures.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let event = self.events.poll_recv(cx);
        if let Poll::Ready(Some(_)) = event {
            self.backlog.took_one();
        }
        event
    }

    /// The next event if there is one now.
    pub fn try_recv(&mut self) -> Option<Event> {
        let event = self.events.try_recv().ok()?;
        self.backlog.took_one();
        Some(event)
    }
}

impl Drop for EventReceiver {
    fn drop(&mut self) {
        // Closed first, so that the endpoint counts nothing from here on.
        self.events.close();
        self.backlog.len.store(0, Ordering::Relaxed);
        self.backlog.drained.notify_waiters();
    }
}

impl Backlog {
    fn is_full(&self) -> bool {
        self.len.load(Ordering::Relaxed) >= EVENTS_MAX
    }

    fn took_one(&self) {
        let taken = self
            .len
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |len| Some(len.saturating_sub(1)));
        if taken == Ok(EVENTS_MAX) {
            self.drained.notify_waiters();
        }
    }
}

/// One connection being driven. Dropping it ends the connection.
struct Run<'a> {
    endpoint: &'a Endpoint,
    id: ConnectionId,
    wake: Arc<Notify>,
}

/// What a connection wants to do next.
struct Step {
    closed: Option<CloseReason>,
    wants_read: bool,
    deadline: Option<Instant>,
}

impl Run<'_> {
    async fn until_closed<S>(&self, stream: S) -> CloseReason
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut input = vec![0; READ_LEN];
        let mut output = Bytes::new();
        let mut is_flushed = true;
        let mut timer = std::pin::pin!(tokio::time::sleep(Duration::ZERO));
        loop {
            let step = self.step(&mut output);
            if let Some(reason) = step.closed {
                // The remote may be gone; we are done with it either way.
                let _ = writer.shutdown().await;
                return reason;
            }
            if output.is_empty() && !std::mem::replace(&mut is_flushed, true) {
                let flushed = writer.flush().await;
                self.end_if_failed(flushed);
            }
            set_timer(timer.as_mut(), step.deadline);
            // Listening begins before the look, so that no wake-up falls in between.
            let backlog = &self.endpoint.inner.backlog;
            let mut drained = std::pin::pin!(backlog.drained.notified());
            drained.as_mut().enable();
            let is_full = backlog.is_full();
            tokio::select! {
                read = reader.read(&mut input), if step.wants_read && !is_full => match read {
                    Ok(0) => self.end(CloseReason::Remote),
                    Ok(len) => self.take(input.get(..len).unwrap_or_default()),
                    Err(error) => self.end(CloseReason::Io(error.kind())),
                },
                written = writer.write(&output), if !output.is_empty() => match written {
                    Ok(0) => self.end(CloseReason::Io(std::io::ErrorKind::WriteZero)),
                    Ok(len) => {
                        output.advance(len);
                        is_flushed = false;
                    }
                    Err(error) => self.end(CloseReason::Io(error.kind())),
                },
                () = timer.as_mut(), if step.deadline.is_some() => {}
                () = self.wake.notified() => {}
                () = drained, if is_full => {}
            }
        }
    }

    /// Does what is due and fetches the next bytes to send, unless some are left.
    fn step(&self, output: &mut Bytes) -> Step {
        let id = self.id;
        let mut state = self.endpoint.lock();
        let replicator = &mut state.replicator;
        replicator.handle_timeout_of(id, now());
        if output.is_empty() {
            *output = replicator.poll_transmit(id).unwrap_or_default();
        }
        // What was done may have ended the connection, which is known once it is told.
        self.endpoint.spread(&mut state);
        let closed = state.drivers.get(&id).and_then(|driver| driver.closed);
        let replicator = &state.replicator;
        Step {
            closed,
            wants_read: replicator.wants_read(id),
            deadline: replicator.poll_timeout_of(id).map(Instant::from_std),
        }
    }

    fn take(&self, bytes: &[u8]) {
        self.endpoint.with(|replicator| replicator.handle_bytes(self.id, bytes, now()));
    }

    fn end(&self, reason: CloseReason) {
        self.endpoint.with(|replicator| replicator.handle_end(self.id, reason, now()));
    }

    fn end_if_failed(&self, done: std::io::Result<()>) {
        if let Err(error) = done {
            self.end(CloseReason::Io(error.kind()));
        }
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.end(CloseReason::Local);
        self.endpoint.lock().drivers.remove(&self.id);
    }
}

fn set_timer(timer: Pin<&mut Sleep>, deadline: Option<Instant>) {
    if let Some(deadline) = deadline
        && timer.deadline() != deadline
    {
        timer.reset(deadline);
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
