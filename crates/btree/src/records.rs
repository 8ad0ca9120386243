use std::ops::Deref;

use bytes::Bytes;

use crate::block::Block;
use crate::entry::Entry;
use crate::limits::{NODE_KEYS_MAX, RECORDS_LEN_MAX};

/// What the blocks of a node's keys say, if that is short: in one piece of memory, so that whoever
/// reads entries side by side finds them all with the node.
#[derive(Debug)]
pub(crate) struct Records {
    bytes: Bytes,
    records: [Record; NODE_KEYS_MAX],
}

/// Where an entry is: key, value and extra follow each other. The limit lets all lengths fit.
#[derive(Clone, Copy, Debug, Default)]
struct Record {
    start: u16,
    key_len: u16,
    value_len: u16,
    extra_len: u16,
    has_value: bool,
}

impl Records {
    /// Copies what the blocks of all keys of a node say. `None` if a block is not there, or if
    /// together they are long: then whoever wants one entry would keep too much in memory.
    pub(crate) fn new<R: Deref<Target = [u8]>>(blocks: &[Option<Block<R>>]) -> Option<Self> {
        let len = |block: &Block<R>| block.key().len() + value(block).len() + block.extra().len();
        let mut total = 0;
        for block in blocks {
            total += len(block.as_ref()?);
        }
        if total > RECORDS_LEN_MAX {
            return None;
        }
        let mut bytes = Vec::with_capacity(total);
        let mut records = [Record::default(); NODE_KEYS_MAX];
        for (block, record) in blocks.iter().flatten().zip(&mut records) {
            let (key, value, extra) = (block.key(), value(block), block.extra());
            *record = Record {
                start: bytes.len() as u16,
                key_len: key.len() as u16,
                value_len: value.len() as u16,
                extra_len: extra.len() as u16,
                has_value: block.value().is_some(),
            };
            for part in [key, value, extra] {
                bytes.extend_from_slice(part);
            }
        }
        Some(Self { bytes: bytes.into(), records })
    }

    /// What block `seq`, that of key number `i`, says.
    pub(crate) fn entry(&self, i: usize, seq: u64) -> Option<Entry> {
        let record = self.records.get(i)?;
        let key_end = usize::from(record.start) + usize::from(record.key_len);
        let value_end = key_end + usize::from(record.value_len);
        let extra_end = value_end + usize::from(record.extra_len);
        Some(Entry {
            seq,
            key: self.bytes.slice(usize::from(record.start)..key_end),
            value: record.has_value.then(|| self.bytes.slice(key_end..value_end)),
            extra: self.bytes.slice(value_end..extra_end),
        })
    }

    /// Bytes of memory.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>() + self.bytes.len()
    }
}

fn value<R: Deref<Target = [u8]>>(block: &Block<R>) -> &[u8] {
    block.value().unwrap_or_default()
}

const _: () = assert!(RECORDS_LEN_MAX <= u16::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::encode_block;

    fn block(key: &str, value: Option<&[u8]>, extra: &[u8]) -> Block {
        let mut raw = Vec::new();
        encode_block(&mut raw, b"", key.as_bytes(), value, extra);
        Block::decode(raw.into()).expect("it was encoded just now")
    }

    /// An entry by way of the records is the entry by way of its block.
    #[test]
    fn entries_are_those_of_the_blocks() {
        let extra = [0xa2, 0x06, 0x01, 0x07];
        let blocks = [
            Some(block("", None, b"")),
            Some(block("a", Some(b""), &extra)),
            Some(block("b", Some(b"value"), b"")),
            Some(block("c", None, &extra)),
        ];
        let records = Records::new(&blocks).expect("they are short");
        for (i, block) in blocks.iter().flatten().enumerate() {
            assert_eq!(records.entry(i, 7), Some(block.entry(7)), "{i}");
        }
    }

    /// Long values, and blocks that are not there, are not copied.
    #[test]
    fn the_long_and_the_missing_have_none() {
        let longest = vec![1; RECORDS_LEN_MAX - 2];
        let a = Some(block("a", Some(&longest), b""));
        assert!(Records::new(&[a.clone(), Some(block("b", None, b""))]).is_some());
        assert!(Records::new(&[a.clone(), Some(block("bb", None, b""))]).is_none());
        assert!(Records::new(&[a, None]).is_none());
    }
}
