//! A signed, append-only log of blocks: one writer appends, anyone verifies.
//!
//! Block number `n` never changes once written. With each append the writer signs a [`Head`]: the
//! number of blocks and the hash of the Merkle tree over all of them. Whoever holds a head and a
//! [`Proof`] can check any single block without holding the rest, which is what makes a *sparse*
//! copy of a log safe to use. Formats, hashes and signatures are those of Hypercore 10, byte for
//! byte, so its programs can read these logs and this crate reads theirs.
//!
//! # What this crate does not do
//!
//! It opens no socket, starts no task and reads no clock. It does not know what a block means:
//! keys and values live one floor up, in `multibee-btree`.
//!
//! # Cuts and conflicts
//!
//! A writer may [cut](Log::truncate) its log and go on differently; that is signed with the next
//! fork number. Who holds the older fork finds out by a [`Reorg`] which blocks stay, and drops the
//! others. Within one fork there must be one history only. Two signed heads that are not of one
//! history are a [`Conflict`]: the key is in use twice, or in the wrong hands. Any two copies of a
//! log can tell by comparing heads, the proof convinces everybody, and from then on each log that
//! knows it stays as it is: nothing beyond the last common block is taken or passed on.
//!
//! # Durability
//!
//! [`Log::len`] is what was accepted, [`Log::durable_len`] is what survives a power cut. Only the
//! latter is ever proven to others, because a writer that forgets what it has shared signs a second
//! history. With [`Durability::Immediate`], the default, the two are always equal.
//!
//! # Example
//!
//! ```
//! use multibee_log::{KeyPair, Log, LogOptions, MemoryStorage};
//!
//! let keys = KeyPair::from_seed([7; 32]);
//! let log = Log::create(MemoryStorage::default(), keys, LogOptions::default())?;
//! assert_eq!(log.append(&["hello", "world"])?, 2);
//! assert_eq!(log.get(1)?.as_deref(), Some(&b"world"[..]));
//! # Ok::<(), multibee_log::Error>(())
//! ```

#![forbid(unsafe_code)]

pub mod compact;
pub mod flat_tree;

mod append;
mod apply;
mod audit;
mod barrier;
mod batch;
mod bitfield;
mod block_places;
mod cache;
mod clear;
mod commit;
mod conflict;
mod detection;
mod disk;
mod divergence;
mod durability;
mod error;
mod eventual;
mod file;
mod flush;
mod fork_point;
mod hash;
mod head;
mod info;
mod key_pair;
mod keys;
mod known_conflict;
mod limits;
mod lock;
mod log;
mod manifest;
mod memory;
mod merkle;
mod node;
mod oplog;
mod oplog_codec;
mod pages;
mod proof;
mod prove;
mod read;
mod read_only;
mod recovery;
mod reorg;
mod repair;
mod request;
mod rewind;
mod seek;
mod signature;
mod storage;
mod tree_store;
mod unflushed;
mod user_data;
mod verify;
mod write_behind;

#[cfg(feature = "testing")]
pub mod testing;

pub use apply::Applied;
pub use audit::{Audit, Finding, Progress};
#[cfg(feature = "testing")]
pub use barrier::Barrier;
pub use batch::Batch;
pub use cache::Cache;
pub use conflict::Conflict;
pub use divergence::Divergence;
pub use durability::{Durability, Submitted};
pub use error::{DecodeError, Error, Result};
pub use file::FileStorage;
pub use head::Head;
pub use info::{LogInfo, PartInfo};
pub use key_pair::{KeyPair, verify};
pub use keys::{DiscoveryKey, Hash, LogKey};
pub use limits::BLOCK_LEN_MAX;
pub use log::{Log, LogOptions};
pub use manifest::{Manifest, Prologue, Signer};
pub use memory::MemoryStorage;
pub use node::Node;
pub use proof::{Proof, ProofBlock, ProofHash, ProofSeek, ProofUpgrade};
pub use reorg::{Reorg, Reorged};
pub use repair::{Repair, Restored};
pub use request::{Request, RequestBlock, RequestHash, RequestSeek, RequestUpgrade};
pub use seek::Seek;
pub use storage::{Part, Storage};
