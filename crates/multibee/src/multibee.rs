//! The handle of a database.

use std::fmt;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use multibee_btree::{Bee, Tree};
use multibee_log::{KeyPair, Log, LogKey};
use multibee_merge::{DeviceId, Digest};
use tokio::sync::broadcast;

use crate::batch::Batch;
use crate::core::{Core, Place};
use crate::entry::{Entry, Scan, Status};
use crate::event::Event;
use crate::home::Home;
use crate::moving::{self, Opened};
use crate::network::Network;
use crate::op::{Expectation, Op, Written};
use crate::resolver::Resolver;
use crate::setup::{Current, Setup};
use crate::view::{Range, RangeSpec, View};
use crate::{Error, Options};

/// A database on this device. Clones are handles to the same one; any thread may use them.
///
/// The last handle that goes closes it: connections end, and the directory is free again.
#[derive(Clone)]
pub struct Multibee {
    inner: Arc<Inner>,
}

/// A handle that does not keep the database open.
pub(crate) struct WeakMultibee(Weak<Inner>);

struct Inner {
    current: Arc<Current>,
    resolver: Arc<Resolver>,
    home: Home,
    network: Network,
}

impl Multibee {
    /// Creates a new, empty database, with a key of its own.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyExists`] if there is one already; otherwise the disk is at fault.
    pub fn create(home: Home, options: Options) -> Result<Self, Error> {
        let setup = Setup::new(&options);
        let keys = match &options.keys {
            Some(keys) => keys.clone(),
            None => KeyPair::generate(),
        };
        let bee = setup.open_bee(home.create_primary(keys, setup.log_options())?)?;
        Self::start(home, Opened { bee, statements: Vec::new() }, setup, &options)
    }

    /// Opens a database, merging what earlier runs downloaded and did not merge.
    ///
    /// # Errors
    ///
    /// [`Error::NotADatabase`], [`Error::Locked`] and [`Error::NewerFormat`] say
    /// what to do; otherwise the disk or its content is at fault.
    pub fn open(home: Home, options: Options) -> Result<Self, Error> {
        let setup = Setup::new(&options);
        let opened =
            moving::open(&home, &setup, |storage| Log::open(storage, setup.log_options()))?;
        Self::start(home, opened, setup, &options)
    }

    /// Opens a database as [`open`](Self::open) does, even if its directory is a copy of another one.
    ///
    /// The other one must never be used again, and the copy must have all that it ever wrote and
    /// others have seen: one that was copied while the original was not running, and moved since.
    /// An older backup has not. To go on with that would be to sign a second history, which other
    /// devices refuse.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn adopt(home: Home, options: Options) -> Result<Self, Error> {
        let setup = Setup::new(&options);
        let opened =
            moving::open(&home, &setup, |storage| Log::adopt(storage, setup.log_options()))?;
        Self::start(home, opened, setup, &options)
    }

    fn start(home: Home, opened: Opened, setup: Setup, options: &Options) -> Result<Self, Error> {
        let Opened { bee, statements } = opened;
        let primary = setup.open_primary(bee.clone())?;
        let current = Current::new(bee, primary.device());
        let resolver = setup.resolver.clone();
        let place = Place { home: home.clone(), setup, current: current.clone() };
        let core = Core::open(primary, statements, place, options.limits())?;
        let network = Network::new(core, options.chosen_seed())?;
        Ok(Self { inner: Arc::new(Inner { current, resolver, home, network }) })
    }

    /// The key of this device's log: what other devices add, and what grants reading.
    pub fn key(&self) -> LogKey {
        self.bee().log().key()
    }

    /// The short id of this device.
    pub fn device(&self) -> DeviceId {
        self.inner.current.get().1
    }

    /// Puts a value: it supersedes everything that this device knows of the key.
    ///
    /// # Errors
    ///
    /// [`Error::KeyTooLong`] or [`Error::ValueTooLong`] blame the caller, others the disk. Nothing
    /// was written then.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Result<(), Error> {
        let mut batch = self.batch();
        batch.put(key, value);
        batch.commit().map(|_| ())
    }

    /// Deletes a key. Says whether it was there.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub fn del(&self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        let mut batch = self.batch();
        batch.del(key);
        batch.commit().map(|changed| changed.contains(&true))
    }

    /// Begins a batch: several changes as one commit.
    pub fn batch(&self) -> Batch {
        Batch::new(self.clone())
    }

    pub(crate) fn write(&self, ops: &[Op], expected: &[Expectation]) -> Result<Written, Error> {
        let session = self.inner.network.session();
        let (mut written, drift) = {
            let mut state = session.lock();
            state.core.may_write()?;
            state.core.refusal().map_or(Ok(()), Err)?;
            let now_ms = state.core.now_ms();
            let written = state.core.primary.write(ops, expected, now_ms)?;
            (written, state.core.primary.own_drift(now_ms))
        };
        // Nobody listening is no failure.
        for key in written.settled.drain(..) {
            let _ = session.events.send(Event::ConflictResolved { key });
        }
        if let Some(by_ms) = drift {
            let _ = session.events.send(Event::ClockAhead { device: self.key(), by_ms });
        }
        self.inner.network.own_log_changed();
        Ok(written)
    }

    /// Reads one key.
    ///
    /// # Errors
    ///
    /// This machine's disk, or its content, is at fault.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>, Error> {
        self.view()?.get(key.as_ref())
    }

    /// Reads entries in the order of their keys, as of now.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get); the iterator's items, too.
    pub fn range(&self, spec: RangeSpec) -> Result<Range, Error> {
        Ok(self.view()?.range(spec))
    }

    /// The data as of now, to be read in peace.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn view(&self) -> Result<View, Error> {
        let (bee, device) = self.inner.current.get();
        Ok(self.viewed(bee.snapshot()?, device))
    }

    /// The data as of an earlier version: a length of this device's log at the end of a commit.
    ///
    /// # Errors
    ///
    /// [`Error::NotAVersion`]; or as [`get`](Self::get).
    pub fn checkout(&self, version: u64) -> Result<View, Error> {
        let (bee, device) = self.inner.current.get();
        Ok(self.viewed(bee.checkout(version).map_err(Error::version)?, device))
    }

    /// Reads everything, and compares it with the digest in the last commit.
    ///
    /// # Errors
    ///
    /// [`Error::DigestMismatch`] if the data is not what was committed; or as [`get`](Self::get).
    pub fn verify(&self) -> Result<Scan, Error> {
        // Under the lock, so that view and digest are of one commit.
        let (view, expected) = {
            let state = self.inner.network.session().lock();
            (self.view()?, state.core.primary.digest())
        };
        let scan = view.scan()?;
        if scan.digest != expected {
            return Err(Error::DigestMismatch { found: scan.digest, expected });
        }
        Ok(scan)
    }

    /// The digest of the data: equal on all devices with equal clocks.
    pub fn digest(&self) -> Digest {
        self.inner.network.session().lock().core.primary.digest()
    }

    /// How the database is doing.
    ///
    /// # Errors
    ///
    /// This machine's disk, or its content, is at fault.
    pub fn status(&self) -> Result<Status, Error> {
        let (devices, sync, sources) = (self.devices()?, self.sync_status(), self.sources());
        let not_merged = self.not_merged()?.len() as u64;
        let (bytes_sent, bytes_received) = self.inner.network.bytes();
        let state = self.inner.network.session().lock();
        let core = &state.core;
        Ok(Status {
            key: core.key(),
            device: core.primary.device(),
            length: core.primary.log().len(),
            bytes: core.primary.log().byte_len(),
            clock: core.primary.whole_clock()?,
            digest: core.primary.digest(),
            devices,
            remaining: core.remaining(),
            not_merged,
            sync,
            sources,
            blocks_downloaded: state.blocks_downloaded,
            bytes_sent,
            bytes_received,
        })
    }

    /// Tells what happens between this device and others, from now on. A receiver that lags far
    /// behind misses the oldest.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.inner.network.session().events.subscribe()
    }

    /// Waits until everything that was written is on the disk.
    ///
    /// # Errors
    ///
    /// The disk is at fault.
    pub fn sync_to_disk(&self) -> Result<(), Error> {
        Ok(self.bee().log().sync()?)
    }

    fn viewed(&self, tree: Tree, device: DeviceId) -> View {
        View::new(tree, device, self.inner.resolver.clone())
    }

    pub(crate) fn resolver(&self) -> &Resolver {
        &self.inner.resolver
    }

    pub(crate) fn bee(&self) -> Bee {
        self.inner.current.get().0
    }

    pub(crate) fn home(&self) -> &Home {
        &self.inner.home
    }

    pub(crate) fn network(&self) -> &Network {
        &self.inner.network
    }

    pub(crate) fn downgrade(&self) -> WeakMultibee {
        WeakMultibee(Arc::downgrade(&self.inner))
    }
}

impl WeakMultibee {
    /// The database, if it is still open.
    pub(crate) fn upgrade(&self) -> Option<Multibee> {
        Some(Multibee { inner: self.0.upgrade()? })
    }
}

impl fmt::Debug for Multibee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Multibee").field("key", &self.key()).finish_non_exhaustive()
    }
}
