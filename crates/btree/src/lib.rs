//! An ordered map of byte strings, kept in an append-only log: an embedded B-tree.
//!
//! Each put or deletion is one block: the key, the value, and the nodes of the tree that it changed.
//! The root of a version is in its last block, so whoever has the log, or can fetch single blocks of
//! it, can read any version; and a reader fetches only what lies on the way to the keys it asks for.
//! Blocks are byte for byte those of Hyperbee 2, which reads these logs as this crate reads its.
//!
//! # Reading a sparse log
//!
//! Reads are plain functions that never wait. When blocks are not on this machine, they return
//! [`Error::Missing`] with their numbers; fetch those and call again. Over a log that is all here
//! this never happens.
//!
//! # Writing
//!
//! A [`Batch`] computes on private state and then appends all its blocks at once, so it is in the
//! log as a whole or not at all. Only the ends of such appends are versions: within one the tree has
//! no root, and [`Bee::checkout`] refuses such lengths.
//!
//! # What there is
//!
//! | to | use |
//! |---|---|
//! | put, delete, get | [`Bee::put`], [`Bee::del`], [`Tree::get`]; [`Bee::put_expecting`] on a condition |
//! | write several entries as one | [`Bee::batch`] |
//! | read in order | [`Tree::range`], [`Tree::peek`] |
//! | read an older version | [`Bee::checkout`] |
//! | see what was done, or what differs | [`Bee::history`], [`Tree::diff`] |
//! | learn of changes | [`Bee::watch`], [`Bee::get_and_watch`] |
//! | read several trees as one | [`Union`] |
//! | check a whole tree, give back room | [`Tree::check`], [`Bee::reclaim`] |
//! | keep several maps in one log | [`Bee::sub`], [`Batch::within`] |
//! | use types of one's own | [`Bee::typed`], [`Codec`] |
//!
//! # What this crate does not do
//!
//! It opens no file and no socket, starts no task and reads no clock. It does not merge writers. It
//! carries extra fields in blocks for those above, and knows nothing about them.
//!
//! # Example
//!
//! ```
//! use multibee_btree::{Bee, BeeOptions, RangeOptions};
//! use multibee_log::{KeyPair, Log, LogOptions, MemoryStorage};
//!
//! let keys = KeyPair::from_seed([7; 32]);
//! let log = Log::create(MemoryStorage::default(), keys, LogOptions::default())?;
//! let bee = Bee::open(log, BeeOptions::default())?;
//!
//! let mut batch = bee.batch()?;
//! batch.put(b"bread", Some("rye"), "")?;
//! batch.put(b"milk", Some("two"), "")?;
//! let version = batch.flush()?;
//! bee.del(b"bread")?;
//!
//! let now = bee.snapshot()?;
//! assert_eq!(now.get(b"bread")?, None);
//! assert_eq!(now.get(b"milk")?.and_then(|entry| entry.value).as_deref(), Some(&b"two"[..]));
//!
//! let before = bee.checkout(version)?;
//! let keys: Result<Vec<_>, _> =
//!     before.range(RangeOptions::default()).map(|entry| entry.map(|entry| entry.key)).collect();
//! assert_eq!(keys?, ["bread", "milk"]);
//! # Ok::<(), multibee_btree::Error>(())
//! ```

#![forbid(unsafe_code)]

mod ahead;
mod batch;
mod bee;
mod block;
mod check;
mod codec;
mod cursor;
mod del;
mod diff;
mod entry;
mod error;
mod expect;
mod extension;
mod few;
mod glimpses;
mod header;
mod history;
mod limits;
mod missing;
mod node;
mod prefix;
mod proto;
mod put;
mod range;
mod reclaim;
mod records;
mod seq_set;
mod staging;
mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod transaction;
mod tree;
pub mod typed;
mod union;
mod walk;
mod watch;
mod write_lock;

pub use batch::{Batch, BatchRange, SubBatch};
pub use bee::{Bee, BeeOptions};
pub use block::{Block, Level};
pub use check::{Check, Finding};
#[cfg(feature = "json")]
pub use codec::Json;
pub use codec::{Ascii, Binary, Codec, CodecError, Utf8};
pub use diff::{Change, Diff};
pub use entry::Entry;
pub use error::{BlockFault, DecodeError, Error, Result};
pub use expect::{Expect, Outcome};
pub use extension::{CacheHint, EXTENSION_NAME, ExtensionMessage, GetHint, RangeHint};
pub use header::{Header, Metadata};
pub use history::{Action, History, HistoryOptions, Record};
pub use limits::{BATCH_OPS_MAX, KEY_LEN_MAX};
pub use range::{Range, RangeOptions};
pub use reclaim::{ReclaimProgress, Reclaimed};
pub use tree::Tree;
pub use union::{MissingBlocks, Union, UnionEntry, UnionError, UnionRange, first_tree};
pub use watch::{EntryWatch, Moved, Watch};
