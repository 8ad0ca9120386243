//! Names of logs and of trees: three kinds of 32 bytes that must not be mixed up.

use std::{fmt, str::FromStr};

use crate::{error::DecodeError, hash};

/// The identity of a log: a public key, or the hash of the [`Manifest`](crate::Manifest) that says
/// who may sign (docs/spec/log.md section 1.4). Who knows it can ask for the log's blocks and verify them.
///
/// Prints as 52 characters z-base-32; parses from that or from 64 characters hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogKey([u8; 32]);

/// The public name of a log on the network: a hash of its [`LogKey`], which it does not give away.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DiscoveryKey([u8; 32]);

/// A BLAKE2b hash of 32 bytes: of a block, a tree node or a whole tree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);

macro_rules! bytes_32 {
    ($name:ident) => {
        impl $name {
            /// Takes the bytes as they are.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = DecodeError;

            /// Fails unless there are exactly 32 bytes.
            fn try_from(bytes: &[u8]) -> Result<Self, DecodeError> {
                let mut reader = crate::compact::Reader::new(bytes);
                let key = Self(reader.fixed()?);
                reader.finish()?;
                Ok(key)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

bytes_32!(LogKey);
bytes_32!(DiscoveryKey);
bytes_32!(Hash);

impl LogKey {
    /// The name under which the log is announced and asked for (docs/spec/log.md section 1.5).
    #[must_use]
    pub fn discovery_key(&self) -> DiscoveryKey {
        DiscoveryKey(hash::keyed(&self.0, b"hypercore"))
    }
}

impl fmt::Display for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 256 bits are 51 groups of five and one bit; four zero bits fill the last group.
        let (mut bits, mut bit_count) = (0_u16, 0_u32);
        let mut text = String::with_capacity(Z32_LEN);
        for byte in self.0 {
            bits = (bits << 8) | u16::from(byte);
            bit_count += 8;
            while bit_count >= 5 {
                bit_count -= 5;
                text.push(z32_char(bits >> bit_count));
            }
        }
        text.push(z32_char(bits << (5 - bit_count)));
        f.pad(&text)
    }
}

impl FromStr for LogKey {
    type Err = DecodeError;

    fn from_str(text: &str) -> Result<Self, DecodeError> {
        match text.len() {
            Z32_LEN => from_z32(text).map(Self),
            HEX_LEN => from_hex(text).map(Self),
            _ => Err(DecodeError::NotAKey { what: "wrong number of characters" }),
        }
    }
}

impl fmt::Display for DiscoveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_hex(&self.0, f)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_hex(&self.0, f)
    }
}

fn fmt_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn from_hex(text: &str) -> Result<[u8; 32], DecodeError> {
    let mut digits = text.chars().map(|c| {
        c.to_digit(16).ok_or(DecodeError::NotAKey { what: "a character is no hex digit" })
    });
    let mut bytes = [0; 32];
    for byte in &mut bytes {
        let mut digit = || digits.next().unwrap_or(Err(DecodeError::NotAKey { what: "too short" }));
        // Two digits below 16 fit into a byte.
        *byte = (digit()? * 16 + digit()?) as u8;
    }
    Ok(bytes)
}

fn from_z32(text: &str) -> Result<[u8; 32], DecodeError> {
    let mut chars = text.bytes();
    let (mut bits, mut bit_count) = (0_u16, 0_u32);
    let mut bytes = [0; 32];
    for byte in &mut bytes {
        while bit_count < 8 {
            bits = (bits << 5) | chars.next().map_or(Err(NOT_Z32), z32_value)?;
            bit_count += 5;
        }
        bit_count -= 8;
        [*byte, _] = (bits >> bit_count).to_le_bytes();
    }
    // One spelling per key: the four bits that fill up the last character are zero.
    if chars.next().is_some() || bits & ((1 << bit_count) - 1) != 0 {
        return Err(DecodeError::NotAKey { what: "the last character is not canonical" });
    }
    Ok(bytes)
}

fn z32_char(bits: u16) -> char {
    let alphabet: &[u8; 32] = Z32_ALPHABET;
    alphabet.get(usize::from(bits & 31)).map_or('?', |&c| char::from(c))
}

fn z32_value(c: u8) -> Result<u16, DecodeError> {
    let value = Z32_ALPHABET.iter().zip(0..).find(|&(&known, _)| known == c);
    value.map(|(_, value)| value).ok_or(NOT_Z32)
}

const NOT_Z32: DecodeError = DecodeError::NotAKey { what: "a character is not of z-base-32" };
const Z32_ALPHABET: &[u8; 32] = b"ybndrfg8ejkmcpqxot1uwisza345h769";
const Z32_LEN: usize = 52;
const HEX_LEN: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A key is the same after being printed and typed in, in either alphabet.
        #[test]
        fn text_survives(bytes: [u8; 32]) {
            let key = LogKey::from_bytes(bytes);
            prop_assert_eq!(key.to_string().parse::<LogKey>()?, key);
            prop_assert_eq!(Hash::from_bytes(bytes).to_string().parse::<LogKey>()?, key);
        }

        /// A key has one spelling: what parses prints the same.
        #[test]
        fn spelling_is_unique(text in "[ybndrfg8ejkmcpqxot1uwisza345h769]{52}") {
            if let Ok(key) = text.parse::<LogKey>() {
                prop_assert_eq!(key.to_string(), text);
            }
        }

        /// No text makes the parser panic.
        #[test]
        fn no_text_panics(text in "\\PC{0,70}") {
            let _ = text.parse::<LogKey>();
        }
    }
}
