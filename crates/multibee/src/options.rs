//! How a database is opened.

use std::sync::Arc;

use multibee_log::{Durability, KeyPair};
use multibee_merge::{Strategies, Types};

use crate::catch_up::Limits;
use crate::clock::{SystemClock, WallClock};

/// How a database is created or opened. The default is what most programs want.
#[derive(Debug)]
pub struct Options {
    /// When a write returns, and what a power cut may take back. By default a write returns once it
    /// is on disk, and nothing is taken.
    pub durability: Durability,
    /// Bytes of decoded blocks kept in memory.
    pub cache_bytes: u64,
    /// Where stamps get the time of day from.
    pub clock: Arc<dyn WallClock>,
    /// The key pair of a new database; `None` makes a fresh one. Opening ignores it.
    ///
    /// Two databases with one key are a fork: give a key here only once.
    pub keys: Option<KeyPair>,
    /// What is remembered of deleted keys is forgotten by itself, now and then, once every device is
    /// known to have seen the delete. Otherwise only [`reclaim`](crate::Multibee::reclaim) does that.
    ///
    /// Not by default: a device that joins later, and has written a key before that was deleted and
    /// forgotten here, keeps the delete beside its write, and is then
    /// [told to differ](crate::Event::Diverged) from those who have forgotten it, until somebody writes
    /// the key again.
    pub forget_deletes: bool,
    /// The mergeable types that this program knows, users' own among them.
    pub types: Types,
    /// The strategies that this program knows by name, users' own among them.
    pub strategies: Strategies,
    /// Randomness for connections; `None` asks the system. For simulations only: two databases with
    /// one seed can read each other's connections.
    #[cfg(feature = "testing")]
    pub connection_seed: Option<[u8; 32]>,
    /// Blocks of news from which on it is found out whether absorbing is less work, if not the usual
    /// number. For simulations: with little data, too, states are absorbed then.
    #[cfg(feature = "testing")]
    pub news_min: Option<u64>,
    /// Keys in one commit of what is absorbed, if not the usual number. For simulations.
    #[cfg(feature = "testing")]
    pub absorb_keys: Option<usize>,
    /// Blocks after which it is seen what may be given back, if not the usual number. For simulations.
    #[cfg(feature = "testing")]
    pub tidy_blocks: Option<u64>,
}

impl Options {
    /// Randomness for connections, if it was chosen.
    pub(crate) const fn chosen_seed(&self) -> Option<[u8; 32]> {
        #[cfg(feature = "testing")]
        return self.connection_seed;
        #[cfg(not(feature = "testing"))]
        None
    }

    /// How much is done at once, and what is done by itself.
    pub(crate) fn limits(&self) -> Limits {
        #[cfg(feature = "testing")]
        let limits = Limits::chosen(self.news_min, self.absorb_keys, self.tidy_blocks);
        #[cfg(not(feature = "testing"))]
        let limits = Limits::default();
        Limits { forget_deletes: self.forget_deletes, ..limits }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::Immediate,
            cache_bytes: 32 << 20,
            clock: Arc::new(SystemClock),
            keys: None,
            forget_deletes: false,
            types: Types::standard(),
            strategies: Strategies::standard(),
            #[cfg(feature = "testing")]
            connection_seed: None,
            #[cfg(feature = "testing")]
            news_min: None,
            #[cfg(feature = "testing")]
            absorb_keys: None,
            #[cfg(feature = "testing")]
            tidy_blocks: None,
        }
    }
}
