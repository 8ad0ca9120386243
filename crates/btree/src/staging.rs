use crate::block::{encode_block, encode_level};
use crate::node::{Kid, Node};
use crate::transaction::{NodeId, Op, Slot, SlotId, Transaction};

/// The blocks of a transaction, ready to be appended.
#[derive(Default)]
pub(crate) struct Encoded {
    bytes: Vec<u8>,
    /// Where each block ends.
    ends: Vec<usize>,
    /// The index that is being encoded.
    index: Vec<u8>,
}

impl Encoded {
    pub(crate) fn blocks(&self) -> Vec<&[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let ranges = starts.zip(&self.ends);
        ranges.map(|(start, end)| self.bytes.get(start..*end).unwrap_or_default()).collect()
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

impl Transaction {
    /// Ends an operation: lists the nodes that it has changed, and gives them their places in its
    /// block. The root comes first, then the changed nodes below in order, parents before children.
    ///
    /// (Section 4.5 of docs/spec/btree.md.)
    pub(crate) fn stage(&mut self, root: NodeId, mut op: Op) {
        let seq = self.next_seq();
        op.index_start = self.index.len();
        let top = self.add_slot(Slot { seq, level: 0, node: Some(root) });
        self.index.push(top);
        self.stage_below(root, seq, op.index_start);
        op.index_count = self.index.len() - op.index_start;
        self.ops.push(op);
        self.root = Some(root);
    }

    /// Recurses no deeper than a tree is allowed to be.
    fn stage_below(&mut self, node: NodeId, seq: u64, start: usize) {
        let above = self.node_mut(node);
        above.dirty = false;
        let (kids, stored) = (above.kids, above.stored.take());
        self.replaced.extend(stored);
        for id in kids.iter().copied() {
            let Some(kid) = self.slot(id).node.filter(|kid| self.node(*kid).dirty) else {
                continue;
            };
            let level = (self.index.len() - start) as u64;
            self.index.push(id);
            let slot = self.slot_mut(id);
            (slot.seq, slot.level) = (seq, level);
            self.stage_below(kid, seq, start);
        }
    }

    /// Encodes the blocks of all staged operations, from the nodes as they are now: an earlier block
    /// keeps only what no later operation has written again.
    ///
    /// (Section 4.6 of docs/spec/btree.md. The order matters: a block prints the levels of its
    /// children, which lie in the same block or an earlier one and are therefore settled.)
    pub(crate) fn encode(&mut self) {
        let mut encoded = std::mem::take(&mut self.encoded);
        let last = self.ops.len().saturating_sub(1);
        for n in 0..self.ops.len() {
            if n < last {
                self.drop_overwritten(n);
            }
            encoded.index.clear();
            for slot in self.index_of(n) {
                self.encode_node(&mut encoded.index, *slot);
            }
            if let Some(op) = self.ops.get(n) {
                let (key, value) = (self.key(op.key), op.value.as_deref());
                encode_block(&mut encoded.bytes, &encoded.index, key, value, &op.extra);
            }
            encoded.ends.push(encoded.bytes.len());
        }
        self.encoded = encoded;
    }

    /// Takes out of the index of operation `n` the root and whatever has moved to a later block. Each
    /// hole is filled with the last slot.
    fn drop_overwritten(&mut self, n: usize) {
        let Some(op) = self.ops.get(n) else {
            return;
        };
        let (seq, start, staged) = (op.key.seq, op.index_start, op.index_count);
        let (mut level, mut count) = (0, staged);
        while level < count {
            // The root's own slot is in place 0, and only there at first. It goes in any case.
            let is_root = level == 0 && count == staged;
            let id = self.index_at(start + level);
            if !is_root && self.slot(id).seq == seq {
                self.slot_mut(id).level = level as u64;
                level += 1;
                continue;
            }
            count -= 1;
            let moved = self.index_at(start + count);
            if let Some(place) = self.index.get_mut(start + level) {
                *place = moved;
            }
        }
        if let Some(op) = self.ops.get_mut(n) {
            op.index_count = count;
        }
    }

    fn index_at(&self, at: usize) -> SlotId {
        *self.index.get(at).expect("an operation's slots are never taken out")
    }

    /// The slots that are in the block of operation `n`, by level.
    fn index_of(&self, n: usize) -> &[SlotId] {
        let range = self.ops.get(n).map(|op| op.index_start..op.index_start + op.index_count);
        range.and_then(|range| self.index.get(range)).unwrap_or_default()
    }

    fn encode_node(&self, index: &mut Vec<u8>, slot: SlotId) {
        let Some(node) = self.slot(slot).node.map(|id| self.node(id)) else {
            return;
        };
        let kids = node.kids.iter().map(|id| self.slot(*id));
        let children = kids.flat_map(|slot| [slot.seq, slot.level]);
        encode_level(index, node.keys.iter().map(|key| key.seq), children);
    }

    /// The nodes that the encoded blocks contain, with their places. For use after the append.
    pub(crate) fn written(&self) -> impl Iterator<Item = (Kid, Node)> {
        (0..self.ops.len()).flat_map(|n| self.index_of(n)).filter_map(|slot| {
            let Slot { seq, level, node } = *self.slot(*slot);
            let node = self.node(node?);
            let keys = node.keys.iter().map(|key| (key.seq, Some(self.key(*key))));
            let kids = node.kids.iter().map(|id| self.slot(*id));
            let kids = kids.map(|slot| Kid { seq: slot.seq, level: slot.level }).collect();
            Some((Kid { seq, level }, Node::new(keys, kids).ok()?))
        })
    }
}
