//! What is left of a log after a crash, a failing disk or damage, tried out in great numbers.
//!
//! `cargo xtask crash` tries many more.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod damage;
mod faults;
mod power_cuts;
