//! An encrypted, authenticated stream of messages over any byte stream (docs/spec/wire.md section 2).

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::capability::keyed_hash;
use crate::fault::PeerFault;
use crate::frame::{FrameReader, put_length};
use crate::limits::{FRAME_LEN_MAX, HANDSHAKE_FRAME_LEN_MAX, HEADER_FRAME_LEN, PLAINTEXT_LEN_MAX};
use crate::noise::{NoiseHandshake, Pattern, StaticKeys};
use crate::secretstream::{self, HEADER_LEN, Pull, Push, Tag};

/// Which end of a connection a side is. Over TCP the initiator is by custom who connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Sends the first message of the handshake.
    Initiator,
    /// Waits for it.
    Responder,
}

impl Role {
    /// The role of the other end.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::Initiator => Self::Responder,
            Self::Responder => Self::Initiator,
        }
    }
}

/// The randomness of one connection: an ephemeral key and the header of the secret stream.
///
/// Using one twice with the same static keys gives both connections the same keystream.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct EphemeralSource {
    ephemeral_seed: [u8; 32],
    header: [u8; HEADER_LEN],
}

impl EphemeralSource {
    /// Derives both from a seed, which must be new for each connection.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let header = keyed_hash(&seed, &[b"multibee secret stream header"]);
        let header = *header.first_chunk().expect("32 is more than 24");
        Self::from_parts(keyed_hash(&seed, &[b"multibee ephemeral key"]), header)
    }

    /// Takes both as they are: for replaying recorded connections.
    #[must_use]
    pub fn from_parts(ephemeral_seed: [u8; 32], header: [u8; HEADER_LEN]) -> Self {
        Self { ephemeral_seed, header }
    }

    /// The header alone, for a stream whose keys came from elsewhere.
    pub(crate) fn header(&self) -> [u8; HEADER_LEN] {
        self.header
    }
}

impl std::fmt::Debug for EphemeralSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EphemeralSource").finish_non_exhaustive()
    }
}

/// What a Noise handshake gives both sides.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SessionKeys {
    /// Encrypts what we send.
    pub tx: [u8; 32],
    /// Decrypts what we receive.
    pub rx: [u8; 32],
    /// The same on both sides and different for each connection.
    pub hash: [u8; 64],
    /// The public key that the remote has proven to hold.
    pub remote_static: [u8; 32],
}

impl std::fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionKeys")
            .field("remote_static", &self.remote_static)
            .finish_non_exhaustive()
    }
}

/// The public outcome of a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The same on both sides and different for each connection. Capabilities are bound to it.
    pub hash: [u8; 64],
    /// The public key that the remote has proven to hold. Says nothing unless it is on a list.
    pub remote_static: [u8; 32],
}

/// Why something cannot be sent. The caller's fault.
#[expect(missing_docs, reason = "each variant's message names its fields")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The handshake has not got far enough; [`SecureStream::handshake`] tells.
    #[error("the handshake is not done")]
    NotReady,
    /// No frame can be that long. Lengths are in bytes.
    #[error("message of {len} bytes where at most {limit} are allowed")]
    TooLong { len: usize, limit: usize },
}

/// One end of an encrypted connection, without the connection: bytes in, bytes out.
///
/// After every other call, **drain [`poll_transmit`](Self::poll_transmit)**; after
/// [`receive`](Self::receive) also [`poll_plaintext`](Self::poll_plaintext). A fault is final:
/// every later call that can fail returns the same one.
///
/// The end of the byte stream is not authenticated, so it never means that all was received.
#[derive(Debug)]
pub struct SecureStream {
    role: Role,
    header: [u8; HEADER_LEN],
    input: FrameReader,
    phase: Phase,
    handshake: Option<Handshake>,
    push: Option<Push>,
    output: VecDeque<Bytes>,
    /// Bytes in `output`.
    output_len: usize,
}

#[derive(Debug)]
enum Phase {
    Noise(Box<NoiseHandshake>),
    /// Our header is sent, the remote's is awaited.
    Header {
        rx: Zeroizing<[u8; 32]>,
    },
    Messages(Pull),
    Failed(PeerFault),
}

impl SecureStream {
    /// Starts a connection with a Noise XX handshake.
    #[must_use]
    pub fn new(role: Role, keys: &StaticKeys, ephemeral: EphemeralSource) -> Self {
        let noise = NoiseHandshake::new(Pattern::Xx, role, keys, ephemeral.ephemeral_seed, None);
        let mut stream = Self::in_phase(role, ephemeral.header, Phase::Noise(Box::new(noise)));
        if role == Role::Initiator {
            // Nothing of the remote is in the first message, so it cannot be at fault yet.
            stream.step_noise(None).expect("the first message needs no key of the remote");
        }
        stream
    }

    /// Starts a connection whose keys were agreed on elsewhere: only the headers are exchanged.
    /// `header` must be new for each connection.
    #[must_use]
    pub fn with_keys(role: Role, keys: &SessionKeys, header: [u8; HEADER_LEN]) -> Self {
        let mut stream =
            Self::in_phase(role, header, Phase::Header { rx: Zeroizing::new(keys.rx) });
        stream.start_messages(keys);
        stream
    }

    fn in_phase(role: Role, header: [u8; HEADER_LEN], phase: Phase) -> Self {
        Self {
            role,
            header,
            input: FrameReader::default(),
            phase,
            handshake: None,
            push: None,
            output: VecDeque::new(),
            output_len: 0,
        }
    }

    /// Our end of the connection.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// The outcome of the handshake, from when on messages can be sent and capabilities computed.
    #[must_use]
    pub fn handshake(&self) -> Option<&Handshake> {
        self.handshake.as_ref()
    }

    /// Whether the remote's header has been checked too, so that it provably finished as well.
    #[must_use]
    pub fn is_established(&self) -> bool {
        matches!(self.phase, Phase::Messages(_))
    }

    /// Takes bytes of the remote, cut however they come.
    ///
    /// # Errors
    ///
    /// A fault of the handshake. Those of messages come from [`Self::poll_plaintext`].
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), PeerFault> {
        if let Phase::Failed(fault) = &self.phase {
            return Err(fault.clone());
        }
        self.input.push(bytes);
        let stepped = self.step_handshake();
        stepped.map_err(|fault| self.fail(fault))
    }

    /// Decrypts the next message that is wholly there. Keepalives are left out.
    ///
    /// # Errors
    ///
    /// A message that does not authenticate, or an earlier fault.
    pub fn poll_plaintext(&mut self) -> Result<Option<Bytes>, PeerFault> {
        let next = match &mut self.phase {
            Phase::Noise(_) | Phase::Header { .. } => return Ok(None),
            Phase::Failed(fault) => return Err(fault.clone()),
            Phase::Messages(pull) => next_message(&mut self.input, pull),
        };
        next.map_err(|fault| self.fail(fault))
    }

    /// Encrypts a message.
    ///
    /// # Errors
    ///
    /// [`SendError::NotReady`] before [`Self::handshake`] is there, [`SendError::TooLong`] above
    /// 16,777,198 bytes.
    pub fn send(&mut self, plaintext: &[u8]) -> Result<(), SendError> {
        if plaintext.len() > PLAINTEXT_LEN_MAX {
            let len = plaintext.len();
            return Err(SendError::TooLong { len, limit: PLAINTEXT_LEN_MAX });
        }
        let push = self.push.as_mut().ok_or(SendError::NotReady)?;
        let body_len = plaintext.len() + secretstream::OVERHEAD_LEN;
        let mut frame = BytesMut::with_capacity(LENGTH_LEN + body_len);
        put_length(body_len, &mut frame);
        push.seal(Tag::MESSAGE, plaintext, &mut frame);
        self.transmit(frame);
        Ok(())
    }

    /// Sends a message that the remote drops. Does nothing before messages can be sent.
    pub fn send_keepalive(&mut self) {
        match self.send(&[]) {
            Ok(()) | Err(SendError::NotReady) => {}
            Err(SendError::TooLong { .. }) => unreachable!("an empty message is not too long"),
        }
    }

    /// Gives back the memory that only a busy connection needs.
    pub(crate) fn rest(&mut self) {
        self.input.rest();
        if self.output.is_empty() {
            self.output = VecDeque::new();
        }
    }

    /// Takes the next bytes to write to the connection.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        let bytes = self.output.pop_front()?;
        self.output_len -= bytes.len();
        Some(bytes)
    }

    /// Bytes that wait for [`Self::poll_transmit`].
    #[must_use]
    pub fn transmit_len(&self) -> usize {
        self.output_len
    }

    fn transmit(&mut self, frame: BytesMut) {
        self.output_len += frame.len();
        self.output.push_back(frame.freeze());
    }

    fn fail(&mut self, fault: PeerFault) -> PeerFault {
        self.phase = Phase::Failed(fault.clone());
        self.push = None;
        fault
    }

    fn step_handshake(&mut self) -> Result<(), PeerFault> {
        loop {
            let limit = match &self.phase {
                Phase::Noise(_) => HANDSHAKE_FRAME_LEN_MAX,
                Phase::Header { .. } => HEADER_FRAME_LEN,
                Phase::Messages(_) | Phase::Failed(_) => return Ok(()),
            };
            let Some(frame) = self.input.next_frame(limit)? else {
                return Ok(());
            };
            if let Phase::Header { rx } = &self.phase {
                let rx = rx.clone();
                self.check_header(&frame, &rx)?;
            } else {
                self.step_noise(Some(&frame))?;
            }
        }
    }

    /// Reads a message of the handshake, if there is one, and writes all that are then due.
    fn step_noise(&mut self, received: Option<&[u8]>) -> Result<(), PeerFault> {
        let Phase::Noise(noise) = &mut self.phase else {
            return Ok(());
        };
        if let Some(message) = received {
            // Payloads are allowed and mean nothing here.
            noise.read(message)?;
        }
        let written = if noise.is_my_turn() { Some(noise.write(&[])?) } else { None };
        let keys = noise.session_keys();
        if let Some(message) = written {
            let mut frame = BytesMut::new();
            put_length(message.len(), &mut frame);
            frame.extend_from_slice(&message);
            self.transmit(frame);
        }
        if let Some(keys) = keys {
            self.phase = Phase::Header { rx: Zeroizing::new(keys.rx) };
            self.start_messages(&keys);
        }
        Ok(())
    }

    /// Sends our header, after which we may send messages.
    fn start_messages(&mut self, keys: &SessionKeys) {
        let mut frame = BytesMut::new();
        put_length(HEADER_FRAME_LEN, &mut frame);
        frame.extend_from_slice(&stream_id(&keys.hash, self.role));
        frame.extend_from_slice(&self.header);
        self.transmit(frame);
        self.push = Some(Push::new(&keys.tx, &self.header));
        self.handshake = Some(Handshake { hash: keys.hash, remote_static: keys.remote_static });
    }

    fn check_header(&mut self, frame: &[u8], rx: &[u8; 32]) -> Result<(), PeerFault> {
        let wrong_length = || PeerFault::HeaderLength { len: frame.len() };
        let (claimed, header) = frame.split_first_chunk::<32>().ok_or_else(wrong_length)?;
        let header = header.try_into().map_err(|_| wrong_length())?;
        let handshake = self.handshake.as_ref().expect("headers come after the handshake");
        let expected = stream_id(&handshake.hash, self.role.opposite());
        if !bool::from(expected.ct_eq(claimed)) {
            return Err(PeerFault::StreamId);
        }
        self.phase = Phase::Messages(Pull::new(rx, header));
        Ok(())
    }
}

fn next_message(input: &mut FrameReader, pull: &mut Pull) -> Result<Option<Bytes>, PeerFault> {
    while let Some(body) = input.next_frame(FRAME_LEN_MAX)? {
        let (_, message) = pull.open(body)?;
        if !message.is_empty() {
            return Ok(Some(message));
        }
    }
    Ok(None)
}

/// Names the direction of `sender` on the connection with this handshake hash.
fn stream_id(handshake_hash: &[u8; 64], sender: Role) -> [u8; 32] {
    let namespace = match sender {
        Role::Initiator => &STREAM_INITIATOR,
        Role::Responder => &STREAM_RESPONDER,
    };
    keyed_hash(handshake_hash, &[namespace])
}

const LENGTH_LEN: usize = 3;

/// `H( H("hyperswarm/secret-stream") || 0 )` and `|| 1`, as the constants vectors have them.
const STREAM_INITIATOR: [u8; 32] = [
    0xa9, 0x31, 0xa0, 0x15, 0x5b, 0x5c, 0x09, 0xe6, 0xd2, 0x86, 0x28, 0x23, 0x6a, 0xf8, 0x3c, 0x4b,
    0x8a, 0x6a, 0xf9, 0xaf, 0x60, 0x98, 0x6e, 0xde, 0xed, 0xe9, 0xdc, 0x5d, 0x63, 0x19, 0x2b, 0xf7,
];
const STREAM_RESPONDER: [u8; 32] = [
    0x74, 0x2c, 0x9d, 0x83, 0x3d, 0x43, 0x0a, 0xf4, 0xc4, 0x8a, 0x87, 0x05, 0xe9, 0x16, 0x31, 0xee,
    0xcf, 0x29, 0x54, 0x42, 0xbb, 0xca, 0x18, 0x99, 0x6e, 0x59, 0x70, 0x97, 0x72, 0x3b, 0x10, 0x61,
];
