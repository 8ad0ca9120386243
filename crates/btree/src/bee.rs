use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use multibee_log::Log;

use crate::batch::Batch;
use crate::entry::Entry;
use crate::error::{BlockFault, Error, Result};
use crate::expect::{Expect, Outcome};
use crate::header::{Header, Metadata};
use crate::limits::CACHE_BYTES;
use crate::prefix::Prefix;
use crate::store::{Store, bad};
use crate::transaction::Transaction;
use crate::tree::Tree;
use crate::write_lock::WriteLock;

/// An ordered map of byte strings, kept in a log.
///
/// Clones are handles to the same tree. Reading needs no lock and never waits for a writer. One
/// writer writes at a time, and all writing to the log has to go through the handles of one `Bee`.
#[derive(Clone)]
pub struct Bee {
    pub(crate) shared: Arc<Shared>,
    pub(crate) prefix: Prefix,
}

/// What all handles of a tree have in common.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) options: BeeOptions,
    pub(crate) writer: WriteLock,
    /// The memory of the last batch, for the next one. Only ever held for a moment.
    spare: Mutex<Option<Transaction>>,
}

/// How a tree is kept.
#[derive(Clone, Debug)]
pub struct BeeOptions {
    /// Most bytes of decoded blocks and nodes to keep in memory. 32 MiB by default.
    pub cache_bytes: u64,
    /// What to put into the header when the log has none yet.
    pub metadata: Option<Metadata>,
    /// Whether to write a put that changes nothing, as is the default.
    pub always_duplicate: bool,
    /// Tells from a block whether a commit ends with it, if the blocks of this log say so. Without
    /// it, only some of the lengths within a batch can be told from versions.
    pub is_commit_end: Option<fn(&Entry) -> bool>,
}

impl Default for BeeOptions {
    fn default() -> Self {
        Self {
            cache_bytes: CACHE_BYTES,
            metadata: None,
            always_duplicate: true,
            is_commit_end: None,
        }
    }
}

impl Bee {
    /// The tree in a log, which may be empty, or sparse.
    ///
    /// Writes nothing: the header comes with the first put or deletion, or by
    /// [`create_header`](Self::create_header).
    ///
    /// # Errors
    ///
    /// [`Error::NotABee`] or [`Error::BadBlock`] if block 0 is here and is something else than the
    /// header of a Hyperbee.
    pub fn open(log: Log, options: BeeOptions) -> Result<Self> {
        let store = Store::new(log, options.cache_bytes);
        let writer = WriteLock::default();
        let shared = Shared { store, options, writer, spare: Mutex::default() };
        let bee = Self { shared: Arc::new(shared), prefix: Prefix::default() };
        match bee.header() {
            Ok(Some(header)) if !header.is_hyperbee() => {
                Err(Error::NotABee { protocol: header.protocol })
            }
            Ok(_) | Err(Error::Missing(_)) => Ok(bee),
            Err(error) => Err(error),
        }
    }

    /// Whether a log holds a tree: its first block is the header of a Hyperbee. An empty one does
    /// not.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if that block is to be fetched first, and whatever the log says.
    pub fn is_bee(log: &Log) -> Result<bool> {
        if log.is_empty() {
            return Ok(false);
        }
        let block = log.get(0)?.ok_or_else(|| Error::Missing(vec![0]))?;
        Ok(Header::decode(&block).is_ok_and(|header| header.is_hyperbee()))
    }

    /// The log that holds the tree.
    pub fn log(&self) -> &Log {
        self.shared.store.log()
    }

    /// A sub-database: a tree of its own within this one, as far as its users can tell. Its keys are
    /// stored with `name` and a zero byte before them, which it adds and takes away. It shares
    /// version, history and writer with the whole.
    ///
    /// Nothing keeps names and keys apart: key `a\0b` here is key `b` in sub-database `a`, and a
    /// sub-database's sub-databases lie among its keys.
    ///
    /// A range without bounds has all of its keys. Hyperbee leaves out the keys of zero length and
    /// of one zero byte there, and shows too much in a sub-database's history.
    ///
    /// ```
    /// # use multibee_btree::{Bee, BeeOptions, RangeOptions};
    /// # use multibee_log::{KeyPair, Log, LogOptions, MemoryStorage};
    /// # let log = Log::create(MemoryStorage::new(), KeyPair::generate(), LogOptions::default())?;
    /// let bee = Bee::open(log, BeeOptions::default())?;
    /// let (users, pages) = (bee.sub("users"), bee.sub("pages"));
    /// users.put(b"ada", Some("1815"))?;
    /// pages.put(b"ada", Some("hello"))?;
    ///
    /// let user = users.snapshot()?.range(RangeOptions::default()).next()?;
    /// assert_eq!(user.map(|entry| entry.key).as_deref(), Some(&b"ada"[..]));
    /// assert!(bee.snapshot()?.get(b"users\0ada")?.is_some());
    /// # Ok::<(), multibee_btree::Error>(())
    /// ```
    #[must_use]
    pub fn sub(&self, name: impl AsRef<[u8]>) -> Self {
        self.sub_with(name, b"\0")
    }

    /// As [`sub`](Self::sub), with a separator of one's own in place of the zero byte. It is not
    /// handed down to sub-databases of this one.
    #[must_use]
    pub fn sub_with(&self, name: impl AsRef<[u8]>, separator: impl AsRef<[u8]>) -> Self {
        let prefix = self.prefix.sub(name.as_ref(), separator.as_ref());
        Self { prefix, ..self.clone() }
    }

    /// What the stored keys of this sub-database begin with. Empty for a whole tree.
    pub fn prefix(&self) -> &[u8] {
        self.prefix.bytes()
    }

    pub(crate) fn store(&self) -> &Store {
        &self.shared.store
    }

    /// The header, or `None` if the log is empty.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if it is to be fetched first.
    pub fn header(&self) -> Result<Option<Header>> {
        if self.log().is_empty() {
            return Ok(None);
        }
        let block = self.log().get(0)?.ok_or_else(|| Error::Missing(vec![0]))?;
        let header = Header::decode(&block);
        header.map(Some).map_err(|fault| bad(0, BlockFault::Decode(fault)))
    }

    /// Appends the header if the log is empty.
    ///
    /// # Errors
    ///
    /// [`Error::NotWritable`], or whatever the log says.
    pub fn create_header(&self) -> Result<()> {
        let _turn = self.shared.writer.lock();
        self.shared.create_header()
    }

    /// The version to read by default: the length of the log, and 1 while that is 0.
    pub fn version(&self) -> u64 {
        self.log().len().max(1)
    }

    /// The tree as it is now.
    ///
    /// # Errors
    ///
    /// None at present.
    pub fn snapshot(&self) -> Result<Tree> {
        Ok(self.tree(self.log().fork(), self.version()))
    }

    /// The tree as it was when the log had `version` blocks. 0 and 1 are the empty tree.
    ///
    /// # Errors
    ///
    /// [`Error::BeyondLog`]; [`Error::NotACommitEnd`] if that length lies within a batch, as far as
    /// its last block tells; [`Error::Missing`] if that block is to be fetched first.
    pub fn checkout(&self, version: u64) -> Result<Tree> {
        let (fork, len) = (self.log().fork(), self.log().len());
        if version > len.max(1) {
            return Err(Error::BeyondLog { version, len });
        }
        if let Some(seq) = version.checked_sub(1).filter(|seq| *seq > 0) {
            let block = self.shared.store.block(seq)?;
            block.level(0).map_err(|fault| match fault {
                BlockFault::NoLevel { .. } => Error::NotACommitEnd { version },
                fault => bad(seq, fault),
            })?;
            if self.shared.options.is_commit_end.is_some_and(|ends| !ends(&block.entry(seq))) {
                return Err(Error::NotACommitEnd { version });
            }
        }
        Ok(self.tree(fork, version.max(1)))
    }

    /// The fork is asked for before the version: should it be another one by then, that shows.
    fn tree(&self, fork: u64, version: u64) -> Tree {
        Tree::new(self.shared.clone(), version, fork, self.prefix.clone())
    }

    /// What block `seq` says about its key, whether it is still in the tree or not. `None` for the
    /// header, beyond the end of the log, and for keys of other sub-databases.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if the block is to be fetched first.
    pub fn get_by_seq(&self, seq: u64) -> Result<Option<Entry>> {
        if seq == 0 || seq >= self.log().len() {
            return Ok(None);
        }
        Ok(self.prefix.shown(self.shared.store.block(seq)?.entry(seq)))
    }

    /// As [`get_by_seq`](Self::get_by_seq), for whoever reads a long stretch of the log once: what is
    /// not in the cache is not put there.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if the block is to be fetched first.
    pub fn read_by_seq(&self, seq: u64) -> Result<Option<Entry>> {
        if seq == 0 || seq >= self.log().len() {
            return Ok(None);
        }
        Ok(self.prefix.shown(self.shared.store.block_once(seq)?.entry(seq)))
    }

    /// Begins a batch: several puts and deletions, appended at once. Waits while another batch is
    /// open; so a thread that has one open must not begin another, nor call [`put`](Self::put),
    /// [`del`](Self::del) or [`create_header`](Self::create_header).
    ///
    /// # Errors
    ///
    /// [`Error::NotWritable`] if the log belongs to somebody else.
    pub fn batch(&self) -> Result<Batch> {
        if !self.log().is_writable() {
            return Err(Error::NotWritable);
        }
        let turn = self.shared.writer.lock();
        Ok(Batch::new(self.shared.clone(), self.prefix.clone(), turn))
    }

    /// Puts one entry and appends it. Returns the number of the block that has it.
    ///
    /// # Errors
    ///
    /// As [`Batch::put`] and [`Batch::flush`].
    pub fn put(&self, key: &[u8], value: Option<impl Into<Bytes>>) -> Result<u64> {
        let mut batch = self.batch()?;
        let seq = batch.put(key, value, Bytes::new())?;
        batch.flush()?;
        Ok(seq)
    }

    /// Deletes one entry and appends the deletion. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// As [`Batch::del`] and [`Batch::flush`].
    pub fn del(&self, key: &[u8]) -> Result<bool> {
        let mut batch = self.batch()?;
        let seq = batch.del(key, Bytes::new())?;
        batch.flush()?;
        Ok(seq.is_some())
    }
}

impl Bee {
    /// Puts one entry if what is under its key now is as expected, and appends it.
    ///
    /// ```
    /// # use multibee_btree::{Bee, BeeOptions, Expect};
    /// # use multibee_log::{KeyPair, Log, LogOptions, MemoryStorage};
    /// # let log = Log::create(MemoryStorage::new(), KeyPair::generate(), LogOptions::default())?;
    /// let bee = Bee::open(log, BeeOptions::default())?;
    /// assert!(bee.put_expecting(b"seat 7", Some("Ada"), &Expect::Absent)?.is_written());
    /// assert!(!bee.put_expecting(b"seat 7", Some("Bob"), &Expect::Absent)?.is_written());
    /// # Ok::<(), multibee_btree::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Batch::put`] and [`Batch::flush`].
    pub fn put_expecting(
        &self,
        key: &[u8],
        value: Option<impl Into<Bytes>>,
        expect: &Expect,
    ) -> Result<Outcome> {
        let mut batch = self.batch()?;
        let outcome = batch.put_expecting(key, value, Bytes::new(), expect)?;
        batch.flush()?;
        Ok(outcome)
    }

    /// Deletes one entry if it is as expected, and appends the deletion.
    ///
    /// # Errors
    ///
    /// As [`Batch::del`] and [`Batch::flush`].
    pub fn del_expecting(&self, key: &[u8], expect: &Expect) -> Result<Outcome> {
        let mut batch = self.batch()?;
        let outcome = batch.del_expecting(key, Bytes::new(), expect)?;
        batch.flush()?;
        Ok(outcome)
    }
}

impl Shared {
    /// Appends the header if the log is empty. For the one who holds the write lock.
    pub(crate) fn create_header(&self) -> Result<()> {
        let log = self.store.log();
        if !log.is_writable() {
            return Err(Error::NotWritable);
        }
        if log.is_empty() {
            log.append(&[Header::new(self.options.metadata.clone()).encode()])?;
        }
        Ok(())
    }

    pub(crate) fn take_spare(&self) -> Option<Transaction> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn keep_spare(&self, spare: Transaction) {
        *self.spare.lock().unwrap_or_else(PoisonError::into_inner) = Some(spare);
    }
}

impl std::fmt::Debug for Bee {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let version = self.version();
        f.debug_struct("Bee").field("version", &version).finish_non_exhaustive()
    }
}
