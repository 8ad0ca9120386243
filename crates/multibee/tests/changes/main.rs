//! Differences, history and watching: what has changed, and who changed it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod devices;
mod diff;
mod history;
mod watch;
