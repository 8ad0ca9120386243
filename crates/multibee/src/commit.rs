//! Commit records: clocks written as differences, and read back.

use bytes::Bytes;
use multibee_merge::{Clock, Digest};

use crate::format::{self, Commit};

/// An own commit that carries its whole clock, to which later commits refer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Base {
    /// Last block of that commit.
    pub(crate) seq: u64,
    pub(crate) clock: Clock,
}

/// The clock's part of a commit record.
///
/// An entry goes into the difference when it is new or changed. A clock that is behind the base, as
/// one is after a renaming, is written whole. Where the difference names as many devices as the clock, the clock is written whole.
pub(crate) fn encode_clock(
    clock: &Clock,
    base: Option<&Base>,
) -> (Vec<format::Applied>, Option<u64>) {
    let Some(base) = base.filter(|base| clock.covers_all(&base.clock)) else {
        return (format::encode_clock(clock), None);
    };
    let changed: Clock =
        clock.iter().filter(|(device, at)| base.clock.get(*device) != Some(*at)).collect();
    if changed.count() >= clock.count() && !clock.is_empty() {
        return (format::encode_clock(clock), None);
    }
    (format::encode_clock(&changed), Some(base.seq))
}

/// The whole clock of a commit, given the clock at its `clock_at`.
pub(crate) fn decode_clock(commit: &Commit, base: Option<&Clock>) -> Clock {
    let mut clock = format::decode_clock(&commit.clock);
    if let Some(base) = base {
        clock.merge(base);
    }
    clock
}

/// The digest in a commit record, if it has the right length.
pub(crate) fn decode_digest(digest: Option<&Bytes>) -> Option<Digest> {
    digest.and_then(|bytes| <[u8; 16]>::try_from(&bytes[..]).ok()).map(Digest::from_bytes)
}

#[cfg(test)]
mod tests {
    use multibee_merge::{Applied, DeviceId};
    use proptest::collection::btree_map;
    use proptest::prelude::*;

    use super::*;

    fn clock() -> impl Strategy<Value = Clock> {
        btree_map(0..6_u64, 1..9_u64, 0..6).prop_map(|entries| {
            let entry = |(id, length): (u64, u64)| {
                (DeviceId::from_u64(id), Applied { length, tag: Some([length as u8; 8]) })
            };
            entries.into_iter().map(entry).collect()
        })
    }

    proptest! {
        /// Whatever the base, the clock that is read is the clock that was written.
        #[test]
        fn clocks_round_trip_over_a_base(base in clock(), more in clock(), seq: u64) {
            let mut whole = base.clone();
            whole.merge(&more);
            let base = Base { seq, clock: base };
            let (entries, clock_at) = encode_clock(&whole, Some(&base));
            let commit = Commit { clock: entries, clock_at, ..Commit::default() };
            let read = decode_clock(&commit, clock_at.map(|_| &base.clock));
            prop_assert_eq!(read, whole);
        }

        /// An unchanged clock costs one number.
        #[test]
        fn an_unchanged_clock_is_left_out(clock in clock(), seq: u64) {
            prop_assume!(!clock.is_empty());
            let base = Base { seq, clock: clock.clone() };
            prop_assert_eq!(encode_clock(&clock, Some(&base)), (vec![], Some(seq)));
        }
    }
}
