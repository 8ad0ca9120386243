//! What the tree promises beyond the golden vectors.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod check;
mod diff;
mod extension;
mod history;
mod hostile;
mod model;
mod reclaim;
mod rounds;
mod sound;
mod sparse;
mod typed;
mod union;
mod watching;
mod writing;

use multibee_btree::{Bee, BeeOptions, Entry, RangeOptions, Tree};
use multibee_log::{Durability, KeyPair, Log, LogOptions, MemoryStorage};

fn log_options() -> LogOptions {
    LogOptions { durability: Durability::Buffered, ..LogOptions::default() }
}

fn new_log() -> Log {
    Log::create(MemoryStorage::default(), KeyPair::from_seed([1; 32]), log_options()).unwrap()
}

fn new_bee() -> Bee {
    Bee::open(new_log(), BeeOptions::default()).unwrap()
}

/// All entries of a tree that is here as a whole.
fn entries(tree: &Tree) -> Vec<Entry> {
    tree.range(RangeOptions::default()).map(Result::unwrap).collect()
}

/// Keys of 8 bytes in an order without pattern, all different.
fn scrambled(i: u64) -> [u8; 8] {
    i.wrapping_mul(0x9e37_79b9_7f4a_7c15).swap_bytes().to_le_bytes()
}
