//! Golden vectors: what Hypercore 10 and 11 made, this crate makes and reads as well.
//!
//! They lie in the project's `vectors/log`, whose README tells how they were made. Each test prints
//! how many cases passed.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod bad_proofs;
mod constants;
mod encodings;
mod flat_tree;
mod forks;
mod held;
mod json;
mod keys;
mod proofs;
mod schema;
mod storage;
mod trees;
