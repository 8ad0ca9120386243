//! Contents of versions that have no room in their key's own record.
//!
//! Each device writes values that fit a block, but the concurrent versions of a key may not fit one
//! together. Those that are too much have records of their own, named by key and dot; the key's
//! record says so. Which ones is each device's own business: what counts is that all are held.

use std::collections::BTreeSet;

use bytes::Bytes;
use multibee_btree::Entry as Block;
use multibee_merge::{DeviceId, Dot, Version};
use prost::DecodeError;

use crate::format::{self, Meta};
use crate::keyspace::{self, Place};
use crate::record::Held;

/// Most bytes of values and states that the versions that are not shown have in their key's record
/// together. (Few in tests, so that most of them meet versions that stand aside.)
pub(crate) const INLINE_LEN_MAX: usize = if cfg!(test) { 3 } else { 1 << 20 };

/// Most bytes of one version's value and state together, and of the value and the record of a block
/// that one device writes. With [`INLINE_LEN_MAX`], a key and a clock they fit a block.
pub(crate) const CONTENT_LEN_MAX: usize = 12 << 20;

/// Most records of superseded versions that one commit removes. Those beyond stay in the tree, where
/// nobody names them any more.
pub(crate) const REMOVALS_MAX: usize = 4096;

/// What the block of a key says by itself: some of its versions may stand aside.
#[derive(Clone, Debug)]
#[must_use = "versions that stand aside are still to be read"]
pub(crate) struct Outline {
    held: Held,
    /// By which key what stands aside is named.
    base: Bytes,
    seq: u64,
}

impl Outline {
    /// Reads the block of a live key in the log of `owner`.
    pub(crate) fn live(block: &Block, owner: DeviceId) -> Result<Self, DecodeError> {
        Ok(Self { held: Held::live(block, owner)?, base: block.key.clone(), seq: block.seq })
    }

    /// Reads the tombstone of a key: all its versions stand in the record, or aside.
    pub(crate) fn tombstone(block: &Block) -> Result<Self, DecodeError> {
        let base = match keyspace::place(&block.key) {
            Place::Tombstone(key) => keyspace::user(&key),
            _ => block.key.clone(),
        };
        Ok(Self { held: Held::tombstone(block)?, base, seq: block.seq })
    }

    /// Reads a reserved record that all devices share, in the log of `owner`.
    pub(crate) fn shared(block: &Block, owner: DeviceId) -> Result<Self, DecodeError> {
        Ok(Self { held: Held::shared(block, owner)?, base: block.key.clone(), seq: block.seq })
    }

    /// Whether versions stand aside.
    pub(crate) fn is_partial(&self) -> bool {
        !self.held.aside.is_empty()
    }

    /// The versions, some of them perhaps without what they say.
    pub(crate) fn versions(&self) -> &[Version] {
        &self.held.versions
    }

    /// Reads what stands aside by `get`, out of the same version of the same tree. `bad` makes an
    /// error of what is wrong with a block.
    pub(crate) fn complete<E>(
        self,
        mut get: impl FnMut(&[u8]) -> Result<Option<Block>, E>,
        bad: impl Fn(u64, &str) -> E,
    ) -> Result<Held, E> {
        let mut held = self.held;
        for &dot in &held.aside {
            let block = get(&keyspace::aside(&self.base, dot))?;
            let block =
                block.ok_or_else(|| bad(self.seq, "a version that it names is not there"))?;
            let version = read(&block, dot).map_err(|what| bad(block.seq, &what))?;
            if let Some(found) = held.versions.iter_mut().find(|version| version.dot == dot) {
                *found = version;
            }
        }
        if held.versions.iter().any(|version| content_len(version) > CONTENT_LEN_MAX) {
            return Err(bad(self.seq, "a version is longer than any device may write"));
        }
        Ok(held)
    }
}

/// The record of a version that stands aside.
pub(crate) fn record(version: &Version) -> Meta {
    Meta { others: vec![version.into()], ..Meta::default() }
}

fn read(block: &Block, dot: Dot) -> Result<Version, String> {
    let meta = Meta::decode_extra(&block.extra).map_err(|error| error.to_string())?;
    let found = meta.others.into_iter().find(|version| !version.is_aside());
    let found = found.map(Version::from).filter(|version| version.dot == dot);
    found.ok_or_else(|| "it holds another version than the one it is named after".into())
}

/// Which of a key's versions that are not shown are to stand aside. Those that do already, `before`,
/// go on to; of the others the largest, until the rest has room.
///
/// So a version that is added makes at most one more stand aside, and none that stands there is
/// written again.
pub(crate) fn choose<'a>(
    hidden: impl Iterator<Item = &'a Version>,
    before: &BTreeSet<Dot>,
) -> BTreeSet<Dot> {
    let (mut aside, mut inline, mut sum) = (BTreeSet::new(), Vec::new(), 0);
    for version in hidden {
        if before.contains(&version.dot) {
            aside.insert(version.dot);
        } else {
            sum += content_len(version);
            inline.push((content_len(version), version.dot));
        }
    }
    inline.sort_unstable();
    while sum > INLINE_LEN_MAX
        && let Some((len, dot)) = inline.pop()
    {
        sum -= len;
        aside.insert(dot);
    }
    aside
}

/// Bytes of a version's value and state, as records hold them.
pub(crate) fn content_len(version: &Version) -> usize {
    let value = format::held_value(version).map_or(0, Bytes::len);
    value + version.state.as_ref().map_or(0, Bytes::len)
}

#[cfg(test)]
mod tests {
    use multibee_merge::{Content, Time};

    use super::*;

    fn version(device: u64, len: usize) -> Version {
        let dot = Dot { device: DeviceId::from_u64(device), seq: 1 };
        Version::plain(dot, Time::default(), Content::Value(vec![b'x'; len].into()))
    }

    /// The largest ones stand aside until the rest has room; what stands there stays.
    #[test]
    fn the_largest_stand_aside() {
        let versions = [version(1, 1), version(2, 3), version(3, 1), version(4, 0)];
        let dots = |devices: &[usize]| -> BTreeSet<Dot> {
            devices.iter().map(|&number| versions[number - 1].dot).collect()
        };
        assert_eq!(choose(versions.iter(), &dots(&[])), dots(&[2]));
        assert_eq!(choose(versions.iter(), &dots(&[4])), dots(&[2, 4]));
        assert_eq!(choose(versions[..2].iter(), &dots(&[1, 4])), dots(&[1]));
    }

    /// A record that is gone, or holds another version, is an error, never an empty value.
    #[test]
    fn what_is_not_there_is_told() {
        let (asked, other) = (version(1, 9), version(2, 9));
        let meta = crate::record::tombstone(
            std::slice::from_ref(&asked),
            &multibee_merge::Clock::new(),
            &BTreeSet::from([asked.dot]),
        );
        let key = keyspace::tombstone(b"k");
        let block = Block { seq: 7, key, value: None, extra: meta.into_extra() };
        let outline = Outline::tombstone(&block).unwrap();
        assert!(outline.is_partial());
        let answer = |found: Option<&Version>| {
            let block = found.map(|version| Block {
                seq: 5,
                key: Bytes::new(),
                value: None,
                extra: record(version).into_extra(),
            });
            let complete = outline.clone().complete(
                |key| {
                    assert_eq!(key, &keyspace::aside(b"k", asked.dot)[..]);
                    Ok(block.clone())
                },
                |seq, _| seq,
            );
            complete.map(|held| held.versions)
        };
        assert_eq!(answer(None), Err(7));
        assert_eq!(answer(Some(&other)), Err(5));
        assert_eq!(answer(Some(&asked)), Ok(vec![asked.clone()]));
    }
}
