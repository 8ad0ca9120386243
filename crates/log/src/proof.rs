//! What a peer answers to a request, and its bytes on the wire (docs/spec/log.md sections 4.1 and 8).

use bytes::Bytes;

use crate::{
    compact::{Reader, put_buffer, put_uint},
    error::DecodeError,
    manifest::Manifest,
    node::{Node, put_nodes, read_nodes},
};

/// Parts of a log and the tree nodes that prove them. Absent parts are `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// The fork that the answerer is at.
    pub fork: u64,
    /// A block.
    pub block: Option<ProofBlock>,
    /// A tree node.
    pub hash: Option<ProofHash>,
    /// The way to a byte.
    pub seek: Option<ProofSeek>,
    /// A newer head.
    pub upgrade: Option<ProofUpgrade>,
    /// Who may sign the log.
    pub manifest: Option<Manifest>,
}

/// A block with its proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofBlock {
    /// The block's number.
    pub index: u64,
    /// The block.
    pub value: Bytes,
    /// Siblings on the way up.
    pub nodes: Vec<Node>,
}

/// A tree node with its proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofHash {
    /// The node's tree index.
    pub index: u64,
    /// The node itself, then siblings on the way up.
    pub nodes: Vec<Node>,
}

/// The node under which a byte is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofSeek {
    /// The byte's offset from the start of the log.
    pub bytes: u64,
    /// The node, then siblings on the way up.
    pub nodes: Vec<Node>,
}

/// A newer head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofUpgrade {
    /// The length from which the nodes lead on.
    pub start: u64,
    /// How many blocks `nodes` lead on.
    pub length: u64,
    /// From `start` to `start + length`.
    pub nodes: Vec<Node>,
    /// From there to the length that is signed.
    pub additional_nodes: Vec<Node>,
    /// The signature over the head, as stored (docs/spec/log.md section 2.6).
    pub signature: Bytes,
}

impl Proof {
    /// Appends the Data message that answers request `request_id`.
    pub fn encode(&self, request_id: u64, out: &mut Vec<u8>) {
        let flag = |set: bool, bit: u64| if set { bit } else { 0 };
        put_uint(
            out,
            flag(self.block.is_some(), BLOCK)
                | flag(self.hash.is_some(), HASH)
                | flag(self.seek.is_some(), SEEK)
                | flag(self.upgrade.is_some(), UPGRADE)
                | flag(self.manifest.is_some(), MANIFEST),
        );
        put_uint(out, request_id);
        put_uint(out, self.fork);
        if let Some(block) = &self.block {
            put_uint(out, block.index);
            put_buffer(out, &block.value);
            put_nodes(out, &block.nodes);
        }
        if let Some(hash) = &self.hash {
            put_uint(out, hash.index);
            put_nodes(out, &hash.nodes);
        }
        if let Some(seek) = &self.seek {
            put_uint(out, seek.bytes);
            put_nodes(out, &seek.nodes);
        }
        if let Some(upgrade) = &self.upgrade {
            put_uint(out, upgrade.start);
            put_uint(out, upgrade.length);
            put_nodes(out, &upgrade.nodes);
            put_nodes(out, &upgrade.additional_nodes);
            put_buffer(out, &upgrade.signature);
        }
        if let Some(manifest) = &self.manifest {
            manifest.put(out);
        }
    }

    /// Reads a Data message that is all of `bytes`: the request's id and the proof.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if it is cut, goes on, or has a flag that is not known.
    pub fn decode(bytes: &[u8]) -> Result<(u64, Self), DecodeError> {
        let mut reader = Reader::new(bytes);
        let flags = reader.uint()?;
        if flags & !(BLOCK | HASH | SEEK | UPGRADE | MANIFEST) != 0 {
            return Err(DecodeError::Unknown { what: "set of proof flags", value: flags });
        }
        let request_id = reader.uint()?;
        let has = |bit: u64| flags & bit != 0;
        let proof = Self {
            fork: reader.uint()?,
            block: has(BLOCK).then(|| ProofBlock::read(&mut reader)).transpose()?,
            hash: has(HASH).then(|| ProofHash::read(&mut reader)).transpose()?,
            seek: has(SEEK).then(|| ProofSeek::read(&mut reader)).transpose()?,
            upgrade: has(UPGRADE).then(|| ProofUpgrade::read(&mut reader)).transpose()?,
            manifest: has(MANIFEST).then(|| Manifest::read(&mut reader)).transpose()?,
        };
        reader.finish()?;
        Ok((request_id, proof))
    }
}

impl ProofBlock {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            index: reader.uint()?,
            value: Bytes::copy_from_slice(reader.buffer()?),
            nodes: read_nodes(reader)?,
        })
    }
}

impl ProofHash {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { index: reader.uint()?, nodes: read_nodes(reader)? })
    }
}

impl ProofSeek {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { bytes: reader.uint()?, nodes: read_nodes(reader)? })
    }
}

impl ProofUpgrade {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            start: reader.uint()?,
            length: reader.uint()?,
            nodes: read_nodes(reader)?,
            additional_nodes: read_nodes(reader)?,
            signature: Bytes::copy_from_slice(reader.buffer()?),
        })
    }
}

const BLOCK: u64 = 1;
const HASH: u64 = 2;
const SEEK: u64 = 4;
const UPGRADE: u64 = 8;
const MANIFEST: u64 = 16;

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::*;
    use crate::{keys::Hash, manifest::tests::manifest};

    fn nodes() -> impl Strategy<Value = Vec<Node>> {
        let node = (0..1_u64 << 53, 0..1_u64 << 53, any::<[u8; 32]>())
            .prop_map(|(index, size, hash)| Node { index, size, hash: Hash::from_bytes(hash) });
        vec(node, 0..5)
    }

    fn bytes() -> impl Strategy<Value = Bytes> {
        vec(any::<u8>(), 0..300).prop_map(Bytes::from)
    }

    prop_compose! {
        fn block()(index in 0..1_u64 << 50, value in bytes(), nodes in nodes()) -> ProofBlock {
            ProofBlock { index, value, nodes }
        }
    }

    prop_compose! {
        fn upgrade()(
            start in 0..300_u64, length in 0..1_u64 << 40, nodes in nodes(),
            additional_nodes in nodes(), signature in bytes(),
        ) -> ProofUpgrade {
            ProofUpgrade { start, length, nodes, additional_nodes, signature }
        }
    }

    prop_compose! {
        fn proof()(
            fork in 0..1_u64 << 53,
            block in option::of(block()),
            hash in option::of((0..1_u64 << 50, nodes())),
            seek in option::of((0..1_u64 << 50, nodes())),
            upgrade in option::of(upgrade()),
            manifest in option::of(manifest()),
        ) -> Proof {
            let hash = hash.map(|(index, nodes)| ProofHash { index, nodes });
            let seek = seek.map(|(bytes, nodes)| ProofSeek { bytes, nodes });
            Proof { fork, block, hash, seek, upgrade, manifest }
        }
    }

    proptest! {
        /// Every proof survives the wire; no proper beginning of the message is one, and nothing
        /// may follow it.
        #[test]
        fn proofs_survive(proof in proof(), id in 0..1_u64 << 53) {
            let mut wire = Vec::new();
            proof.encode(id, &mut wire);
            prop_assert_eq!(Proof::decode(&wire)?, (id, proof));
            for len in 0..wire.len() {
                prop_assert!(Proof::decode(&wire[..len]).is_err());
            }
            wire.push(0);
            prop_assert_eq!(Proof::decode(&wire), Err(DecodeError::Trailing { len: 1 }));
        }

        /// No bytes make the decoder panic.
        #[test]
        fn garbage_is_safe(flags in 0..32_u8, rest in vec(any::<u8>(), 0..200)) {
            let mut wire = vec![flags];
            wire.extend_from_slice(&rest);
            let _ = Proof::decode(&wire);
        }
    }
}
