//! The multi-device scenarios: each test is named after its number.
//!
//! Every scenario runs in memory and on disk. Nothing sleeps: tests wait for changes, and fail
//! when a minute has passed without the state that they wait for.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod backups;
mod by_hand;
mod compaction;
mod copies;
mod crashes;
mod crashes_in_moves;
mod devices;
mod introductions;
mod large_versions;
mod listing;
mod members;
mod mirrors;
mod roles;
mod union;

mod s01_catch_up;
mod s02_burst;
mod s03_interleaved;
mod s04_downloaded_not_merged;
mod s05_merged_once;
mod s06_local_write;
mod s07_bad_entry;
mod s10_concurrent_puts;
mod s11_concurrent_creation;
mod s12_disjoint_edits;
mod s13_same_instant;
mod s14_merging_the_merged;
mod s15_idempotent_delivery;
mod s16_any_order;
mod s17_merges_at_once;
mod s20_editing_merged_values;
mod s21_read_change_write;
mod s22_deletes;
mod s23_late_device;
mod s24_delete_against_edit;
mod s25_write_after_delete;
mod s26_keys;
mod s27_values;
mod s28_lists;
mod s29_write_paths;
mod s30_causality;
mod s31_future;
mod s32_clock_goes_back;
mod s40_third_device;
mod s41_relay_in_turns;
mod s42_new_device;
mod s43_long_dormant;
mod s50_removal_survives_restart;
mod s51_remove_and_add;
mod s52_removal_during_merge;
mod s60_clearing;
mod s61_clear_while_updating;
mod s62_cleared_relay;
mod s70_old_backup;
mod s71_fork;
mod s72_lost_device;
mod sources;
mod stopping;
mod stranded;
