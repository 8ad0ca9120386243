//! Peers that do everything wrong: one replicator with one log, an honest peer that it copies from, an
//! honest one that copies from it, and beside them one that each case describes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod bits;
mod case;
mod fields;
mod floods;
mod keys;
mod lies;
mod manifests;
#[expect(dead_code, reason = "shared with tests that need more of it")]
#[path = "../replication/network.rs"]
mod network;
mod recording;
mod referee;
mod runs;
mod stage;
mod stalls;
mod wires;

use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Nobody has thrown cases away: there are at least 700 with names of their own.
#[test]
fn there_are_many_cases() {
    let _alone = case::alone();
    let tables = [
        bits::cases(),
        fields::cases(),
        floods::cases(),
        keys::cases(),
        lies::cases(),
        manifests::cases(),
        runs::cases(),
        stalls::cases(),
    ];
    let names: Vec<String> =
        tables.into_iter().flatten().map(|case| case.name).chain(wires::names()).collect();
    let distinct: std::collections::BTreeSet<&String> = names.iter().collect();
    assert_eq!(distinct.len(), names.len(), "two cases have one name");
    assert!(names.len() >= 700, "{} cases", names.len());
}
