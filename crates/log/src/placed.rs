//! Entries without nodes: checking on opening that what they tell of is at its place.
//!
//! A large append that nobody waits for writes its nodes to the part `Tree` at once, and its entry
//! does not repeat them. After a power cut the entry may be there without its blocks or nodes, or
//! with older bytes in their place. So blocks and nodes are all computed anew and compared, and in
//! the end the signature tells whether it is this history.

use crate::bitfield::Bitfield;
use crate::commit::Commit;
use crate::disk::Disk;
use crate::error::Result;
use crate::hash;
use crate::limits::{CHECKED_BLOCKS, CHECKED_BYTES};
use crate::merkle::{NodeSource, Roots, leads_to, roots_at};
use crate::node::Node;
use crate::oplog::StoredEntry;
use crate::oplog_codec::{Entry, EntryUpgrade, Header};
use crate::signature::Signers;
use crate::storage::Part;
use crate::tree_store::TreeStore;

/// The new head of an entry all of whose blocks' nodes are at their places, and not in it.
///
/// Such an entry tells of several blocks. One of a replica may have no nodes, too, because they were
/// stored before, but tells of one block.
pub(crate) fn placed(entry: &Entry) -> Option<&EntryUpgrade> {
    let upgrade = entry.upgrade.as_ref()?;
    let bits = entry.bitfield.filter(|bits| !bits.drop)?;
    let has_nodes = entry.nodes.as_ref().is_some_and(|nodes| !nodes.is_empty());
    let is_append = bits.start == upgrade.ancestors
        && upgrade.length.checked_sub(upgrade.ancestors) == Some(bits.length);
    (!has_nodes && is_append && bits.length > 1).then_some(upgrade)
}

/// A log whose entries were replayed, with blocks that are to be checked.
pub(crate) struct Places<'a> {
    pub(crate) disk: &'a Disk,
    pub(crate) header: &'a Header,
    pub(crate) tree: &'a TreeStore,
    pub(crate) bits: &'a Bitfield,
    pub(crate) entries: &'a [StoredEntry],
    /// What the entries lead to, its roots aside.
    pub(crate) commit: &'a Commit,
    pub(crate) length: u64,
}

impl Places<'_> {
    /// Returns where to cut the entries off because what those from number `first` on tell of is not
    /// at its place.
    pub(crate) fn first_misplaced(&self, first: usize) -> Result<Option<usize>> {
        // Where entries end that were found right by themselves.
        let mut found: Vec<(usize, Roots)> = Vec::new();
        for (number, stored) in self.entries.iter().enumerate().skip(first) {
            let Some(upgrade) = placed(&stored.entry) else {
                continue;
            };
            // What a later entry cut off is gone, and need not be there.
            let end = self.shortest_from(number).min(upgrade.length);
            if end <= upgrade.ancestors {
                continue;
            }
            let cut = Some(stored.batch_start.min(number));
            let view = self.tree.at(end);
            let Some(mut roots) = roots_at(&view, upgrade.ancestors)? else {
                return Ok(cut);
            };
            if let Some((_, before)) = found.last()
                && !leads_to(&view, before, &roots)?
            {
                return Ok(cut);
            }
            if !self.is_there(&mut roots, end)? {
                return Ok(cut);
            }
            found.push((number, roots));
        }
        self.first_unsigned(&found)
    }

    /// The shortest that the log ever became after entry `number`.
    fn shortest_from(&self, number: usize) -> u64 {
        let later = self.entries.iter().skip(number + 1);
        let cuts = later.filter_map(|stored| stored.entry.upgrade.as_ref());
        cuts.map(|upgrade| upgrade.ancestors).min().unwrap_or(u64::MAX)
    }

    /// Returns where to cut the entries off because what was found right by itself is of another
    /// history than the one that was signed.
    fn first_unsigned(&self, found: &[(usize, Roots)]) -> Result<Option<usize>> {
        let Some((last, last_roots)) = found.last() else {
            return Ok(None);
        };
        let view = self.tree.at(self.length);
        if let Some(roots) = roots_at(&view, self.length)?
            && leads_to(&view, last_roots, &roots)?
            && self.is_signed(&roots, self.commit.fork, &self.commit.signature)
        {
            return Ok(None);
        }
        for (number, roots) in found.iter().rev() {
            let upgrade = self.entries.get(*number).and_then(|stored| placed(&stored.entry));
            let is_signed = upgrade.is_some_and(|upgrade| {
                upgrade.length == roots.length()
                    && self.is_signed(roots, upgrade.fork, &upgrade.signature)
            });
            // The batch after it is the first that is not known to be right.
            let mut later = self.entries.iter().enumerate().skip(*number + 1);
            let next = later.find(|(_, stored)| stored.batch_start > *number);
            if let Some((next, _)) = next.filter(|_| is_signed) {
                return Ok(Some(next));
            }
        }
        Ok(self.entries.get(*last).map(|stored| stored.batch_start.min(*last)))
    }

    fn is_signed(&self, roots: &Roots, fork: u64, signature: &[u8]) -> bool {
        self.header.manifest.as_ref().is_some_and(|manifest| {
            let signers = Signers { key: &self.header.key, manifest };
            signers.verify(roots, fork, signature).is_ok()
        })
    }

    /// Takes `roots` on to `end` by the leaves stored, and returns whether blocks and nodes are as
    /// they must be.
    fn is_there(&self, roots: &mut Roots, end: u64) -> Result<bool> {
        let view = self.tree.at(end);
        let mut created = Vec::new();
        while roots.length() < end {
            let Some((leaves, len)) = leaves_from(&view, roots.length(), end)? else {
                return Ok(false);
            };
            if !self.has_data(roots, &leaves, len)? {
                return Ok(false);
            }
            created.clear();
            if roots.append_leaves(leaves, &mut created).is_err() {
                return Ok(false);
            }
            for node in created.iter().filter(|node| node.index % 2 == 1) {
                if view.node(node.index)?.as_ref() != Some(node) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Whether the part `Data` has the blocks of these leaves, the first behind `roots`, as far as
    /// they are held. All have `len` bytes together.
    fn has_data(&self, roots: &Roots, leaves: &[Node], len: u64) -> Result<bool> {
        let is_held = |leaf: &Node| self.bits.get(leaf.index / 2);
        if !leaves.iter().any(is_held) {
            return Ok(true);
        }
        let offset = roots.byte_length();
        if len > CHECKED_BYTES && len > self.disk.len(Part::Data)?.saturating_sub(offset) {
            return Ok(false);
        }
        let Ok(len) = usize::try_from(len) else {
            return Ok(false);
        };
        let mut data = vec![0; len];
        let count = self.disk.read_at(Part::Data, offset, &mut data)?;
        data.truncate(count);
        let (mut blocks, mut expected, mut at) = (Vec::new(), Vec::new(), 0_usize);
        for leaf in leaves {
            let from = at;
            // Together they are no longer than `len`.
            at = from.saturating_add(leaf.size as usize);
            if !is_held(leaf) {
                continue;
            }
            // An empty block may lie beyond the end of the part.
            let block = if leaf.size == 0 { Some(&[][..]) } else { data.get(from..at) };
            let Some(block) = block else {
                return Ok(false);
            };
            blocks.push(block);
            expected.push(leaf.hash);
        }
        let mut is_right = true;
        hash::leaves(&blocks, |number, hash| is_right &= expected.get(number) == Some(&hash));
        Ok(is_right)
    }
}

/// Reads the next leaves of a log, and how many bytes their blocks have together. `None` if one of
/// them is missing.
fn leaves_from(view: &dyn NodeSource, from: u64, end: u64) -> Result<Option<(Vec<Node>, u64)>> {
    let (mut leaves, mut len) = (Vec::new(), 0_u64);
    for block in from..end.min(from.saturating_add(CHECKED_BLOCKS)) {
        let Some(leaf) = view.node(block.saturating_mul(2))? else {
            return Ok(None);
        };
        let Some(longer) = len.checked_add(leaf.size) else {
            return Ok(None);
        };
        if longer > CHECKED_BYTES && !leaves.is_empty() {
            break;
        }
        leaves.push(leaf);
        len = longer;
    }
    Ok(Some((leaves, len)))
}
