//! The compact encoding of docs/spec/log.md section 8: how numbers, bytes and texts stand in messages.
//!
//! ```text
//! uint    n <= 0xfc: 1 byte; else 0xfd + 2, 0xfe + 4 or 0xff + 8 bytes, little-endian
//! buffer  uint(length) bytes
//! string  uint(length) UTF-8
//! array   uint(count) items
//! ```
//!
//! Numbers go up to [`MAX_UINT`]. Writers make the shortest form; readers take any, as Node peers do.

use crate::error::DecodeError;

/// The largest number of the format: 2^53 - 1, up to which a JavaScript peer counts exactly.
pub const MAX_UINT: u64 = (1 << 53) - 1;

/// The largest count of items in an array.
pub const MAX_ITEMS: u64 = 0x10_0000;

/// Takes values off the front of a byte slice, never reading past its end.
///
/// A failed read leaves the reader in an unspecified place: give up the whole input.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start of `input`.
    #[must_use]
    pub const fn new(input: &'a [u8]) -> Self {
        Self { rest: input }
    }

    /// The number of bytes that are not read yet.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The bytes that are not read yet.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything is read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Ends reading.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Trailing`] if there are bytes left.
    pub const fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Trailing { len: self.rest.len() as u64 })
        }
    }

    /// Takes `len` bytes.
    ///
    /// # Errors
    ///
    /// [`DecodeError::TooShort`] if fewer are left.
    pub fn raw(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let Some((taken, rest)) = self.rest.split_at_checked(len) else {
            return Err(self.too_short(len as u64));
        };
        self.rest = rest;
        Ok(taken)
    }

    /// Takes an array of fixed size.
    ///
    /// # Errors
    ///
    /// [`DecodeError::TooShort`] if fewer bytes are left.
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some((taken, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.too_short(N as u64));
        };
        self.rest = rest;
        Ok(*taken)
    }

    /// Takes one byte.
    ///
    /// # Errors
    ///
    /// [`DecodeError::TooShort`] at the end.
    pub fn byte(&mut self) -> Result<u8, DecodeError> {
        self.fixed::<1>().map(|[byte]| byte)
    }

    /// Takes four bytes as a little-endian number.
    ///
    /// # Errors
    ///
    /// [`DecodeError::TooShort`] if fewer are left.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.fixed().map(u32::from_le_bytes)
    }

    /// Takes eight bytes as a little-endian number, of any value.
    ///
    /// # Errors
    ///
    /// [`DecodeError::TooShort`] if fewer are left.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.fixed().map(u64::from_le_bytes)
    }

    /// Takes a number of variable width.
    ///
    /// # Errors
    ///
    /// [`DecodeError::TooShort`], or [`DecodeError::TooLarge`] if it is above [`MAX_UINT`].
    pub fn uint(&mut self) -> Result<u64, DecodeError> {
        let value = match self.byte()? {
            0xfd => u64::from(u16::from_le_bytes(self.fixed()?)),
            0xfe => u64::from(self.u32()?),
            0xff => self.u64()?,
            small => u64::from(small),
        };
        at_most(value, MAX_UINT)
    }

    /// Takes bytes that are preceded by their length. Empty and absent look the same.
    ///
    /// # Errors
    ///
    /// As [`uint`](Self::uint), and [`DecodeError::TooShort`] if there are fewer bytes than said.
    pub fn buffer(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.uint()?;
        let Ok(len) = usize::try_from(len) else {
            return Err(self.too_short(len));
        };
        self.raw(len)
    }

    /// Takes a text that is preceded by its length in bytes.
    ///
    /// # Errors
    ///
    /// As [`buffer`](Self::buffer), and [`DecodeError::NotUtf8`].
    pub fn string(&mut self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.buffer()?).map_err(|_| DecodeError::NotUtf8)
    }

    /// Takes the count of an array whose items are at least `item_len_min` bytes long each.
    ///
    /// The count is then safe to allocate for: that many items may really follow.
    ///
    /// # Errors
    ///
    /// As [`uint`](Self::uint), [`DecodeError::TooLarge`] above [`MAX_ITEMS`], and
    /// [`DecodeError::TooShort`] if the rest cannot hold so many.
    pub fn count(&mut self, item_len_min: usize) -> Result<usize, DecodeError> {
        let count = at_most(self.uint()?, MAX_ITEMS)?;
        let needed = count.saturating_mul(item_len_min as u64);
        if needed > self.rest.len() as u64 {
            return Err(self.too_short(needed));
        }
        usize::try_from(count).map_err(|_| DecodeError::TooLarge { value: count, limit: MAX_ITEMS })
    }

    /// Takes an array of items that are at least `item_len_min` bytes long each.
    ///
    /// Memory is asked for once: growing step by step takes up to three times as much.
    ///
    /// # Errors
    ///
    /// As [`count`](Self::count) and `read`.
    pub fn array<T>(
        &mut self,
        item_len_min: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = self.count(item_len_min)?;
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(read(self)?);
        }
        Ok(items)
    }

    const fn too_short(&self, needed: u64) -> DecodeError {
        DecodeError::TooShort { needed, left: self.rest.len() as u64 }
    }
}

/// Appends a number, in the shortest form.
///
/// Numbers above [`MAX_UINT`] are written too, but no reader takes them.
pub fn put_uint(out: &mut Vec<u8>, value: u64) {
    let bytes = value.to_le_bytes();
    let [b0, b1, b2, b3, ..] = bytes;
    match value {
        0..=0xfc => out.push(b0),
        0xfd..=0xffff => out.extend_from_slice(&[0xfd, b0, b1]),
        0x1_0000..=0xffff_ffff => out.extend_from_slice(&[0xfe, b0, b1, b2, b3]),
        _ => {
            out.push(0xff);
            out.extend_from_slice(&bytes);
        }
    }
}

/// The number of bytes that [`put_uint`] appends.
#[must_use]
pub const fn uint_len(value: u64) -> usize {
    match value {
        0..=0xfc => 1,
        0xfd..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

/// Appends bytes, preceded by their length.
pub fn put_buffer(out: &mut Vec<u8>, bytes: &[u8]) {
    put_uint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a text, preceded by its length in bytes.
pub fn put_string(out: &mut Vec<u8>, text: &str) {
    put_buffer(out, text.as_bytes());
}

/// Appends four bytes, little-endian.
pub fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends eight bytes, little-endian.
pub fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

const fn at_most(value: u64, limit: u64) -> Result<u64, DecodeError> {
    if value > limit { Err(DecodeError::TooLarge { value, limit }) } else { Ok(value) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A count is refused before anything is allocated for it.
    #[test]
    fn count_is_bounded_by_the_rest() {
        assert_eq!(
            Reader::new(&[0xfd, 0xff, 0xff, 1, 2]).count(34),
            Err(DecodeError::TooShort { needed: 0xffff * 34, left: 2 })
        );
        assert_eq!(
            Reader::new(&[0xfe, 0x01, 0x00, 0x10, 0x00]).count(0),
            Err(DecodeError::TooLarge { value: MAX_ITEMS + 1, limit: MAX_ITEMS })
        );
    }

    /// Longer forms than needed are read, as Node peers read them.
    #[test]
    fn long_forms_are_read() {
        assert_eq!(Reader::new(&[0xff, 5, 0, 0, 0, 0, 0, 0, 0]).uint(), Ok(5));
        assert_eq!(Reader::new(&[0xfe, 5, 0, 0, 0]).uint(), Ok(5));
    }

    /// Numbers that a JavaScript peer cannot count exactly are refused.
    #[test]
    fn inexact_numbers_are_refused() {
        let mut bytes = Vec::new();
        put_uint(&mut bytes, MAX_UINT + 1);
        let limit = MAX_UINT;
        assert_eq!(
            Reader::new(&bytes).uint(),
            Err(DecodeError::TooLarge { value: MAX_UINT + 1, limit })
        );
    }

    proptest! {
        /// What is written is read back, whole, and in the length foretold.
        #[test]
        fn values_survive(
            number in 0..=MAX_UINT, shift in 0..53_u32, bytes: Vec<u8>, text: String, word: u32,
            wide: u64,
        ) {
            let number = number >> shift;
            let mut out = Vec::new();
            put_uint(&mut out, number);
            prop_assert_eq!(out.len(), uint_len(number));
            put_buffer(&mut out, &bytes);
            put_string(&mut out, &text);
            put_u32(&mut out, word);
            put_u64(&mut out, wide);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.uint()?, number);
            prop_assert_eq!(reader.buffer()?, bytes.as_slice());
            prop_assert_eq!(reader.string()?, text.as_str());
            prop_assert_eq!(reader.u32()?, word);
            prop_assert_eq!(reader.u64()?, wide);
            reader.finish()?;
        }

        /// No input makes the reader panic, and a cut value is an error.
        #[test]
        fn cut_values_are_errors(bytes in proptest::collection::vec(any::<u8>(), 1..300)) {
            let mut out = Vec::new();
            put_buffer(&mut out, &bytes);
            for len in 0..out.len() {
                prop_assert!(Reader::new(&out[..len]).buffer().is_err());
            }
        }
    }
}
