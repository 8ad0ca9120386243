//! A transport of messages, in memory and narrow.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use multibee_replica::{FramedTransport, Handshake, Role};

/// Messages of one direction that wait, at most.
const ROOM: usize = 2;

#[derive(Default)]
struct Lane {
    messages: VecDeque<Bytes>,
    is_closed: bool,
    wakers: Vec<Waker>,
}

impl Lane {
    fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

/// One end.
pub(crate) struct Pipe {
    role: Role,
    remote: u8,
    input: Arc<Mutex<Lane>>,
    output: Arc<Mutex<Lane>>,
}

/// An initiator whose static key is all 1, and a responder whose is all 2.
pub(crate) fn pipe() -> (Pipe, Pipe) {
    let (one, other) = (Arc::<Mutex<Lane>>::default(), Arc::<Mutex<Lane>>::default());
    let near = Pipe { role: Role::Initiator, remote: 2, input: one.clone(), output: other.clone() };
    let far = Pipe { role: Role::Responder, remote: 1, input: other, output: one };
    (near, far)
}

impl FramedTransport for Pipe {
    fn role(&self) -> Role {
        self.role
    }

    fn handshake(&self) -> Handshake {
        Handshake { hash: [5; 64], remote_static: [self.remote; 32] }
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        let mut lane = self.input.lock().unwrap();
        if let Some(message) = lane.messages.pop_front() {
            lane.wake();
            return Poll::Ready(Ok(Some(message)));
        }
        if lane.is_closed {
            return Poll::Ready(Ok(None));
        }
        lane.wakers.push(cx.waker().clone());
        Poll::Pending
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, message: &Bytes) -> Poll<io::Result<()>> {
        let mut lane = self.output.lock().unwrap();
        if lane.messages.len() >= ROOM {
            lane.wakers.push(cx.waker().clone());
            return Poll::Pending;
        }
        lane.messages.push_back(message.clone());
        lane.wake();
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut lane = self.output.lock().unwrap();
        lane.is_closed = true;
        lane.wake();
        if lane.messages.is_empty() {
            return Poll::Ready(Ok(()));
        }
        lane.wakers.push(cx.waker().clone());
        Poll::Pending
    }
}
