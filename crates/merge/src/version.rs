//! One version of a key's value.

use bytes::Bytes;

use crate::{Dot, Time};

/// The type number of plain values, which are shown as they were written.
pub const PLAIN: u32 = 0;

/// What a version says about its key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// The key has this value.
    Value(Bytes),
    /// The key was deleted.
    Deleted,
}

/// One write of a key, as it travels between devices.
///
/// Its dot determines everything else: two versions with one dot are the same version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    /// Who wrote it, and where.
    pub dot: Dot,
    /// When, by the writer's hybrid clock.
    pub time: Time,
    /// Type of the value: [`PLAIN`], or one that only newer programs know. A version of an
    /// unknown type is joined and passed on like any other, but not shown.
    pub kind: u32,
    /// The value, or that there is none.
    pub content: Content,
    /// What a mergeable type needs besides the visible value.
    pub state: Option<Bytes>,
}

impl Version {
    /// A version of a plain value.
    pub const fn plain(dot: Dot, time: Time, content: Content) -> Self {
        Self { dot, time, kind: PLAIN, content, state: None }
    }

    /// Whether the version is a value rather than a delete.
    pub const fn is_live(&self) -> bool {
        matches!(self.content, Content::Value(_))
    }

    /// Whether this program can show it: a plain value.
    pub const fn is_showable(&self) -> bool {
        self.is_live() && self.kind == PLAIN
    }

    /// The value, unless the version is a delete.
    pub const fn value(&self) -> Option<&Bytes> {
        match &self.content {
            Content::Value(value) => Some(value),
            Content::Deleted => None,
        }
    }
}
