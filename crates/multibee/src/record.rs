//! Between blocks of a tree and states of keys.

use multibee_btree::Entry as Block;
use multibee_merge::{Applied, Clock, Content, DeviceId, Dot, State, Time, Version};
use prost::DecodeError;

use crate::format::{self, Meta};

/// What our own tree holds of a user's key, without the commit clock's part of the context.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    /// The concurrent versions, sorted by dot.
    pub(crate) versions: Vec<Version>,
    /// What the key's context covers beyond the commit clock.
    pub(crate) seen: Clock,
    /// Whether the key itself stands in the tree, not only its tombstone.
    pub(crate) in_tree: bool,
}

impl Held {
    /// Reads the block of a live key in the log of `owner`.
    pub(crate) fn live(block: &Block, owner: DeviceId) -> Result<Self, DecodeError> {
        let meta = Meta::decode_extra(&block.extra)?;
        let seen = meta.seen();
        let mut versions = vec![shown(block, &meta, owner)];
        versions.extend(meta.others.into_iter().map(Version::from));
        versions.sort_by_key(|version| version.dot);
        Ok(Self { versions, seen, in_tree: true })
    }

    /// Reads the tombstone of a key: all its versions stand in the record.
    pub(crate) fn tombstone(block: &Block) -> Result<Self, DecodeError> {
        let meta = Meta::decode_extra(&block.extra)?;
        let seen = meta.seen();
        let mut versions: Vec<_> = meta.others.into_iter().map(Version::from).collect();
        versions.sort_by_key(|version| version.dot);
        Ok(Self { versions, seen, in_tree: false })
    }

    /// The key's state in a database whose commit clock, own log included, is `clock`.
    pub(crate) fn state(&self, clock: &Clock) -> State {
        let mut context = clock.clone();
        context.merge(&self.seen);
        State::new(self.versions.clone(), context)
    }
}

/// The version that a block of `owner`'s log shows.
fn shown(block: &Block, meta: &Meta, owner: DeviceId) -> Version {
    let here = Dot { device: owner, seq: block.seq };
    Version {
        dot: meta.dot.map_or(here, Dot::from),
        time: meta.stamp(),
        kind: meta.r#type.unwrap_or_default(),
        content: format::content(meta.is_deleted(), block.value.clone()),
        state: meta.state.clone(),
    }
}

/// The state of a key right after `author` wrote this block of an own commit.
///
/// The author had seen everything in the commit's clock, everything in its own log up to this
/// block, and what the record names beyond. The write superseded all of that.
pub(crate) fn written(
    block: &Block,
    author: DeviceId,
    clock: &Clock,
) -> Result<State, DecodeError> {
    let meta = Meta::decode_extra(&block.extra)?;
    let mut context = clock.clone();
    context.merge(&meta.seen());
    let own = Applied { length: block.seq.saturating_add(1), tag: None };
    context.advance(author, own);
    Ok(State::written(shown(block, &meta, author), context))
}

/// Who wrote what a live key shows, when, and how many versions it hides.
pub(crate) fn shown_dot(block: &Block, owner: DeviceId) -> Result<(Dot, Time, usize), DecodeError> {
    let meta = Meta::decode_extra(&block.extra)?;
    let here = Dot { device: owner, seq: block.seq };
    Ok((meta.dot.map_or(here, Dot::from), meta.stamp(), meta.others.len()))
}

/// Whether a version says that its key was deleted.
pub(crate) const fn is_delete(version: &Version) -> bool {
    matches!(version.content, Content::Deleted)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn block(seq: u64, value: Option<&'static str>, meta: Meta) -> Block {
        let value = value.map(Bytes::from);
        Block { seq, key: "k".into(), value, extra: meta.into_extra() }
    }

    /// A block without a dot is a write of its own log at its own place.
    #[test]
    fn a_plain_block_names_itself() {
        let author = DeviceId::from_u64(7);
        let meta = Meta { time: Some(99), ..Meta::default() };
        let state = written(&block(4, Some("v"), meta), author, &Clock::new()).unwrap();
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
        let state = written(&block(4, None, meta), DeviceId::from_u64(7), &Clock::new()).unwrap();
        assert!(is_delete(&state.versions()[0]));
    }
}
