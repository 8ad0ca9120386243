//! Replicators joined in memory, with a clock that stands until a test moves it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod admission;
mod boundaries;
mod cloning;
mod conflicts;
mod cuts;
mod extensions;
mod flow;
mod hand;
mod lasting;
mod latencies;
mod linking;
mod losses;
mod lying;
mod network;
mod places;
mod protocols;
mod pushes;
mod relaying;
mod requested;
mod runs;
mod searches;
mod serving;
mod trouble;
