//! Answering: the read of a peer, run here.

use crate::bee::Bee;
use crate::extension::traced::Traced;
use crate::extension::{CacheHint, ExtensionMessage, GetHint, RangeHint, checkpoint};
use crate::limits::{HINT_BLOCKS_MAX, HINT_PART_BLOCKS};
use crate::range::Scan;
use crate::walk::{self, Stored};

impl Bee {
    /// What to send back to a peer that has asked with `message`: the blocks that its read needs, in
    /// parts, as far as they are here. Often nothing.
    ///
    /// Never waits, and does a bounded amount of work: at most 2176 blocks are named for a range,
    /// and those of one path for a lookup. Questions about versions that are not here are ignored,
    /// as the protocol has it, and so is whatever goes wrong: it is the reader who must know.
    pub fn answer_hint(&self, message: &ExtensionMessage) -> Vec<ExtensionMessage> {
        let get = message.get.iter().map(|hint| self.touched_by_get(hint));
        let range = message.iterator.iter().map(|hint| self.touched_by_range(hint));
        let touched: Vec<Vec<u64>> = get.chain(range).collect();
        touched.iter().flat_map(|seqs| seqs.chunks(HINT_PART_BLOCKS)).map(part).collect()
    }

    fn tree_at(&self, version: u64) -> Option<Stored<'_>> {
        let is_here = (2..=self.version()).contains(&version);
        is_here.then(|| Stored { store: self.store(), version })
    }

    fn touched_by_get(&self, hint: &GetHint) -> Vec<u64> {
        let Some(tree) = self.tree_at(hint.version) else {
            return Vec::new();
        };
        let tree = Traced::new(tree);
        // What was touched is worth as much if the read failed half way.
        let _ = walk::get(&tree, &hint.key);
        tree.into_seqs()
    }

    fn touched_by_range(&self, hint: &RangeHint) -> Vec<u64> {
        let Some(tree) = self.tree_at(hint.version) else {
            return Vec::new();
        };
        let mut scan = Scan::new(hint.range.clone());
        if !hint.checkpoint.is_empty() {
            match checkpoint::places(&tree, &hint.checkpoint, hint.range.reverse) {
                Ok(places) if !places.is_empty() => scan.resume(places),
                _ => return Vec::new(),
            }
        }
        let tree = Traced::new(tree);
        // Each entry is behind the one before it, so its block is a new one, and this ends.
        while tree.count() < HINT_BLOCKS_MAX
            && let Ok(Some(_)) = scan.next(&tree)
        {}
        let mut seqs = tree.into_seqs();
        seqs.truncate(HINT_BLOCKS_MAX);
        seqs
    }
}

fn part(blocks: &[u64]) -> ExtensionMessage {
    let start = blocks.iter().min().copied().unwrap_or_default();
    let end = blocks.iter().max().map_or(0, |seq| seq.saturating_add(1));
    CacheHint { start, end, blocks: blocks.to_vec() }.into()
}
