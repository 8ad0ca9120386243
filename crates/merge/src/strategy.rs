//! Which of several concurrent versions is shown.

use crate::Version;

/// What a key shows. The numbers are positions in the list of versions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Shown {
    /// No value: the key reads as absent.
    Nothing,
    /// This version alone.
    One(usize),
    /// All of these side by side, the foremost first: it stands where only one has room.
    /// Never empty.
    All(Vec<usize>),
}

impl Shown {
    /// The version that stands where only one has room.
    pub fn first(&self) -> Option<usize> {
        match self {
            Self::Nothing => None,
            Self::One(position) => Some(*position),
            Self::All(positions) => positions.first().copied(),
        }
    }
}

/// Chooses what a key shows while it has concurrent versions.
///
/// It must be a pure function of the key and the set: then every device that holds the same
/// versions shows the same value. [`crate::laws::check_strategy`] tests that.
pub trait MergeStrategy {
    /// What to show of `versions`, which is sorted by dot and holds each dot once.
    ///
    /// Only versions that [`Version::is_showable`] may be shown.
    fn resolve(&self, key: &[u8], versions: &[Version]) -> Shown;
}

/// The showable versions, the latest by (time, dot) first.
pub(crate) fn latest_first(versions: &[Version]) -> Vec<usize> {
    let mut shown: Vec<_> =
        versions.iter().enumerate().filter(|(_, version)| version.is_showable()).collect();
    shown.sort_by_key(|(_, version)| std::cmp::Reverse((version.time, version.dot)));
    shown.into_iter().map(|(position, _)| position).collect()
}
