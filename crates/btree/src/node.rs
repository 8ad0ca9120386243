use std::cmp::Ordering;
use std::ops::{Deref, Range};

use crate::block::Block;
use crate::entry::Entry;
use crate::error::{BlockFault, DecodeError};
use crate::few::Few;
use crate::limits::NODE_KEYS_MAX;
use crate::proto::{Fields, Varints};
use crate::records::Records;

/// One node of a stored tree, with the bytes of its keys at hand.
///
/// Immutable and complete in itself, so that a search touches no block and takes no lock: it names
/// its children by number. In a sparse log some keys may be unknown; such a node is good for one
/// search and is not kept.
#[derive(Debug)]
pub(crate) struct Node {
    key_seqs: Few<u64, NODE_KEYS_MAX>,
    /// Where each key ends in `key_bytes`; it begins where the one before it ends.
    key_ends: [u32; NODE_KEYS_MAX],
    /// Bit `i` is set if the bytes of key `i` are known.
    known: u8,
    key_bytes: KeyBytes,
    /// Empty in a leaf, otherwise one more than keys.
    kids: Box<[Kid]>,
    /// The entries of its keys, if they were read with it and are short. Apart from the node, since
    /// those that are being written have none.
    records: Option<Box<Records>>,
}

/// Room for the bytes of a node's keys. Where they are short, it is in the node itself, which saves
/// each search a wait for memory.
#[derive(Debug)]
enum KeyBytes {
    Here([u8; KEY_BYTES_HERE]),
    There(Box<[u8]>),
}

impl KeyBytes {
    fn zeroed(len: usize) -> Self {
        if len <= KEY_BYTES_HERE {
            Self::Here([0; KEY_BYTES_HERE])
        } else {
            Self::There(vec![0; len].into_boxed_slice())
        }
    }

    fn get(&self, range: Range<usize>) -> Option<&[u8]> {
        match self {
            Self::Here(bytes) => bytes.get(range),
            Self::There(bytes) => bytes.get(range),
        }
    }

    fn get_mut(&mut self, range: Range<usize>) -> Option<&mut [u8]> {
        match self {
            Self::Here(bytes) => bytes.get_mut(range),
            Self::There(bytes) => bytes.get_mut(range),
        }
    }
}

/// Where a node is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Kid {
    /// Number of the block.
    pub(crate) seq: u64,
    /// Level of that block's index.
    pub(crate) level: u64,
}

/// Where a key belongs in a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It is the key with this number.
    Key(usize),
    /// It lies before the key with this number, hence in the child with the same number.
    Gap(usize),
}

/// The numbers of the keys that would decide where a key belongs, were they all known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Undecided(pub(crate) Range<usize>);

/// A level as block numbers only: a node before its keys are looked up.
#[derive(Debug)]
pub(crate) struct Outline {
    pub(crate) key_seqs: Few<u64, NODE_KEYS_MAX>,
    pub(crate) kids: Box<[Kid]>,
}

impl Outline {
    /// Reads a level of block `seq` that is part of a tree.
    ///
    /// A node that is reached from a root names nothing newer than the block it is in. This, the
    /// number of keys and that of children are checked here, so whoever holds an outline or a node
    /// needn't.
    pub(crate) fn decode(seq: u64, level: &[u8]) -> Result<Self, BlockFault> {
        let mut key_seqs = Few::new();
        let mut children = Few::<u64, { 2 * NODE_KEYS_MAX + 2 }>::new();
        for field in Fields::new(level) {
            let field = field?;
            if !matches!(field.number, 1 | 2) {
                continue;
            }
            let is_keys = field.number == 1;
            for number in Varints::new(level.get(field.into_body()?).unwrap_or_default()) {
                let full = if is_keys { key_seqs.is_full() } else { children.is_full() };
                if full {
                    return Err(BlockFault::TooManyKeys { count: NODE_KEYS_MAX + 1 });
                }
                if is_keys { key_seqs.push(number?) } else { children.push(number?) }
            }
        }
        let (keys, numbers) = (key_seqs.len(), children.len());
        if numbers != 0 && (numbers != 2 * keys + 2 || keys == 0) {
            return Err(BlockFault::Children { keys, numbers });
        }
        let kids: Box<[Kid]> = children
            .chunks_exact(2)
            .filter_map(<[u64]>::first_chunk)
            .map(|&[seq, level]| Kid { seq, level })
            .collect();
        let newest = key_seqs.iter().copied().chain(kids.iter().map(|kid| kid.seq)).max();
        match newest {
            Some(newest) if newest > seq => Err(BlockFault::Forward { seq: newest }),
            _ => Ok(Self { key_seqs, kids }),
        }
    }

    /// Bytes of it and all it owns.
    pub(crate) fn weight(&self) -> u64 {
        (size_of::<Self>() + size_of_val::<[Kid]>(&self.kids)) as u64
    }
}

impl Node {
    /// A node of at most [`NODE_KEYS_MAX`] keys, each with its block number and, if known, its bytes.
    ///
    /// Fails if the keys do not ascend, or have 4 GiB.
    pub(crate) fn new<'a>(
        keys: impl Iterator<Item = (u64, Option<&'a [u8]>)> + Clone,
        kids: Box<[Kid]>,
    ) -> Result<Self, BlockFault> {
        let len = keys.clone().map(|(_, key)| key.map_or(0, <[u8]>::len)).sum();
        let mut key_bytes = KeyBytes::zeroed(len);
        let (mut key_seqs, mut key_ends, mut known) = (Few::new(), [0; NODE_KEYS_MAX], 0);
        let (mut before, mut at): (Option<&[u8]>, usize) = (None, 0);
        for ((seq, key), key_end) in keys.zip(&mut key_ends) {
            if let Some(key) = key {
                if before.is_some_and(|before| before >= key) {
                    return Err(BlockFault::Unordered);
                }
                before = Some(key);
                let end = at + key.len();
                if let Some(place) = key_bytes.get_mut(at..end) {
                    place.copy_from_slice(key);
                }
                at = end;
                known |= 1 << key_seqs.len();
            }
            *key_end = u32::try_from(at).map_err(|_| DecodeError::TooLong)?;
            key_seqs.push(seq);
        }
        Ok(Self { key_seqs, key_ends, known, key_bytes, kids, records: None })
    }

    /// The same node with the entries of its keys, which are in these blocks.
    pub(crate) fn with_records<R: Deref<Target = [u8]>>(self, blocks: &[Option<Block<R>>]) -> Self {
        Self { records: Records::new(blocks).map(Box::new), ..self }
    }

    /// What is stored under key number `i`, if that is known here.
    pub(crate) fn entry(&self, i: usize) -> Option<Entry> {
        self.records.as_ref()?.entry(i, *self.key_seqs.get(i)?)
    }

    pub(crate) fn key_seqs(&self) -> &[u64] {
        &self.key_seqs
    }

    /// The bytes of all known keys, one after the other.
    pub(crate) fn key_bytes(&self) -> &[u8] {
        let len = self.key_ends.into_iter().max().unwrap_or_default();
        self.key_bytes.get(0..len as usize).unwrap_or_default()
    }

    /// The block number of each key, and where it is in [`key_bytes`](Self::key_bytes).
    pub(crate) fn keys(&self) -> impl Iterator<Item = (u64, Range<u32>)> {
        let starts = std::iter::once(0).chain(self.key_ends);
        let ranges = starts.zip(self.key_ends).map(|(start, end)| start..end);
        self.key_seqs.iter().copied().zip(ranges)
    }

    pub(crate) fn kids(&self) -> &[Kid] {
        &self.kids
    }

    /// Where child number `i` of an inner node is stored.
    pub(crate) fn kid(&self, i: usize) -> Kid {
        *self.kids.get(i).expect("an inner node has one child more than keys")
    }

    pub(crate) fn is_leaf(&self) -> bool {
        self.kids.is_empty()
    }

    /// Whether the bytes of all keys are known.
    pub(crate) fn is_whole(&self) -> bool {
        self.known.count_ones() as usize == self.key_seqs.len()
    }

    /// The bytes of key `i`, if known.
    pub(crate) fn key(&self, i: usize) -> Option<&[u8]> {
        if i >= NODE_KEYS_MAX || self.known & (1 << i) == 0 {
            return None;
        }
        let start = if i == 0 { 0 } else { *self.key_ends.get(i - 1)? };
        self.key_bytes.get(start as usize..*self.key_ends.get(i)? as usize)
    }

    /// The blocks of the keys whose bytes are not known.
    pub(crate) fn unknown_seqs(&self) -> impl Iterator<Item = u64> {
        let keys = self.key_seqs.iter().enumerate();
        keys.filter(|(i, _)| self.key(*i).is_none()).map(|(_, seq)| *seq)
    }

    /// Finds where `key` belongs. Allocates nothing.
    pub(crate) fn search(&self, key: &[u8]) -> Result<Place, Undecided> {
        let (mut low, mut high) = (0, self.key_seqs.len());
        while low < high {
            let middle = (low + high) / 2;
            let Some(found) = self.key(middle) else {
                return self.narrow(low, high, key);
            };
            match key.cmp(found) {
                Ordering::Less => high = middle,
                Ordering::Equal => return Ok(Place::Key(middle)),
                Ordering::Greater => low = middle + 1,
            }
        }
        Ok(Place::Gap(low))
    }

    /// Goes on where a probe met an unknown key: the known ones may still narrow it down, or decide.
    fn narrow(&self, low: usize, high: usize, key: &[u8]) -> Result<Place, Undecided> {
        let mut undecided = low..high;
        for i in low..high {
            match self.key(i).map(|found| key.cmp(found)) {
                None => {}
                Some(Ordering::Greater) => undecided.start = i + 1,
                Some(Ordering::Equal) => return Ok(Place::Key(i)),
                Some(Ordering::Less) => {
                    undecided.end = i;
                    break;
                }
            }
        }
        if undecided.is_empty() {
            Ok(Place::Gap(undecided.start))
        } else {
            Err(Undecided(undecided))
        }
    }

    /// Bytes of the node and all it owns.
    pub(crate) fn weight(&self) -> u64 {
        let keys = match &self.key_bytes {
            KeyBytes::Here(_) => 0,
            KeyBytes::There(bytes) => bytes.len(),
        };
        let records = self.records.as_ref().map_or(0, |records| records.weight());
        (size_of::<Self>() + keys + records + size_of_val::<[Kid]>(&self.kids)) as u64
    }
}

/// As many bytes as a full node's keys of 16 bytes have.
const KEY_BYTES_HERE: usize = 16 * NODE_KEYS_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    fn node(keys: &[Option<&str>]) -> Node {
        let keys = keys.iter().map(|key| (1, key.map(str::as_bytes)));
        Node::new(keys, Box::default()).expect("the keys ascend")
    }

    /// Every key and every gap between keys is found, also when some keys are unknown but the known
    /// ones decide.
    #[test]
    fn finds_keys_and_gaps() {
        let whole = node(&[Some("b"), Some("d"), Some("dd"), Some("f")]);
        for (key, place) in [
            ("", Place::Gap(0)),
            ("b", Place::Key(0)),
            ("c", Place::Gap(1)),
            ("dc", Place::Gap(2)),
            ("dd", Place::Key(2)),
            ("f", Place::Key(3)),
            ("g", Place::Gap(4)),
        ] {
            assert_eq!(whole.search(key.as_bytes()), Ok(place), "{key}");
        }
        let partial = node(&[Some("b"), Some("d"), None, Some("f")]);
        assert!(whole.is_whole() && !partial.is_whole());
        assert_eq!(partial.search(b"b"), Ok(Place::Key(0)));
        assert_eq!(partial.search(b"c"), Ok(Place::Gap(1)));
        assert_eq!(partial.search(b"dd"), Err(Undecided(2..3)));
        assert_eq!(partial.search(b"f"), Ok(Place::Key(3)));
        assert_eq!(node(&[None, None, Some("f")]).search(b"g"), Ok(Place::Gap(3)));
        assert_eq!(node(&[None, None, Some("f")]).search(b"a"), Err(Undecided(0..2)));
    }

    /// Keys that do not strictly ascend are refused, known or not.
    #[test]
    fn disorder_is_refused() {
        for keys in [[Some("b"), Some("b")], [Some("c"), Some("b")]] {
            let keys = keys.iter().map(|key| (1, key.map(str::as_bytes)));
            assert_eq!(Node::new(keys, Box::default()).map(|_| ()), Err(BlockFault::Unordered));
        }
    }

    /// A level that no writer makes is refused: too many keys, a wrong number of children, pointers
    /// to what did not exist yet.
    #[test]
    fn unsound_levels_are_refused() {
        let fault = |keys: &[u8], children: &[u8]| {
            let mut level = Vec::new();
            let numbers = |list: &[u8]| list.iter().map(|n| u64::from(*n)).collect::<Vec<_>>();
            let (keys, children) = (numbers(keys), numbers(children));
            crate::block::encode_level(&mut level, keys.iter().copied(), children.iter().copied());
            Outline::decode(9, &level[2..]).err()
        };
        assert_eq!(fault(&[], &[]), None);
        assert_eq!(fault(&[9], &[9, 1, 3, 0]), None);
        assert_eq!(fault(&[1; 9], &[]), Some(BlockFault::TooManyKeys { count: 9 }));
        assert_eq!(fault(&[10], &[]), Some(BlockFault::Forward { seq: 10 }));
        assert_eq!(fault(&[1], &[10, 0, 1, 0]), Some(BlockFault::Forward { seq: 10 }));
        for children in [&[1, 0][..], &[1, 0, 1], &[1, 0, 1, 0, 1, 0]] {
            let numbers = children.len();
            assert_eq!(fault(&[1], children), Some(BlockFault::Children { keys: 1, numbers }));
        }
        assert_eq!(fault(&[], &[1, 0]), Some(BlockFault::Children { keys: 0, numbers: 2 }));
    }
}
