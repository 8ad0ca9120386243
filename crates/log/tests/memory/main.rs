//! How much memory bytes from others may cost: no more than twice their own number and 64 KiB,
//! whatever the lengths in them say.
//!
//! A test program of its own, since it counts all memory of the process.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod inputs;

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use multibee_log::compact::put_uint;
use multibee_log::testing::fuzz::{TARGETS, Target};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// One test at a time: they all count the same memory.
static TURN: Mutex<()> = Mutex::new(());

/// Returns the most bytes of memory that were in use at once while `run` ran.
fn peak(run: impl FnOnce()) -> usize {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    run();
    MEMORY.peak_usage().saturating_sub(before)
}

fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).unwrap()
}

/// 2^k, 2^k - 1, and the largest of all.
fn lengths() -> impl Iterator<Item = u64> {
    (0..64).flat_map(|k| [(1 << k) - 1, 1 << k]).chain([u64::MAX])
}

/// Whatever number stands in the place of any byte of a valid input, the decoder takes no more than
/// twice the input and 64 KiB. One of the bytes is each length and each count.
///
/// The same with many zeros behind: counts that look possible, of items that are as small as can be.
#[test]
fn no_length_costs_more_than_the_input() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut count = 0;
    for (name, input) in inputs::all() {
        let target = target(name);
        // What a log costs that is as it should be: its cache, above all.
        let usual = if name == "open" { peak(|| (target.decode)(&input)) } else { 0 };
        for zeros in [0, 64 * 1024] {
            for at in inputs::places(name, &input) {
                for length in
                    lengths().filter(|length| zeros == 0 || (64..1 << 20).contains(length))
                {
                    let mut bent = Vec::with_capacity(input.len() + 9 + zeros);
                    bent.extend_from_slice(&input[..at]);
                    put_uint(&mut bent, length);
                    bent.extend_from_slice(&input[at + 1..]);
                    bent.resize(bent.len() + zeros, 0);
                    let peak = peak(|| (target.decode)(&bent));
                    let limit = usual + 2 * bent.len() + 64 * 1024;
                    assert!(
                        peak <= limit,
                        "{name}: {peak} bytes of memory for {} of input: {length} at byte {at}",
                        bent.len()
                    );
                    count += 1;
                }
            }
        }
    }
    println!("{count} inputs with another length passed");
}

/// The properties that are fuzzed take no more memory for the inputs kept than fuzzing allows.
#[test]
fn properties_are_cheap_for_the_corpus() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let corpus = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus"));
    for target in TARGETS {
        // Some things are made once and stay.
        (target.check)(&[]);
        for input in fs::read_dir(corpus.join(target.name)).unwrap() {
            let path = input.unwrap().path();
            let input = fs::read(&path).unwrap();
            let peak = peak(|| (target.check)(&input));
            let limit = target.memory_max(input.len());
            assert!(peak <= limit, "{}: {peak} bytes of memory of {limit}", path.display());
        }
    }
}
