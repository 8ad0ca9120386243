//! Storage that records, fails and forgets: for tests of logs, of programs with logs, and of one's
//! own [`Storage`](crate::Storage). Only with the feature `testing`.

mod ablation;
mod choice;
mod crash_images;
mod enumerator;
mod faults;
mod faulty;
#[doc(hidden)]
pub mod fuzz;
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

pub use ablation::Ablation;
pub use crash_images::{CrashImage, CrashImages, Effort};
pub use enumerator::{Bad, Enumerator, Tally};
pub use faulty::{Fault, FaultyStorage, Operation};
pub use image::Image;
pub use invariants::Invariant;
pub use recording::{Event, Recording, RecordingStorage};
pub use workload::{Op, Start, Workload};
