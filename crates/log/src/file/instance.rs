//! The mark by which a directory is told from a copy of it.
//!
//! A copied or restored directory holds the key of its log as the original does. Were both to
//! append, the writer would have signed two histories. So a directory notes which file its `oplog`
//! is, by what the file system knows of it and a copy does not take along.

use std::fs::{self, File, Metadata};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::UNIX_EPOCH;

use crate::storage::Part;

use super::{Access, open_options, sync_dir};

/// The file that holds the mark.
const NAME: &str = "instance";

/// Returns whether a directory is a copy of the one that was marked. One that bears no mark, since
/// it was made by another program, is marked now.
pub(super) fn is_copy(dir: &Path) -> io::Result<bool> {
    match fs::read(dir.join(NAME)) {
        Ok(mark) => Ok(mark != mark_of(dir)?.as_bytes()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            claim(dir)?;
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Marks a directory, durably. A crash leaves the old mark or the new one.
pub(super) fn claim(dir: &Path) -> io::Result<()> {
    let mark = mark_of(dir)?;
    let new = dir.join("instance.new");
    let mut file: File = open_options(Access::Write).create(true).truncate(true).open(&new)?;
    file.write_all(mark.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, dir.join(NAME))?;
    sync_dir(dir)
}

/// What the file system knows of the oplog: its number, and when it was made.
fn mark_of(dir: &Path) -> io::Result<String> {
    let metadata = fs::metadata(dir.join(Part::Oplog.name()))?;
    // Not every file system knows it. The same one either always does or never.
    let born = metadata.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
    let born = born.map_or_else(|| "unknown".to_owned(), |born| born.as_nanos().to_string());
    Ok(format!("multibee-instance 1\noplog {} born {born}\n", number_of(&metadata)))
}

#[cfg(unix)]
fn number_of(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn number_of(_metadata: &Metadata) -> u64 {
    0
}
