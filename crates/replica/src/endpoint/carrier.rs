//! What an endpoint's connections run over, made alike.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::framed::FramedTransport;
use crate::limits::READ_LEN;

/// Moves bytes, or messages, between a connection and its remote.
pub(super) trait Carrier: Send {
    /// Gives what has arrived to `take`. Ready with `false` when nothing more will arrive.
    fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        take: &mut dyn FnMut(&[u8]),
    ) -> Poll<io::Result<bool>>;

    /// Sends `output`. Ready when it has taken all; what is left of it meanwhile is to be offered
    /// again.
    fn poll_put(&mut self, cx: &mut Context<'_>, output: &mut Bytes) -> Poll<io::Result<()>>;

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Tells the remote that nothing more comes.
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Whether what was sent could be lost if the connection were dropped while the remote still
    /// sends.
    fn lingers(&self) -> bool;
}

/// Reads until the remote has nothing more to say, and drops what comes.
pub(super) async fn read_out(carrier: &mut impl Carrier) -> io::Result<()> {
    while poll_fn(|cx| carrier.poll_take(cx, &mut |_| {})).await? {}
    Ok(())
}

/// A byte stream.
pub(super) struct ByteStream<S>(pub(super) S);

thread_local! {
    /// Where all byte streams read to. What arrives is taken before the next one reads, so the
    /// idle ones need no room of their own.
    static INPUT: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_LEN].into_boxed_slice());
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Carrier for ByteStream<S> {
    fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        take: &mut dyn FnMut(&[u8]),
    ) -> Poll<io::Result<bool>> {
        INPUT.with_borrow_mut(|input| {
            let mut input = ReadBuf::new(input);
            ready!(Pin::new(&mut self.0).poll_read(cx, &mut input))?;
            let arrived = input.filled();
            if !arrived.is_empty() {
                take(arrived);
            }
            Poll::Ready(Ok(!arrived.is_empty()))
        })
    }

    fn poll_put(&mut self, cx: &mut Context<'_>, output: &mut Bytes) -> Poll<io::Result<()>> {
        while output.has_remaining() {
            let len = ready!(Pin::new(&mut self.0).poll_write(cx, output))?;
            if len == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            output.advance(len);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn lingers(&self) -> bool {
        // A TCP socket that is dropped with unread bytes resets the connection, and the remote loses
        // what it has not read.
        true
    }
}

/// A transport of messages.
pub(super) struct Messages<T>(pub(super) T);

impl<T: FramedTransport> Carrier for Messages<T> {
    fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        take: &mut dyn FnMut(&[u8]),
    ) -> Poll<io::Result<bool>> {
        let message = ready!(self.0.poll_receive(cx))?;
        if let Some(message) = &message {
            take(message);
        }
        Poll::Ready(Ok(message.is_some()))
    }

    fn poll_put(&mut self, cx: &mut Context<'_>, output: &mut Bytes) -> Poll<io::Result<()>> {
        self.0.poll_send(cx, output)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush(cx)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_close(cx)
    }

    fn lingers(&self) -> bool {
        false
    }
}
