//! Which of several concurrent versions is shown.

use crate::Version;

/// Chooses what a key shows while it has concurrent versions.
///
/// It must be a pure function of the key and the set: then every device that holds the same
/// versions shows the same value.
pub trait MergeStrategy {
    /// The position in `versions` of the one to show, or `None` if the key shows no value.
    ///
    /// `versions` is sorted by dot, and holds each dot once.
    fn resolve(&self, key: &[u8], versions: &[Version]) -> Option<usize>;
}
