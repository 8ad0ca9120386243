use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::*;
use crate::bee::Bee;
use crate::range::RangeOptions;

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
    println!("fuzz/corpus/tree-*: {count} inputs passed");
}

/// Each folder for trees has its target.
#[test]
fn every_folder_of_the_corpus_is_used() {
    let folders = fs::read_dir(corpus()).unwrap();
    let folders: BTreeSet<String> = folders
        .map(|folder| folder.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("tree-"))
        .collect();
    assert_eq!(folders, TARGETS.iter().map(|target| target.name.to_owned()).collect());
}

/// A tree that is written down is that tree, also when it is only sketched.
#[test]
fn inputs_are_trees() {
    let keys = |bee: Bee| -> Vec<Bytes> {
        let range = bee.snapshot().unwrap().range(RangeOptions::default());
        range.map(|entry| entry.unwrap().key).collect()
    };
    let honest = planted(&[]).unwrap();
    for key in ["b", "a", "c"] {
        honest.put(key.as_bytes(), Some("1")).unwrap();
    }
    let blocks: Vec<Bytes> = (1..4).map(|seq| honest.log().get(seq).unwrap().unwrap()).collect();
    let input = raw(&blocks).unwrap();
    forest(&input);
    assert_eq!(keys(planted(&input).unwrap()), ["a", "b", "c"]);

    // Blocks with the keys x, y and z, the last of them with a root, and two leaves below it.
    let leaves = [1, 1, 0, 1, 3, 0];
    let sketch = [&[1, b'x', 0, b'y', 0, b'z', 3, 1, 2, 4, 3, 1, 3, 2][..], &leaves].concat();
    forest(&sketch);
    assert_eq!(keys(planted(&sketch).unwrap()), ["x", "y", "z"]);
}
