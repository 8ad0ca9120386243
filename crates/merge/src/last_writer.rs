//! The default strategy.

use crate::strategy::latest_first;
use crate::{MergeStrategy, Shown, Version};

/// Shows the latest live version; an edit beats a concurrent delete.
///
/// "Latest" is by time, then by device, so that equal times still have one winner everywhere.
/// The others stay among the key's versions, as conflicts, until a later write supersedes them.
#[derive(Clone, Copy, Debug, Default)]
pub struct LastWriter;

impl MergeStrategy for LastWriter {
    fn resolve(&self, _key: &[u8], versions: &[Version]) -> Shown {
        latest_first(versions).first().map_or(Shown::Nothing, |&position| Shown::One(position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Content, DeviceId, Dot, Time};

    fn version(device: u64, seq: u64, time: u64, value: Option<&'static str>) -> Version {
        let dot = Dot { device: DeviceId::from_u64(device), seq };
        let content = value.map_or(Content::Deleted, |value| Content::Value(value.into()));
        Version::plain(dot, Time::from_millis(time), content)
    }

    /// The greatest time wins; among equal times, the greatest device.
    #[test]
    fn the_latest_is_shown_and_ties_have_one_winner() {
        let versions = [version(1, 0, 5, Some("a")), version(2, 0, 4, Some("b"))];
        assert_eq!(LastWriter.resolve(b"k", &versions), Shown::One(0));
        let versions = [version(1, 9, 5, Some("a")), version(2, 0, 5, Some("b"))];
        assert_eq!(LastWriter.resolve(b"k", &versions), Shown::One(1));
    }

    /// A delete never hides a concurrent edit, however late it was.
    #[test]
    fn an_edit_beats_a_concurrent_delete() {
        let versions = [version(1, 0, 5, Some("a")), version(2, 0, 99, None)];
        assert_eq!(LastWriter.resolve(b"k", &versions), Shown::One(0));
        assert_eq!(LastWriter.resolve(b"k", &versions[1..]), Shown::Nothing);
    }

    /// A version of a type that this program does not know is not shown.
    #[test]
    fn an_unknown_type_is_not_shown() {
        let mut opaque = version(2, 0, 99, Some("b"));
        opaque.kind = 77;
        let versions = [version(1, 0, 5, Some("a")), opaque];
        assert_eq!(LastWriter.resolve(b"k", &versions), Shown::One(0));
    }
}
