//! Keys with several concurrent versions, versions that can't be read, and settling them.

use bytes::Bytes;
use multibee_btree::Range;
use multibee_merge::{Content, Dot, PLAIN, Version};

use crate::entry::{Conflict, NotMerged};
use crate::keyspace::{self, Place};
use crate::op::Op;
use crate::primary::between;
use crate::record::UNREADABLE;
use crate::view::{View, check_key};
use crate::{Error, Multibee};

/// How a conflict is settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// By what this version says. If it is of a mergeable type: by what all versions of that type
    /// say together.
    Version(Dot),
    /// By another value, put as [`Multibee::put`] does.
    Value(Bytes),
    /// By a delete.
    Delete,
}

/// Keys in conflict in their order, read as they are asked for.
#[derive(Debug)]
pub struct Conflicts {
    view: View,
    range: Range,
    failed: bool,
}

impl View {
    /// The conflict of one key, if it is in conflict.
    ///
    /// # Errors
    ///
    /// This machine's disk, or its content, is at fault.
    pub fn conflict(&self, key: &[u8]) -> Result<Option<Conflict>, Error> {
        let held = self.held(key)?;
        if held.is_settled() {
            return Ok(None);
        }
        let resolution = self.resolve(key, &held.versions)?;
        if !resolution.conflict {
            return Ok(None);
        }
        let dot = held.showing.as_ref().map(|showing| showing.dot);
        let shown = dot.and_then(|dot| held.versions.iter().position(|one| one.dot == dot));
        let versions = held.versions.into_iter().map(|version| self.legible(version)).collect();
        let value = held.showing.map(|showing| showing.value);
        Ok(Some(Conflict { key: Bytes::copy_from_slice(key), versions, shown, value }))
    }

    /// A version with the value that follows from its state, for users to read.
    fn legible(&self, version: Version) -> Version {
        let state = version.state.as_ref().filter(|_| version.is_live() && version.kind != PLAIN);
        let value =
            state.and_then(|state| self.resolver().types.get(version.kind)?.value(state).ok());
        match value {
            Some(value) => Version { content: Content::Value(value), ..version },
            None => version,
        }
    }

    /// All keys that are in conflict, in order. The list is the same on every device.
    ///
    /// # Errors
    ///
    /// As [`conflict`](Self::conflict).
    pub fn conflicts(&self) -> Result<Vec<Conflict>, Error> {
        self.conflicts_under(b"").collect()
    }

    /// The keys in conflict that begin with `prefix`, read as they are asked for.
    pub fn conflicts_under(&self, prefix: &[u8]) -> Conflicts {
        let range = self.tree().range(between(keyspace::conflicts_under(prefix)));
        Conflicts { view: self.clone(), range, failed: false }
    }

    /// The versions that this program can't read, by key, then by author.
    ///
    /// # Errors
    ///
    /// As [`conflict`](Self::conflict).
    pub fn not_merged(&self) -> Result<Vec<NotMerged>, Error> {
        let mut found = Vec::new();
        let mut range = self.tree().range(between(keyspace::opaques()));
        while let Some(block) = range.next()? {
            let Place::Opaque(key) = keyspace::place(&block.key) else { continue };
            let held = self.held(&key)?;
            let opaque = self.resolve(&key, &held.versions)?.opaque;
            let versions = opaque.into_iter().filter_map(|at| held.versions.get(at));
            found.extend(versions.map(|version| self.opaque(key.clone(), version)));
        }
        Ok(found)
    }

    fn opaque(&self, key: Bytes, version: &Version) -> NotMerged {
        let &Version { dot, time, kind, .. } = version;
        let reason = if kind == UNREADABLE {
            "its record can't be read".into()
        } else {
            let why = self.resolver().types.why_opaque(version);
            why.unwrap_or_else(|| "together with others it is beyond all limits".into())
        };
        NotMerged { key, dot, time, kind, reason }
    }
}

impl Iterator for Conflicts {
    type Item = Result<Conflict, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.failed {
            let found = match self.range.next() {
                Ok(Some(block)) => match keyspace::place(&block.key) {
                    Place::Conflict(key) => self.view.conflict(&key),
                    _ => Ok(None),
                },
                Ok(None) => return None,
                Err(error) => Err(error.into()),
            };
            self.failed = found.is_err();
            if let Some(found) = found.transpose() {
                return Some(found);
            }
        }
        None
    }
}

impl Multibee {
    /// All keys with several concurrent versions that no join has settled, in order; the same list
    /// on every device. [`View::conflicts_under`] reads them one by one.
    ///
    /// To settle one, [`resolve`](Self::resolve) it, or write the key: a put or delete supersedes
    /// all its versions.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn conflicts(&self) -> Result<Vec<Conflict>, Error> {
        self.view()?.conflicts()
    }

    /// The concurrent versions of one key, if it is in conflict.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn conflict(&self, key: impl AsRef<[u8]>) -> Result<Option<Conflict>, Error> {
        self.view()?.conflict(key.as_ref())
    }

    /// Settles a conflict, on every device: an ordinary write that supersedes all versions.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchVersion`] if somebody was faster; [`Error::Value`] if the version that was
    /// picked can't be read by this program; or as [`put`](Self::put).
    pub fn resolve(&self, key: impl AsRef<[u8]>, choice: Choice) -> Result<(), Error> {
        check_key(key.as_ref())?;
        let mut batch = self.batch();
        match choice {
            Choice::Version(dot) => batch.push(key, |key| Op::Pick { key, dot }),
            Choice::Value(value) => batch.put(key, value),
            Choice::Delete => batch.del(key),
        };
        batch.commit().map(|_| ())
    }

    /// The versions that this program can't read: of types that it does not know, or damaged. They
    /// are kept, counted and passed on, but not shown. When the database is opened by a program
    /// that can read them, they are.
    ///
    /// A put or delete of their key supersedes them, as it does all that the device knows.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn not_merged(&self) -> Result<Vec<NotMerged>, Error> {
        self.view()?.not_merged()
    }
}
