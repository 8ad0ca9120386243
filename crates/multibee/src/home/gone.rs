//! Forgetting the directory of a log: it goes at once, or not at all.
//!
//! A directory goes file by file. Were it to be cut short, a log would be left that does not open, and
//! with it the database. So it gets another name first, under which nobody looks for a log.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::logs::{PRIMARIES, REPLICAS, sync_dir};
use crate::Error;

/// What names of directories that go end with.
const GONE: &str = ".gone";

/// Forgets a directory, if it is there.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    match set_aside(path)? {
        Some(aside) => remove_all(&aside),
        None => Ok(()),
    }
}

/// Takes a directory's name from it, durably. Returns the one that it has from then on.
fn set_aside(path: &Path) -> Result<Option<PathBuf>, Error> {
    let Some((folder, name)) = path.parent().zip(path.file_name()) else { return Ok(None) };
    if !path.is_dir() {
        return Ok(None);
    }
    let aside = folder.join(format!(".{}{GONE}", name.display()));
    // An earlier one of the same name that went only in part.
    remove_all(&aside)?;
    fs::rename(path, &aside).and_then(|()| sync_dir(folder)).map_err(Error::file(path))?;
    Ok(Some(aside))
}

/// Removes what was set aside in a home, and is there still because a process ended.
pub(super) fn remove_left(home: &Path) -> Result<(), Error> {
    for folder in [home.to_path_buf(), home.join(PRIMARIES), home.join(REPLICAS)] {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::file(folder)(error)),
        };
        for entry in entries {
            let entry = entry.map_err(Error::file(&folder))?;
            let name = entry.file_name().into_string().unwrap_or_default();
            if name.starts_with('.') && name.ends_with(GONE) {
                remove_all(&entry.path())?;
            }
        }
    }
    Ok(())
}

fn remove_all(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file(path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::Home;
    use crate::{Multibee, Options};

    /// A process that ends while a log is removed leaves a database that opens, and goes on; what is left
    /// of the log goes then.
    #[test]
    fn a_removal_that_is_cut_short_harms_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::dir(dir.path());
        let db = Multibee::create(home.clone(), Options::default()).unwrap();
        db.put("k", "1").unwrap();
        db.compact(|_| {}).unwrap();
        drop(db);
        // The first log, which nobody needs any more.
        let aside = set_aside(&dir.path().join("primary")).unwrap().unwrap();
        fs::remove_file(aside.join("oplog")).unwrap();

        let db = Multibee::open(home.clone(), Options::default()).unwrap();
        assert!(!aside.exists());
        assert!(db.get("k").unwrap().is_some());
        db.compact(|_| {}).unwrap();
        drop(db);
        Multibee::open(home, Options::default()).unwrap().verify().unwrap();
    }

    /// What is not there need not be removed; what was left of an earlier removal is in nobody's way.
    #[test]
    fn a_directory_goes_whole() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join(REPLICAS).join("log");
        remove(&log).unwrap();
        for _ in 0..2 {
            fs::create_dir_all(&log).unwrap();
            fs::write(log.join("oplog"), "1").unwrap();
            set_aside(&log).unwrap();
            assert!(!log.exists());
        }
        fs::create_dir_all(&log).unwrap();
        remove(&log).unwrap();
        assert_eq!(fs::read_dir(dir.path().join(REPLICAS)).unwrap().count(), 0);
    }
}
