//! The strategy for readers that choose by themselves.

use crate::strategy::latest_first;
use crate::{MergeStrategy, Shown, Version};

/// Shows all values side by side, the latest first; an edit beats a concurrent delete.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeepAll;

impl MergeStrategy for KeepAll {
    fn resolve(&self, _key: &[u8], versions: &[Version]) -> Shown {
        let mut positions = latest_first(versions);
        match positions.len() {
            0 => Shown::Nothing,
            1 => positions.pop().map_or(Shown::Nothing, Shown::One),
            _ => Shown::All(positions),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Content, DeviceId, Dot, Time};

    /// Every value is shown, the latest first, and no delete.
    #[test]
    fn all_values_are_shown() {
        let version = |device, time, content| {
            let dot = Dot { device: DeviceId::from_u64(device), seq: 0 };
            Version::plain(dot, Time::from_millis(time), content)
        };
        let versions = [
            version(1, 5, Content::Value("a".into())),
            version(2, 9, Content::Value("b".into())),
            version(3, 7, Content::Deleted),
        ];
        assert_eq!(KeepAll.resolve(b"k", &versions), Shown::All(vec![1, 0]));
        assert_eq!(KeepAll.resolve(b"k", &versions[..1]), Shown::One(0));
        assert_eq!(KeepAll.resolve(b"k", &versions[2..]), Shown::Nothing);
    }
}
