//! Storage that records, fails and forgets: for tests of logs, of programs with logs, and of one's
//! own [`Storage`](crate::Storage). Only with the feature `testing`.
//!
//! A [`RecordingStorage`] tells what a disk may hold after the power failed, whatever the moment:
//!
//! ```
//! use multibee_log::testing::{Effort, RecordingStorage};
//! use multibee_log::{KeyPair, Log, LogOptions};
//!
//! let disk = RecordingStorage::new();
//! let log = Log::create(disk.clone(), KeyPair::generate(), LogOptions::default())?;
//! let before = disk.event_count();
//! log.append(&["rain", "sun"])?;
//!
//! let recording = disk.recording();
//! for at in before..=disk.event_count() {
//!     for crash in recording.crash(at, Effort::default()) {
//!         let log = Log::open(crash.image().to_storage(), LogOptions::default())?;
//!         let is_done = at == disk.event_count();
//!         assert!(log.len() == 2 || log.is_empty() && !is_done, "event {at}: {crash}");
//!     }
//! }
//! # Ok::<(), multibee_log::Error>(())
//! ```
//!
//! A [`FaultyStorage`] around any storage fails when told to. Here the disk is full, and then not:
//!
//! ```
//! use std::io::ErrorKind;
//!
//! use multibee_log::testing::FaultyStorage;
//! use multibee_log::{Error, KeyPair, Log, LogOptions, MemoryStorage};
//!
//! let disk = FaultyStorage::new(MemoryStorage::new());
//! let log = Log::create(disk.clone(), KeyPair::generate(), LogOptions::default())?;
//! disk.fail_after(0, ErrorKind::StorageFull);
//! assert!(matches!(log.append(&["rain"]), Err(Error::Io(_))));
//! disk.heal();
//! assert_eq!(log.append(&["sun"])?, 1);
//! # Ok::<(), multibee_log::Error>(())
//! ```
//!
//! A storage of one's own should do what [`MemoryStorage`](crate::MemoryStorage) does: after the
//! same operations, [`Image::of`] both has the same [`hash`](Image::hash).

mod ablation;
mod choice;
mod crash_images;
mod enumerator;
mod faults;
mod faulty;
#[doc(hidden)]
pub mod fuzz;
mod hashing;
mod history;
mod image;
mod invariants;
mod pages;
mod random;
mod recording;
mod session;
mod side;
mod unsynced;
mod workload;

#[doc(hidden)]
pub use ablation::Ablation;
pub use crash_images::{CrashImage, CrashImages, Effort};
#[doc(hidden)]
pub use enumerator::{Bad, Enumerator, Tally};
pub use faulty::{Fault, FaultyStorage, Operation};
#[doc(hidden)]
pub use hashing::{leaf_hash, leaf_hashes, parent_hash};
pub use image::Image;
#[doc(hidden)]
pub use invariants::Invariant;
pub use recording::{Event, Recording, RecordingStorage};
#[doc(hidden)]
pub use workload::{Op, Start, Workload};
