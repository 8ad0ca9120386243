//! A signed, append-only log of blocks: one writer appends, anyone verifies.
//!
//! With each append the writer signs a [`Head`]: the number of blocks, and the hash of the Merkle
//! tree over all of them. Whoever holds a head and a [`Proof`] can check any single block without
//! holding the rest, which is what makes a *sparse* copy of a log safe to use. Formats, hashes and
//! signatures are those of Hypercore 10, byte for byte, so its programs can read these logs and
//! this crate reads theirs.
//!
//! # A log
//!
//! A log lives in a [`Storage`]: a directory ([`FileStorage`]), memory ([`MemoryStorage`]), or one
//! of your own. A [`Log`] is a handle to it. Clones are the same log, and all methods block.
//!
//! ```
//! use multibee_log::{FileStorage, KeyPair, Log, LogOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let dir = folder.path().join("weather");
//! let keys = KeyPair::generate();
//! let log = Log::create(FileStorage::create(&dir)?, keys, LogOptions::default())?;
//! assert_eq!(log.append(&["rain", "sun", "snow"])?, 3);
//! drop(log);
//!
//! let log = Log::open(FileStorage::open(&dir)?, LogOptions::default())?;
//! assert_eq!(log.get(1)?.as_deref(), Some(&b"sun"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! One append is one commit: after a crash there are all of its blocks or none. A [`Batch`] also
//! carries [user data](Log::set_user_data), small values beside the blocks. [`Log::listen`] waits for
//! the next. The secret key stays in the storage of its log. **Never write to a copy of a log, nor to
//! one from a backup:** the two would sign two histories, and nobody can take that back. Copied
//! directories are [known](Log::is_copy) and not written; images of whole disks are not.
//!
//! # What is safe, and when
//!
//! [`append`](Log::append) returns when the blocks are on disk. [`LogOptions::durability`] can be
//! chosen otherwise, see the table at [`Durability`]; [`submit`](Log::submit) does not wait in any
//! mode, and its [`Submitted`] can be asked and waited for. Threads that append at the same time
//! share one wait for the disk.
//!
//! [`Log::durable_len`] is what survives a power cut. Only this is ever proven to others, in all
//! modes: a writer that forgets what it has shared signs a second history. [`Log::len`] is what
//! reading shows. With [`Durability::Immediate`] the two are the same; otherwise `len` may be
//! ahead.
//!
//! # A verified sparse copy
//!
//! The key is all that a copy starts from. What it asks for are [`Request`]s, and what it gets are
//! [`Proof`]s, over any network; `multibee-replica` does that as Hypercore's peers do.
//!
//! ```
//! use multibee_log::{
//!     Error, KeyPair, Log, LogOptions, MemoryStorage, Proof, Request, RequestBlock, RequestUpgrade,
//! };
//!
//! let log = Log::create(MemoryStorage::new(), KeyPair::generate(), LogOptions::default())?;
//! let lines: Vec<String> = (0..1000).map(|number| format!("line {number}")).collect();
//! log.append(&lines)?;
//!
//! // First the head: how long the log is, signed. The manifest says who may sign.
//! let copy = Log::create_replica(MemoryStorage::new(), log.key(), LogOptions::default())?;
//! let upgrade = Some(RequestUpgrade { start: copy.len(), length: log.durable_len() });
//! let head = log.prove(&Request { upgrade, manifest: true, ..Request::default() })?;
//! copy.apply(&head)?;
//! assert_eq!((copy.len(), copy.contiguous_len()), (1000, 0));
//!
//! // Then any block, with those nodes of the tree that the copy lacks.
//! let nodes = copy.missing_nodes(2 * 617)?;
//! let block = Some(RequestBlock { index: 617, nodes });
//! let proof = log.prove(&Request { block, ..Request::default() })?;
//! let mut message = Vec::new();
//! proof.encode(1, &mut message);
//!
//! // The copy checks before it stores. What is not in the signed log does not get in.
//! let (_, mut proof) = Proof::decode(&message)?;
//! copy.apply(&proof)?;
//! assert_eq!(copy.get(617)?.as_deref(), Some(&b"line 617"[..]));
//! assert_eq!(copy.held(0..1000), [617..618]);
//! if let Some(block) = &mut proof.block {
//!     block.value = "line 618".into();
//! }
//! assert!(matches!(copy.apply(&proof), Err(Error::BadProof { .. })));
//! # Ok::<(), Error>(())
//! ```
//!
//! A copy can prove to others what it holds, in the same way. When the log has grown, it asks for
//! an upgrade from its own length.
//!
//! # Cutting and clearing
//!
//! [`Log::truncate`] takes blocks off the end and signs that with the next *fork* number. What is
//! appended then takes their numbers. Copies find out by a [`Reorg`] which of their blocks stay,
//! and drop the others. [`Log::clear`] drops the data of blocks and keeps their proofs, on this
//! copy only: they can be fetched again. [`Log::info`] tells how much room all takes, and
//! [`Log::reclaim`] gives back what nobody needs.
//!
//! # Damage
//!
//! Blocks are checked when they are read; a damaged one is [`Error::Corrupt`], never wrong data.
//! [`Log::audit`] reads and checks everything. [`Log::repair`] mends what it can from what is
//! stored, and the rest from any other copy. [`Log::restore`] does that for a log that cannot be
//! opened any more. After a failed sync a log takes no more writes, since nobody knows what is on
//! disk: open it anew.
//!
//! # Conflicts
//!
//! Within one fork there must be one history only. Two signed heads that are not of one history are
//! a [`Conflict`]: the key is in use twice, or in the wrong hands. Any two copies of a log can tell
//! by comparing heads ([`Log::check_conflict`]), the proof convinces everybody, and from then on
//! each log that knows it stays as it is: nothing beyond the last common block is taken or passed
//! on.
//!
//! # Several threads, logs and processes
//!
//! All methods may be called from any thread. Those that write wait for each other; those that read
//! wait for nobody's disk work but their own. Logs of one process share a [`Cache`], and open files
//! only when they need them. One process writes a log; others may read it at the same time with
//! [`Log::open_read_only`].
//!
//! # What this crate does not do
//!
//! It opens no socket and reads no clock. It starts no thread, but for one for each log with
//! [`Durability::Eventual`]. It does not know what a block means: keys and values live one floor
//! up, in `multibee-btree`.
//!
//! # Features
//!
//! `testing`, off by default, adds the module `testing`: storage that records what is done to it,
//! that fails on demand, and what a disk may hold after the power failed. For tests of programs
//! that keep logs.

#![forbid(unsafe_code)]

pub mod compact;
pub mod flat_tree;

mod append;
mod apply;
mod audit;
mod barrier;
mod batch;
mod bitfield;
mod block_bytes;
mod block_places;
mod cache;
mod clear;
mod commit;
mod conflict;
mod detection;
mod disk;
mod divergence;
mod durability;
mod entrust;
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
mod leaves;
mod limits;
mod listener;
mod lock;
mod log;
mod manifest;
mod memory;
mod merkle;
mod node;
mod oplog;
mod oplog_codec;
mod pages;
mod placed;
mod proof;
mod prove;
mod read;
mod read_only;
mod recovery;
mod renounce;
mod reorg;
mod repair;
mod request;
mod rewind;
mod run;
mod seek;
mod signature;
mod storage;
mod touches;
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
pub use block_bytes::BlockBytes;
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
pub use listener::HeadListener;
pub use log::{Log, LogOptions};
pub use manifest::{Manifest, Prologue, Signer};
pub use memory::MemoryStorage;
pub use node::Node;
pub use proof::{Proof, ProofBlock, ProofHash, ProofSeek, ProofUpgrade};
pub use renounce::WeakLog;
pub use reorg::{Reorg, Reorged};
pub use repair::{Repair, Restored};
pub use request::{Request, RequestBlock, RequestHash, RequestSeek, RequestUpgrade};
pub use run::{ProofRun, RequestRun};
pub use seek::Seek;
pub use storage::{Part, Storage};
