//! Checking all of a log against its signature.

use crate::commit::Commit;
use crate::error::{Error, Result};
use crate::flat_tree;
use crate::hash;
use crate::limits::{AUDIT_STEP_BLOCKS, FINDINGS_MAX};
use crate::log::{Log, Shared};
use crate::merkle::NodeSource;
use crate::node::Node;
use crate::signature::Signers;
use crate::storage::Part;
use crate::tree_store::TreeView;

/// What an audit found wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// The signature over the log's head does not verify. Whoever wrote the storage is to blame.
    BadSignature,
    /// This tree node is missing though others need it, or is not what those above it say.
    BadNode {
        /// Its tree index.
        index: u64,
    },
    /// The data of this block, which should be held, is not what the tree says.
    BadBlock {
        /// The block's number.
        seq: u64,
    },
    /// This block counts as not held, though nobody has dropped it and its data is there.
    LostBlock {
        /// The block's number.
        seq: u64,
    },
    /// The stored bits of these blocks, a page of them, are not what the log goes by.
    BadBits {
        /// The first of them.
        first_block: u64,
    },
}

/// The result of an audit. Made by [`Log::audit`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Audit {
    /// Blocks that were read and hashed.
    pub blocks: u64,
    /// Tree nodes that were compared with those above them.
    pub nodes: u64,
    /// What is wrong, at most 10,000 of it.
    pub findings: Vec<Finding>,
    /// Whether there is more wrong than that.
    pub is_cut_short: bool,
}

impl Audit {
    /// Returns whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }
}

/// How far an audit, a repair or a restoration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Blocks that are done.
    pub done: u64,
    /// Blocks in all.
    pub total: u64,
}

impl Log {
    /// Reads and checks everything: the signature, each tree node, each bit, each block that is
    /// held. Nothing is changed. Tells `on_progress` now and then how far it is.
    ///
    /// Reads past the cache, so that it is the disk that is checked. Writers may go on meanwhile;
    /// what they add is not checked.
    ///
    /// ```
    /// use multibee_log::{Finding, KeyPair, Log, LogOptions, MemoryStorage, Part, Storage};
    ///
    /// let disk = MemoryStorage::new();
    /// let log = Log::create(disk.clone(), KeyPair::generate(), LogOptions::default())?;
    /// log.append(&["rain", "sun"])?;
    /// assert!(log.audit(|_progress| {})?.is_clean());
    ///
    /// disk.write_at(Part::Data, 0, b"p")?;
    /// let audit = log.audit(|_progress| {})?;
    /// assert_eq!(audit.findings, [Finding::BadBlock { seq: 0 }]);
    /// # Ok::<(), multibee_log::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Io`]. Damage is no error here but a finding.
    pub fn audit(&self, on_progress: impl FnMut(Progress)) -> Result<Audit> {
        Ok(self.shared.audit(on_progress)?.audit)
    }
}

/// The findings, and what helps to mend them.
#[derive(Default)]
pub(crate) struct Damage {
    pub(crate) audit: Audit,
    /// Nodes that could be computed from those below, and fit to what is above them.
    pub(crate) mended: Vec<Node>,
    /// Nodes that are wrong or missing, each with the one above it that is right.
    pub(crate) bad_nodes: Vec<(u64, u64)>,
    pub(crate) bad_blocks: Vec<u64>,
    pub(crate) lost_blocks: Vec<u64>,
}

impl Damage {
    fn note(&mut self, finding: Finding) {
        if self.audit.findings.len() < FINDINGS_MAX {
            self.audit.findings.push(finding);
        } else {
            self.audit.is_cut_short = true;
        }
    }

    fn note_node(&mut self, index: u64, trusted: u64) {
        self.note(Finding::BadNode { index });
        if self.bad_nodes.len() < FINDINGS_MAX {
            self.bad_nodes.push((index, trusted));
        }
    }
}

impl Shared {
    pub(crate) fn audit(&self, mut on_progress: impl FnMut(Progress)) -> Result<Damage> {
        // What is cached may be better than what is stored.
        self.tree.pages().forget_all();
        let (commit, manifest) = {
            let state = self.state();
            (state.commit().clone(), state.manifest.clone())
        };
        let mut damage = Damage::default();
        if commit.length() > 0 {
            let verified = manifest.as_ref().is_some_and(|manifest| {
                let signers = Signers { key: &self.key, manifest };
                signers.verify(&commit.roots, commit.fork, &commit.signature).is_ok()
            });
            if !verified {
                damage.note(Finding::BadSignature);
            }
        }
        self.audit_nodes(&commit, &mut damage)?;
        self.audit_bits(&mut damage)?;
        self.find_lost_blocks(&commit, &mut damage)?;
        let total = commit.length();
        let mut from = 0;
        while from < total {
            on_progress(Progress { done: from, total });
            let to = total.min(from.saturating_add(AUDIT_STEP_BLOCKS));
            self.audit_blocks(&commit, from..to, &mut damage)?;
            from = to;
        }
        on_progress(Progress { done: total, total });
        // A clean page that was read is as good as any, but those that were not must not stay.
        self.tree.pages().forget_all();
        Ok(damage)
    }

    /// Checks the tree from the roots, which the signature vouches for, downwards.
    fn audit_nodes(&self, commit: &Commit, damage: &mut Damage) -> Result<()> {
        let view = self.tree.at(commit.length());
        for root in commit.roots.nodes() {
            damage.audit.nodes += 1;
            if view.node(root.index)? != Some(*root) {
                damage.note(Finding::BadNode { index: root.index });
                damage.mended.push(*root);
            }
            // Right children wait while the left ones are looked at.
            let mut trusted = vec![*root];
            while let Some(parent) = trusted.pop() {
                let below = self.audit_children(&view, &parent, damage)?;
                trusted.extend(below.into_iter().rev().flatten());
            }
        }
        Ok(())
    }

    /// Compares the two nodes below a node that is right with it. Returns those that are right.
    fn audit_children(
        &self,
        view: &TreeView<'_>,
        parent: &Node,
        damage: &mut Damage,
    ) -> Result<[Option<Node>; 2]> {
        let Some((left, right)) = flat_tree::children(parent.index) else {
            return Ok([None, None]);
        };
        let stored = [view.node(left)?, view.node(right)?];
        damage.audit.nodes += stored.iter().flatten().count() as u64;
        let fits = |left: &Node, right: &Node| Node::parent(left, right).as_ref() == Some(parent);
        if let [Some(left), Some(right)] = &stored
            && fits(left, right)
        {
            return Ok(stored);
        }
        if stored == [None, None] && !self.needs_nodes_below(parent.index) {
            return Ok(stored);
        }
        // What the nodes further below make of them, if those are there.
        let mut computed = [self.compute(view, left)?, self.compute(view, right)?];
        for (number, other) in [(0, 1), (1, 0)] {
            let leaf = if number == 0 { left } else { right };
            let other = stored.get(other).copied().flatten();
            if flat_tree::depth(leaf) == 0
                && let Some(size) = other.and_then(|other| parent.size.checked_sub(other.size))
                && let Some(computed) = computed.get_mut(number)
            {
                *computed = self.leaf_from_data(view, leaf, size)?;
            }
        }
        let [stored_left, stored_right] = stored;
        let [computed_left, computed_right] = computed;
        for (a, b) in [
            (computed_left, stored_right),
            (stored_left, computed_right),
            (computed_left, computed_right),
        ] {
            if let (Some(a), Some(b)) = (a, b)
                && fits(&a, &b)
            {
                for (mended, stored) in [(a, stored_left), (b, stored_right)] {
                    if Some(mended) != stored {
                        damage.note(Finding::BadNode { index: mended.index });
                        damage.mended.push(mended);
                    }
                }
                return Ok([Some(a), Some(b)]);
            }
        }
        for (index, computed, stored) in
            [(left, computed_left, stored_left), (right, computed_right, stored_right)]
        {
            // One that the nodes below it bear out is probably not the wrong one.
            if computed.is_none() || computed != stored {
                damage.note_node(index, parent.index);
            }
        }
        if computed_left.is_some() && computed == stored {
            damage.note_node(left, parent.index);
            damage.note_node(right, parent.index);
        }
        Ok([None, None])
    }

    /// Whether a block below a node is held, so that the nodes on the way to it must be there.
    fn needs_nodes_below(&self, index: u64) -> bool {
        let (first, last) = (flat_tree::left_span(index) / 2, flat_tree::right_span(index) / 2);
        self.state().bits.next(first, true, last + 1) <= last
    }

    /// Computes a node from the two below it.
    fn compute(&self, view: &TreeView<'_>, index: u64) -> Result<Option<Node>> {
        let Some((left, right)) = flat_tree::children(index) else {
            return Ok(None);
        };
        let (left, right) = (view.node(left)?, view.node(right)?);
        Ok(left.zip(right).and_then(|(left, right)| Node::parent(&left, &right)))
    }

    /// Computes a leaf from the data of its block, if that is held and as long as `size`.
    fn leaf_from_data(&self, view: &TreeView<'_>, leaf: u64, size: u64) -> Result<Option<Node>> {
        let block = leaf / 2;
        let roots = self.state().accepted.roots.clone();
        let offset = match self.tree.offset(view, &roots, block) {
            Err(Error::NotAvailable { .. }) => return Ok(None),
            offset => offset?,
        };
        if !self.state().has(block) || size > self.disk.len(Part::Data)?.saturating_sub(offset) {
            return Ok(None);
        }
        let Ok(len) = usize::try_from(size) else {
            return Ok(None);
        };
        let data = self.disk.read_exact(Part::Data, offset, len)?;
        Ok(Node::leaf(block, &data))
    }

    /// Compares the stored bits with those that the log goes by.
    fn audit_bits(&self, damage: &mut Damage) -> Result<()> {
        // Held, so that no page is written while it is compared.
        let Ok(_writer) = self.writer_lock() else {
            return Err(Error::ReadOnlyAfterFailedSync);
        };
        let pages = self.state().bits.clean_pages();
        for (first_block, offset, expected) in pages {
            let mut stored = vec![0; expected.len()];
            self.disk.read_at(Part::Bitfield, offset, &mut stored)?;
            // Bits beyond the length may be set, and mean nothing.
            let length = self.state().accepted.length();
            let differs = stored.iter().zip(&expected).enumerate().any(|(number, (a, b))| {
                let first = first_block.saturating_add(8 * number as u64);
                let mask = u8::MAX.checked_shl(length.saturating_sub(first).min(8) as u32);
                (a ^ b) & !mask.unwrap_or(0) != 0
            });
            if differs {
                damage.note(Finding::BadBits { first_block });
            }
        }
        Ok(())
    }

    /// Looks for blocks among those that the last header counts, whose bits were lost. Programs
    /// that tell of too many blocks there are no problem, since the data must be there.
    fn find_lost_blocks(&self, commit: &Commit, damage: &mut Damage) -> Result<()> {
        let end = self.writer_lock().map_or(0, |writer| writer.header.contiguous_length);
        let end = end.min(commit.length());
        let mut seq = self.state().bits.contiguous();
        while seq < end {
            let place = self.tree.place(&commit.roots, seq).ok().filter(|place| place.size > 0);
            if place.is_some_and(|place| self.read_past_cache(&place).is_ok()) {
                damage.note(Finding::LostBlock { seq });
                if damage.lost_blocks.len() < FINDINGS_MAX {
                    damage.lost_blocks.push(seq);
                }
            }
            seq = self.state().bits.next(seq + 1, false, end);
        }
        Ok(())
    }

    fn audit_blocks(
        &self,
        commit: &Commit,
        range: std::ops::Range<u64>,
        damage: &mut Damage,
    ) -> Result<()> {
        let runs = self.state().held(range);
        for seq in runs.into_iter().flatten() {
            damage.audit.blocks += 1;
            let read = self.tree.place(&commit.roots, seq).and_then(|place| {
                let data = self.read_past_cache(&place)?;
                Ok(hash::leaf(&data) == place.hash)
            });
            match read {
                Ok(true) => {}
                Ok(false) | Err(Error::Corrupt { .. } | Error::NotAvailable { .. }) => {
                    // Cleared or cut meanwhile: nothing is wrong with that.
                    let state = self.state();
                    if state.has(seq) && state.commit().fork == commit.fork {
                        drop(state);
                        damage.note(Finding::BadBlock { seq });
                        if damage.bad_blocks.len() < FINDINGS_MAX {
                            damage.bad_blocks.push(seq);
                        }
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
