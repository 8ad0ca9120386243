//! One connection being driven over what carries it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

use super::Endpoint;
use super::carrier::{Carrier, read_out};
use crate::event::{CloseReason, ConnectionId};

/// One connection being driven. Dropping it ends the connection.
pub(super) struct Run<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) id: ConnectionId,
    pub(super) wake: Arc<Notify>,
}

/// What a connection wants to do next.
struct Step {
    closed: Option<CloseReason>,
    is_live: bool,
    is_closing: bool,
    wants_read: bool,
    deadline: Option<Instant>,
}

/// What was taken from the replicator and is not sent yet.
#[derive(Default)]
struct Output {
    bytes: Option<Bytes>,
    /// Something was written that may be held back on the way.
    is_unflushed: bool,
}

impl Run<'_> {
    /// Moves bytes until the connection ends. `on_live` is called once, when the handshake is done.
    pub(super) async fn until_closed(
        &self,
        mut carrier: impl Carrier,
        on_live: impl FnOnce() + Send,
    ) -> CloseReason {
        let mut output = Output::default();
        let mut on_live = Some(on_live);
        let (mut was_held_up, mut remote_ended) = (false, false);
        let mut timer = std::pin::pin!(tokio::time::sleep(Duration::ZERO));
        loop {
            let step = self.step(&mut output, was_held_up);
            if step.is_live
                && let Some(on_live) = on_live.take()
            {
                on_live();
            }
            if let Some(reason) = step.closed {
                self.hang_up(&mut carrier, reason, remote_ended).await;
                return reason;
            }
            set_timer(timer.as_mut(), step.deadline);
            // Listening begins before the look, so that no wake-up falls in between.
            let backlog = &self.endpoint.inner.backlog;
            let mut drained = std::pin::pin!(backlog.drained.notified());
            drained.as_mut().enable();
            let is_full = backlog.is_full();
            was_held_up = is_full;
            let reads = step.wants_read && !is_full && !remote_ended;
            tokio::select! {
                moved = poll_fn(|cx| self.poll_traffic(&mut carrier, &mut output, reads, cx)) => {
                    match moved {
                        Ok(()) => {}
                        Err(CloseReason::Remote) if step.is_closing => remote_ended = true,
                        Err(reason) => self.end(reason),
                    }
                }
                () = timer.as_mut(), if step.deadline.is_some() => {}
                () = self.wake.notified() => {}
                () = drained, if is_full => {}
            }
        }
    }

    /// Reads and writes what goes without waiting; ready when anything went.
    fn poll_traffic(
        &self,
        carrier: &mut impl Carrier,
        output: &mut Output,
        reads: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), CloseReason>> {
        let failed = |error: std::io::Error| CloseReason::Io(error.kind());
        let mut has_moved = false;
        if reads && let Poll::Ready(more) = carrier.poll_take(cx, &mut |bytes| self.take(bytes)) {
            has_moved = true;
            match more {
                Ok(true) => {}
                Ok(false) => return Poll::Ready(Err(CloseReason::Remote)),
                Err(error) => return Poll::Ready(Err(failed(error))),
            }
        }
        if let Some(bytes) = &mut output.bytes {
            if let Poll::Ready(put) = carrier.poll_put(cx, bytes) {
                put.map_err(failed)?;
                *output = Output { bytes: None, is_unflushed: true };
                has_moved = true;
            }
        } else if output.is_unflushed
            && let Poll::Ready(flushed) = carrier.poll_flush(cx)
        {
            flushed.map_err(failed)?;
            output.is_unflushed = false;
        }
        if has_moved { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Does what is due and fetches the next bytes to send, unless some are left.
    fn step(&self, output: &mut Output, was_held_up: bool) -> Step {
        let id = self.id;
        let mut state = self.endpoint.lock();
        let replicator = &mut state.replicator;
        if was_held_up {
            replicator.forgive_silence(id, super::now());
        }
        replicator.handle_timeout_of(id, super::now());
        if output.bytes.is_none() {
            output.bytes = replicator.poll_transmit(id);
        }
        // What was done may have ended the connection, which is known once it is told.
        self.endpoint.spread(&mut state);
        let closed = state.drivers.get(&id).and_then(|driver| driver.closed);
        let replicator = &state.replicator;
        Step {
            closed,
            is_live: replicator.is_live(id),
            is_closing: replicator.is_closing(id),
            wants_read: replicator.wants_read(id),
            deadline: replicator.poll_timeout_of(id).map(Instant::from_std),
        }
    }

    /// Tells the remote that nothing more comes, and lets it take what was sent.
    async fn hang_up(&self, carrier: &mut impl Carrier, reason: CloseReason, remote_ended: bool) {
        let until = self.endpoint.hang_up_by();
        let ending = async {
            poll_fn(|cx| carrier.poll_finish(cx)).await?;
            if reason == CloseReason::Local {
                self.endpoint.finished(self.id);
                if carrier.lingers() && !remote_ended {
                    read_out(carrier).await?;
                }
            }
            std::io::Result::Ok(())
        };
        // The remote may be gone; we are done with it either way.
        let _ = tokio::time::timeout_at(until, ending).await;
    }

    fn take(&self, bytes: &[u8]) {
        self.endpoint.with(|replicator| replicator.handle_bytes(self.id, bytes, super::now()));
    }

    fn end(&self, reason: CloseReason) {
        self.endpoint.with(|replicator| replicator.handle_end(self.id, reason, super::now()));
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.end(CloseReason::Local);
        self.endpoint.lock().drivers.remove(&self.id);
        self.endpoint.inner.driver_gone.notify_waiters();
    }
}

fn set_timer(timer: Pin<&mut Sleep>, deadline: Option<Instant>) {
    if let Some(deadline) = deadline
        && timer.deadline() != deadline
    {
        timer.reset(deadline);
    }
}
