//! How a connection is set up, and what carries its frames.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;

use crate::fault::PeerFault;
use crate::limits::PLAINTEXT_LEN_MAX;
use crate::noise::StaticKeys;
use crate::secretstream::HEADER_LEN;
use crate::secure::{EphemeralSource, Handshake, Role, SecureStream, SessionKeys};

/// How a connection is set up: which end we are, who encrypts it, and where the remote is.
///
/// ```
/// use multibee_replica::{Link, Role};
///
/// let link = Link::noise(Role::Responder).from_address("192.0.2.7:49737".parse()?);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Debug)]
pub struct Link {
    role: Role,
    keying: Keying,
    address: Option<SocketAddr>,
}

#[derive(Debug)]
enum Keying {
    Noise,
    Keys(SessionKeys),
    Framed(Handshake),
}

impl Link {
    /// Over a byte stream that nobody has encrypted: begins with a Noise XX handshake, as
    /// Hypercore peers do over plain TCP (docs/spec/wire.md section 2.2).
    #[must_use]
    pub fn noise(role: Role) -> Self {
        Self { role, keying: Keying::Noise, address: None }
    }

    /// Over a byte stream for which keys were agreed on elsewhere, as by hyperdht: begins with the
    /// exchange of headers (docs/spec/wire.md section 2.5).
    ///
    /// The keys must be fresh: using them for two connections breaks the encryption of both.
    #[must_use]
    pub fn with_keys(role: Role, keys: SessionKeys) -> Self {
        Self { role, keying: Keying::Keys(keys), address: None }
    }

    /// Over something that delivers whole messages in order, and encrypts and authenticates them
    /// itself. Nothing precedes the first message.
    ///
    /// `handshake` is what that something has found out. Capabilities are bound to the hash: it must
    /// be the same at both ends, differ for each connection, and be out of a stranger's hands.
    #[must_use]
    pub fn framed(role: Role, handshake: Handshake) -> Self {
        Self { role, keying: Keying::Framed(handshake), address: None }
    }

    /// Adds where the remote is, for [`Admission`](crate::Admission) to see.
    #[must_use]
    pub fn from_address(self, address: SocketAddr) -> Self {
        Self { address: Some(address), ..self }
    }

    /// Our end.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The start of the connection. `seed` must be new for each.
    pub(crate) fn wire(self, keys: &StaticKeys, seed: [u8; 32]) -> Wire {
        let ephemeral = EphemeralSource::from_seed(seed);
        match self.keying {
            Keying::Noise => Wire::Stream(Box::new(SecureStream::new(self.role, keys, ephemeral))),
            Keying::Keys(session) => {
                let header: [u8; HEADER_LEN] = ephemeral.header();
                Wire::Stream(Box::new(SecureStream::with_keys(self.role, &session, header)))
            }
            Keying::Framed(handshake) => Wire::Framed(Framed::new(handshake)),
        }
    }
}

/// What takes the frames of a mux to the remote, and brings its own.
#[derive(Debug)]
pub(crate) enum Wire {
    /// A byte stream that we encrypt.
    Stream(Box<SecureStream>),
    /// A transport that encrypts by itself and keeps messages apart.
    Framed(Framed),
}

/// Messages on their way through a transport that needs nothing of us.
#[derive(Debug)]
pub(crate) struct Framed {
    handshake: Handshake,
    input: VecDeque<Bytes>,
    output: VecDeque<Bytes>,
    /// Bytes in `output`.
    output_len: usize,
}

impl Wire {
    /// What the handshake has found out, from when on frames can be sent.
    pub(crate) fn handshake(&self) -> Option<&Handshake> {
        match self {
            Self::Stream(stream) => stream.handshake(),
            Self::Framed(framed) => Some(&framed.handshake),
        }
    }

    /// Whether the remote has provably finished its part, too.
    pub(crate) fn is_established(&self) -> bool {
        match self {
            Self::Stream(stream) => stream.is_established(),
            Self::Framed(_) => true,
        }
    }

    /// Takes bytes of a stream, cut however they come, or one whole message.
    ///
    /// # Errors
    ///
    /// A fault of the handshake, or a message that is longer than any may be.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Result<(), PeerFault> {
        match self {
            Self::Stream(stream) => stream.receive(bytes),
            Self::Framed(framed) => framed.receive(bytes),
        }
    }

    /// The next frame that is wholly there.
    ///
    /// # Errors
    ///
    /// A frame that does not authenticate.
    pub(crate) fn poll_frame(&mut self) -> Result<Option<Bytes>, PeerFault> {
        match self {
            Self::Stream(stream) => stream.poll_plaintext(),
            Self::Framed(framed) => Ok(framed.input.pop_front()),
        }
    }

    /// Sends a frame, which no mux makes longer than a message may be, once the handshake is done.
    pub(crate) fn send(&mut self, frame: Bytes) {
        match self {
            Self::Stream(stream) => {
                stream.send(&frame).expect("the mux makes no frame longer than a message");
            }
            Self::Framed(framed) => framed.send(frame),
        }
    }

    /// Gives back the memory that only a busy connection needs.
    pub(crate) fn rest(&mut self) {
        if let Self::Stream(stream) = self {
            stream.rest();
        }
    }

    /// Sends a message that the remote drops, if any can be sent yet.
    pub(crate) fn send_keepalive(&mut self) {
        match self {
            Self::Stream(stream) => stream.send_keepalive(),
            Self::Framed(framed) => framed.send(Bytes::new()),
        }
    }

    /// The next bytes for the stream, or the next message for the transport.
    pub(crate) fn poll_transmit(&mut self) -> Option<Bytes> {
        match self {
            Self::Stream(stream) => stream.poll_transmit(),
            Self::Framed(framed) => {
                let message = framed.output.pop_front()?;
                framed.output_len -= message.len();
                Some(message)
            }
        }
    }

    /// Bytes that wait for [`Self::poll_transmit`].
    pub(crate) fn transmit_len(&self) -> usize {
        match self {
            Self::Stream(stream) => stream.transmit_len(),
            Self::Framed(framed) => framed.output_len,
        }
    }
}

impl Framed {
    fn new(handshake: Handshake) -> Self {
        Self { handshake, input: VecDeque::new(), output: VecDeque::new(), output_len: 0 }
    }

    fn receive(&mut self, message: &[u8]) -> Result<(), PeerFault> {
        let (len, limit) = (message.len(), PLAINTEXT_LEN_MAX);
        if len > limit {
            return Err(PeerFault::FrameTooLong { len, limit });
        }
        if len > 0 {
            self.input.push_back(Bytes::copy_from_slice(message));
        }
        Ok(())
    }

    fn send(&mut self, message: Bytes) {
        self.output_len += message.len();
        self.output.push_back(message);
    }
}
