use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use multibee_log::HeadListener;

use crate::bee::Bee;
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::range::RangeOptions;
use crate::tree::Tree;

/// A range of keys before and after something in it was changed. Seen by a [`Watch`].
#[derive(Clone, Debug)]
pub struct Moved {
    /// The tree with the change.
    pub now: Tree,
    /// The tree as it was when it was last looked at. If the writer went back, it can't be read any
    /// more.
    pub before: Tree,
}

/// Tells of changes in a range of keys. Made by [`Bee::watch`].
///
/// Shown are whole commits only. Several of them that came between two looks are shown as one
/// change; none is missed. A writer who goes back, by [`Log::truncate`](multibee_log::Log::truncate)
/// or a reorg, shows as a change whatever it did to the range.
///
/// It can be used in three ways: [`look`](Self::look) never waits, [`wait`](Self::wait) blocks the
/// thread, and the stream suits any executor. None of them ends. After [`Error::Missing`], fetch
/// the blocks and ask again: nothing is lost.
pub struct Watch {
    bee: Bee,
    range: RangeOptions,
    last: Tree,
    listener: Pin<Box<HeadListener>>,
}

impl Bee {
    /// Tells of changes in a range of keys from now on. `reverse` and `limit` are not heeded.
    ///
    /// ```
    /// # use multibee_btree::{Bee, BeeOptions, RangeOptions};
    /// # use multibee_log::{KeyPair, Log, LogOptions, MemoryStorage};
    /// # let log = Log::create(MemoryStorage::new(), KeyPair::generate(), LogOptions::default())?;
    /// let bee = Bee::open(log, BeeOptions::default())?;
    /// let range = RangeOptions { gte: Some("a".into()), lt: Some("b".into()), ..Default::default() };
    /// let mut watch = bee.watch(range.clone())?;
    /// bee.put(b"bread", Some("rye"))?;
    /// assert!(watch.look()?.is_none());
    ///
    /// bee.put(b"apple", Some("red"))?;
    /// let moved = watch.wait()?;
    /// let change = moved.now.diff(&moved.before, range)?.next()?;
    /// assert_eq!(change.map(|change| change.key().clone()).as_deref(), Some(&b"apple"[..]));
    /// # Ok::<(), multibee_btree::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`snapshot`](Self::snapshot).
    pub fn watch(&self, range: RangeOptions) -> Result<Watch> {
        let listener = Box::pin(self.log().listen());
        let last = self.snapshot()?;
        let range = RangeOptions { reverse: false, limit: None, ..range };
        Ok(Watch { bee: self.clone(), range, last, listener })
    }

    /// Tells of changes in a range of keys since a version, a [`checkout`](Self::checkout) mostly:
    /// the first one shows what has changed up to now.
    ///
    /// # Errors
    ///
    /// [`Error::OtherTree`] if `tree` is not of this log and sub-database.
    pub fn watch_since(&self, tree: &Tree, range: RangeOptions) -> Result<Watch> {
        let watch = self.watch(range)?;
        // Whether the two can be compared.
        watch.last.diff(tree, RangeOptions::default())?;
        Ok(Watch { last: tree.clone(), ..watch })
    }

    /// Reads an entry, and tells of each other that comes in its place.
    ///
    /// # Errors
    ///
    /// As [`Tree::get`].
    pub fn get_and_watch(&self, key: &[u8]) -> Result<EntryWatch> {
        let bound = Some(key.to_vec().into());
        let range = RangeOptions { gte: bound.clone(), lte: bound, ..RangeOptions::default() };
        let watch = self.watch(range)?;
        let entry = watch.last.get(key)?;
        Ok(EntryWatch { watch, key: key.to_vec(), entry })
    }
}

impl Watch {
    /// The tree as it was when it was last looked at.
    pub fn tree(&self) -> &Tree {
        &self.last
    }

    /// What has changed since the last look, if anything has. Never waits.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if it takes blocks that are to be fetched to know.
    pub fn look(&mut self) -> Result<Option<Moved>> {
        Ok(self.look_and(|_| Ok(()))?.map(|(moved, ())| moved))
    }

    /// Looks, and reads what has changed. If that fails it has not looked.
    fn look_and<T>(&mut self, read: impl FnOnce(&Tree) -> Result<T>) -> Result<Option<(Moved, T)>> {
        let (now, is_moved) = loop {
            let now = self.bee.snapshot()?;
            if now.fork() != self.last.fork() {
                break (now, true);
            }
            if now.version() == self.last.version() {
                return Ok(None);
            }
            match now.diff(&self.last, self.range.clone())?.next() {
                // Just now. The next look sees it.
                Err(Error::WentBack { .. }) => {}
                change => break (now, change?.is_some()),
            }
        };
        let read = if is_moved { Some(read(&now)?) } else { None };
        let before = std::mem::replace(&mut self.last, now.clone());
        Ok(read.map(|read| (Moved { now, before }, read)))
    }

    /// Waits for the next change, and blocks the thread until it comes.
    ///
    /// # Errors
    ///
    /// As [`look`](Self::look).
    pub fn wait(&mut self) -> Result<Moved> {
        loop {
            let listener = self.bee.log().listen();
            if let Some(moved) = self.look()? {
                return Ok(moved);
            }
            listener.wait();
        }
    }

    /// As [`wait`](Self::wait), but returns `None` if nothing has changed in the range and nothing
    /// was appended for as long as `timeout`.
    ///
    /// # Errors
    ///
    /// As [`look`](Self::look).
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<Option<Moved>> {
        loop {
            let listener = self.bee.log().listen();
            if let Some(moved) = self.look()? {
                return Ok(Some(moved));
            }
            if !listener.wait_timeout(timeout) {
                return Ok(None);
            }
        }
    }
}

impl Stream for Watch {
    type Item = Result<Moved>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match self.look() {
                Ok(None) => {}
                Ok(Some(moved)) => return Poll::Ready(Some(Ok(moved))),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
            if self.listener.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            // Listening begins before the next look.
            self.listener = Box::pin(self.bee.log().listen());
        }
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("last", &self.last).finish_non_exhaustive()
    }
}

/// An entry that is kept up to date. Made by [`Bee::get_and_watch`], used as a [`Watch`].
///
/// Writes under other keys do not show. An entry that was put again is another one, even if its
/// value is the same.
#[derive(Debug)]
pub struct EntryWatch {
    watch: Watch,
    key: Vec<u8>,
    entry: Option<Entry>,
}

impl EntryWatch {
    /// The entry when it was last looked at, or `None` if there was none.
    pub fn entry(&self) -> Option<&Entry> {
        self.entry.as_ref()
    }

    /// The entry that came since the last look, or `None` if nothing has changed. Never waits.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if it takes blocks that are to be fetched to know.
    pub fn look(&mut self) -> Result<Option<Option<Entry>>> {
        let Some((_, entry)) = self.watch.look_and(|now| now.get(&self.key))? else {
            return Ok(None);
        };
        let is_new = entry != self.entry;
        self.entry = entry;
        Ok(is_new.then(|| self.entry.clone()))
    }

    /// Waits for the next entry, and blocks the thread until it comes. `None` if it was deleted.
    ///
    /// # Errors
    ///
    /// As [`look`](Self::look).
    pub fn wait(&mut self) -> Result<Option<Entry>> {
        loop {
            let listener = self.watch.bee.log().listen();
            if let Some(entry) = self.look()? {
                return Ok(entry);
            }
            listener.wait();
        }
    }
}

impl Stream for EntryWatch {
    type Item = Result<Option<Entry>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match self.look() {
                Ok(None) => {}
                Ok(Some(entry)) => return Poll::Ready(Some(Ok(entry))),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
            if self.watch.listener.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.watch.listener = Box::pin(self.watch.bee.log().listen());
        }
    }
}
