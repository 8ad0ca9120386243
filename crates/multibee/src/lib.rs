//! Multibee: a multi-writer, local-first key-value database for one person's devices.
//!
//! Each device reads and writes its own signed, append-only database at full speed, offline.
//! Devices replicate only what changed, merge it into their own primary, and end with the same
//! data, with no server in charge. A primary is an ordinary Hyperbee, so any Hyperbee client can
//! read it.
//!
//! # Local and remote
//!
//! Reading and writing are plain, blocking calls, as in any embedded database: everything is on
//! this machine, whether or not a network is. Only what waits for other devices is `async`, and
//! runs on tokio. (A write with [`Durability::Immediate`] waits for the disk: in an async program
//! call it from `spawn_blocking`, or choose [`Durability::Buffered`].)
//!
//! # Conflicts
//!
//! A write that saw another one supersedes it, whatever the clocks said. Writes that did not see
//! each other are all kept; the latest is shown, and [`Multibee::conflicts`] lists the rest, the
//! same on every device, until somebody writes the key again, or [settles](Multibee::resolve) it.
//!
//! Values of a *mergeable type* need no settling: JSON objects merge field by field
//! ([`Multibee::put_map`]), sets keep what was added ([`Multibee::set_insert`]), counters add up
//! ([`Multibee::increment`]). [`Multibee::set_rule`] makes plain puts under a prefix write such a
//! type, or chooses another strategy of what is shown. Types and strategies of one's own are given
//! in [`Options`].
//!
//! # Example
//!
//! ```
//! use multibee::{Home, Multibee, Options};
//!
//! # let runtime = tokio::runtime::Runtime::new().expect("a runtime");
//! # runtime.block_on(async {
//! // Two devices. Each has to admit the other.
//! let phone = Multibee::create(Home::memory(), Options::default())?;
//! let laptop = Multibee::create(Home::memory(), Options::default())?;
//! phone.add_replica(laptop.key())?;
//! laptop.add_replica(phone.key())?;
//!
//! // Apart: each writes what it likes.
//! phone.put("milk", "two")?;
//! laptop.put("bread", "rye")?;
//!
//! // Together: any byte stream will do. Here it's a pipe in memory.
//! let (one_end, other_end) = tokio::io::duplex(64 * 1024);
//! phone.attach(one_end, multibee::Role::Initiator);
//! laptop.attach(other_end, multibee::Role::Responder);
//! phone.wait_synced(std::time::Duration::from_secs(10)).await?;
//!
//! assert_eq!(phone.get("bread")?.map(|entry| entry.value), Some("rye".into()));
//! assert_eq!(laptop.get("milk")?.map(|entry| entry.value), Some("two".into()));
//! # Ok::<(), multibee::Error>(())
//! # }).expect("the example runs");
//! ```
#![forbid(unsafe_code)]

mod absorb;
mod aside;
mod at_time;
mod audit;
mod author;
mod backup;
mod batch;
mod broken;
#[cfg(feature = "testing")]
mod by_hand;
mod catch_up;
mod chain;
mod changes;
mod clearing;
mod clock;
mod collecting;
mod commit;
mod compact;
mod conflicts;
mod core;
mod device_role;
mod devices;
mod diff;
#[cfg(feature = "automerge")]
mod documents;
mod edit;
pub mod encoded;
mod entry;
mod error;
mod event;
mod follow;
mod foretell;
mod format;
mod hello;
mod history;
mod home;
mod inquiries;
mod introductions;
mod key_history;
mod keyspace;
mod look;
mod members;
mod merging;
mod moving;
mod multibee;
mod namespace;
mod namespace_view;
mod namespace_writes;
mod network;
mod news;
mod op;
mod options;
mod parting;
mod peer_message;
mod peers;
mod primary;
mod progress;
mod published;
mod question;
mod reads;
mod reclaim;
mod record;
mod recovery;
mod renaming;
mod reshow;
mod resolver;
mod rules;
mod session;
mod setup;
mod sides;
mod source;
mod sources;
mod staging;
mod statement;
mod sync_status;
mod typed;
mod union;
mod union_range;
mod unmerged;
mod view;
mod watch;
mod write;

pub use audit::LogAudit;
pub use backup::{BackedUp, BackupOptions, BackupProgress};
pub use batch::Batch;
#[cfg(feature = "broken")]
pub use broken::BrokenRule;
#[cfg(feature = "testing")]
pub use by_hand::ByHand;
pub use changes::{Changed, Changes, ChangesIter, Origin};
pub use clock::{SystemClock, WallClock};
pub use compact::{CompactEstimate, CompactProgress, Compacted, Weight};
pub use conflicts::{Choice, Conflicts};
pub use device_role::DeviceRole;
pub use devices::{AddOptions, Device};
pub use diff::{Change, Diff};
pub use entry::{Conflict, Entry, NotMerged, Scan, Status};
pub use error::Error;
pub use event::Event;
pub use history::{Commit, History, HistoryOptions};
pub use home::{Home, MemoryHome, OwnHome, Places};
pub use key_history::{KeyCommit, KeyHistory};
pub use multibee::Multibee;
pub use multibee_btree::{Ascii, Binary, Codec, CodecError, Json, Utf8};
pub use multibee_log::{Durability, Finding, KeyPair, Log, LogKey, LogOptions, Storage};
#[cfg(feature = "automerge")]
pub use multibee_merge::Automerge;
pub use multibee_merge::{
    Clock, Content, Counter, DeviceId, Digest, Dot, MAX_DRIFT_MS, MergeStrategy, MergeType, PLAIN,
    Set, Shown, StateError, Strategies, Time, Types, Version, WriteError, laws,
};
pub use multibee_merge::{FIRST_USER_KIND, Map};
pub use multibee_replica::Role;
pub use namespace::{Namespace, NamespaceBatch, NamespaceRange};
pub use namespace_view::NamespaceView;
pub use network::Connection;
pub use options::Options;
pub use reclaim::{HeldBack, HoldReason, ReclaimOptions, ReclaimReport, Reclaimed};
pub use recovery::RecoverySecret;
pub use rules::{Rule, RuleEntry};
pub use source::Source;
pub use sync_status::{DeviceProgress, SyncActivity, SyncStatus};
pub use union::{Union, UnionEntry};
pub use union_range::UnionRange;
pub use unmerged::Unmerged;
pub use view::{Range, RangeSpec, View};
pub use watch::{KeyWatch, Watch};

/// Name of the format that this program reads and writes, as in the bee's header.
pub const FORMAT: &str = format::FORMAT;
/// Longest key, in bytes.
pub const MAX_KEY_LEN: usize = 64 << 10;
/// Longest value, in bytes.
pub const MAX_VALUE_LEN: usize = 1 << 20;
/// Longest name of a device, in bytes.
pub const MAX_NAME_LEN: usize = 256;
/// Most operations in one batch: an operation takes up to four blocks, and whoever merges the
/// batch needs room for it in one commit beside other news.
pub const MAX_BATCH_OPS: usize = 10_000;
/// Most rules: each device keeps all of them in memory.
pub const MAX_RULES: usize = 10_000;
