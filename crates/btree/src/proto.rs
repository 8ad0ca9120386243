//! The few pieces of protobuf that the format uses: varints and length-delimited fields.

use std::ops::Range;

use crate::error::DecodeError;

/// One field of a message.
pub(crate) struct Field {
    /// Its number.
    pub(crate) number: u64,
    /// The body if it is length-delimited, as a range of the message; otherwise `None`.
    pub(crate) body: Option<Range<usize>>,
    /// The whole field, tag included, as a range of the message.
    pub(crate) whole: Range<usize>,
}

/// The fields of a message, in the order of their bytes.
///
/// Groups, undefined wire types and whatever runs past the end are errors. After an error nothing
/// more comes.
pub(crate) struct Fields<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self { message, at: 0 }
    }

    fn field(&mut self) -> Result<Field, DecodeError> {
        let start = self.at;
        let mut at = start;
        let tag = read_varint(self.message, &mut at)?;
        let mut body = None;
        match tag & 7 {
            0 => {
                read_varint(self.message, &mut at)?;
            }
            1 => at = self.end_of(at, 8)?,
            2 => {
                let len = read_varint(self.message, &mut at)?;
                let end = self.end_of(at, len)?;
                body = Some(at..end);
                at = end;
            }
            5 => at = self.end_of(at, 4)?,
            _ => {
                // Three bits fit.
                return Err(DecodeError::WireType { wire_type: (tag & 7) as u8, offset: start });
            }
        }
        self.at = at;
        Ok(Field { number: tag >> 3, body, whole: start..at })
    }

    fn end_of(&self, at: usize, len: u64) -> Result<usize, DecodeError> {
        usize::try_from(len)
            .ok()
            .and_then(|len| at.checked_add(len))
            .filter(|end| *end <= self.message.len())
            .ok_or(DecodeError::Truncated { offset: self.message.len() })
    }
}

impl Iterator for Fields<'_> {
    type Item = Result<Field, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.message.len() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.at = self.message.len();
        }
        Some(field)
    }
}

impl Field {
    /// The body of a field that must be length-delimited.
    pub(crate) fn into_body(self) -> Result<Range<usize>, DecodeError> {
        self.body.ok_or(DecodeError::Field { number: self.number })
    }
}

/// The varints that fill `bytes`. After an error nothing more comes.
pub(crate) struct Varints<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Varints<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }
}

impl Iterator for Varints<'_> {
    type Item = Result<u64, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let number = read_varint(self.bytes, &mut self.at);
        if number.is_err() {
            self.at = self.bytes.len();
        }
        Some(number)
    }
}

/// Reads the varint at `at` and moves `at` behind it.
pub(crate) fn read_varint(bytes: &[u8], at: &mut usize) -> Result<u64, DecodeError> {
    let start = *at;
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at).ok_or(DecodeError::Truncated { offset: *at })?;
        *at += 1;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            break;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(DecodeError::NumberTooLong { offset: start })
}

/// Number of bytes of `number` as a varint.
pub(crate) fn varint_len(number: u64) -> usize {
    // 1 for up to 7 bits, 2 for up to 14, and so on. At most 10, so nothing is cut off.
    (64 - (number | 1).leading_zeros()).div_ceil(7) as usize
}

/// Appends `number` in its shortest form.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a length-delimited field. `tag` is the tag byte: field number times 8, plus 2.
pub(crate) fn put_field(out: &mut Vec<u8>, tag: u8, body: &[u8]) {
    put_head(out, tag, body.len());
    out.extend_from_slice(body);
}

/// Appends the tag and the length of a field whose body the caller appends.
pub(crate) fn put_head(out: &mut Vec<u8>, tag: u8, body_len: usize) {
    out.push(tag);
    put_varint(out, body_len as u64);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written is read back, and takes as many bytes as announced.
    #[test]
    fn varints_come_back() {
        for shift in 0..64 {
            for number in [1_u64 << shift, (1 << shift) - 1, u64::MAX >> shift] {
                let mut out = Vec::new();
                put_varint(&mut out, number);
                assert_eq!(out.len(), varint_len(number), "{number}");
                let mut at = 0;
                assert_eq!(read_varint(&out, &mut at), Ok(number));
                assert_eq!(at, out.len());
            }
        }
    }

    /// A number that needs more than 64 bits, or that never ends, is an error.
    #[test]
    fn long_varints_are_refused() {
        let mut ones = vec![0xff; 9];
        ones.push(1);
        assert_eq!(read_varint(&ones, &mut 0), Ok(u64::MAX));
        ones[9] = 2;
        assert_eq!(read_varint(&ones, &mut 0), Err(DecodeError::NumberTooLong { offset: 0 }));
        assert_eq!(read_varint(&[0x80; 30], &mut 0), Err(DecodeError::NumberTooLong { offset: 0 }));
        assert_eq!(read_varint(&[0x80; 3], &mut 0), Err(DecodeError::Truncated { offset: 3 }));
    }

    /// A length that passes the end is an error, however large it is.
    #[test]
    fn lengths_are_checked_before_use() {
        for len in [2, 127, u64::from(u32::MAX), u64::MAX] {
            let mut message = vec![0x0a];
            put_varint(&mut message, len);
            message.push(0);
            let read: Result<Vec<_>, _> = Fields::new(&message).collect();
            assert!(matches!(read, Err(DecodeError::Truncated { .. })), "{len}");
        }
    }
}
