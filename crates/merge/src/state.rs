//! What one device knows about one key, and the join of two such states.

use crate::{Applied, Clock, Dot, Time, Version};

/// The concurrent versions of one key, and the context in which they are known.
///
/// Invariants: versions are sorted by dot, each dot stands once, and the context covers each of
/// them. A dot that the context covers and that is not among the versions has been superseded.
/// (A dotted version vector set; Preguiça, Baquero et al. 2010.)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    versions: Vec<Version>,
    context: Clock,
}

impl State {
    /// A key of which nothing is known but what `context` has seen.
    pub const fn unwritten(context: Clock) -> Self {
        Self { versions: Vec::new(), context }
    }

    /// The state of a key right after a write that saw everything in `context`: one version.
    pub fn written(version: Version, context: Clock) -> Self {
        Self::new(vec![version], context)
    }

    /// A state from its parts, in any order; the context is made to cover the versions.
    pub fn new(mut versions: Vec<Version>, mut context: Clock) -> Self {
        versions.sort_by_key(|version| version.dot);
        versions.dedup_by_key(|version| version.dot);
        for version in &versions {
            cover(&mut context, version.dot);
        }
        Self { versions, context }
    }

    /// The concurrent versions, sorted by dot.
    pub fn versions(&self) -> &[Version] {
        &self.versions
    }

    /// Everything that has been seen of this key.
    pub const fn context(&self) -> &Clock {
        &self.context
    }

    /// The greatest time among the versions: what a write that supersedes them must exceed.
    pub fn latest(&self) -> Option<Time> {
        self.versions.iter().map(|version| version.time).max()
    }

    /// Whether one of the versions is a value.
    pub fn is_live(&self) -> bool {
        self.versions.iter().any(Version::is_live)
    }

    /// Whether a user should look at this key: several versions, at least one of them a value.
    pub fn is_conflict(&self) -> bool {
        self.versions.len() > 1 && self.is_live()
    }

    /// Everything that either side knows.
    ///
    /// A version stays if both sides have it, or if the other side's context does not cover it
    /// (the other side never saw it). A version that the other side saw and no longer has was
    /// superseded there, and goes.
    #[must_use]
    pub fn join(&self, other: &Self) -> Self {
        self.clone().joined(other.clone())
    }

    /// As [`join`](Self::join), of states that are not needed any more.
    #[must_use]
    pub fn joined(mut self, mut other: Self) -> Self {
        let Self { versions, context } = &mut self;
        // First this side's: the other's have to be complete for that.
        versions.retain(|version| other.keeps(version.dot));
        other.versions.retain(|version| !context.covers(version.dot));
        versions.append(&mut other.versions);
        versions.sort_by_key(|version| version.dot);
        context.merge(&other.context);
        self
    }

    /// Whether this side lets the other side's version with this dot stand.
    fn keeps(&self, dot: Dot) -> bool {
        self.holds(dot) || !self.context.covers(dot)
    }

    fn holds(&self, dot: Dot) -> bool {
        self.versions.binary_search_by_key(&dot, |version| version.dot).is_ok()
    }
}

fn cover(context: &mut Clock, dot: Dot) {
    if !context.covers(dot) {
        context.advance(dot.device, Applied { length: dot.seq.saturating_add(1), tag: None });
    }
}
