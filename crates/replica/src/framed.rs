//! Transports that come encrypted, authenticated and divided into messages.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::secure::{Handshake, Role};

/// A connection that delivers whole messages, in order, each once, unchanged and unseen by others:
/// a QUIC stream, a Noise session that another program set up, a WebSocket over TLS.
///
/// It knows who is at the other end, so no handshake of ours precedes the first message. Messages
/// have up to 16,777,198 bytes. An empty one is a keepalive: it must be carried, unless
/// [`keepalive`](crate::ReplicatorOptions::keepalive) is off at both ends.
///
/// The methods are polled by one task, which must be woken when a pending one can go on.
pub trait FramedTransport: Send {
    /// Our end. Exactly one of the two ends is the initiator.
    fn role(&self) -> Role;

    /// The remote's key, and what names this very connection: see [`Link::framed`](crate::Link::framed)
    /// for what must hold of it.
    fn handshake(&self) -> Handshake;

    /// Where the remote is, if that is known.
    fn address(&self) -> Option<SocketAddr> {
        None
    }

    /// The next message of the remote; `None` when there will be none.
    ///
    /// # Errors
    ///
    /// The connection failed.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>>;

    /// Takes a message to be sent, whole. While it is pending it has taken nothing, and is asked
    /// again with the same message.
    ///
    /// # Errors
    ///
    /// The connection failed.
    fn poll_send(&mut self, cx: &mut Context<'_>, message: &Bytes) -> Poll<io::Result<()>>;

    /// Sends what was taken and is still held back.
    ///
    /// # Errors
    ///
    /// The connection failed.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ends the connection once what was taken has been delivered, as far as that can be known.
    ///
    /// # Errors
    ///
    /// The connection failed.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}
