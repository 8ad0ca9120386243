//! The log from outside: against a model, through crashes, as a sparse replica, in files.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod atomic;
mod bytes;
mod conflict;
mod copies;
mod crash;
mod cuts;
mod damage;
mod durability;
mod files;
mod groups;
mod manifests;
mod model;
mod placed;
mod reading;
mod reorg;
mod repair;
mod replica;
mod runs;
mod unsafe_disk;
mod user_data;

use multibee_log::KeyPair;

fn keys() -> KeyPair {
    KeyPair::from_seed([7; 32])
}
