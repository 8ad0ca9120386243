//! Several blocks and values that become part of a log together or not at all.

use bytes::Bytes;

use crate::error::Result;
use crate::log::Log;

/// Blocks and user data on their way into a log. Made by [`Log::batch`].
///
/// Nothing happens before [`commit`](Self::commit); a batch that is dropped has never been. The
/// blocks get one signature together.
#[derive(Debug)]
#[must_use = "a batch does nothing until it is committed"]
pub struct Batch<'a> {
    log: &'a Log,
    blocks: Vec<Bytes>,
    user_data: Vec<(String, Bytes)>,
}

impl Log {
    /// Begins a batch.
    ///
    /// ```
    /// use multibee_log::{KeyPair, Log, LogOptions, MemoryStorage};
    ///
    /// let log = Log::create(MemoryStorage::new(), KeyPair::generate(), LogOptions::default())?;
    /// let mut batch = log.batch();
    /// batch.append("rain").append("sun").set_user_data("imported up to", "line 2");
    /// assert_eq!(batch.commit()?, 2);
    /// assert_eq!(log.user_data("imported up to").as_deref(), Some(&b"line 2"[..]));
    /// # Ok::<(), multibee_log::Error>(())
    /// ```
    pub fn batch(&self) -> Batch<'_> {
        Batch { log: self, blocks: Vec::new(), user_data: Vec::new() }
    }
}

impl Batch<'_> {
    /// Adds a block at the end.
    pub fn append(&mut self, block: impl Into<Bytes>) -> &mut Self {
        self.blocks.push(block.into());
        self
    }

    /// Sets a value as [`Log::set_user_data`] does.
    pub fn set_user_data(&mut self, key: impl Into<String>, value: impl Into<Bytes>) -> &mut Self {
        self.user_data.push((key.into(), value.into()));
        self
    }

    /// Writes it all. Returns the log's new length.
    ///
    /// # Errors
    ///
    /// As [`Log::append`], without blocks too, and [`Log::set_user_data`]. Nothing of the batch is
    /// there then, unless a sync failed: see there.
    pub fn commit(self) -> Result<u64> {
        let blocks: Vec<&[u8]> = self.blocks.iter().map(AsRef::as_ref).collect();
        let (change, len) = self.log.shared.append(&blocks, &self.user_data)?;
        self.log.shared.settle(change)?;
        Ok(len)
    }
}
