//! Causality, hybrid time and merging, as pure logic: values in, values out.
//!
//! Several devices write the same keys while apart. What each of them knows about one key is a
//! [`State`]: the concurrent [`Version`]s it has seen, and a *context* that says which writes it
//! has seen at all. [`State::join`] combines two such states. It is a join in the sense of
//! lattice theory (commutative, associative, idempotent, deletes included), so any order, any
//! topology and any repetition of joins ends in the same state.
//!
//! Causality decides and clocks only break ties: a write that saw another one supersedes it
//! whatever the two clocks said, and a write that did not is kept beside it. Which of several
//! concurrent versions is *shown* is the business of a [`MergeStrategy`], a pure function of the
//! set, so that all devices show the same.
//!
//! The structure is the dotted version vector set (Preguiça, Baquero et al., *Dotted Version
//! Vectors*, 2010). A [`Dot`] names a write by the device that made it and the block of that
//! device's log that carries it.
//!
//! # What this crate does not do
//!
//! It reads no clock, opens no file and knows no log: time and causality are arguments.
//!
//! # Example
//!
//! ```
//! use multibee_merge::{Clock, Content, Dot, DeviceId, LastWriter, MergeStrategy, State, Time, Version};
//!
//! let (phone, laptop) = (DeviceId::from_u64(1), DeviceId::from_u64(2));
//! let write = |device, time, value: &'static str| {
//!     let dot = Dot { device, seq: 0 };
//!     let version = Version::plain(dot, Time::from_millis(time), Content::Value(value.into()));
//!     State::written(version, Clock::new())
//! };
//!
//! // Neither saw the other's write: both versions are kept, on either side alike.
//! let (a, b) = (write(phone, 10, "two"), write(laptop, 20, "one"));
//! let joined = a.join(&b);
//! assert_eq!(joined, b.join(&a));
//! assert_eq!(joined.versions().len(), 2);
//!
//! // The later one is shown; the other one stays listed as a conflict.
//! let shown = LastWriter.resolve(b"milk", joined.versions()).first().expect("a live version");
//! assert_eq!(joined.versions()[shown].dot.device, laptop);
//! ```
#![forbid(unsafe_code)]

mod align;
#[cfg(feature = "automerge")]
mod automerge_type;
mod clock;
mod codec;
mod counter;
mod delete_wins;
mod digest;
mod dot;
mod error;
mod facts;
mod item;
mod json;
mod keep_all;
mod last_writer;
pub mod laws;
pub mod limits;
mod map;
mod map_path;
mod merge_type;
mod rename;
mod seen;
mod set;
mod state;
mod strategies;
mod strategy;
mod time;
mod types;
mod version;

#[cfg(feature = "automerge")]
pub use automerge_type::Automerge;
pub use clock::{Applied, Clock};
pub use counter::Counter;
pub use delete_wins::DeleteWins;
pub use digest::{Digest, entry_digest};
pub use dot::{DeviceId, Dot};
pub use error::{StateError, WriteError};
pub use keep_all::KeepAll;
pub use last_writer::LastWriter;
pub use map::Map;
pub use merge_type::MergeType;
pub use rename::Renaming;
pub use set::Set;
pub use state::State;
pub use strategies::{BadName, Strategies};
pub use strategy::{MergeStrategy, Shown};
pub use time::{HybridClock, MAX_DRIFT_MS, Time};
pub use types::{FIRST_USER_KIND, Resolution, ShownValue, TakenKind, Types};
pub use version::{Content, PLAIN, Version};
