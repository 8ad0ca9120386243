//! The bytes of the messages.

use bytes::Bytes;

use crate::error::DecodeError;
use crate::extension::{CacheHint, ExtensionMessage, GetHint, RangeHint};
use crate::limits::{DEPTH_MAX, HINT_BLOCKS_MAX};
use crate::proto::{Field, Fields, Varints, put_field, put_varint, read_varint};

impl ExtensionMessage {
    /// Reads a message. Unknown fields are skipped; so a message may turn out to say nothing.
    ///
    /// Keys share the memory of `message`.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if it is cut short, lacks what it needs, or has more numbers than any reader
    /// or answer of this extension sends.
    pub fn decode(message: &Bytes) -> Result<Self, DecodeError> {
        let mut decoded = Self::default();
        for field in Fields::new(message) {
            let field = field?;
            match field.number {
                1 => decoded.cache = Some(CacheHint::decode(&bytes(field, message)?)?),
                2 => decoded.get = Some(GetHint::decode(&bytes(field, message)?)?),
                3 => decoded.iterator = Some(RangeHint::decode(&bytes(field, message)?)?),
                _ => {}
            }
        }
        Ok(decoded)
    }

    /// The bytes to send.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(cache) = &self.cache {
            put_field(&mut out, 0x0a, &cache.encode());
        }
        if let Some(get) = &self.get {
            put_field(&mut out, 0x12, &get.encode());
        }
        if let Some(iterator) = &self.iterator {
            put_field(&mut out, 0x1a, &iterator.encode());
        }
        out
    }
}

impl CacheHint {
    fn decode(message: &Bytes) -> Result<Self, DecodeError> {
        let (mut start, mut end, mut blocks) = (None, None, Vec::new());
        for field in Fields::new(message) {
            let field = field?;
            match field.number {
                1 => start = Some(number(&field, message)?),
                2 => end = Some(number(&field, message)?),
                3 => numbers(field, message, HINT_BLOCKS_MAX, &mut blocks)?,
                _ => {}
            }
        }
        let start = start.ok_or(DecodeError::Absent { number: 1 })?;
        let end = end.ok_or(DecodeError::Absent { number: 2 })?;
        Ok(Self { start, end, blocks })
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_number(&mut out, 0x08, self.start);
        put_number(&mut out, 0x10, self.end);
        put_numbers(&mut out, 0x1a, &self.blocks);
        out
    }
}

impl GetHint {
    fn decode(message: &Bytes) -> Result<Self, DecodeError> {
        let mut hint = Self::default();
        for field in Fields::new(message) {
            let field = field?;
            match field.number {
                1 => hint.version = number(&field, message)?,
                2 => hint.key = bytes(field, message)?,
                _ => {}
            }
        }
        Ok(hint)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_number(&mut out, 0x08, self.version);
        put_field(&mut out, 0x12, &self.key);
        out
    }
}

impl RangeHint {
    fn decode(message: &Bytes) -> Result<Self, DecodeError> {
        let mut hint = Self::default();
        for field in Fields::new(message) {
            let field = field?;
            let range = &mut hint.range;
            match field.number {
                1 => hint.version = number(&field, message)?,
                2 => range.gte = Some(bytes(field, message)?),
                3 => range.gt = Some(bytes(field, message)?),
                4 => range.lte = Some(bytes(field, message)?),
                5 => range.lt = Some(bytes(field, message)?),
                6 => range.limit = Some(number(&field, message)?).filter(|limit| *limit > 0),
                7 => range.reverse = number(&field, message)? != 0,
                8 => numbers(field, message, 3 * DEPTH_MAX, &mut hint.checkpoint)?,
                _ => {}
            }
        }
        Ok(hint)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_number(&mut out, 0x08, self.version);
        let range = &self.range;
        for (tag, bound) in
            [(0x12, &range.gte), (0x1a, &range.gt), (0x22, &range.lte), (0x2a, &range.lt)]
        {
            if let Some(key) = bound {
                put_field(&mut out, tag, key);
            }
        }
        put_number(&mut out, 0x30, range.limit.unwrap_or(0));
        put_number(&mut out, 0x38, u64::from(range.reverse));
        put_numbers(&mut out, 0x42, &self.checkpoint);
        out
    }
}

/// The body of a length-delimited field.
fn bytes(field: Field, message: &Bytes) -> Result<Bytes, DecodeError> {
    Ok(message.slice(field.into_body()?))
}

/// The value of a varint field.
fn number(field: &Field, message: &[u8]) -> Result<u64, DecodeError> {
    let mut at = field.whole.start;
    let tag = read_varint(message, &mut at)?;
    if tag & 7 == 0 {
        read_varint(message, &mut at)
    } else {
        Err(DecodeError::Field { number: field.number })
    }
}

/// Adds packed numbers to a list of at most `count_max`.
fn numbers(
    field: Field,
    message: &[u8],
    count_max: usize,
    list: &mut Vec<u64>,
) -> Result<(), DecodeError> {
    let number = field.number;
    for value in Varints::new(message.get(field.into_body()?).unwrap_or_default()) {
        if list.len() >= count_max {
            return Err(DecodeError::TooMany { number });
        }
        list.push(value?);
    }
    Ok(())
}

fn put_number(out: &mut Vec<u8>, tag: u8, number: u64) {
    out.push(tag);
    put_varint(out, number);
}

/// Appends a packed list, unless it is empty.
fn put_numbers(out: &mut Vec<u8>, tag: u8, numbers: &[u64]) {
    let mut packed = Vec::new();
    for number in numbers {
        put_varint(&mut packed, *number);
    }
    if !packed.is_empty() {
        put_field(out, tag, &packed);
    }
}
