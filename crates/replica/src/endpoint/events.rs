//! Where events wait for the application.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::sync::{Notify, mpsc};

use crate::event::Event;
use crate::limits::EVENTS_MAX;

/// Where the events of an [`Endpoint`](crate::Endpoint) come out, in order.
///
/// None is ever lost. Instead, when 16,384 wait here, the connections stop reading until some are
/// taken; so take them, or drop the receiver if nobody is to know.
#[derive(Debug)]
pub struct EventReceiver {
    events: mpsc::UnboundedReceiver<Event>,
    backlog: Arc<Backlog>,
}

/// How many events nobody has taken yet.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    len: AtomicUsize,
    pub(super) drained: Notify,
}

impl EventReceiver {
    pub(super) fn new(events: mpsc::UnboundedReceiver<Event>, backlog: Arc<Backlog>) -> Self {
        Self { events, backlog }
    }

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
    /// An event is about to wait.
    pub(super) fn add_one(&self) {
        self.len.fetch_add(1, Ordering::Relaxed);
    }

    /// Nobody takes events.
    pub(super) fn abandon(&self) {
        self.len.store(0, Ordering::Relaxed);
    }

    pub(super) fn is_full(&self) -> bool {
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
