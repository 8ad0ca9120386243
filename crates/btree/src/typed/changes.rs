use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::codec::Codec;
use crate::error::Result;
use crate::history::Action;
use crate::typed::{EntryOf, decode};

/// A [`Change`](crate::Change), decoded: an entry of either tree, `E` being that of its codecs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<E> {
    /// What the left tree has under the key.
    pub left: Option<E>,
    /// What the right tree has under it.
    pub right: Option<E>,
}

/// A [`Diff`](crate::Diff), decoded.
pub struct Diff<K, V> {
    raw: crate::Diff,
    is_over: bool,
    codecs: PhantomData<fn() -> (K, V)>,
}

impl<K: Codec, V: Codec> Diff<K, V> {
    pub(super) fn new(raw: crate::Diff) -> Self {
        Self { raw, is_over: false, codecs: PhantomData }
    }

    /// As [`Diff::next`](crate::Diff::next).
    ///
    /// # Errors
    ///
    /// As that, and [`Error::Codec`](crate::Error::Codec).
    #[expect(clippy::should_implement_trait, reason = "the trait's `next` cannot be retried")]
    pub fn next(&mut self) -> Result<Option<Change<EntryOf<K, V>>>> {
        let Some(crate::Change { left, right }) = self.raw.next()? else {
            return Ok(None);
        };
        let left = left.map(decode::<K, V>).transpose()?;
        Ok(Some(Change { left, right: right.map(decode::<K, V>).transpose()? }))
    }
}

impl<K: Codec, V: Codec> Iterator for Diff<K, V> {
    type Item = Result<Change<EntryOf<K, V>>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let change = Self::next(self);
        self.is_over = change.is_err();
        change.transpose()
    }
}

impl<K, V> fmt::Debug for Diff<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw.fmt(f)
    }
}

/// A [`Record`](crate::Record), decoded: `E` is an entry of its codecs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<E> {
    /// What the block did.
    pub action: Action,
    /// The key, the value, and the number of the block.
    pub entry: E,
}

/// A [`History`](crate::History), decoded.
pub struct History<K, V> {
    raw: crate::History,
    is_over: bool,
    codecs: PhantomData<fn() -> (K, V)>,
}

impl<K: Codec, V: Codec> History<K, V> {
    pub(super) fn new(raw: crate::History) -> Self {
        Self { raw, is_over: false, codecs: PhantomData }
    }

    /// As [`History::next`](crate::History::next).
    ///
    /// # Errors
    ///
    /// As that, and [`Error::Codec`](crate::Error::Codec).
    #[expect(clippy::should_implement_trait, reason = "the trait's `next` cannot be retried")]
    pub fn next(&mut self) -> Result<Option<Record<EntryOf<K, V>>>> {
        let Some(crate::Record { action, entry }) = self.raw.next()? else {
            return Ok(None);
        };
        Ok(Some(Record { action, entry: decode::<K, V>(entry)? }))
    }
}

impl<K: Codec, V: Codec> Iterator for History<K, V> {
    type Item = Result<Record<EntryOf<K, V>>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let record = Self::next(self);
        self.is_over = record.is_err();
        record.transpose()
    }
}

impl<K, V> fmt::Debug for History<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw.fmt(f)
    }
}

/// An [`EntryWatch`](crate::EntryWatch), decoded.
pub struct EntryWatch<K, V> {
    raw: crate::EntryWatch,
    codecs: PhantomData<fn() -> (K, V)>,
}

impl<K: Codec, V: Codec> EntryWatch<K, V> {
    pub(super) fn new(raw: crate::EntryWatch) -> Self {
        Self { raw, codecs: PhantomData }
    }

    /// As [`EntryWatch::entry`](crate::EntryWatch::entry).
    ///
    /// # Errors
    ///
    /// [`Error::Codec`](crate::Error::Codec).
    pub fn entry(&self) -> Result<Option<EntryOf<K, V>>> {
        self.raw.entry().cloned().map(decode::<K, V>).transpose()
    }

    /// As [`EntryWatch::look`](crate::EntryWatch::look).
    ///
    /// # Errors
    ///
    /// As that, and [`Error::Codec`](crate::Error::Codec).
    pub fn look(&mut self) -> Result<Option<Option<EntryOf<K, V>>>> {
        let look = self.raw.look()?;
        look.map(|entry| entry.map(decode::<K, V>).transpose()).transpose()
    }

    /// As [`EntryWatch::wait`](crate::EntryWatch::wait).
    ///
    /// # Errors
    ///
    /// As that, and [`Error::Codec`](crate::Error::Codec).
    pub fn wait(&mut self) -> Result<Option<EntryOf<K, V>>> {
        self.raw.wait()?.map(decode::<K, V>).transpose()
    }
}

impl<K: Codec, V: Codec> Stream for EntryWatch<K, V> {
    type Item = Result<Option<EntryOf<K, V>>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let decode = |entry: Option<crate::Entry>| entry.map(decode::<K, V>).transpose();
        let next = Pin::new(&mut self.raw).poll_next(cx);
        next.map(|next| next.map(|entry| entry.and_then(decode)))
    }
}

impl<K, V> fmt::Debug for EntryWatch<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw.fmt(f)
    }
}
