//! What is left of a log after crashes, faults and damage.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod try_out;
