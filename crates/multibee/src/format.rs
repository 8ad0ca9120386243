//! What Multibee stores beside the key and value of a block: the records of format `multibee/1`.
//!
//! A primary is an ordinary Hyperbee. Each of its blocks carries one more protobuf field, number
//! 100, that Hyperbee readers skip. The layout is written down in `docs/formats.md`.

use bytes::Bytes;
use multibee_merge::{Applied as AppliedTo, Clock, Content, DeviceId, Dot as MergeDot};
use multibee_merge::{PLAIN, Time, Version as MergeVersion};
use prost::Message;

/// Name of the format, in the bee's header as its user data.
pub(crate) const FORMAT: &str = "multibee/1";

/// The one field that is added to a Hyperbee block.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Extra {
    #[prost(message, optional, tag = "100")]
    pub(crate) multibee: Option<Meta>,
}

/// What a block says besides its key and value.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Meta {
    /// Hybrid time of the write.
    #[prost(fixed64, optional, tag = "1")]
    pub(crate) time: Option<u64>,
    /// The shown version's dot; absent: this log, this block.
    #[prost(message, optional, tag = "2")]
    pub(crate) dot: Option<Dot>,
    /// Context of the key beyond the commit clock.
    #[prost(message, repeated, tag = "3")]
    pub(crate) seen: Vec<Applied>,
    /// Concurrent versions that are not shown.
    #[prost(message, repeated, tag = "4")]
    pub(crate) others: Vec<Version>,
    /// What a mergeable type or a reserved record needs besides the visible value.
    #[prost(bytes = "bytes", optional, tag = "5")]
    pub(crate) state: Option<Bytes>,
    /// Only on the last block of a commit.
    #[prost(message, optional, tag = "6")]
    pub(crate) commit: Option<Commit>,
    /// This block deletes its key.
    #[prost(bool, optional, tag = "7")]
    pub(crate) deleted: Option<bool>,
    /// Written by a returning device in its removed log first; `seen` is then its whole context.
    #[prost(bool, optional, tag = "8")]
    pub(crate) replayed: Option<bool>,
    /// Type of the value; absent: plain.
    #[prost(uint32, optional, tag = "9")]
    pub(crate) r#type: Option<u32>,
    /// The shown value was joined from so many versions, which all stand in `others`.
    #[prost(uint32, optional, tag = "10")]
    pub(crate) joined: Option<u32>,
}

/// As [`Extra`], of which only that is read that a key's value is shown with.
#[derive(Clone, PartialEq, Message)]
struct GlanceExtra {
    #[prost(message, optional, tag = "100")]
    multibee: Option<Glance>,
}

/// As [`Meta`]: what a key's value is shown with. What else a record says is skipped unread.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Glance {
    #[prost(fixed64, optional, tag = "1")]
    pub(crate) time: Option<u64>,
    #[prost(message, optional, tag = "2")]
    pub(crate) dot: Option<Dot>,
    /// They are only counted, so there is nothing to keep of them.
    #[prost(message, repeated, tag = "4")]
    pub(crate) others: Vec<Skipped>,
    #[prost(uint32, optional, tag = "9")]
    pub(crate) r#type: Option<u32>,
    #[prost(uint32, optional, tag = "10")]
    pub(crate) joined: Option<u32>,
}

/// A message of which nothing is read.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Skipped {}

/// What a record under `p` says in its `state`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Rule {
    /// Name of the strategy; absent: the last writer.
    #[prost(string, optional, tag = "1")]
    pub(crate) strategy: Option<String>,
    /// Type that a put writes; absent: plain.
    #[prost(uint32, optional, tag = "2")]
    pub(crate) r#type: Option<u32>,
}

/// Names a write.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Dot {
    #[prost(fixed64, required, tag = "1")]
    pub(crate) device: u64,
    #[prost(uint64, required, tag = "2")]
    pub(crate) seq: u64,
}

/// How far a log has been applied.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Applied {
    #[prost(fixed64, required, tag = "1")]
    pub(crate) device: u64,
    #[prost(uint64, required, tag = "2")]
    pub(crate) length: u64,
    /// First 8 bytes of that log's tree hash at `length`, read little-endian.
    #[prost(fixed64, optional, tag = "3")]
    pub(crate) tag: Option<u64>,
}

/// A version that is not the shown one.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Version {
    #[prost(message, required, tag = "1")]
    pub(crate) dot: Dot,
    #[prost(fixed64, optional, tag = "2")]
    pub(crate) time: Option<u64>,
    #[prost(uint32, optional, tag = "3")]
    pub(crate) r#type: Option<u32>,
    #[prost(bytes = "bytes", optional, tag = "4")]
    pub(crate) value: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "5")]
    pub(crate) state: Option<Bytes>,
    #[prost(bool, optional, tag = "6")]
    pub(crate) deleted: Option<bool>,
    /// Value and state stand in a record of their own.
    #[prost(bool, optional, tag = "7")]
    pub(crate) aside: Option<bool>,
}

/// Ends a commit: the atomic unit of data, merge progress and evidence.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Commit {
    /// The vector clock, where it differs from the one at `clock_at`.
    #[prost(message, repeated, tag = "1")]
    pub(crate) clock: Vec<Applied>,
    /// Last block of an earlier own commit that carries its whole clock; absent: `clock` is whole.
    #[prost(uint64, optional, tag = "2")]
    pub(crate) clock_at: Option<u64>,
    /// Last block of the previous own commit.
    #[prost(uint64, optional, tag = "3")]
    pub(crate) prev_own: Option<u64>,
    /// Digest of the data after this commit, 16 bytes.
    #[prost(bytes = "bytes", optional, tag = "4")]
    pub(crate) digest: Option<Bytes>,
    /// First block of this commit; on own commits only.
    #[prost(uint64, optional, tag = "5")]
    pub(crate) own_first: Option<u64>,
    /// Hybrid time at which this commit was made; in each log it only grows.
    #[prost(fixed64, optional, tag = "6")]
    pub(crate) at: Option<u64>,
    /// What records of this version may have seen beyond the clock, because another database's
    /// state was joined in part.
    #[prost(message, repeated, tag = "7")]
    pub(crate) ahead: Vec<Applied>,
}

impl Meta {
    /// Reads the record out of a block's unknown fields; a block without one gives the empty one.
    ///
    /// # Errors
    ///
    /// The fields are no such record: the writer of the log is at fault.
    pub(crate) fn decode_extra(extra: &Bytes) -> Result<Self, prost::DecodeError> {
        Ok(Extra::decode(extra.clone())?.multibee.unwrap_or_default())
    }

    /// The unknown fields to append to a block.
    pub(crate) fn into_extra(self) -> Bytes {
        Extra { multibee: Some(self) }.encode_to_vec().into()
    }

    /// As [`into_extra`](Self::into_extra), with the record itself.
    pub(crate) fn encode(self) -> (Bytes, Self) {
        let extra = Extra { multibee: Some(self) };
        (extra.encode_to_vec().into(), extra.multibee.unwrap_or_default())
    }

    pub(crate) fn seen(&self) -> Clock {
        decode_clock(&self.seen)
    }

    pub(crate) fn stamp(&self) -> Time {
        Time::from_u64(self.time.unwrap_or_default())
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.deleted.unwrap_or(false)
    }
}

impl Glance {
    /// As [`Meta::decode_extra`].
    ///
    /// # Errors
    ///
    /// Likewise, as far as it is read.
    pub(crate) fn decode_extra(extra: &Bytes) -> Result<Self, prost::DecodeError> {
        Ok(GlanceExtra::decode(&extra[..])?.multibee.unwrap_or_default())
    }
}

impl From<&Meta> for Glance {
    fn from(meta: &Meta) -> Self {
        Self {
            time: meta.time,
            dot: meta.dot,
            others: vec![Skipped {}; meta.others.len()],
            r#type: meta.r#type,
            joined: meta.joined,
        }
    }
}

impl From<MergeDot> for Dot {
    fn from(dot: MergeDot) -> Self {
        Self { device: dot.device.as_u64(), seq: dot.seq }
    }
}

impl From<Dot> for MergeDot {
    fn from(dot: Dot) -> Self {
        Self { device: DeviceId::from_u64(dot.device), seq: dot.seq }
    }
}

impl From<&MergeVersion> for Version {
    fn from(version: &MergeVersion) -> Self {
        Self {
            dot: version.dot.into(),
            time: Some(version.time.as_u64()),
            r#type: (version.kind != PLAIN).then_some(version.kind),
            value: held_value(version).cloned(),
            deleted: (!version.is_live()).then_some(true),
            state: version.state.clone(),
            aside: None,
        }
    }
}

impl Version {
    /// As its key's record names a version that stands aside.
    pub(crate) fn named(version: &MergeVersion) -> Self {
        let aside = Some(true);
        Self { value: None, state: None, aside, ..Self::from(version) }
    }

    pub(crate) fn is_aside(&self) -> bool {
        self.aside.unwrap_or(false)
    }
}

impl From<Version> for MergeVersion {
    fn from(version: Version) -> Self {
        let deleted = version.deleted.unwrap_or(false);
        bare(Self {
            dot: version.dot.into(),
            time: Time::from_u64(version.time.unwrap_or_default()),
            kind: version.r#type.unwrap_or_default(),
            content: content(deleted, version.value),
            state: version.state,
        })
    }
}

/// A version as it is held: without the value, if that follows from the state of its type.
pub(crate) fn bare(version: MergeVersion) -> MergeVersion {
    if follows_from_state(&version) {
        MergeVersion { content: Content::Value(Bytes::new()), ..version }
    } else {
        version
    }
}

/// The value that a version's record has: none, if it follows from the state of its type.
pub(crate) fn held_value(version: &MergeVersion) -> Option<&Bytes> {
    version.value().filter(|_| !follows_from_state(version))
}

fn follows_from_state(version: &MergeVersion) -> bool {
    version.is_live() && version.kind != PLAIN && version.state.is_some()
}

/// A version's content from its two fields; a value that is left out is an empty one.
pub(crate) fn content(deleted: bool, value: Option<Bytes>) -> Content {
    if deleted { Content::Deleted } else { Content::Value(value.unwrap_or_default()) }
}

/// A clock as it stands in records, in the order of the device ids.
pub(crate) fn encode_clock(clock: &Clock) -> Vec<Applied> {
    let entry = |(device, at): (DeviceId, AppliedTo)| Applied {
        device: device.as_u64(),
        length: at.length,
        tag: at.tag.map(u64::from_le_bytes),
    };
    clock.iter().map(entry).collect()
}

/// A clock out of records; where a device is named twice the greater length counts.
pub(crate) fn decode_clock(entries: &[Applied]) -> Clock {
    let entry = |applied: &Applied| {
        let at = AppliedTo { length: applied.length, tag: applied.tag.map(u64::to_le_bytes) };
        (DeviceId::from_u64(applied.device), at)
    };
    entries.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    fn bytes() -> impl Strategy<Value = Bytes> {
        vec(any::<u8>(), 0..20).prop_map(Bytes::from)
    }

    prop_compose! {
        fn version()(
            device: u64, seq: u64, time: u64, kind in 0..3_u32,
            value in option::of(bytes()), state in option::of(bytes()),
        ) -> MergeVersion {
            let dot = MergeDot { device: DeviceId::from_u64(device), seq };
            let content = value.map_or(Content::Deleted, Content::Value);
            MergeVersion { dot, time: Time::from_u64(time), kind, content, state }
        }
    }

    proptest! {
        /// Every version that is held comes back from its record unchanged.
        #[test]
        fn versions_round_trip(version in version()) {
            let version = bare(version);
            let bytes = Version::from(&version).encode_to_vec();
            prop_assert_eq!(MergeVersion::from(Version::decode(&bytes[..]).unwrap()), version);
        }

        /// Arbitrary bytes are a record or a typed error, never a panic. A glance sees in them what
        /// reading all of it does.
        #[test]
        fn arbitrary_fields_do_not_panic(extra in bytes()) {
            let glance = Glance::decode_extra(&extra);
            if let Ok(meta) = Meta::decode_extra(&extra) {
                prop_assert_eq!(glance.unwrap(), Glance::from(&meta));
            }
        }

        /// A glance at a record sees what reading all of it does.
        #[test]
        fn a_glance_sees_the_same(
            (time, kind, joined) in (any::<Option<u64>>(), any::<Option<u32>>(), any::<Option<u32>>()),
            dot in option::of((any::<u64>(), any::<u64>())),
            others in vec(version(), 0..4),
        ) {
            let meta = Meta {
                time,
                r#type: kind,
                joined,
                dot: dot.map(|(device, seq)| Dot { device, seq }),
                others: others.iter().map(Version::from).collect(),
                commit: Some(Commit { prev_own: Some(7), ..Commit::default() }),
                ..Meta::default()
            };
            let glance = Glance::decode_extra(&meta.clone().into_extra()).unwrap();
            prop_assert_eq!(glance, Glance::from(&meta));
        }

        /// Clocks come back with their tags.
        #[test]
        fn clocks_round_trip(entries in vec((any::<u64>(), 1..u64::MAX, option::of(any::<[u8; 8]>())), 0..6)) {
            let clock: Clock = entries
                .into_iter()
                .map(|(id, length, tag)| (DeviceId::from_u64(id), AppliedTo { length, tag }))
                .collect();
            prop_assert_eq!(decode_clock(&encode_clock(&clock)), clock);
        }
    }

    /// The record is field 100 of the block and nothing else, so Hyperbee readers skip it.
    #[test]
    fn the_record_is_field_100() {
        let meta = Meta { time: Some(1), ..Meta::default() };
        assert_eq!(meta.into_extra()[..], [0xa2, 0x06, 9, 0x09, 1, 0, 0, 0, 0, 0, 0, 0]);
    }
}
