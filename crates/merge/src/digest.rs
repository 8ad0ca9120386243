//! The digest that two devices with equal clocks compare.

use std::fmt;

use blake2b_simd::Params;

use crate::version::PLAIN;
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
/// `u64(device) || u64(seq)` and
///
/// - a delete: `00`; with a state `02 || u32(kind) || BLAKE2b-128(state)`;
/// - a value: `01 || u32(kind) || BLAKE2b-128(value)`; of a plain value with a state,
///   `|| BLAKE2b-128(state)` follows;
/// - a value of a type with a state: `03 || u32(kind) || BLAKE2b-128(state)`, since the value
///   follows from it.
///
/// Numbers are little-endian. `versions` is sorted by dot.
pub fn entry_digest(key: &[u8], versions: &[Version]) -> Digest {
    if !versions.iter().any(Version::is_live) {
        return Digest::EMPTY;
    }
    let params = params();
    let mut hash = params.to_state();
    hash.update(&(key.len() as u64).to_le_bytes());
    hash.update(key);
    for version in versions {
        hash.update(&version.dot.device.as_u64().to_le_bytes());
        hash.update(&version.dot.seq.to_le_bytes());
        let kind = version.kind.to_le_bytes();
        let part = |bytes: &[u8]| params.hash(bytes);
        match (&version.content, &version.state) {
            (Content::Deleted, None) => {
                hash.update(&[0]);
            }
            (Content::Deleted, Some(state)) => {
                hash.update(&[2]);
                hash.update(&kind);
                hash.update(part(state).as_bytes());
            }
            (Content::Value(_), Some(state)) if version.kind != PLAIN => {
                hash.update(&[3]);
                hash.update(&kind);
                hash.update(part(state).as_bytes());
            }
            (Content::Value(value), state) => {
                hash.update(&[1]);
                hash.update(&kind);
                hash.update(part(value).as_bytes());
                if let Some(state) = state {
                    hash.update(part(state).as_bytes());
                }
            }
        }
    }
    let mut sum = [0; HASH_LEN];
    sum.iter_mut().zip(hash.finalize().as_bytes()).for_each(|(to, from)| *to = *from);
    Digest::from_bytes(sum)
}

fn params() -> Params {
    let mut params = Params::new();
    params.hash_length(HASH_LEN);
    params
}

const HASH_LEN: usize = 16;

#[cfg(test)]
mod tests {
    use blake2::{Blake2b, Digest as _, digest::consts::U16};

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

    /// Of one plain value it is what the layout says, hashed by another implementation.
    #[test]
    fn a_digest_follows_its_layout() {
        let value = Blake2b::<U16>::digest("x");
        let numbers = [1_u64, 5].map(u64::to_le_bytes).concat();
        let layout = [&1_u64.to_le_bytes()[..], b"a", &numbers, &[1, 0, 0, 0, 0], &value].concat();
        let expected = Digest::from_bytes(Blake2b::<U16>::digest(layout).into());
        assert_eq!(entry_digest(b"a", &[version(5, Content::Value("x".into()))]), expected);
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

    /// Of a type's value its state is what counts; the states of deletes and plain values, too.
    #[test]
    fn a_digest_sees_states() {
        let with = |kind, state: Option<&'static str>, content| Version {
            kind,
            state: state.map(Into::into),
            ..version(1, content)
        };
        let value = || Content::Value("x".into());
        let digest = |version: Version| {
            let live = Version { dot: version.dot, ..self::version(9, value()) };
            entry_digest(b"a", &[version, Version { dot: Dot { seq: 9, ..live.dot }, ..live }])
        };
        let typed = digest(with(1, Some("s"), value()));
        assert_eq!(typed, digest(with(1, Some("s"), Content::Value("".into()))));
        let all = [
            typed,
            digest(with(2, Some("s"), value())),
            digest(with(1, Some("t"), value())),
            digest(with(1, None, value())),
            digest(with(0, Some("s"), value())),
            digest(with(0, Some("t"), value())),
            digest(with(0, None, value())),
            digest(with(1, Some("s"), Content::Deleted)),
            digest(with(1, Some("t"), Content::Deleted)),
            digest(with(0, None, Content::Deleted)),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all[..at].iter().all(|other| other != one), "{at}");
        }
    }
}
