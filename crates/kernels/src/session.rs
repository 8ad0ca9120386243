//! Messages and encrypted frames.

use std::hint::black_box;

use anyhow::{Context, Result};
use bytes::Bytes;
use multibee_log::{Hash, Node, Proof, ProofBlock};
use multibee_replica::{Message, Role, SecureStream, SessionKeys};

use crate::kernel::{Kernel, Work};

pub(crate) const KERNELS: &[Kernel] = &[
    Kernel {
        name: "message-encode",
        what: "encode a block of 180 bytes with a proof of 8 nodes",
        operations: 20_000,
        prepare: |_| Ok(encode()),
    },
    Kernel {
        name: "message-decode",
        what: "decode that",
        operations: 20_000,
        prepare: |_| Ok(decode()),
    },
    Kernel {
        name: "frame-seal",
        what: "encrypt a message of 4096 bytes",
        operations: 2000,
        prepare: |_| seal(),
    },
    Kernel {
        name: "frame-open",
        what: "check and decrypt it",
        operations: 2000,
        prepare: |_| open(),
    },
];

fn message() -> Message {
    let node = |index: u64| Node { index, hash: Hash::from_bytes([0xa5; 32]), size: 180 << index };
    let value = Bytes::from_static(&[0x5a; 180]);
    let block = Some(ProofBlock { index: 70_000, value, nodes: (0..8).map(node).collect() });
    Message::Data { request: 1000, proof: Proof { block, ..Proof::default() } }
}

fn encode() -> Box<dyn Work> {
    let message = message();
    Box::new(move |count| {
        for _ in 0..count {
            black_box(black_box(&message).encode());
        }
        Ok(())
    })
}

fn decode() -> Box<dyn Work> {
    let message = message();
    let (ty, payload) = (message.ty(), Bytes::from(message.encode()));
    Box::new(move |count| {
        for _ in 0..count {
            black_box(Message::decode(ty, black_box(&payload))?);
        }
        Ok(())
    })
}

/// Two ends that have said hello.
fn ends() -> Result<[SecureStream; 2]> {
    let keys = |tx, rx| SessionKeys { tx, rx, hash: [3; 64], remote_static: [4; 32] };
    let mut ends = [
        SecureStream::with_keys(Role::Initiator, &keys([1; 32], [2; 32]), [5; 24]),
        SecureStream::with_keys(Role::Responder, &keys([2; 32], [1; 32]), [6; 24]),
    ];
    let [one, other] = &mut ends;
    while let Some(bytes) = one.poll_transmit() {
        other.receive(&bytes)?;
    }
    while let Some(bytes) = other.poll_transmit() {
        one.receive(&bytes)?;
    }
    anyhow::ensure!(one.is_established() && other.is_established(), "no connection");
    Ok(ends)
}

const PLAINTEXT: &[u8] = &[0x5a; 4096];

fn seal() -> Result<Box<dyn Work>> {
    let [mut sender, _] = ends()?;
    Ok(Box::new(move |count| {
        for _ in 0..count {
            sender.send(black_box(PLAINTEXT))?;
            black_box(sender.poll_transmit());
        }
        Ok(())
    }))
}

struct Open {
    sender: SecureStream,
    receiver: SecureStream,
    frames: Vec<Bytes>,
}

fn open() -> Result<Box<dyn Work>> {
    let [sender, receiver] = ends()?;
    Ok(Box::new(Open { sender, receiver, frames: Vec::new() }))
}

impl Work for Open {
    fn make_ready(&mut self, count: u64) -> Result<()> {
        self.frames.clear();
        for _ in 0..count {
            self.sender.send(PLAINTEXT)?;
            self.frames.push(self.sender.poll_transmit().context("a frame")?);
        }
        Ok(())
    }

    fn run(&mut self, _: u64) -> Result<()> {
        for frame in &self.frames {
            self.receiver.receive(frame)?;
            black_box(self.receiver.poll_plaintext()?.context("a message")?);
        }
        Ok(())
    }
}
