//! The multi-device scenarios: each test is named after its number.
//!
//! Every scenario runs in memory and on disk. Nothing sleeps: tests wait for changes, and fail
//! when a minute has passed without the state that they wait for.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod devices;
mod members;

mod s01_catch_up;
mod s02_burst;
mod s03_interleaved;
mod s04_downloaded_not_merged;
mod s10_concurrent_puts;
mod s14_merging_the_merged;
mod s20_editing_merged_values;
mod s22_deletes;
mod s26_keys;
mod s27_values;
mod s40_third_device;
mod s41_relay_in_turns;
mod s42_new_device;
mod s43_long_dormant;
mod sources;
mod stranded;
