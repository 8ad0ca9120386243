//! The strategy for keys whose deletion must hold.

use crate::strategy::latest_first;
use crate::{MergeStrategy, Shown, Version};

/// Shows nothing while one of the versions is a delete, else the latest value.
///
/// The values that a delete hides stay among the key's versions, as conflicts, until a later write
/// supersedes them.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeleteWins;

impl MergeStrategy for DeleteWins {
    fn resolve(&self, _key: &[u8], versions: &[Version]) -> Shown {
        if versions.iter().any(|version| !version.is_live()) {
            return Shown::Nothing;
        }
        latest_first(versions).first().map_or(Shown::Nothing, |&position| Shown::One(position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Content, DeviceId, Dot, Time};

    /// A delete hides concurrent values however early it was; without one the latest is shown.
    #[test]
    fn a_delete_beats_a_concurrent_edit() {
        let version = |device, time, content| {
            let dot = Dot { device: DeviceId::from_u64(device), seq: 0 };
            Version::plain(dot, Time::from_millis(time), content)
        };
        let versions = [
            version(1, 5, Content::Value("a".into())),
            version(2, 9, Content::Value("b".into())),
            version(3, 1, Content::Deleted),
        ];
        assert_eq!(DeleteWins.resolve(b"k", &versions), Shown::Nothing);
        assert_eq!(DeleteWins.resolve(b"k", &versions[..2]), Shown::One(1));
        assert_eq!(DeleteWins.resolve(b"k", &[]), Shown::Nothing);
    }
}
