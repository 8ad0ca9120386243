//! Ending an endpoint so that nothing accepted is lost.

use std::time::{Duration, Instant};

use multibee_log::{Log, LogKey};

use super::Endpoint;
use crate::event::{CloseReason, ConnectionId};

/// What a [shutdown](Endpoint::shutdown) could not do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShutdownError {
    /// Some remotes did not take in time what waited for them.
    #[error("{connections} connections had more to send when the time was up")]
    Late {
        /// How many.
        connections: usize,
    },
    /// A log could not be brought to the disk.
    #[error("a log could not be written out")]
    Storage {
        /// The log.
        key: LogKey,
        /// Why; blames this machine.
        source: multibee_log::Error,
    },
}

impl Endpoint {
    /// Ends all connections, and returns when they have ended.
    ///
    /// No connection begins from here on, and listeners and dialers of this endpoint end. Requests
    /// that were answered, and all else that is queued, are sent, each followed by the end of its
    /// stream; then all logs are brought to the disk with the blocks that have arrived. What was
    /// asked for and has not arrived is given up. Events are told to the end: take them.
    ///
    /// At `deadline` the connections that are left are cut. Must run within a tokio runtime that
    /// has its timer on.
    ///
    /// # Errors
    ///
    /// [`ShutdownError::Storage`] if the disk fails, else [`ShutdownError::Late`] if connections
    /// were cut.
    pub async fn shutdown(&self, deadline: Instant) -> Result<(), ShutdownError> {
        self.on_state(|state| {
            state.end_by = Some(deadline);
            state.replicator.close_all(deadline);
        });
        self.inner.stopping.send_replace(true);
        let ended = tokio::time::timeout_at(deadline.into(), self.all_ended()).await;
        let late = if ended.is_err() { self.cut_all() } else { 0 };
        self.write_out().await?;
        if late == 0 { Ok(()) } else { Err(ShutdownError::Late { connections: late }) }
    }

    /// As [`shutdown`](Self::shutdown), with the time that it may take.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn shutdown_within(&self, time: Duration) -> Result<(), ShutdownError> {
        self.shutdown(super::now() + time).await
    }

    /// Ends when the endpoint is being shut down.
    pub(super) async fn stopping(&self) {
        let mut stopping = self.inner.stopping.subscribe();
        // An error means that the endpoint is gone, which `self` keeps from happening.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }

    /// Ends when nobody drives a connection.
    async fn all_ended(&self) {
        loop {
            let mut gone = std::pin::pin!(self.inner.driver_gone.notified());
            gone.as_mut().enable();
            if !self.lock().drivers.values().any(|driver| driver.is_driven) {
                return;
            }
            gone.await;
        }
    }

    /// Cuts all connections that are left. How many of them had something to send.
    fn cut_all(&self) -> usize {
        self.on_state(|state| {
            let left = state.drivers.iter().filter(|(_, driver)| driver.is_driven);
            let late = left.filter(|(_, driver)| !driver.is_finished).count();
            let ids: Vec<ConnectionId> = state.drivers.keys().copied().collect();
            for id in ids {
                state.replicator.handle_end(id, CloseReason::Local, super::now());
            }
            late
        })
    }

    async fn write_out(&self) -> Result<(), ShutdownError> {
        let logs: Vec<Log> = self.with(|replicator| replicator.all_logs().cloned().collect());
        let written = tokio::task::spawn_blocking(move || {
            for log in logs {
                let key = log.key();
                log.sync().map_err(|source| ShutdownError::Storage { key, source })?;
            }
            Ok(())
        });
        // It is never aborted, so an error is a panic in the log: a bug that is not to be hidden.
        written.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }
}
