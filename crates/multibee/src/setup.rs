//! How a database's own log is made and opened, for the first time and whenever another takes over.

use std::sync::{Arc, PoisonError, RwLock};

use blake2::{Blake2b, Digest as _, digest::consts::U32};
use multibee_btree::{Bee, BeeOptions, Entry as Block, Metadata};
use multibee_log::{BLOCK_LEN_MAX, Durability, KeyPair, Log, LogOptions};
use multibee_merge::DeviceId;

use crate::clock::WallClock;
use crate::format::Meta;
use crate::primary::Primary;
use crate::resolver::Resolver;
use crate::{Error, FORMAT, Options};

/// What was chosen when the database was opened, as far as it concerns the own log.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    durability: Durability,
    cache_bytes: u64,
    pub(crate) resolver: Arc<Resolver>,
    pub(crate) clock: Arc<dyn WallClock>,
    /// For simulations: randomness for the keys of logs that take over.
    seed: Option<[u8; 32]>,
}

impl Setup {
    pub(crate) fn new(options: &Options) -> Self {
        let types = options.types.clone();
        Self {
            durability: options.durability,
            cache_bytes: options.cache_bytes,
            resolver: Arc::new(Resolver { types, strategies: options.strategies.clone() }),
            clock: options.clock.clone(),
            seed: options.chosen_seed(),
        }
    }

    pub(crate) fn log_options(&self) -> LogOptions {
        LogOptions {
            durability: self.durability,
            block_len_max: BLOCK_LEN_MAX,
            ..LogOptions::default()
        }
    }

    /// Opens the tree in a log, and begins it if the log is empty.
    pub(crate) fn open_bee(&self, log: Log) -> Result<Bee, Error> {
        let metadata = Metadata { user_data: Some(FORMAT.into()), ..Metadata::default() };
        let bee_options = BeeOptions {
            cache_bytes: self.cache_bytes,
            metadata: Some(metadata),
            is_commit_end: Some(is_commit_end),
            ..BeeOptions::default()
        };
        let bee = Bee::open(log, bee_options)?;
        if bee.log().is_writable() {
            bee.create_header()?;
        }
        check_format(&bee)?;
        Ok(bee)
    }

    pub(crate) fn open_primary(&self, bee: Bee) -> Result<Primary, Error> {
        Primary::open(bee, self.resolver.clone(), self.clock.now_ms())
    }

    /// Keys for a log that takes over from `former`.
    pub(crate) fn new_keys(&self, former: &Log) -> KeyPair {
        let Some(seed) = self.seed else { return KeyPair::generate() };
        let mut hash = Blake2b::<U32>::new();
        hash.update(seed);
        hash.update(former.key().as_bytes());
        hash.update(former.len().to_le_bytes());
        KeyPair::from_seed(hash.finalize().into())
    }
}

/// The own tree as it is now, for all handles. Another one takes its place when the database moves.
#[derive(Debug)]
pub(crate) struct Current(RwLock<(Bee, DeviceId)>);

impl Current {
    pub(crate) fn new(bee: Bee, device: DeviceId) -> Arc<Self> {
        Arc::new(Self(RwLock::new((bee, device))))
    }

    pub(crate) fn get(&self) -> (Bee, DeviceId) {
        // It is assigned to, not computed in.
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, bee: Bee, device: DeviceId) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = (bee, device);
    }
}

/// Whether a commit ends with this block: only then is the length behind it a version.
fn is_commit_end(block: &Block) -> bool {
    Meta::decode_extra(&block.extra).is_ok_and(|meta| meta.commit.is_some())
}

fn check_format(bee: &Bee) -> Result<(), Error> {
    let header = bee.header()?;
    let user_data = header.and_then(|header| header.metadata).and_then(|data| data.user_data);
    let found = user_data.unwrap_or_default();
    if found == FORMAT {
        return Ok(());
    }
    let found = String::from_utf8_lossy(&found).into_owned();
    // Another number behind our name is a later format of ours.
    let is_ours = FORMAT.split_once('/').is_some_and(|(name, _)| found.starts_with(name));
    Err(if is_ours { Error::NewerFormat { found } } else { Error::ForeignFormat { found } })
}
