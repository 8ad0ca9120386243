//! The data of the workloads: the same bytes for every peer, from a small generator.

use bytes::Bytes;

/// Bytes of a key.
pub(super) const KEY_LEN: usize = 16;
/// Bytes of a value.
pub(super) const VALUE_LEN: usize = 100;
/// Bytes of a block.
pub(super) const BLOCK_LEN: usize = 128;

const KEY_SEED: u32 = 1;
const VALUE_SEED: u32 = 2;

/// A key and its value.
pub(super) type Entry = ([u8; KEY_LEN], [u8; VALUE_LEN]);

/// The generator xoshiro128**, seeded as the workloads say.
struct Generator {
    state: [u32; 4],
}

impl Generator {
    /// Outputs that are thrown away, so that near seeds give far sequences.
    const DISCARDED: usize = 16;

    fn new(seed: u32) -> Self {
        let mut generator = Self { state: [seed, 0x9e37_79b9, 0x243f_6a88, 0xb7e1_5162] };
        for _ in 0..Self::DISCARDED {
            generator.draw();
        }
        generator
    }

    fn draw(&mut self) -> u32 {
        let [mut s0, mut s1, mut s2, mut s3] = self.state;
        let output = s1.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = s1 << 9;
        s2 ^= s0;
        s3 ^= s1;
        s1 ^= s2;
        s0 ^= s3;
        s2 ^= shifted;
        s3 = s3.rotate_left(11);
        self.state = [s0, s1, s2, s3];
        output
    }

    /// The next `count` strings of `len` bytes, a multiple of 4.
    fn strings(&mut self, count: u32, len: usize) -> Strings {
        let words = count as usize * len / 4;
        let bytes: Vec<u8> = (0..words).flat_map(|_| self.draw().to_le_bytes()).collect();
        Strings { bytes: bytes.into(), len }
    }
}

/// Byte strings of one length, one after the other.
pub(super) struct Strings {
    bytes: Bytes,
    /// Of each string, in bytes.
    len: usize,
}

impl Strings {
    /// `count` consecutive strings of `len` bytes, a multiple of 4.
    fn generate(seed: u32, count: u32, len: usize) -> Self {
        Generator::new(seed).strings(count, len)
    }

    /// The string of this number.
    pub(super) fn get(&self, index: u32) -> &[u8] {
        let start = index as usize * self.len;
        self.bytes.get(start..start + self.len).expect("a workload asks for what it has made only")
    }

    /// The string of this number, sharing the memory.
    pub(super) fn share(&self, index: u32) -> Bytes {
        self.bytes.slice_ref(self.get(index))
    }

    /// All strings in order.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.bytes.chunks_exact(self.len)
    }
}

/// Keys 0 to `count`; all different.
pub(super) fn keys(count: u32) -> Strings {
    Strings::generate(KEY_SEED, count, KEY_LEN)
}

/// Values 0 to `count`; they do not compress.
pub(super) fn values(count: u32) -> Strings {
    Strings::generate(VALUE_SEED, count, VALUE_LEN)
}

/// Entries without end, some at a time: so many that they would not fit into memory at once.
pub(super) struct EntryStream {
    keys: Generator,
    values: Generator,
}

impl EntryStream {
    /// From key and value 0 on.
    pub(super) fn new() -> Self {
        Self { keys: Generator::new(KEY_SEED), values: Generator::new(VALUE_SEED) }
    }

    /// The next `count` keys and values.
    pub(super) fn next(&mut self, count: u32) -> (Strings, Strings) {
        (self.keys.strings(count, KEY_LEN), self.values.strings(count, VALUE_LEN))
    }
}

/// What a device of W10 writes, in order: every fifth time a key that all devices write, else one of
/// its own; `count` is a multiple of 5.
pub(super) fn device_writes(device: u8, count: u32) -> Vec<(Bytes, Bytes)> {
    let own = Strings::generate(1000 + u32::from(device), count - count / 5, KEY_LEN);
    let shared = Strings::generate(999, count / 5, KEY_LEN);
    let values = Strings::generate(2000 + u32::from(device), count, VALUE_LEN);
    let key = |number: u32| match (number + 1) % 5 {
        0 => shared.share(number / 5),
        _ => own.share(number - number / 5),
    };
    (0..count).map(|number| (key(number), values.share(number))).collect()
}

/// What one device of W10 writes while another one is away.
pub(super) fn missed_writes(count: u32) -> Vec<(Bytes, Bytes)> {
    let (keys, values) =
        (Strings::generate(1000, count, KEY_LEN), Strings::generate(2000, count, VALUE_LEN));
    (0..count).map(|number| (keys.share(number), values.share(number))).collect()
}

/// Which of `count` entries W7 overwrites, one of each hundred, and with which values.
pub(super) fn changes(count: u32) -> (Vec<u32>, Strings) {
    let mut generator = Generator::new(5);
    let changed = (0..count / 100).map(|index| index * 100 + generator.draw() % 100).collect();
    (changed, Strings::generate(6, count / 100, VALUE_LEN))
}

/// Blocks 0 to `count` of a log.
pub(super) fn blocks(count: u32) -> Strings {
    Strings::generate(3, count, BLOCK_LEN)
}

/// `count` random numbers below `range`.
pub(super) fn indexes(count: u32, range: u32) -> Vec<u32> {
    let mut generator = Generator::new(4);
    (0..count).map(|_| generator.draw() % range).collect()
}

/// `count` random numbers below `range`: the keys that W9 gets.
pub(super) fn sparse_indexes(count: u32, range: u32) -> Vec<u32> {
    let mut generator = Generator::new(7);
    (0..count).map(|_| generator.draw() % range).collect()
}

/// The entries that `count` keys and values make, in the order of the keys.
pub(super) fn sorted_entries(count: u32) -> Vec<Entry> {
    let (keys, values) = (keys(count), values(count));
    let mut entries: Vec<_> =
        keys.iter().zip(values.iter()).map(|(key, value)| (array(key), array(value))).collect();
    entries.sort_unstable();
    entries
}

fn array<const LEN: usize>(bytes: &[u8]) -> [u8; LEN] {
    bytes.try_into().expect("strings have the length that they were made with")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check values of the workloads' description, which all peers share.
    #[test]
    fn the_generator_gives_the_check_values() {
        assert_eq!(hex::encode(keys(1).get(0)), "034b354b1d50f9379c14472dbfd1f690");
        let starts = [
            (values(1), "ac6f61ef1c490f63153e83f8314664d3"),
            (blocks(1), "baf4895e4c18c209a33992c9a357ecb5"),
        ];
        for (strings, start) in starts {
            assert_eq!(hex::encode(&strings.get(0)[..16]), start);
        }
        assert_eq!(indexes(3, 100_000), [13285, 52945, 64039]);
    }

    /// A stream has the same strings as the whole list, wherever it is cut.
    #[test]
    fn a_stream_gives_the_same_entries() {
        let mut stream = EntryStream::new();
        stream.next(3);
        let (some_keys, some_values) = stream.next(2);
        assert_eq!(some_keys.get(1), keys(5).get(4));
        assert_eq!(some_values.get(0), values(5).get(3));
        let (changed, new) = changes(1000);
        assert!((0..10).zip(&changed).all(|(hundred, index)| index / 100 == hundred));
        assert_eq!((changed.len(), new.iter().len()), (10, 10));
    }

    /// A fifth of the keys are those of all devices, in their order; no other key is written twice.
    #[test]
    fn devices_share_every_fifth_key() {
        let [one, other] = [0, 1].map(|device| device_writes(device, 2500));
        let shared = Strings::generate(999, 500, KEY_LEN);
        for (number, (ours, theirs)) in one.iter().zip(&other).enumerate() {
            assert_eq!(ours.0 == theirs.0, number % 5 == 4);
            assert_ne!(ours.1, theirs.1);
        }
        assert_eq!(one[4].0, shared.get(0));
        assert_eq!(one[2499].0, shared.get(499));
        let keys: std::collections::BTreeSet<_> = one.iter().chain(&other).map(|w| &w.0).collect();
        assert_eq!(keys.len(), 2 * 2000 + 500);
    }

    /// A string is the same however many are made after it.
    #[test]
    fn strings_follow_each_other() {
        let (few, many) = (values(2), values(50));
        assert_eq!(few.get(1), many.get(1));
        assert_eq!(many.iter().len(), 50);
        assert_eq!(many.iter().nth(49), Some(many.get(49)));
        assert_eq!(many.share(7), many.get(7));
    }

    /// No key of the largest workload is there twice.
    #[test]
    fn keys_are_distinct_and_sorted_with_their_values() {
        let entries = sorted_entries(100_000);
        assert!(entries.is_sorted_by(|left, right| left.0 < right.0));
        let first = entries.iter().find(|(key, _)| key == keys(1).get(0)).expect("key 0 is there");
        assert_eq!(first.1, values(1).get(0));
    }
}
