//! Takes connections over TCP.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::task::JoinSet;

use super::Endpoint;
use crate::link::Link;
use crate::secure::Role;
use crate::slots::{ListenLimits, Slot, Slots};

/// Takes connections over TCP, within limits, and drives each of them as the responder.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    limits: ListenLimits,
}

impl Listener {
    /// Binds an address; port 0 lets the system choose one. Nothing is taken before
    /// [`run`](Self::run).
    ///
    /// # Errors
    ///
    /// The address cannot be had.
    pub async fn bind(address: impl ToSocketAddrs, limits: ListenLimits) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, limits })
    }

    /// The address that it has got.
    ///
    /// # Errors
    ///
    /// The system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Takes connections until the endpoint is [shut down](Endpoint::shutdown), and returns when
    /// those that it took have ended. Dropping the future ends them all at once.
    pub async fn run(self, endpoint: &Endpoint) {
        let slots = Arc::new(Mutex::new(Slots::new(self.limits)));
        let mut connections = JoinSet::new();
        let mut stopping = std::pin::pin!(endpoint.stopping());
        loop {
            tokio::select! {
                () = stopping.as_mut() => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, address)) => {
                        if let Some(held) = Held::take(&slots, address) {
                            connections.spawn(serve(endpoint.clone(), stream, address, held));
                        } else {
                            tracing::debug!(%address, "a connection beyond the limits was refused");
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be taken");
                        // Out of file descriptors, most likely: trying on at once would only spin.
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
        drop(self.listener);
        while connections.join_next().await.is_some() {}
    }
}

async fn serve(endpoint: Endpoint, stream: TcpStream, address: SocketAddr, mut held: Held) {
    // Without it, small messages would wait for each other.
    if stream.set_nodelay(true).is_ok() {
        let id = endpoint.connect_link(Link::noise(Role::Responder).from_address(address));
        endpoint.drive_until_live(id, stream, || held.establish()).await;
    }
}

/// A connection's place among those that a listener has. Dropping it makes room.
#[derive(Debug)]
struct Held {
    slots: Arc<Mutex<Slots>>,
    slot: Slot,
}

impl Held {
    fn take(slots: &Arc<Mutex<Slots>>, address: SocketAddr) -> Option<Self> {
        let slot = slots.lock().unwrap_or_else(PoisonError::into_inner).take(address.ip())?;
        Some(Self { slots: slots.clone(), slot })
    }

    fn establish(&mut self) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.establish(&mut self.slot);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.free(&mut self.slot);
    }
}

/// How long nothing is taken after the system failed to.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
