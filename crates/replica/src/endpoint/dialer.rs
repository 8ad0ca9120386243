//! Keeps a connection to an address over TCP.

use std::io;
use std::time::Duration;

use tokio::net::{TcpStream, ToSocketAddrs};

use super::{Endpoint, now};
use crate::event::{CloseReason, ConnectionId};
use crate::link::Link;
use crate::redial::{Redial, RedialOptions};
use crate::secure::Role;

/// Options of a [`Dialer`]. Fields are set with struct update syntax.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DialOptions {
    /// How long finding the address and reaching it may take, together.
    pub timeout: Duration,
    /// When to try again.
    pub redial: RedialOptions,
}

impl Default for DialOptions {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(10), redial: RedialOptions::default() }
    }
}

/// Keeps a connection to an address over TCP, as the initiator: dials it again when it is lost.
#[derive(Clone, Debug)]
pub struct Dialer {
    address: String,
    options: DialOptions,
}

/// What a [`Dialer`] is doing.
#[derive(Debug)]
#[non_exhaustive]
pub enum DialNews {
    /// The address was reached and a connection has begun. Whether anybody is there who speaks the
    /// protocol, and lets us in, [`Event::Connected`](crate::Event::Connected) tells.
    Reached {
        /// The connection.
        id: ConnectionId,
    },
    /// The address was not reached.
    Failed {
        /// Why.
        error: io::Error,
        /// How long until the next attempt.
        pause: Duration,
    },
    /// The connection has ended.
    Ended {
        /// Why.
        reason: CloseReason,
        /// How long until the next attempt.
        pause: Duration,
    },
}

/// Dials an address once, and gives the stream and how to set up a connection over it: what
/// [`Endpoint::connect_link`] and [`Endpoint::drive_connection`] take.
///
/// # Errors
///
/// Nobody there, no such name, or no answer in time.
pub async fn dial(address: impl ToSocketAddrs, timeout: Duration) -> io::Result<(TcpStream, Link)> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer in {timeout:?}"));
    let stream =
        tokio::time::timeout(timeout, TcpStream::connect(address)).await.map_err(late)??;
    stream.set_nodelay(true)?;
    let link = Link::noise(Role::Initiator).from_address(stream.peer_addr()?);
    Ok((stream, link))
}

impl Dialer {
    /// For an address such as `example.org:49737`, which is looked up at each attempt.
    pub fn new(address: impl Into<String>, options: DialOptions) -> Self {
        Self { address: address.into(), options }
    }

    /// Keeps the connection until the endpoint is [shut down](Endpoint::shutdown), and returns when
    /// it has ended. Dropping the future ends it at once. `tell` must not wait.
    pub async fn run(&self, endpoint: &Endpoint, mut tell: impl FnMut(DialNews) + Send) {
        let mut redial = Redial::new(self.options.redial);
        let mut stopping = std::pin::pin!(endpoint.stopping());
        loop {
            let dialled = tokio::select! {
                () = stopping.as_mut() => return,
                dialled = dial(self.address.as_str(), self.options.timeout) => dialled,
            };
            let again = match dialled {
                Ok((stream, link)) => {
                    let id = endpoint.connect_link(link);
                    tell(DialNews::Reached { id });
                    let live = || redial.connected(now());
                    let reason = endpoint.drive_until_live(id, stream, live).await;
                    let now = now();
                    let again = redial.ended(now, random());
                    tell(DialNews::Ended { reason, pause: again - now });
                    again
                }
                Err(error) => {
                    let now = now();
                    let again = redial.failed(now, random());
                    tell(DialNews::Failed { error, pause: again - now });
                    again
                }
            };
            tokio::select! {
                () = stopping.as_mut() => return,
                () = tokio::time::sleep_until(again.into()) => {}
            }
        }
    }
}

/// Enough randomness to spread those who dial again; without any, all wait as long as they may.
fn random() -> u64 {
    getrandom::u64().unwrap_or(u64::MAX)
}
