//! Short programs, every block compared in full.

use multibee_btree::RangeOptions;
use serde::Deserialize;

use crate::program::{Hex, ListedStep, Step};
use crate::replay::{self, Options};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    name: String,
    bee: Option<Options>,
    steps: Vec<StepAndLen>,
    blocks: Vec<Hex>,
    byte_length: u64,
    tree_hash: String,
    entries: Vec<(u64, Hex, Option<Hex>)>,
}

#[derive(Deserialize)]
struct StepAndLen {
    #[serde(flatten)]
    step: ListedStep,
    len: u64,
}

/// After each step the log is as long as Hyperbee's; in the end each block, the tree hash and the
/// entries are the same.
#[test]
fn small() {
    let cases: Vec<Case> = crate::cases("small.json");
    for case in &cases {
        let name = &case.name;
        let bee = replay::fresh(case.bee.as_ref());
        for (n, StepAndLen { step, len }) in case.steps.iter().enumerate() {
            replay::run(&bee, &Step::from(step));
            assert_eq!(bee.log().len(), *len, "{name}, after step {n}");
            let check = bee.snapshot().unwrap().check(|_| {}).unwrap();
            assert_eq!(check.findings, [], "{name}, after step {n}");
        }
        for (seq, block) in case.blocks.iter().enumerate() {
            let ours = replay::block(&bee, seq as u64);
            assert_eq!(crate::hex(ours), crate::hex(&block.0), "{name}, block {seq}");
        }
        assert_eq!(bee.log().len(), case.blocks.len() as u64, "{name}");
        assert_eq!(bee.log().byte_len(), case.byte_length, "{name}");
        assert_eq!(replay::tree_hash(&bee), case.tree_hash, "{name}");
        let range = bee.snapshot().unwrap().range(RangeOptions::default());
        let entries: Vec<_> = range
            .map(Result::unwrap)
            .map(|entry| (entry.seq, Hex(entry.key), entry.value.map(Hex)))
            .collect();
        assert_eq!(entries, case.entries, "{name}");
    }
    crate::passed("small.json", cases.len());
}
