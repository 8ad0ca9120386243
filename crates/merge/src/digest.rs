//! The digest that two devices with equal clocks compare.

use std::fmt;

use blake2::{Blake2b, Digest as _, digest::consts::U16};

use crate::{Content, Version};

/// Sum modulo 2^128 of one hash for each live key: equal data gives equal digests.
///
/// It is kept up to date by adding and subtracting single entries. It finds bugs, bad disks and
/// hidden forks; it is no defence against a member that lies, who can craft equal sums.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Digest(u128);

impl Digest {
    /// The digest of no data at all.
    pub const EMPTY: Self = Self(0);

    /// The digest as it stands in a commit, little-endian.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_le_bytes(bytes))
    }

    /// The digest as it is stored in a commit, little-endian.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }

    /// Counts an entry in.
    pub const fn add(&mut self, entry: Self) {
        self.0 = self.0.wrapping_add(entry.0);
    }

    /// Counts an entry out again.
    pub const fn subtract(&mut self, entry: Self) {
        self.0 = self.0.wrapping_sub(entry.0);
    }
}

impl fmt::Display for Digest {
    /// Thirty-two hex digits, in the order of the stored bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// The share of one key: zero unless one of its versions is live.
///
/// BLAKE2b-128 over `u64(len(key)) || key`, then for each version in the order of their dots
/// `u64(device) || u64(seq)` and either `01 || u32(kind) || BLAKE2b-128(value)` or `00`; numbers
/// little-endian. `versions` is sorted by dot.
pub fn entry_digest(key: &[u8], versions: &[Version]) -> Digest {
    if !versions.iter().any(Version::is_live) {
        return Digest::EMPTY;
    }
    let mut hash = Blake2b::<U16>::new();
    hash.update((key.len() as u64).to_le_bytes());
    hash.update(key);
    for version in versions {
        hash.update(version.dot.device.as_u64().to_le_bytes());
        hash.update(version.dot.seq.to_le_bytes());
        match &version.content {
            Content::Value(value) => {
                hash.update([1]);
                hash.update(version.kind.to_le_bytes());
                hash.update(Blake2b::<U16>::digest(value));
            }
            Content::Deleted => hash.update([0]),
        }
    }
    Digest::from_bytes(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DeviceId, Dot, Time};

    fn version(seq: u64, content: Content) -> Version {
        Version::plain(Dot { device: DeviceId::from_u64(1), seq }, Time::default(), content)
    }

    /// What is added and taken away again leaves no trace, in any order.
    #[test]
    fn a_digest_is_a_sum() {
        let one = entry_digest(b"a", &[version(1, Content::Value("x".into()))]);
        let two = entry_digest(b"b", &[version(2, Content::Value("x".into()))]);
        let (mut forth, mut back) = (Digest::EMPTY, Digest::EMPTY);
        forth.add(one);
        forth.add(two);
        back.add(two);
        back.add(one);
        assert_eq!(forth, back);
        forth.subtract(one);
        assert_eq!(forth, two);
    }

    /// Key, dot and value each change the digest; a key with deletes only has none.
    #[test]
    fn a_digest_sees_every_part() {
        let base = entry_digest(b"a", &[version(1, Content::Value("x".into()))]);
        assert_ne!(base, entry_digest(b"b", &[version(1, Content::Value("x".into()))]));
        assert_ne!(base, entry_digest(b"a", &[version(2, Content::Value("x".into()))]));
        assert_ne!(base, entry_digest(b"a", &[version(1, Content::Value("y".into()))]));
        assert_eq!(entry_digest(b"a", &[version(1, Content::Deleted)]), Digest::EMPTY);
    }
}
