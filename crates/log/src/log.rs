//! The log itself: what it is made of, how it comes to be, and its simple questions.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{
    Arc, LockResult, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard,
};

use bytes::Bytes;
use event_listener::Event;

use crate::barrier::Barrier;
use crate::block_bytes::BlockBytes;
use crate::cache::Cache;
use crate::commit::{Commit, State};
use crate::disk::Disk;
use crate::durability::Durability;
use crate::error::{Error, Result};
use crate::eventual::{Closer, Pacemaker};
use crate::head::Head;
use crate::key_pair::KeyPair;
use crate::keys::{DiscoveryKey, LogKey};
use crate::limits::{BLOCK_LEN_DEFAULT_MAX, BLOCK_LEN_MAX, FOUND_BYTES_MAX, PLACED_NODES_MIN};
use crate::listener::StateMut;
use crate::manifest::Manifest;
use crate::oplog::Oplog;
use crate::oplog_codec::{Header, HeaderKeyPair};
use crate::recovery::{self, Recovered};
use crate::storage::{Part, Storage};
use crate::tree_store::TreeStore;

/// How a log is created and opened.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// When a change returns, and what a power cut may undo. Of a replica's changes, see there.
    pub durability: Durability,
    /// Whether a new log's key is its public key, as Hypercore 10 made them, and not the hash of
    /// its manifest.
    pub compat: bool,
    /// Who may sign a new log. `None`: the key pair it is created with, by [`Manifest::single`].
    pub manifest: Option<Manifest>,
    /// Most bytes in one appended block: 4 MiB, and no more than [`BLOCK_LEN_MAX`].
    ///
    /// [`BLOCK_LEN_MAX`]: crate::BLOCK_LEN_MAX
    pub block_len_max: u64,
    /// Memory for what is read. By default shared by all logs of the process, 64 MiB.
    pub cache: Cache,
    /// For tests of what waiting for the disk is good for: the one wait that is left out.
    #[cfg(feature = "testing")]
    pub without_barrier: Option<(Barrier, Part)>,
    /// For tests of what happens to much: a little is taken for much. A batch of a few blocks has its
    /// nodes written straight to their places, and a log with a few entries is flushed on closing.
    #[cfg(feature = "testing")]
    pub little_is_much: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            compat: false,
            manifest: None,
            block_len_max: BLOCK_LEN_DEFAULT_MAX,
            cache: Cache::shared(),
            #[cfg(feature = "testing")]
            without_barrier: None,
            #[cfg(feature = "testing")]
            little_is_much: false,
        }
    }
}

/// A signed, append-only log of blocks.
///
/// Clones are handles to the same log; it is closed with the last of them. If much is only in the
/// oplog by then (more than 64 KiB of entries, about), a log that is written here is
/// [flushed](Self::flush) first, so that it opens quickly: closing it waits for the disk then, in every
/// durability. A warning is all that tells if that fails, and nothing is lost by it. All methods may be
/// called from any thread; those that write wait for each other, and those that read wait for
/// nobody's disk work but their own.
#[derive(Clone)]
pub struct Log {
    /// Dropped before the rest, see there.
    _closer: Option<Arc<Closer>>,
    pub(crate) shared: Arc<Shared>,
}

/// What the handles of a log share.
pub(crate) struct Shared {
    pub(crate) key: LogKey,
    discovery_key: DiscoveryKey,
    /// Present if they may sign this log alone; [`keys`](Self::keys) says whether they do.
    pub(crate) held_keys: Option<KeyPair>,
    /// Whether keys were given up for good.
    pub(crate) renounced: AtomicBool,
    /// Whether there are keys that are not used, since this is a copy.
    pub(crate) is_copy: bool,
    pub(crate) options: LogOptions,
    pub(crate) disk: Arc<Disk>,
    pub(crate) tree: TreeStore,
    state: RwLock<State>,
    /// Told of each other head that readers see.
    pub(crate) head_changed: Event,
    /// The fork of the commit that readers see, as of the last change of `state`.
    seen_fork: AtomicU64,
    writer: Mutex<Writer>,
    /// Held by the one who waits for the disk, for all who wait.
    pub(crate) sync_turn: Mutex<()>,
    /// Syncs later, where that is asked for.
    pub(crate) pacemaker: OnceLock<Arc<Pacemaker>>,
}

/// What only the one who writes needs. Held during disk work.
pub(crate) struct Writer {
    pub(crate) oplog: Oplog,
    /// The last header written. Key, manifest, key pair and reorgs are the current ones.
    pub(crate) header: Header,
    /// Memory for the blocks of the next append.
    pub(crate) data: Vec<u8>,
    /// Memory for the nodes of the next append, as they stand in the part `Tree`.
    pub(crate) run: Vec<u8>,
    /// Bytes of the blocks since the last header whose nodes went straight to their places.
    pub(crate) placed_bytes: u64,
}

impl Log {
    /// Creates a log that `keys` may write to. Its key is the hash of its
    /// [manifest](LogOptions::manifest) or, with [`LogOptions::compat`], the public key. The log is
    /// on disk when this returns, in every [`Durability`], and so is the key pair's seed.
    ///
    /// ```
    /// use multibee_log::{KeyPair, Log, LogOptions, MemoryStorage};
    ///
    /// let log = Log::create(MemoryStorage::new(), KeyPair::generate(), LogOptions::default())?;
    /// assert!(log.is_writable() && log.is_empty());
    /// # Ok::<(), multibee_log::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotWritable`] if the manifest given does not let `keys` sign alone, begins with a
    /// prologue, whose blocks a new log does not have, or cannot be a compat log's;
    /// [`Error::WrongStorage`] if the storage is not empty; [`Error::Io`].
    pub fn create(storage: impl Storage, keys: KeyPair, options: LogOptions) -> Result<Self> {
        let public_key = keys.public_key();
        let manifest = options.manifest.clone().unwrap_or_else(|| Manifest::single(public_key));
        let key = if options.compat { LogKey::from_bytes(public_key) } else { manifest.key() };
        let fits_key = !options.compat || manifest.is_compat(&key);
        if !fits_key || manifest.prologue().is_some() || !manifest.lets_sign_alone(&public_key) {
            return Err(Error::NotWritable);
        }
        let key_pair = Some(HeaderKeyPair { public_key, secret_key: None });
        let header = Header { manifest: Some(manifest), key_pair, ..Header::empty(key) };
        Self::create_with(storage, header, Some(keys), options)
    }

    /// Creates an empty copy of somebody else's log, to be filled by [`apply`](Self::apply).
    ///
    /// # Errors
    ///
    /// [`Error::WrongStorage`] if the storage is not empty; [`Error::Io`].
    pub fn create_replica(storage: impl Storage, key: LogKey, options: LogOptions) -> Result<Self> {
        Self::create_with(storage, Header::empty(key), None, options)
    }

    fn create_with(
        storage: impl Storage,
        header: Header,
        keys: Option<KeyPair>,
        options: LogOptions,
    ) -> Result<Self> {
        let disk = options.disk(storage, keys.is_some());
        if Oplog::open(&disk)?.is_some() {
            return Err(Error::WrongStorage { what: "the storage holds a log already" });
        }
        for part in [Part::Tree, Part::Data, Part::Bitfield, Part::Conflict] {
            if disk.len(part)? > 0 {
                // Perhaps all that is left of a log whose key must not be overwritten.
                return Err(Error::WrongStorage { what: "the storage holds parts of a log" });
            }
        }
        if let Some(keys) = &keys {
            // The key first: a log without its key would be lost to its writer.
            disk.write_at(Part::Key, 0, keys.seed())?;
            disk.sync(Barrier::Create, &[Part::Key])?;
        }
        let oplog = Oplog::create(&disk, &header)?;
        disk.publish()?;
        let commit = Arc::new(Commit::default());
        let state = State {
            durable: commit.clone(),
            accepted: commit,
            shows_accepted: true,
            change: 0,
            durable_change: 0,
            bits: Default::default(),
            manifest: header.manifest.clone().map(Arc::new),
            user_data: Arc::default(),
            conflict: None,
        };
        let tree = TreeStore::open(disk.clone(), options.cache.clone(), 0);
        tree.look_for_stale_nodes()?;
        // Nothing was written there, so the first change need not wait for it.
        disk.note_unchanged(Part::Tree);
        let writer = Writer { oplog, header, data: Vec::new(), run: Vec::new(), placed_bytes: 0 };
        Ok(Self::assemble(
            keys,
            false,
            options,
            disk,
            Recovered { tree, state, writer, has_dropped: false },
        ))
    }

    /// Opens a log, after a crash too: changes that did not reach the disk whole are dropped.
    ///
    /// Reads what Hypercore 10 wrote as well, with the key pair in its header. A log that is
    /// writable here waits until all that was found is on disk, since it may be shared from now on.
    ///
    /// # Errors
    ///
    /// [`Error::WrongStorage`] if there is no log, [`Error::Corrupt`] if what is there is of no use
    /// (see [`restore`](Self::restore)), [`Error::NewerFormat`], [`Error::Io`].
    pub fn open(storage: impl Storage, options: LogOptions) -> Result<Self> {
        Self::open_disk(options.disk(storage, true), options)
    }

    /// Opens a log as [`open`](Self::open) does, and makes this storage the one where it is written,
    /// if it was a [copy](Self::is_copy).
    ///
    /// The log must never again be written where it was copied from. If anybody may have blocks of
    /// it that are not here, since the backup is older than they are, fetch those first: to append
    /// in their place would be to sign a second history, and no one would trust the log any more.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn adopt(storage: impl Storage, options: LogOptions) -> Result<Self> {
        let disk = options.disk(storage, true);
        if Oplog::open(&disk)?.is_some() {
            disk.claim()?;
        }
        Self::open_disk(disk, options)
    }

    /// Returns whether the key of this log is here and not used, since the storage was copied from
    /// another one, or restored from a backup. Such a log can be read, and follows the other one as
    /// any replica does; what would write it fails with [`Error::Copied`]. See
    /// [`adopt`](Self::adopt).
    pub fn is_copy(&self) -> bool {
        self.shared.is_copy
    }

    pub(crate) fn open_disk(disk: Arc<Disk>, options: LogOptions) -> Result<Self> {
        let Some(opened) = Oplog::open(&disk)? else {
            return Err(Error::WrongStorage { what: "the storage holds no log" });
        };
        let keys = recovery::find_keys(&disk, &opened.header)?;
        let is_copy = keys.is_some() && disk.is_copy()?;
        // A copy, too, has what somebody has waited for, and is not cut where that was damaged.
        let recovered = recovery::recover(&disk, &options.cache, opened, keys.is_none())?;
        if keys.is_some() && !is_copy {
            // The program that wrote this may have ended before the disk had all of it.
            disk.sync(Barrier::Recovery, &Part::ALL)?;
        } else if recovered.state.conflict.is_some() {
            // Other than blocks, which come again, nobody may ever tell of it again.
            disk.sync(Barrier::Recovery, &[Part::Conflict])?;
        }
        let log = Self::assemble(keys, is_copy, options, disk, recovered);
        log.shared.flush_if_much(FOUND_BYTES_MAX);
        Ok(log)
    }

    /// Returns whether the storage holds a log, whatever its state. One whose creation was cut
    /// short does not count.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn exists(storage: &impl Storage) -> Result<bool> {
        Oplog::exists(storage)
    }

    pub(crate) fn assemble(
        keys: Option<KeyPair>,
        is_copy: bool,
        options: LogOptions,
        disk: Arc<Disk>,
        recovered: Recovered,
    ) -> Self {
        let Recovered { tree, mut state, writer, .. } = recovered;
        let is_replica = keys.is_none() || is_copy;
        if is_replica {
            // Opening a replica waits for nothing, so what was found is still to be synced.
            state.change = 1;
        }
        state.shows_accepted = is_replica || options.durability != Durability::Immediate;
        let key = writer.header.key;
        let shared = Shared {
            key,
            discovery_key: key.discovery_key(),
            held_keys: keys,
            renounced: AtomicBool::new(false),
            is_copy,
            options,
            disk,
            tree,
            seen_fork: AtomicU64::new(state.commit().fork),
            state: RwLock::new(state),
            head_changed: Event::new(),
            writer: Mutex::new(writer),
            sync_turn: Mutex::new(()),
            pacemaker: OnceLock::new(),
        };
        let shared = Arc::new(shared);
        Self { _closer: Pacemaker::start(&shared), shared }
    }

    /// Returns the log's key, which names it and lets anyone verify it.
    pub fn key(&self) -> LogKey {
        self.shared.key
    }

    /// Returns the hash of the key by which peers ask for the log without telling the key.
    pub fn discovery_key(&self) -> DiscoveryKey {
        self.shared.discovery_key
    }

    /// Returns who may sign, or `None` on a replica that has not learnt it yet.
    pub fn manifest(&self) -> Option<Manifest> {
        self.shared.state().manifest.as_deref().cloned()
    }

    /// Returns whether blocks can be appended here: this is the writer's copy of the log, and was
    /// not opened for reading only.
    pub fn is_writable(&self) -> bool {
        self.shared.keys().is_some()
    }

    /// Returns the public key of the only one who may sign, if that is known and so.
    pub fn public_key(&self) -> Option<[u8; 32]> {
        if let Some(keys) = self.shared.keys() {
            return Some(keys.public_key());
        }
        match self.shared.state().manifest.as_deref()?.signers() {
            [only] => Some(only.public_key),
            _ => None,
        }
    }

    /// Signs a message that is not a head, with the log's key pair, if that is here: in a
    /// [copy](Self::is_copy), too. `None` in a replica.
    ///
    /// The caller sees to it that no message can be taken for a head: those begin with the 32 bytes
    /// that Hypercore's constant `TREE` has.
    pub fn sign(&self, message: &[u8]) -> Option<[u8; 64]> {
        let keys = self.shared.held_keys.as_ref().filter(|_| !self.shared.is_renounced());
        keys.map(|keys| keys.sign(message))
    }

    /// Returns the seed of the log's key pair, for a backup of the log: whoever has it can write as
    /// this writer. In a [copy](Self::is_copy), too. `None` in a replica.
    pub fn seed(&self) -> Option<[u8; 32]> {
        let keys = self.shared.held_keys.as_ref().filter(|_| !self.shared.is_renounced());
        keys.map(|keys| *keys.seed())
    }

    /// Returns the number of blocks, held or not.
    ///
    /// With [`Durability::Immediate`], blocks count once they are on disk: the writer's `len` is
    /// then its [`durable_len`](Self::durable_len). In the other modes they count once they are
    /// accepted.
    pub fn len(&self) -> u64 {
        self.shared.commit().length()
    }

    /// Returns whether there are no blocks.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the length that a power cut cannot take back. Only this may be told to others.
    ///
    /// On a replica, the length: whoever signed it knows it. On a log that is [open for
    /// reading](Self::open_read_only), the length that its writer has moved out of the oplog.
    pub fn durable_len(&self) -> u64 {
        self.shared.durable().length()
    }

    /// Returns the bytes of all blocks together, held or not.
    pub fn byte_len(&self) -> u64 {
        self.shared.commit().roots.byte_length()
    }

    /// Returns the fork: 0, and a higher number each time that the log is [cut](Self::truncate).
    ///
    /// Takes no lock, so it may be asked for before and after each read by those who keep what they
    /// have read.
    pub fn fork(&self) -> u64 {
        self.shared.seen_fork.load(Ordering::Acquire)
    }

    /// Returns the signed state of the log at [`len`](Self::len), or `None` while it is empty.
    pub fn head(&self) -> Option<Head> {
        self.shared.commit().head()
    }

    /// Returns the last head that a power cut cannot take back, or `None` while there is none.
    pub fn durable_head(&self) -> Option<Head> {
        self.shared.durable().head()
    }

    /// Returns the number of the first block that is not held.
    pub fn contiguous_len(&self) -> u64 {
        self.shared.state().contiguous()
    }

    /// Returns whether a block is held.
    pub fn has(&self, seq: u64) -> bool {
        self.shared.state().has(seq)
    }

    /// Returns the runs of blocks in `range` that are held, in order.
    pub fn held(&self, range: Range<u64>) -> Vec<Range<u64>> {
        self.shared.state().held(range)
    }

    /// Returns `words` times 32 bits from `first_block` on, a multiple of 32, the lowest bit of
    /// each for the first block: whether they are held.
    pub fn bitfield_words(&self, first_block: u64, words: usize) -> Vec<u32> {
        let state = self.shared.state();
        let first = first_block / 32;
        (first..first.saturating_add(words as u64)).map(|index| state.word(index)).collect()
    }

    /// Reads a block, and checks it. `None` if it is not held.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if what was read is not what the tree says; see [`repair`](Self::repair).
    /// [`Error::Io`].
    pub fn get(&self, seq: u64) -> Result<Option<Bytes>> {
        self.shared.get(seq)
    }

    /// Reads a block as [`get`](Self::get) does, for a look at it: without a copy of its own, where
    /// that can be.
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get).
    pub fn read(&self, seq: u64) -> Result<Option<BlockBytes>> {
        self.shared.read(seq)
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("key", &self.key())
            .field("len", &self.len())
            .field("is_writable", &self.is_writable())
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// The keys that heads are signed with here.
    pub(crate) fn keys(&self) -> Option<&KeyPair> {
        self.held_keys.as_ref().filter(|_| !self.is_copy && !self.is_renounced())
    }

    pub(crate) fn is_renounced(&self) -> bool {
        self.renounced.load(Ordering::Acquire)
    }

    // A panic cannot leave the state half changed: it is assigned to, not computed in.
    pub(crate) fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state_mut(&self) -> StateMut<'_> {
        let state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        StateMut::new(state, &self.head_changed, &self.seen_fork)
    }

    /// Why a log without keys is not written.
    pub(crate) fn not_writable(&self) -> Error {
        if self.is_copy { Error::Copied } else { Error::NotWritable }
    }

    pub(crate) fn commit(&self) -> Arc<Commit> {
        self.state().commit().clone()
    }

    pub(crate) fn durable(&self) -> Arc<Commit> {
        self.state().durable.clone()
    }

    /// Waits for the right to write.
    pub(crate) fn writer(&self) -> Result<MutexGuard<'_, Writer>> {
        // After a panic in the midst of a write nobody knows what it left, as after a failed sync.
        let writer = self.writer_lock().map_err(|_| Error::ReadOnlyAfterFailedSync)?;
        self.disk.check_writable()?;
        Ok(writer)
    }

    pub(crate) fn writer_lock(&self) -> LockResult<MutexGuard<'_, Writer>> {
        self.writer.lock()
    }

    /// The longest block that may be appended.
    pub(crate) fn block_len_max(&self) -> u64 {
        self.options.block_len_max.min(BLOCK_LEN_MAX)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.close();
    }
}

impl LogOptions {
    /// New nodes of one append from which on they are written straight to their places. Never where
    /// somebody waits for each append: that would be one more wait.
    pub(crate) fn placed_nodes_min(&self) -> usize {
        match self.durability {
            Durability::Immediate => usize::MAX,
            _ if self.takes_little_for_much() => 4,
            _ => PLACED_NODES_MIN,
        }
    }

    /// Bytes of entries that a log may be left with when it is closed.
    pub(crate) fn left_bytes_max(&self) -> u64 {
        if self.takes_little_for_much() { 1024 } else { FOUND_BYTES_MAX }
    }

    #[cfg(feature = "testing")]
    fn takes_little_for_much(&self) -> bool {
        self.little_is_much
    }

    #[cfg(not(feature = "testing"))]
    fn takes_little_for_much(&self) -> bool {
        false
    }

    pub(crate) fn disk(&self, storage: impl Storage, may_write_behind: bool) -> Arc<Disk> {
        let mut disk = Disk::new(storage);
        if may_write_behind && self.durability == Durability::None {
            disk.write_behind();
        }
        #[cfg(feature = "testing")]
        disk.leave_out(self.without_barrier);
        Arc::new(disk)
    }
}
