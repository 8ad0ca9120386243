//! Bytes of states: numbers, and lengths that are checked before use (docs/formats.md).

use crate::limits::MAX_STATE_LEN;
use crate::{DeviceId, StateError};

/// First byte of every state that this program writes.
const FORMAT: u8 = 1;

/// Takes fields off the front of a state.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts reading a state: checks its length and format.
    pub(crate) fn new(state: &'a [u8]) -> Result<Self, StateError> {
        if state.len() > MAX_STATE_LEN {
            return Err(StateError::TooLong { len: state.len(), limit: MAX_STATE_LEN });
        }
        let mut reader = Self { rest: state };
        match reader.byte()? {
            FORMAT => Ok(reader),
            format => Err(StateError::UnknownFormat { format }),
        }
    }

    /// Starts reading bytes that are part of a state.
    #[cfg(feature = "automerge")]
    pub(crate) const fn over(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    #[cfg(feature = "automerge")]
    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn byte(&mut self) -> Result<u8, StateError> {
        let (&first, rest) = self.rest.split_first().ok_or(StateError::Truncated)?;
        self.rest = rest;
        Ok(first)
    }

    pub(crate) fn take(&mut self, len: u64) -> Result<&'a [u8], StateError> {
        let len = usize::try_from(len).map_err(|_| StateError::Truncated)?;
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(StateError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, StateError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(StateError::Truncated)?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*bytes))
    }

    pub(crate) fn i128(&mut self) -> Result<i128, StateError> {
        let low = u128::from(self.u64()?);
        let high = u128::from(self.u64()?);
        Ok(i128::from_le_bytes((low | (high << 64)).to_le_bytes()))
    }

    /// Seven bits a byte, the lowest first; the top bit says that more follow.
    pub(crate) fn varint(&mut self) -> Result<u64, StateError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(StateError::Malformed { what: "a number beyond 64 bits" })
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, StateError> {
        let len = self.varint()?;
        std::str::from_utf8(self.take(len)?)
            .map_err(|_| StateError::Malformed { what: "text that is not UTF-8" })
    }

    pub(crate) fn device(&mut self) -> Result<DeviceId, StateError> {
        self.u64().map(DeviceId::from_u64)
    }

    /// Refuses what follows the last field.
    pub(crate) const fn end(&self) -> Result<(), StateError> {
        if self.rest.is_empty() { Ok(()) } else { Err(StateError::NotCanonical) }
    }
}

/// Puts fields at the end of a state.
#[derive(Debug)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self { bytes: vec![FORMAT] }
    }

    pub(crate) fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    #[cfg(feature = "automerge")]
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.bytes.extend(value.to_le_bytes());
    }

    pub(crate) fn i128(&mut self, value: i128) {
        self.bytes.extend(value.to_le_bytes());
    }

    pub(crate) fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    pub(crate) fn count(&mut self, count: usize) {
        self.varint(count as u64);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.count(text.len());
        self.bytes.extend(text.as_bytes());
    }

    pub(crate) fn device(&mut self, device: DeviceId) {
        self.u64(device.as_u64());
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every number comes back; one that needs more than 64 bits is refused, not cut.
    #[test]
    fn numbers_survive() {
        for value in [0, 1, 127, 128, 300, u64::MAX >> 1, u64::MAX] {
            let mut writer = Writer::new();
            writer.varint(value);
            writer.i128(-i128::from(value));
            let bytes = writer.into_bytes();
            let mut reader = Reader::new(&bytes).unwrap();
            assert_eq!(reader.varint(), Ok(value));
            assert_eq!(reader.i128(), Ok(-i128::from(value)));
            assert_eq!(reader.end(), Ok(()));
        }
        let long = [1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert!(Reader::new(&long).unwrap().varint().is_err());
    }
}
