//! What the workloads need of a store.

use std::path::Path;

use anyhow::Result;

use crate::task::Durability;

/// A store of entries in a folder. Dropping it closes it.
pub(crate) trait Store: Sized {
    /// Of the store.
    fn version() -> String;

    fn create(folder: &Path, durability: Durability) -> Result<Self>;

    fn open(folder: &Path) -> Result<Self>;

    /// Puts entries as one commit.
    fn put_all<'a>(&mut self, entries: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Result<()>;

    /// A view for many reads, if the store has any.
    fn reader(&self) -> Result<impl Reader>;
}

/// A view of a store.
pub(crate) trait Reader {
    /// Hands the value of a key to `take`, if there is one; whether there is.
    fn get(&mut self, key: &[u8], take: impl FnMut(&[u8]) -> Result<()>) -> Result<bool>;

    /// Hands all entries to `take`, in the order of their keys.
    fn scan(&mut self, take: impl FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()>;
}

/// The version of a package that this program was built with.
pub(crate) fn locked(package: &str) -> String {
    let lock = include_str!("../Cargo.lock");
    let behind_name = lock.split_once(&format!("name = \"{package}\"\nversion = \""));
    let version = behind_name.and_then(|(_, rest)| rest.split('"').next());
    version.unwrap_or("unknown").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_of_the_lock() {
        assert!(locked("redb").starts_with("4."));
        assert!(locked("fjall").starts_with("3."));
        assert_eq!(locked("no-such-package"), "unknown");
    }
}
