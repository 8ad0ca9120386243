use std::ops::{Deref, Range};

use bytes::{Bytes, BytesMut};

use crate::entry::Entry;
use crate::error::{BlockFault, DecodeError};
use crate::proto::{Fields, Varints, put_field, put_head, put_varint, varint_len};

/// One block of a tree after the header: a put or a deletion, and the nodes that it changed.
///
/// ```text
/// field  tag   content
/// 1      0a    index: field 1 repeated, one level each
/// 2      12    key
/// 3      1a    value; absent for a deletion, and for a put of no value
/// other        extra: whatever else is there, which this crate carries but does not read
/// ```
///
/// A level is one node of the tree: field 1 the packed block numbers of its keys, field 2 the packed
/// pairs (block number, level) of its children. See section 2 of docs/spec/btree.md.
///
/// Decoding checks the framing of the block and copies nothing. It does not look into the index, so
/// an index that cannot be read does not hide the key and the value.
///
/// `R` is what holds the bytes: [`Bytes`], to share them with the [`Entry`](crate::Entry), or whatever
/// else has them, for a look.
#[derive(Clone, Debug)]
pub struct Block<R = Bytes> {
    raw: R,
    index: Span,
    key: Span,
    value: Option<Span>,
    extra: Extra,
}

/// One node as it is stored in a block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// Numbers of the blocks that hold the keys, in the order of the keys.
    pub keys: Vec<u64>,
    /// Pairs of a block number and a level in that block, flattened; empty in a leaf.
    pub children: Vec<u64>,
}

impl<R: Deref<Target = [u8]>> Block<R> {
    /// Reads a block from wherever its bytes are.
    pub(crate) fn of(raw: R) -> Result<Self, DecodeError> {
        let bytes: &[u8] = &raw;
        if u32::try_from(bytes.len()).is_err() {
            return Err(DecodeError::TooLong);
        }
        let (mut index, mut key, mut value) = (None, None, None);
        let mut extra = Scattered::default();
        for field in Fields::new(bytes) {
            let field = field?;
            let place = match field.number {
                1 => &mut index,
                2 => &mut key,
                3 => &mut value,
                _ => {
                    extra.add(bytes, field.whole);
                    continue;
                }
            };
            *place = Some(Span::new(&field.into_body()?));
        }
        let index = index.ok_or(DecodeError::Absent { number: 1 })?;
        let key = key.ok_or(DecodeError::Absent { number: 2 })?;
        let extra = extra.finish(bytes);
        Ok(Self { index, key, value, extra, raw })
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        self.key.of(&self.raw)
    }

    /// The value, if there is one.
    pub fn value(&self) -> Option<&[u8]> {
        self.value.map(|value| value.of(&self.raw))
    }

    /// All fields that are not the tree's own, tags included, one after the other.
    pub fn extra(&self) -> &[u8] {
        match &self.extra {
            Extra::Run(run) => run.of(&self.raw),
            Extra::Joined(bytes) => bytes,
        }
    }

    /// The stored nodes, the first of them being the root if this block ends a commit. None only
    /// within a batch.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the index cannot be read.
    pub fn levels(&self) -> Result<Vec<Level>, DecodeError> {
        let index = self.index.of(&self.raw);
        level_ranges(index)
            .map(|range| Level::decode(index.get(range?).unwrap_or_default()))
            .collect()
    }

    /// The bytes of one level.
    pub(crate) fn level(&self, number: u64) -> Result<&[u8], BlockFault> {
        let index = self.index.of(&self.raw);
        let mut ranges = level_ranges(index);
        let range = usize::try_from(number).ok().and_then(|number| ranges.nth(number));
        let range = range.ok_or(BlockFault::NoLevel { level: number })??;
        Ok(index.get(range).unwrap_or_default())
    }

    /// Whether a node in the block has the key of block `seq`. An index that cannot be read has none.
    pub(crate) fn names(&self, seq: u64) -> bool {
        let index = self.index.of(&self.raw);
        let levels = level_ranges(index).map_while(Result::ok);
        levels
            .filter_map(|range| Level::decode(index.get(range)?).ok())
            .any(|level| level.keys.contains(&seq))
    }
}

impl Block {
    /// Reads a block.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if it lacks an index or a key, contains groups, or is cut short.
    pub fn decode(raw: Bytes) -> Result<Self, DecodeError> {
        Self::of(raw)
    }

    /// What the block, being number `seq`, says about its key. Shares the block's bytes.
    pub(crate) fn entry(&self, seq: u64) -> Entry {
        let shared = |span: Span| self.raw.slice(span.range());
        let extra = match &self.extra {
            Extra::Run(run) if run.is_empty() => Bytes::new(),
            Extra::Run(run) => shared(*run),
            Extra::Joined(bytes) => bytes.clone(),
        };
        Entry { seq, key: shared(self.key), value: self.value.map(shared), extra }
    }
}

impl Level {
    fn decode(message: &[u8]) -> Result<Self, DecodeError> {
        let mut level = Self::default();
        for field in Fields::new(message) {
            let field = field?;
            let list = match field.number {
                1 => &mut level.keys,
                2 => &mut level.children,
                _ => continue,
            };
            let packed = field.into_body()?;
            for number in Varints::new(message.get(packed).unwrap_or_default()) {
                list.push(number?);
            }
        }
        Ok(level)
    }
}

/// Appends a block to `out`. `index` is the encoded index, `extra` follows the block's own fields.
pub(crate) fn encode_block(
    out: &mut Vec<u8>,
    index: &[u8],
    key: &[u8],
    value: Option<&[u8]>,
    extra: &[u8],
) {
    put_field(out, 0x0a, index);
    put_field(out, 0x12, key);
    if let Some(value) = value {
        put_field(out, 0x1a, value);
    }
    out.extend_from_slice(extra);
}

/// Appends a level to an index: the block numbers of its keys, and those of its children, each
/// followed by a level.
pub(crate) fn encode_level(
    index: &mut Vec<u8>,
    keys: impl Iterator<Item = u64> + Clone,
    children: impl Iterator<Item = u64> + Clone,
) {
    let keys_len = keys.clone().map(varint_len).sum();
    let children_len = children.clone().map(varint_len).sum();
    // A list without an element has no field.
    let framed = |len: usize| if len == 0 { 0 } else { 1 + varint_len(len as u64) + len };
    put_head(index, 0x0a, framed(keys_len) + framed(children_len));
    if keys_len > 0 {
        put_head(index, 0x0a, keys_len);
        keys.for_each(|number| put_varint(index, number));
    }
    if children_len > 0 {
        put_head(index, 0x12, children_len);
        children.for_each(|number| put_varint(index, number));
    }
}

/// Checks that `extra` can stand behind a block's own fields and be told from them.
pub(crate) fn check_extra(extra: &[u8]) -> Result<(), DecodeError> {
    for field in Fields::new(extra) {
        let number = field?.number;
        if number <= 3 {
            return Err(DecodeError::Field { number });
        }
    }
    Ok(())
}

/// Where the levels of an index are. An error comes once, in the place of a level.
fn level_ranges(index: &[u8]) -> impl Iterator<Item = Result<Range<usize>, DecodeError>> {
    Fields::new(index).filter_map(|field| match field {
        Ok(field) if field.number == 1 => Some(field.into_body()),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    })
}

/// A range of a block's bytes. Made from ranges that the decoder has checked.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Blocks of 4 GiB are refused before any span is made, so both ends fit.
    fn new(range: &Range<usize>) -> Self {
        Self { start: range.start as u32, end: range.end as u32 }
    }

    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    fn of(self, raw: &[u8]) -> &[u8] {
        raw.get(self.range()).unwrap_or_default()
    }

    fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// The fields that are not the tree's own. In most blocks they are one run of bytes, which is not
/// copied.
#[derive(Clone, Debug)]
enum Extra {
    Run(Span),
    Joined(Bytes),
}

/// Collects the fields that are not the tree's own.
#[derive(Default)]
struct Scattered {
    run: Range<usize>,
    scattered: BytesMut,
}

impl Scattered {
    fn add(&mut self, raw: &[u8], field: Range<usize>) {
        if self.run.end == field.start {
            self.run.end = field.end;
        } else {
            self.scattered.extend_from_slice(raw.get(self.run.clone()).unwrap_or_default());
            self.run = field;
        }
    }

    fn finish(mut self, raw: &[u8]) -> Extra {
        if self.scattered.is_empty() {
            return Extra::Run(Span::new(&self.run));
        }
        self.scattered.extend_from_slice(raw.get(self.run).unwrap_or_default());
        Extra::Joined(self.scattered.freeze())
    }
}
