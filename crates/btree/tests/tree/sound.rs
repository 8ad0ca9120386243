//! A check of all that a tree must be, made from the blocks alone.

use multibee_btree::{Bee, Block};

/// Walks the tree of a version and asserts: leaves are equally deep, every node but the root has 4
/// to 8 keys, the root at most 8, and all keys ascend. Returns how many keys there are.
pub(crate) fn assert_sound(bee: &Bee, version: u64) -> usize {
    if version < 2 {
        return 0;
    }
    let mut check = Check { bee, keys: Vec::new(), leaf_depth: None };
    check.node(version - 1, 0, 0);
    assert!(check.keys.windows(2).all(|pair| pair[0] < pair[1]), "keys ascend");
    check.keys.len()
}

struct Check<'a> {
    bee: &'a Bee,
    keys: Vec<Vec<u8>>,
    leaf_depth: Option<usize>,
}

impl Check<'_> {
    fn block(&self, seq: u64) -> Block {
        Block::decode(self.bee.log().get(seq).unwrap().unwrap()).unwrap()
    }

    fn node(&mut self, seq: u64, level: u64, depth: usize) {
        let level = self.block(seq).levels().unwrap().swap_remove(level as usize);
        let count = level.keys.len();
        assert!(count <= 8 && (depth == 0 || count >= 4), "{count} keys at depth {depth}");
        if level.children.is_empty() {
            assert_eq!(*self.leaf_depth.get_or_insert(depth), depth, "leaves are equally deep");
        } else {
            assert!(count > 0);
            assert_eq!(level.children.len(), 2 * (count + 1));
        }
        for i in 0..=count {
            if let Some(kid) = level.children.chunks_exact(2).nth(i) {
                assert!(kid[0] <= seq, "children are not younger than their parents");
                self.node(kid[0], kid[1], depth + 1);
            }
            if let Some(key) = level.keys.get(i) {
                assert!(*key <= seq, "keys are not younger than their nodes");
                self.keys.push(self.block(*key).key().to_vec());
            }
        }
    }
}
