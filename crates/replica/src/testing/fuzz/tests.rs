use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::*;

fn corpus() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus"))
}

/// Each property holds for all inputs that were worth keeping.
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
    println!("fuzz/corpus/peer-*: {count} inputs passed");
}

/// Each folder for peers has its target.
#[test]
fn every_folder_of_the_corpus_is_used() {
    let folders = fs::read_dir(corpus()).unwrap();
    let folders: BTreeSet<String> = folders
        .map(|folder| folder.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("peer-"))
        .collect();
    assert_eq!(folders, TARGETS.iter().map(|target| target.name.to_owned()).collect());
}

/// The recorded conversations are whole: who hears the second side of one has the log, with nobody else
/// to ask.
#[test]
fn recorded_inputs_are_conversations() {
    for input in follower_inputs().into_iter().take(2) {
        assert_eq!(session::heard_len(&input), 11);
    }
    let counts = source_inputs().iter().map(|input| messages(input).count()).collect::<Vec<_>>();
    assert!(counts[0] > 3, "{counts:?}");
    source_inputs().iter().for_each(|input| source(input));
    follower_inputs().iter().for_each(|input| follower(input));
}
