//! What a folder takes on disk, and on which kind of file system it lies.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// What the files below a folder take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DiskUse {
    /// Sum of the files' lengths.
    pub(super) bytes: u64,
    /// Sum of what is allocated for them, where the system tells.
    pub(super) allocated: Option<u64>,
}

impl DiskUse {
    /// Of all files below `folder`.
    pub(super) fn of(folder: &Path) -> Result<Self> {
        let context = || format!("cannot read {}", folder.display());
        let mut total = Self { bytes: 0, allocated: cfg!(unix).then_some(0) };
        for entry in fs::read_dir(folder).with_context(context)? {
            let entry = entry.with_context(context)?;
            let metadata = entry.metadata().with_context(context)?;
            let part = if metadata.is_dir() {
                Self::of(&entry.path())?
            } else {
                Self { bytes: metadata.len(), allocated: allocated(&metadata) }
            };
            total.bytes += part.bytes;
            total.allocated = total.allocated.zip(part.allocated).map(|(sum, part)| sum + part);
        }
        Ok(total)
    }
}

#[cfg(unix)]
fn allocated(metadata: &fs::Metadata) -> Option<u64> {
    // Always in units of 512, whatever the file system's blocks are.
    Some(std::os::unix::fs::MetadataExt::blocks(metadata) * 512)
}

#[cfg(not(unix))]
fn allocated(_metadata: &fs::Metadata) -> Option<u64> {
    None
}

/// The type of the file system that `folder` lies on, if the system tells.
pub(super) fn file_system(folder: &Path) -> Option<String> {
    file_system_in(&fs::read_to_string("/proc/self/mounts").ok()?, folder)
}

/// The same from a list of mounts: the last of the mount points that lead furthest.
fn file_system_in(mounts: &str, folder: &Path) -> Option<String> {
    let fields = mounts.lines().map(|line| line.split(' '));
    let mounted = fields.filter_map(|mut fields| Some((fields.nth(1)?, fields.next()?)));
    let mut above: Vec<_> = mounted.filter(|(point, _)| folder.starts_with(point)).collect();
    above.sort_by_key(|(point, _)| Path::new(point).components().count());
    above.last().map(|(_, kind)| (*kind).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_in_all_depths_count() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("deeper")).unwrap();
        fs::write(folder.path().join("a"), [1; 100]).unwrap();
        fs::write(folder.path().join("deeper/b"), [1; 20]).unwrap();
        let found = DiskUse::of(folder.path()).unwrap();
        assert_eq!(found.bytes, 120);
        assert_eq!(found.allocated.is_some(), cfg!(unix));
    }

    #[test]
    fn the_nearest_mount_counts() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /tmp/x xfs rw 0 0\n";
        let kind = |path| file_system_in(mounts, Path::new(path));
        assert_eq!(kind("/tmp/y").as_deref(), Some("tmpfs"));
        assert_eq!(kind("/tmp/x/z").as_deref(), Some("xfs"));
        assert_eq!(kind("/tmpfile").as_deref(), Some("ext4"));
    }
}
