//! What Multibee replicators say to each other on a log's channel, by an extension that others
//! ignore.
//!
//! ```text
//! 01..0f  hello: the version, nothing else
//! 10      ask for a run: uint id, uint fork, uint start, uint depth, uint nodes
//! 11      a run: uint id, then the run as the log encodes it
//! ```
//!
//! A run is refused by a noData with its id, and taken back by a cancel.

use bytes::Bytes;
use multibee_log::compact::{Reader, put_uint};
use multibee_log::{DecodeError, ProofRun, RequestRun};

use crate::fault::PeerFault;
use crate::message::Message;

/// The extension's name.
pub(crate) const KIN_EXTENSION: &str = "multibee/replica";

/// Version 1 knows no runs.
pub(crate) const KIN_VERSION: u8 = 2;

/// A message of the extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KinMessage {
    /// The sender is Multibee, of this version of the extension.
    Hello { version: u8 },
    /// Asks for many neighbouring blocks.
    AskRun { id: u64, fork: u64, request: RequestRun },
    /// The answer.
    Run { id: u64, run: ProofRun },
}

impl KinMessage {
    pub(crate) fn encode(&self) -> Message {
        let mut out = Vec::new();
        match self {
            Self::Hello { version } => out.push(*version),
            Self::AskRun { id, fork, request } => {
                out.push(ASK_RUN);
                put_uint(&mut out, *id);
                put_uint(&mut out, *fork);
                put_uint(&mut out, request.start);
                put_uint(&mut out, u64::from(request.depth));
                put_uint(&mut out, request.nodes);
            }
            Self::Run { id, run } => {
                out.reserve(run.data.len() + 3 * run.lens.len() + 50 * run.nodes.len() + 64);
                out.push(RUN);
                put_uint(&mut out, *id);
                run.encode(&mut out);
            }
        }
        Message::Extension { name: KIN_EXTENSION.to_owned(), payload: out.into() }
    }

    /// Reads a message; `None` if it is of a kind that is not known.
    ///
    /// # Errors
    ///
    /// [`PeerFault::Decode`].
    pub(crate) fn decode(payload: &Bytes) -> Result<Option<Self>, PeerFault> {
        let Some((kind, body)) = payload.split_first() else { return Ok(None) };
        let read = |mut reader: Reader<'_>| {
            Ok(Some(match *kind {
                version @ 1..ASK_RUN => Self::Hello { version },
                ASK_RUN => {
                    let (id, fork, start) = (reader.uint()?, reader.uint()?, reader.uint()?);
                    let depth = u32::try_from(reader.uint()?).unwrap_or(u32::MAX);
                    let request = RequestRun { start, depth, nodes: reader.uint()? };
                    Self::AskRun { id, fork, request }
                }
                RUN => {
                    let id = reader.uint()?;
                    let run = ProofRun::decode(&payload.slice_ref(reader.rest()))?;
                    Self::Run { id, run }
                }
                _ => return Ok(None),
            }))
        };
        read(Reader::new(body)).map_err(|source: DecodeError| PeerFault::Decode {
            what: "message of Multibee's extension",
            source,
        })
    }
}

const ASK_RUN: u8 = 0x10;
const RUN: u8 = 0x11;

#[cfg(test)]
mod tests {
    use multibee_log::{Hash, Node};
    use proptest::prelude::*;

    use super::*;

    fn messages() -> impl Strategy<Value = KinMessage> {
        let number = || 0..1_u64 << 53;
        let node = (number(), number(), any::<[u8; 32]>()).prop_map(|(index, size, hash)| Node {
            index,
            size,
            hash: Hash::from_bytes(hash),
        });
        let ask = (number(), number(), number(), any::<u32>(), number());
        let blocks = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..9);
        let run = (number(), number(), number(), blocks, prop::collection::vec(node, 0..4));
        prop_oneof![
            (1..ASK_RUN).prop_map(|version| KinMessage::Hello { version }),
            ask.prop_map(|(id, fork, start, depth, nodes)| {
                KinMessage::AskRun { id, fork, request: RequestRun { start, depth, nodes } }
            }),
            run.prop_map(|(id, fork, start, blocks, nodes)| {
                let lens = blocks.iter().map(|block| block.len() as u64).collect();
                let run = ProofRun { fork, start, lens, data: blocks.concat().into(), nodes };
                KinMessage::Run { id, run }
            }),
        ]
    }

    proptest! {
        /// What is written reads back, and any other bytes are an error, an unknown kind, or a
        /// message; they never panic.
        #[test]
        fn messages_read_back(message in messages(), noise in prop::collection::vec(any::<u8>(), 0..40)) {
            let Message::Extension { payload, .. } = message.encode() else { panic!("no extension") };
            prop_assert_eq!(KinMessage::decode(&payload), Ok(Some(message)));
            for len in 0..payload.len() {
                drop(KinMessage::decode(&payload.slice(..len)));
            }
            drop(KinMessage::decode(&noise.into()));
        }
    }
}
