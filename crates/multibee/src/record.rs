//! Between blocks of a tree and states of keys.

use std::collections::BTreeSet;

use bytes::Bytes;
use multibee_btree::Entry as Block;
use multibee_merge::{
    Applied, Clock, Content, DeviceId, Dot, FIRST_USER_KIND, LastWriter, MergeStrategy, PLAIN,
    ShownValue, State, Time, Version,
};
use prost::DecodeError;

use crate::aside::INLINE_LEN_MAX;
use crate::format::{self, Glance, Meta};

/// The type number of writes whose record can't be read: no type has it.
pub(crate) const UNREADABLE: u32 = FIRST_USER_KIND - 1;

/// What our own tree holds of a key, without the commit clock's part of the context.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Held {
    /// The concurrent versions, sorted by dot.
    pub(crate) versions: Vec<Version>,
    /// What the key's context covers beyond the commit clock.
    pub(crate) seen: Clock,
    /// What the key shows, if it stands in the tree itself, not only as a tombstone.
    pub(crate) showing: Option<Showing>,
    /// Which of the versions have records of their own.
    pub(crate) aside: BTreeSet<Dot>,
}

/// What a live key shows, as its block says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Showing {
    /// The block.
    pub(crate) seq: u64,
    pub(crate) value: Bytes,
    pub(crate) kind: u32,
    /// Names the version that the value comes from; of several that were joined, the latest.
    pub(crate) dot: Dot,
    pub(crate) time: Time,
    /// From how many versions the value was joined: 1, if it is a version's own.
    pub(crate) joined: usize,
    /// How many versions stand beside these.
    pub(crate) hidden: usize,
}

impl Held {
    /// Reads the block of a live key in the log of `owner`. What stands aside is left out, here and
    /// below: see [`Outline`](crate::aside::Outline).
    pub(crate) fn live(block: &Block, owner: DeviceId) -> Result<Self, DecodeError> {
        let meta = Meta::decode_extra(&block.extra)?;
        let showing = Some(Showing::of(block, &Glance::from(&meta), owner));
        let own = meta.joined.is_none().then(|| main(block, &meta, owner, block.value.clone()));
        Ok(Self::of(own, meta, showing))
    }

    /// Reads the tombstone of a key: all its versions stand in the record.
    pub(crate) fn tombstone(block: &Block) -> Result<Self, DecodeError> {
        let meta = Meta::decode_extra(&block.extra)?;
        Ok(Self::of(None, meta, None))
    }

    /// Reads a reserved record that all devices share, in the log of `owner`: its value is in
    /// `state`.
    pub(crate) fn shared(block: &Block, owner: DeviceId) -> Result<Self, DecodeError> {
        let meta = Meta::decode_extra(&block.extra)?;
        let own = shared_version(block, &meta, owner);
        Ok(Self::of(Some(own), meta, None))
    }

    fn of(own: Option<Version>, meta: Meta, showing: Option<Showing>) -> Self {
        let seen = meta.seen();
        let aside = meta.others.iter().filter(|version| version.is_aside());
        let aside = aside.map(|version| version.dot.into()).collect();
        Self { versions: sorted(own, meta.others), seen, showing, aside }
    }

    /// Whether the key itself stands in the tree, not only its tombstone.
    pub(crate) const fn in_tree(&self) -> bool {
        self.showing.is_some()
    }

    /// Whether nothing is hidden behind what the key shows: then no index lists it.
    pub(crate) fn is_settled(&self) -> bool {
        match &self.showing {
            Some(showing) => showing.hidden == 0,
            None => self.versions.iter().all(is_delete),
        }
    }

    /// The greatest time among the versions: a write that supersedes them is later.
    pub(crate) fn latest(&self) -> Time {
        self.versions.iter().map(|version| version.time).max().unwrap_or_default()
    }

    /// Whether readers see the same: the same value of the same write, beside the same others. The
    /// block may be another one.
    pub(crate) fn shows_as(&self, other: &Self) -> bool {
        let dots = |held: &Self| held.versions.iter().map(|one| one.dot).collect::<Vec<_>>();
        let same_shown = match (&self.showing, &other.showing) {
            (Some(one), Some(other)) => Showing { seq: other.seq, ..one.clone() } == *other,
            (one, other) => one.is_none() && other.is_none(),
        };
        same_shown && dots(self) == dots(other)
    }

    /// The key's state in a database whose commit clock, own log included, is `clock`.
    pub(crate) fn state(&self, clock: &Clock) -> State {
        let mut context = clock.clone();
        context.merge(&self.seen);
        State::new(self.versions.clone(), context)
    }
}

impl Showing {
    /// What the block of a live key in the log of `owner` shows.
    pub(crate) fn read(block: &Block, owner: DeviceId) -> Result<Self, DecodeError> {
        Ok(Self::of(block, &Glance::decode_extra(&block.extra)?, owner))
    }

    fn of(block: &Block, meta: &Glance, owner: DeviceId) -> Self {
        let here = Dot { device: owner, seq: block.seq };
        let joined = meta.joined.map_or(0, |count| count as usize);
        Self {
            seq: block.seq,
            value: block.value.clone().unwrap_or_default(),
            kind: meta.r#type.unwrap_or_default(),
            dot: meta.dot.map_or(here, Dot::from),
            time: Time::from_u64(meta.time.unwrap_or_default()),
            joined: joined.max(1),
            hidden: meta.others.len().saturating_sub(joined),
        }
    }

    /// Whether the same is shown, of the same versions.
    pub(crate) fn is(&self, shown: &ShownValue, versions: &[Version]) -> bool {
        self.value == shown.value
            && self.kind == shown.kind
            && self.joined == shown.from.len()
            && latest(shown, versions).is_some_and(|version| version.dot == self.dot)
    }
}

/// The version that stands in the block of a live key as its main one: the one that is shown,
/// unless the shown value was joined from several, or its state is too long to stand there.
fn main_shown<'a>(shown: &ShownValue, versions: &'a [Version]) -> Option<&'a Version> {
    let main = latest(shown, versions).filter(|_| shown.from.len() == 1)?;
    let state_len = main.state.as_ref().map_or(0, Bytes::len);
    (state_len <= INLINE_LEN_MAX).then_some(main)
}

/// The versions of a live key that stand beside the shown value.
pub(crate) fn beside<'a>(
    shown: &ShownValue,
    versions: &'a [Version],
) -> impl Iterator<Item = &'a Version> + use<'a> {
    let main = main_shown(shown, versions).map(|main| main.dot);
    versions.iter().filter(move |version| Some(version.dot) != main)
}

/// The record of a live key that shows this of its versions; the block has the shown value.
///
/// A version's own value stands there with the version's dot, time, type and state, and the other
/// versions beside it. A joined value stands there with the dot and time of the latest of the
/// versions that it was joined from, and all versions beside it. Those in `aside` are only named.
pub(crate) fn live(
    shown: &ShownValue,
    versions: &[Version],
    seen: &Clock,
    aside: &BTreeSet<Dot>,
) -> Meta {
    let Some(first) = latest(shown, versions) else { return Meta::default() };
    let main = main_shown(shown, versions);
    let is_joined = main.is_none();
    Meta {
        time: Some(first.time.as_u64()),
        dot: Some(first.dot.into()),
        seen: format::encode_clock(seen),
        others: others(beside(shown, versions), aside),
        state: main.and_then(|main| main.state.clone()),
        r#type: (shown.kind != PLAIN).then_some(shown.kind),
        joined: is_joined.then_some(u32::try_from(shown.from.len()).unwrap_or(u32::MAX)),
        ..Meta::default()
    }
}

/// The tombstone of a key that shows nothing of its versions. Those in `aside` are only named.
pub(crate) fn tombstone(versions: &[Version], seen: &Clock, aside: &BTreeSet<Dot>) -> Meta {
    let others = others(versions.iter(), aside);
    Meta { others, seen: format::encode_clock(seen), ..Meta::default() }
}

/// The version that stands in a shared record as its main one.
fn main_shared(versions: &[Version]) -> Option<&Version> {
    let shown = LastWriter.resolve(b"", versions).first().and_then(|at| versions.get(at));
    let latest = || versions.iter().max_by_key(|version| (version.time, version.dot));
    shown.or_else(latest)
}

/// The versions of a shared record that stand beside its main one.
pub(crate) fn beside_shared(versions: &[Version]) -> impl Iterator<Item = &Version> {
    let main = main_shared(versions).map(|main| main.dot);
    versions.iter().filter(move |version| Some(version.dot) != main)
}

/// The reserved record, shared by all devices, with these versions. Those in `aside` are only named.
pub(crate) fn shared(versions: &[Version], seen: &Clock, aside: &BTreeSet<Dot>) -> Meta {
    let Some(first) = main_shared(versions) else { return Meta::default() };
    Meta {
        time: Some(first.time.as_u64()),
        dot: Some(first.dot.into()),
        seen: format::encode_clock(seen),
        others: others(beside_shared(versions), aside),
        state: first.value().cloned(),
        deleted: is_delete(first).then_some(true),
        r#type: (first.kind != PLAIN).then_some(first.kind),
        ..Meta::default()
    }
}

fn others<'a>(
    versions: impl Iterator<Item = &'a Version>,
    aside: &BTreeSet<Dot>,
) -> Vec<format::Version> {
    let record = |version: &'a Version| match aside.contains(&version.dot) {
        true => format::Version::named(version),
        false => version.into(),
    };
    versions.map(record).collect()
}

/// The record of an own write of this version, whose block has, or will have, its dot.
pub(crate) fn own(version: &Version, seen: &Clock) -> Meta {
    Meta {
        time: Some(version.time.as_u64()),
        seen: format::encode_clock(seen),
        state: version.state.clone(),
        deleted: is_delete(version).then_some(true),
        r#type: (version.kind != PLAIN).then_some(version.kind),
        ..Meta::default()
    }
}

/// The state of a key right after `author` wrote this block of an own commit.
///
/// The author had seen everything in the commit's clock, everything in its own log up to this
/// block, and what the record names beyond. The write superseded all of that.
pub(crate) fn written(block: &Block, author: DeviceId, clock: &Clock) -> State {
    let Ok(meta) = Meta::decode_extra(&block.extra) else {
        return after(unreadable(block, author), &Meta::default(), block.seq, author, clock);
    };
    let version = main(block, &meta, author, block.value.clone());
    after(version, &meta, block.seq, author, clock)
}

/// As [`written`], of a reserved record that all devices share.
pub(crate) fn shared_written(block: &Block, author: DeviceId, clock: &Clock) -> State {
    let Ok(meta) = Meta::decode_extra(&block.extra) else {
        return after(unreadable(block, author), &Meta::default(), block.seq, author, clock);
    };
    let version = shared_version(block, &meta, author);
    after(version, &meta, block.seq, author, clock)
}

/// The version of a write whose record no program can read. It holds the record and the value as
/// they are, so that nothing is lost and the clock does not lie.
fn unreadable(block: &Block, author: DeviceId) -> Version {
    let value = block.value.clone().unwrap_or_default();
    let content = [&(block.extra.len() as u64).to_le_bytes()[..], &block.extra, &value].concat();
    let dot = Dot { device: author, seq: block.seq };
    Version {
        kind: UNREADABLE,
        ..Version::plain(dot, Time::default(), Content::Value(content.into()))
    }
}

/// Whether a tombstone in an own commit is a write of its own: the delete of a key that showed
/// nothing. Others only keep what the blocks before them say.
pub(crate) fn is_news(tombstone: &Block) -> bool {
    Meta::decode_extra(&tombstone.extra).is_ok_and(|meta| meta.is_deleted())
}

fn after(version: Version, meta: &Meta, seq: u64, author: DeviceId, clock: &Clock) -> State {
    let mut context = clock.clone();
    context.merge(&meta.seen());
    context.advance(author, Applied { length: seq.saturating_add(1), tag: None });
    State::written(version, context)
}

/// The version that a block of `owner`'s log states by itself.
fn main(block: &Block, meta: &Meta, owner: DeviceId, value: Option<Bytes>) -> Version {
    let here = Dot { device: owner, seq: block.seq };
    let version = Version {
        dot: meta.dot.map_or(here, Dot::from),
        time: meta.stamp(),
        kind: meta.r#type.unwrap_or_default(),
        content: format::content(meta.is_deleted(), value),
        state: meta.state.clone(),
    };
    format::bare(version)
}

fn shared_version(block: &Block, meta: &Meta, owner: DeviceId) -> Version {
    let stateless = Meta { state: None, ..meta.clone() };
    main(block, &stateless, owner, meta.state.clone())
}

fn sorted(own: Option<Version>, others: Vec<format::Version>) -> Vec<Version> {
    let mut versions: Vec<_> = own.into_iter().collect();
    versions.extend(others.into_iter().map(Version::from));
    versions.sort_by_key(|version| version.dot);
    versions
}

/// The version that stands for a shown value: of several that were joined, the latest.
pub(crate) fn latest<'a>(shown: &ShownValue, versions: &'a [Version]) -> Option<&'a Version> {
    let from = shown.from.iter().filter_map(|&position| versions.get(position));
    from.max_by_key(|version| (version.time, version.dot))
}

/// Whether a version says that its key was deleted.
pub(crate) const fn is_delete(version: &Version) -> bool {
    matches!(version.content, Content::Deleted)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use multibee_merge::{Counter, Map, Set, Strategies, Types};
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::aside::{Outline, choose};
    use crate::resolver::Resolver;
    use crate::rules::Rules;

    fn block(seq: u64, value: Option<&'static str>, meta: Meta) -> Block {
        let value = value.map(Bytes::from);
        Block { seq, key: "k".into(), value, extra: meta.into_extra() }
    }

    /// The records of all versions of the key `k`, as if all stood aside.
    fn asides(versions: &[Version]) -> BTreeMap<Bytes, Block> {
        let entry = |version: &Version| {
            let key = crate::keyspace::aside(b"k", version.dot);
            let extra = crate::aside::record(version).into_extra();
            (key.clone(), Block { seq: 2, key, value: None, extra })
        };
        versions.iter().map(entry).collect()
    }

    /// A block without a dot is a write of its own log at its own place.
    #[test]
    fn a_plain_block_names_itself() {
        let author = DeviceId::from_u64(7);
        let meta = Meta { time: Some(99), ..Meta::default() };
        let state = written(&block(4, Some("v"), meta), author, &Clock::new());
        let version = &state.versions()[0];
        assert_eq!(version.dot, Dot { device: author, seq: 4 });
        assert_eq!((version.time, version.value()), (Time::from_u64(99), Some(&"v".into())));
        assert!(state.context().covers(version.dot));
    }

    /// A block without our record at all (a plain Hyperbee's) is readable, at time 0.
    #[test]
    fn a_block_without_record_is_a_value_at_time_zero() {
        let plain = Block { seq: 1, key: "k".into(), value: None, extra: Bytes::new() };
        let held = Held::live(&plain, DeviceId::from_u64(1)).unwrap();
        assert_eq!(held.versions[0].time, Time::default());
        assert_eq!(held.versions[0].value(), Some(&Bytes::new()));
    }

    /// What one writes is what the other reads: a delete stays a delete.
    #[test]
    fn a_delete_is_told_from_a_value() {
        let meta = Meta { deleted: Some(true), ..Meta::default() };
        let state = written(&block(4, None, meta), DeviceId::from_u64(7), &Clock::new());
        assert!(is_delete(&state.versions()[0]));
    }

    prop_compose! {
        /// A write of some type on some device: readable or not, or a delete.
        fn write()(device in 1..6_u64, seq in 0..9_u64, time in 0..4_u64, what in 0..8_u8, text in "[a-c]{0,2}")
            -> Version
        {
            let types = Types::standard();
            let dot = Dot { device: DeviceId::from_u64(device), seq };
            let time = Time::from_millis(time);
            let typed = |kind, value: String| types.write(kind, &[], value.as_bytes(), dot, time).unwrap();
            match what {
                0 => Version::plain(dot, time, Content::Deleted),
                1 => types.delete(&[typed(Counter::KIND, "1".into())], dot, time),
                2 => typed(Counter::KIND, seq.to_string()),
                3 => typed(Set::KIND, format!("[{text:?}]")),
                4 => typed(Map::KIND, format!("{{\"f\":{text:?}}}")),
                5 => Version { kind: 77, ..typed(Counter::KIND, "5".into()) },
                6 => Version { state: Some("bad".into()), ..typed(Set::KIND, "[]".into()) },
                _ => Version::plain(dot, time, Content::Value(text.into())),
            }
        }
    }

    proptest! {
        /// Whatever the versions of a key are and show, they come back from its record, as do what
        /// is shown, by whom, and how many versions are hidden.
        #[test]
        fn records_round_trip(writes in vec(write(), 1..6), strategy in 0..3_usize, length in 0..9_u64) {
            let mut versions: Vec<_> = writes.into_iter().map(format::bare).collect();
            versions.sort_by_key(|version| version.dot);
            versions.dedup_by_key(|version| version.dot.device);
            let seen: Clock =
                [(DeviceId::from_u64(9), Applied { length, tag: None })].into_iter().collect();
            let names = [Strategies::LAST_WRITER, Strategies::DELETE_WINS, Strategies::KEEP_ALL];
            let resolver = Resolver::default();
            let strategy = resolver.strategies.get(names[strategy]).unwrap();
            let resolution = resolver.types.resolve(strategy, b"k", &versions);
            let owner = DeviceId::from_u64(99);
            let stored = asides(&versions);
            let get = |key: &[u8]| Ok::<_, String>(stored.get(key).cloned());
            let bad = |_, what: &str| what.to_string();
            if let Some(shown) = resolution.shown.first() {
                let aside = choose(beside(shown, &versions), &BTreeSet::new());
                let meta = live(shown, &versions, &seen, &aside);
                let value = Some(shown.value.clone());
                let block = Block { seq: 3, key: "k".into(), value, extra: meta.into_extra() };
                let held = Outline::live(&block, owner).unwrap().complete(get, bad).unwrap();
                prop_assert_eq!((&held.versions, &held.seen), (&versions, &seen));
                let showing = held.showing.unwrap();
                prop_assert!(showing.is(shown, &versions));
                prop_assert_eq!(showing.hidden > 0, resolution.conflict);
                prop_assert_eq!(showing.joined + showing.hidden, versions.len());
            } else {
                let aside = choose(versions.iter(), &BTreeSet::new());
                let meta = tombstone(&versions, &seen, &aside);
                let key = crate::keyspace::tombstone(b"k");
                let block = Block { seq: 3, key, value: None, extra: meta.into_extra() };
                let held = Outline::tombstone(&block).unwrap().complete(get, bad).unwrap();
                prop_assert_eq!((&held.versions, &held.seen), (&versions, &seen));
            }
            prop_assert!(resolver.resolve(&Rules::default(), b"k", &versions).opaque == resolution.opaque);
        }

        /// What a device writes by itself is what others read, and what it reads itself.
        #[test]
        fn own_writes_round_trip(write in write()) {
            let write = format::bare(write);
            let meta = own(&write, &Clock::new());
            let value = (!is_delete(&write)).then(|| write.value().cloned()).flatten();
            let block = Block { seq: write.dot.seq, key: "k".into(), value, extra: meta.into_extra() };
            let state = written(&block, write.dot.device, &Clock::new());
            prop_assert_eq!(state.versions(), std::slice::from_ref(&write));
            let held = Held::live(&block, write.dot.device).unwrap();
            prop_assert_eq!(&held.versions[..], state.versions());
        }

        /// Versions of shared records come back, deletes and all.
        #[test]
        fn shared_records_round_trip(writes in vec(write(), 1..5)) {
            let mut versions: Vec<_> = writes
                .into_iter()
                .map(|write| Version::plain(write.dot, write.time, write.content))
                .collect();
            versions.sort_by_key(|version| version.dot);
            versions.dedup_by_key(|version| version.dot.device);
            let stored = asides(&versions);
            let aside = choose(beside_shared(&versions), &BTreeSet::new());
            let block = block(3, None, shared(&versions, &Clock::new(), &aside));
            let outline = Outline::shared(&block, DeviceId::from_u64(99)).unwrap();
            let get = |key: &[u8]| Ok::<_, String>(stored.get(key).cloned());
            let held = outline.complete(get, |_, what| what.to_string()).unwrap();
            prop_assert_eq!(held.versions, versions);
        }
    }
}
