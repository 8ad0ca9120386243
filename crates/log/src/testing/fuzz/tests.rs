use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::*;

/// The inputs that were worth keeping, by target.
fn corpus() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus"))
}

/// Each property holds for all inputs that were worth keeping: seeds from the vectors, those that a
/// fuzzer found to lead somewhere new, and those that once broke it.
#[test]
fn properties_hold_for_the_corpus() {
    let mut count = 0;
    for target in TARGETS {
        let folder = corpus().join(target.name);
        let inputs = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let before = count;
        for input in inputs {
            let path = input.unwrap().path();
            // Named before it runs: a panic tells where, not by which input.
            println!("{}", path.display());
            (target.check)(&fs::read(&path).unwrap());
            count += 1;
        }
        assert!(count > before, "{} has no inputs", target.name);
    }
    println!("fuzz/corpus: {count} inputs passed");
}

/// Each target has its folder, and each folder its target, but for those of trees and peers.
#[test]
fn every_folder_of_the_corpus_is_used() {
    let folders = fs::read_dir(corpus()).unwrap();
    let folders: BTreeSet<String> = folders
        .map(|folder| folder.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with("tree-") && !name.starts_with("peer-"))
        .collect();
    let targets: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(folders, targets);
}

/// Parts survive their encoding, and every input stands for some.
#[test]
fn parts_survive() {
    let parts = Parts {
        keeps_checksums: true,
        slots: [vec![1; 300], vec![]],
        entries: vec![2; 9],
        others: [vec![3], vec![], vec![4, 5], vec![], vec![6; 32], vec![]],
    };
    let encoded = parts.encode();
    assert_eq!(Parts::decode(&encoded), parts);
    for len in 0..encoded.len() {
        let _ = Parts::decode(&encoded[..len]);
    }
}

/// A log taken apart and put together again is the log, however its checksums were broken.
#[test]
fn parts_are_the_log() {
    let storage = crate::MemoryStorage::new();
    let keys = crate::KeyPair::from_seed([9; 32]);
    let log = crate::Log::create(storage.clone(), keys, crate::LogOptions::default()).unwrap();
    log.append(&["one", "two"]).unwrap();
    log.append(&["three"]).unwrap();
    let mut parts = Parts::of(&storage);
    parts.slots[0][0] ^= 1;
    parts.entries[1] ^= 1;
    let copy = crate::Log::open(parts.storage(), crate::LogOptions::default()).unwrap();
    assert_eq!(copy.head(), log.head());
    assert_eq!(copy.get(2).unwrap().unwrap(), "three");
    parts.keeps_checksums = true;
    assert!(crate::Log::open(parts.storage(), crate::LogOptions::default()).is_err());
}

/// The inputs made for the targets of signatures and proofs are valid ones.
#[test]
fn made_inputs_are_valid() {
    let inputs = signatures();
    assert_eq!(inputs.len(), 6);
    inputs.iter().for_each(|input| signature(input));
    let inputs = conflicts();
    assert_eq!(inputs.len(), 2);
    inputs.iter().for_each(|input| conflict(input));
    let two = [&[2, 1, 2][..], &[1, 3]].concat();
    assert_eq!(messages(&two).collect::<Vec<_>>(), [&[1, 2][..], &[3]]);
}
