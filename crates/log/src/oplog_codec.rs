//! The bytes of the oplog: frames, headers and entries. Pure.
//!
//! ```text
//! frame   u32 crc, u32 word, payload; word = payload length << 2 | partial << 1 | header bit;
//!         crc = CRC-32 (IEEE) over word and payload
//! header  version 1: 01, flags (1 external, 2 manifest, 4 key pair), key[32], [manifest],
//!         [buf public key, buf secret key], array (str, buf) user data,
//!         uint fork, uint length, buf tree hash, buf signature,
//!         array (uint from, uint to, uint ancestors) reorgs, uint contiguous length
//!         external: 01, flags, uint start, uint length, which name bytes of the part `Header`
//! entry   flags (1 user data, 2 nodes, 4 upgrade, 8 bitfield), then those present:
//!         str key, buf value | array node | uint fork, uint ancestors, uint length, buf signature
//!         | byte drop, uint start, uint length
//! ```

use bytes::Bytes;
use zeroize::Zeroizing;

use crate::compact::{self, Reader};
use crate::error::DecodeError;
use crate::keys::{Hash, LogKey};
use crate::limits::{REORGS_READ_MAX, USER_DATA_ITEMS_MAX};
use crate::manifest::Manifest;
use crate::node::{NODE_LEN_MAX, Node, put_nodes, read_nodes};

/// The version of headers that are written, and the last that is read.
pub(crate) const HEADER_VERSION: u64 = 1;

/// Bytes of a frame before its payload.
pub(crate) const FRAME_HEAD_LEN: usize = 8;

/// One frame of the oplog whose checksum is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) header_bit: bool,
    pub(crate) partial: bool,
    pub(crate) payload: &'a [u8],
}

/// Appends a frame around `payload`.
pub(crate) fn put_frame(out: &mut Vec<u8>, payload: &[u8], header_bit: bool) {
    put_frame_with(out, header_bit, false, |out| out.extend_from_slice(payload));
}

/// Appends a frame around what `put` appends.
pub(crate) fn put_frame_with(
    out: &mut Vec<u8>,
    header_bit: bool,
    partial: bool,
    put: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_HEAD_LEN]);
    put(out);
    let Some((head, payload)) =
        out.get_mut(start..).and_then(|frame| frame.split_first_chunk_mut::<FRAME_HEAD_LEN>())
    else {
        return;
    };
    let len = u32::try_from(payload.len()).expect("payloads are limited to less than 1 GiB");
    assert!(len < 1 << 30, "a frame's length has 30 bits");
    let word = (len << 2 | u32::from(partial) << 1 | u32::from(header_bit)).to_le_bytes();
    let mut crc = crc32fast::Hasher::new();
    crc.update(&word);
    crc.update(payload);
    let (to_crc, to_word) = head.split_at_mut(4);
    to_crc.copy_from_slice(&crc.finalize().to_le_bytes());
    to_word.copy_from_slice(&word);
}

/// Returns the payload length that the first eight bytes of a frame promise.
pub(crate) fn frame_payload_len(head: [u8; FRAME_HEAD_LEN]) -> u64 {
    let [_, _, _, _, a, b, c, d] = head;
    u64::from(u32::from_le_bytes([a, b, c, d]) >> 2)
}

/// Takes the frame off the front of `bytes`, or returns `None` if there is no whole, sound one.
pub(crate) fn parse_frame(bytes: &[u8]) -> Option<Frame<'_>> {
    let (&[c0, c1, c2, c3, w0, w1, w2, w3], rest) = bytes.split_first_chunk()?;
    let word = [w0, w1, w2, w3];
    let bits = u32::from_le_bytes(word);
    let payload = rest.get(..usize::try_from(bits >> 2).ok()?)?;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&word);
    crc.update(payload);
    let sound = crc.finalize() == u32::from_le_bytes([c0, c1, c2, c3]);
    sound.then_some(Frame { header_bit: bits & 1 != 0, partial: bits & 2 != 0, payload })
}

/// What a header slot holds.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Slot {
    Inline(Box<Header>),
    /// The header is these bytes of the part `Header`.
    External {
        start: u64,
        length: u64,
    },
}

/// The state of a log when its entries were last moved to their places.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) key: LogKey,
    pub(crate) manifest: Option<Manifest>,
    pub(crate) key_pair: Option<HeaderKeyPair>,
    pub(crate) user_data: Vec<(String, Bytes)>,
    pub(crate) fork: u64,
    pub(crate) length: u64,
    /// `None` when nothing is stored, as at length 0.
    pub(crate) tree_hash: Option<Hash>,
    /// Empty when there is none.
    pub(crate) signature: Bytes,
    pub(crate) reorgs: Vec<Reorg>,
    /// Untrusted: may be too long.
    pub(crate) contiguous_length: u64,
}

/// The key pair as Hypercore keeps it. Never printed: the secret may be in it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct HeaderKeyPair {
    pub(crate) public_key: [u8; 32],
    /// Seed and public key. `None` in logs that this crate made.
    pub(crate) secret_key: Option<Zeroizing<[u8; 64]>>,
}

/// A note that the log was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reorg {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) ancestors: u64,
}

/// Notes on cuts that are kept.
const REORGS_MAX: usize = 4;

impl Reorg {
    /// Adds the note to those kept, as Hypercore does.
    pub(crate) fn note_in(self, reorgs: &mut Vec<Self>) {
        while reorgs.last().is_some_and(|reorg| reorg.ancestors > self.ancestors) {
            reorgs.pop();
        }
        if reorgs.len() >= REORGS_MAX {
            reorgs.drain(..=reorgs.len() - REORGS_MAX);
        }
        reorgs.push(self);
    }
}

const FLAG_EXTERNAL: u64 = 1;
const FLAG_MANIFEST: u64 = 2;
const FLAG_KEY_PAIR: u64 = 4;

impl Slot {
    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        match self {
            Self::Inline(header) => header.encode(),
            Self::External { start, length } => {
                let mut out = Zeroizing::new(Vec::with_capacity(24));
                compact::put_uint(&mut out, HEADER_VERSION);
                compact::put_uint(&mut out, FLAG_EXTERNAL);
                compact::put_uint(&mut out, *start);
                compact::put_uint(&mut out, *length);
                out
            }
        }
    }

    pub(crate) fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        if reader.uint()? == HEADER_VERSION && reader.uint()? & FLAG_EXTERNAL != 0 {
            return Ok(Self::External { start: reader.uint()?, length: reader.uint()? });
        }
        Ok(Self::Inline(Box::new(Header::decode(payload)?)))
    }
}

impl Header {
    /// A header that knows nothing of a log but its key.
    pub(crate) fn empty(key: LogKey) -> Self {
        Self {
            key,
            manifest: None,
            key_pair: None,
            user_data: Vec::new(),
            fork: 0,
            length: 0,
            tree_hash: None,
            signature: Bytes::new(),
            reorgs: Vec::new(),
            contiguous_length: 0,
        }
    }

    /// Encodes as version 1. Wiped when dropped, since a secret key may be among the bytes.
    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        // Large enough not to be moved while the secret is in it.
        let user_data_len: usize = self.user_data.iter().map(|(k, v)| k.len() + v.len() + 18).sum();
        let mut out = Zeroizing::new(Vec::with_capacity(4096 + user_data_len));
        compact::put_uint(&mut out, HEADER_VERSION);
        let manifest = if self.manifest.is_some() { FLAG_MANIFEST } else { 0 };
        let key_pair = if self.key_pair.is_some() { FLAG_KEY_PAIR } else { 0 };
        compact::put_uint(&mut out, manifest | key_pair);
        out.extend_from_slice(self.key.as_bytes());
        if let Some(manifest) = &self.manifest {
            out.extend_from_slice(&manifest.encode());
        }
        if let Some(pair) = &self.key_pair {
            compact::put_buffer(&mut out, &pair.public_key);
            compact::put_buffer(&mut out, pair.secret_key.as_ref().map_or(&[], |key| &key[..]));
        }
        compact::put_uint(&mut out, self.user_data.len() as u64);
        for (key, value) in &self.user_data {
            compact::put_string(&mut out, key);
            compact::put_buffer(&mut out, value);
        }
        compact::put_uint(&mut out, self.fork);
        compact::put_uint(&mut out, self.length);
        compact::put_buffer(&mut out, self.tree_hash.as_ref().map_or(&[], |hash| hash.as_bytes()));
        compact::put_buffer(&mut out, &self.signature);
        compact::put_uint(&mut out, self.reorgs.len() as u64);
        for reorg in &self.reorgs {
            compact::put_uint(&mut out, reorg.from);
            compact::put_uint(&mut out, reorg.to);
            compact::put_uint(&mut out, reorg.ancestors);
        }
        compact::put_uint(&mut out, self.contiguous_length);
        out
    }

    /// Decodes version 0 or 1.
    ///
    /// # Errors
    ///
    /// [`DecodeError::UnsupportedVersion`] for later versions, so that they can be told from damage.
    pub(crate) fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        match reader.uint()? {
            0 => Self::decode_version_0(&mut reader),
            HEADER_VERSION => Self::decode_version_1(&mut reader),
            version => Err(DecodeError::UnsupportedVersion { version }),
        }
    }

    fn decode_version_1(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let flags = reader.uint()?;
        let key = LogKey::from_bytes(reader.fixed()?);
        let manifest =
            if flags & FLAG_MANIFEST != 0 { Some(Manifest::read(reader)?) } else { None };
        let key_pair = if flags & FLAG_KEY_PAIR != 0 { HeaderKeyPair::read(reader)? } else { None };
        let user_data = read_user_data(reader)?;
        let (fork, length, tree_hash, signature) = read_tree(reader)?;
        let reorgs = read_reorgs(reader)?;
        let contiguous_length = reader.uint()?;
        Ok(Self {
            key,
            manifest,
            key_pair,
            user_data,
            fork,
            length,
            tree_hash,
            signature,
            reorgs,
            contiguous_length,
        })
    }

    /// Reads a header from before Hypercore 10.5: the key is the public key.
    fn decode_version_0(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        for _type_of_tree_bitfield_and_signer in 0..3 {
            reader.string()?;
        }
        let user_data = read_user_data(reader)?;
        let (fork, length, tree_hash, signature) = read_tree(reader)?;
        let key_pair = HeaderKeyPair::read(reader)?;
        let reorgs = read_reorgs(reader)?;
        let contiguous_length = if reader.remaining() == 0 { 0 } else { reader.uint()? };
        let public_key = key_pair.as_ref().map(|pair| pair.public_key);
        let public_key = public_key.ok_or(DecodeError::Invalid { what: "header without a key" })?;
        Ok(Self {
            key: LogKey::from_bytes(public_key),
            manifest: Some(Manifest::single_version_0(public_key)),
            key_pair,
            user_data,
            fork,
            length,
            tree_hash,
            signature,
            reorgs,
            contiguous_length,
        })
    }
}

impl HeaderKeyPair {
    fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, DecodeError> {
        let public_key = reader.buffer()?;
        let secret_key = reader.buffer()?;
        if public_key.is_empty() {
            return Ok(None);
        }
        let invalid = DecodeError::Invalid { what: "key pair of another length" };
        let Ok(public_key) = public_key.try_into() else {
            return Err(invalid);
        };
        let secret_key = match <[u8; 64]>::try_from(secret_key) {
            Ok(key) => Some(Zeroizing::new(key)),
            Err(_) if secret_key.is_empty() => None,
            Err(_) => return Err(invalid),
        };
        Ok(Some(Self { public_key, secret_key }))
    }
}

fn read_user_data(reader: &mut Reader<'_>) -> Result<Vec<(String, Bytes)>, DecodeError> {
    // Each takes far more memory than the two bytes it may be encoded in.
    at_most(reader, USER_DATA_ITEMS_MAX)?;
    reader.array(2, |reader| {
        let key = reader.string()?.to_owned();
        Ok((key, Bytes::copy_from_slice(reader.buffer()?)))
    })
}

type Tree = (u64, u64, Option<Hash>, Bytes);

fn read_tree(reader: &mut Reader<'_>) -> Result<Tree, DecodeError> {
    let fork = reader.uint()?;
    let length = reader.uint()?;
    let tree_hash = match reader.buffer()? {
        [] => None,
        bytes => {
            Some(Hash::try_from(bytes).map_err(|_| DecodeError::Invalid { what: "tree hash" })?)
        }
    };
    Ok((fork, length, tree_hash, Bytes::copy_from_slice(reader.buffer()?)))
}

fn read_reorgs(reader: &mut Reader<'_>) -> Result<Vec<Reorg>, DecodeError> {
    at_most(reader, REORGS_READ_MAX)?;
    reader.array(3, |reader| {
        let (from, to) = (reader.uint()?, reader.uint()?);
        Ok(Reorg { from, to, ancestors: reader.uint()? })
    })
}

/// Fails if the array that follows has more than `limit` items.
fn at_most(reader: &Reader<'_>, limit: usize) -> Result<(), DecodeError> {
    let mut ahead = *reader;
    let (value, limit) = (ahead.uint()?, limit as u64);
    if value > limit { Err(DecodeError::TooLarge { value, limit }) } else { Ok(()) }
}

/// One change of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Key and new value; an empty value removes the key.
    pub(crate) user_data: Option<(String, Bytes)>,
    /// An absent list and an empty one are written differently, and mean the same.
    pub(crate) nodes: Option<Vec<Node>>,
    pub(crate) upgrade: Option<EntryUpgrade>,
    pub(crate) bitfield: Option<EntryBitfield>,
}

/// A new head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntryUpgrade {
    pub(crate) fork: u64,
    /// Number of blocks that are the same as before.
    pub(crate) ancestors: u64,
    pub(crate) length: u64,
    pub(crate) signature: Bytes,
}

/// Blocks that are held from now on, or no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryBitfield {
    pub(crate) drop: bool,
    pub(crate) start: u64,
    pub(crate) length: u64,
}

const FLAG_USER_DATA: u64 = 1;
const FLAG_NODES: u64 = 2;
const FLAG_UPGRADE: u64 = 4;
const FLAG_BITFIELD: u64 = 8;

impl Entry {
    /// Most bytes that [`put`](Self::put) appends.
    pub(crate) fn len_max(&self) -> usize {
        let user_data = self.user_data.as_ref().map_or(0, |(key, value)| key.len() + value.len());
        let signature = self.upgrade.as_ref().map_or(0, |upgrade| upgrade.signature.len());
        128 + user_data + signature + self.nodes.as_ref().map_or(0, Vec::len) * NODE_LEN_MAX
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let flags = [
            (self.user_data.is_some(), FLAG_USER_DATA),
            (self.nodes.is_some(), FLAG_NODES),
            (self.upgrade.is_some(), FLAG_UPGRADE),
            (self.bitfield.is_some(), FLAG_BITFIELD),
        ];
        let flags = flags.iter().filter(|(is_there, _)| *is_there).map(|(_, flag)| flag).sum();
        compact::put_uint(out, flags);
        if let Some((key, value)) = &self.user_data {
            compact::put_string(out, key);
            compact::put_buffer(out, value);
        }
        if let Some(nodes) = &self.nodes {
            put_nodes(out, nodes);
        }
        if let Some(upgrade) = &self.upgrade {
            compact::put_uint(out, upgrade.fork);
            compact::put_uint(out, upgrade.ancestors);
            compact::put_uint(out, upgrade.length);
            compact::put_buffer(out, &upgrade.signature);
        }
        if let Some(bitfield) = &self.bitfield {
            out.push(u8::from(bitfield.drop));
            compact::put_uint(out, bitfield.start);
            compact::put_uint(out, bitfield.length);
        }
    }

    pub(crate) fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let flags = reader.uint()?;
        let mut entry = Self::default();
        if flags & FLAG_USER_DATA != 0 {
            let key = reader.string()?.to_owned();
            entry.user_data = Some((key, Bytes::copy_from_slice(reader.buffer()?)));
        }
        if flags & FLAG_NODES != 0 {
            entry.nodes = Some(read_nodes(&mut reader)?);
        }
        if flags & FLAG_UPGRADE != 0 {
            entry.upgrade = Some(EntryUpgrade {
                fork: reader.uint()?,
                ancestors: reader.uint()?,
                length: reader.uint()?,
                signature: Bytes::copy_from_slice(reader.buffer()?),
            });
        }
        if flags & FLAG_BITFIELD != 0 {
            let [drop] = reader.fixed()?;
            entry.bitfield = Some(EntryBitfield {
                drop: drop & 1 != 0,
                start: reader.uint()?,
                length: reader.uint()?,
            });
        }
        Ok(entry)
    }
}

#[cfg(test)]
mod tests;
