//! Long generated programs, compared by digests.

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest};
use multibee_btree::RangeOptions;
use serde::Deserialize;

use crate::program::Program;
use crate::replay::{self, Options};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    name: String,
    #[serde(flatten)]
    program: Program,
    bee: Option<Options>,
    length: u64,
    byte_length: u64,
    tree_hash: String,
    checkpoints: Vec<(u64, String)>,
    live: usize,
    live_digest: String,
    block_tags: String,
}

/// Every block has the tag of Hyperbee's, the chain over all blocks and the tree hash are the same,
/// and so is what is left in the tree.
#[test]
fn large() {
    let cases: Vec<Case> = crate::cases("large.json");
    for case in &cases {
        let name = &case.name;
        let bee = replay::fresh(case.bee.as_ref());
        case.program.steps().iter().for_each(|step| replay::run(&bee, step));

        let mut chain = [0; 32];
        let mut checkpoints = case.checkpoints.iter().peekable();
        for seq in 0..bee.log().len().min(case.length) {
            let block = replay::block(&bee, seq);
            let tag = crate::hex(&hash(&[&block])[..4]);
            let at = 8 * seq as usize;
            assert_eq!(tag, case.block_tags[at..at + 8], "{name}, block {seq}");
            chain = hash(&[&chain, &block]);
            if let Some((_, sum)) = checkpoints.next_if(|(n, _)| *n == seq + 1) {
                assert_eq!(crate::hex(chain), *sum, "{name}, chain at {seq}");
            }
        }
        assert_eq!(checkpoints.next(), None, "{name}");
        assert_eq!(bee.log().len(), case.length, "{name}");
        assert_eq!(bee.log().byte_len(), case.byte_length, "{name}");
        assert_eq!(replay::tree_hash(&bee), case.tree_hash, "{name}");

        let check = bee.snapshot().unwrap().check(|_| {}).unwrap();
        assert_eq!(check.findings, [], "{name}");
        assert_eq!(check.entries, case.live as u64, "{name}");

        let (mut live, mut digest) = (0, Blake2b::<U32>::new());
        for entry in bee.snapshot().unwrap().range(RangeOptions::default()) {
            let entry = entry.unwrap();
            digest.update(entry.seq.to_le_bytes());
            digest.update((entry.key.len() as u32).to_le_bytes());
            digest.update(&entry.key);
            match &entry.value {
                None => digest.update([0]),
                Some(value) => {
                    digest.update([1]);
                    digest.update((value.len() as u32).to_le_bytes());
                    digest.update(value);
                }
            }
            live += 1;
        }
        assert_eq!(live, case.live, "{name}");
        assert_eq!(crate::hex(digest.finalize()), case.live_digest, "{name}");
    }
    crate::passed("large.json", cases.len());
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Blake2b::<U32>::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}
