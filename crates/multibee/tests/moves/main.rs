//! Moving to a fresh log: compaction, copies, and what other devices see of it.

mod compaction;
mod copies;
#[path = "../scenarios/devices.rs"]
mod devices;
