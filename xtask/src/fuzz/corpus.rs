//! The folders of the fuzz targets: their programs, and the inputs that are kept.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::root;

/// Inputs that once broke a property begin with this, and are never dropped.
const REGRESSION: &str = "regression-";

/// The crate of the fuzz targets.
pub(super) fn crate_folder() -> PathBuf {
    root().join("fuzz")
}

/// The inputs of a target that are kept.
pub(super) fn kept(target: &str) -> PathBuf {
    crate_folder().join("corpus").join(target)
}

/// The names of all targets, in order.
pub(super) fn targets() -> Result<Vec<String>> {
    let folder = crate_folder().join("fuzz_targets");
    let mut names: Vec<String> = files(&folder)?
        .iter()
        .filter_map(|path| Some(path.file_name()?.to_str()?.strip_suffix(".rs")?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

/// Puts the inputs of `new` in the place of those in `kept`, but for regressions.
pub(super) fn replace(kept: &Path, new: &Path) -> Result<()> {
    for path in files(kept)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with(REGRESSION) {
            fs::remove_file(&path)?;
        }
    }
    for path in files(new)? {
        fs::copy(&path, kept.join(path.file_name().unwrap_or_default()))?;
    }
    Ok(())
}

/// Number of files in a folder, and bytes in them.
pub(super) fn size(folder: &Path) -> Result<(usize, u64)> {
    let files = files(folder)?;
    let bytes = files.iter().map(|path| Ok(fs::metadata(path)?.len())).sum::<Result<u64>>()?;
    Ok((files.len(), bytes))
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_in_the_manifest_of_its_crate() {
        let manifest = fs::read_to_string(crate_folder().join("Cargo.toml")).unwrap();
        let targets = targets().unwrap();
        assert!(targets.contains(&"open".to_owned()));
        for target in targets {
            let path = format!("path = \"fuzz_targets/{target}.rs\"");
            assert!(manifest.contains(&path), "{target}");
        }
    }

    #[test]
    fn regressions_stay() {
        let [kept, new] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        fs::write(kept.path().join("old"), "1").unwrap();
        fs::write(kept.path().join("regression-size"), "22").unwrap();
        fs::write(new.path().join("new"), "333").unwrap();
        replace(kept.path(), new.path()).unwrap();
        assert_eq!(size(kept.path()).unwrap(), (2, 5));
        assert!(!kept.path().join("old").exists());
    }
}
