//! Taking in what peers prove: a newer head, blocks, nodes.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::commit::Commit;
use crate::error::{Error, Result};
use crate::limits::{BLOCK_LEN_MAX, JOINED_WRITE_BYTES};
use crate::log::{Log, Shared, Writer};
use crate::manifest::Manifest;
use crate::merkle::NodeSource;
use crate::node::Node;
use crate::oplog_codec::{Entry, EntryBitfield, EntryUpgrade};
use crate::proof::Proof;
use crate::run::ProofRun;
use crate::storage::Part;
use crate::tree_store::{Nodes, Overlaid};
use crate::verify::{Belief, LocalState, Verified, verify, verify_run};

/// What a valid proof has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applied {
    /// Lengths before and after, if the proof brought a newer head.
    pub upgraded: Option<(u64, u64)>,
    /// The number of the block in the proof, whether or not it was held before.
    pub block: Option<u64>,
}

impl Log {
    /// Verifies a proof and then stores what it brings. If it is not valid, nothing changes. On a
    /// replica, what it brings is not on disk yet when this returns; see [`sync`](Self::sync).
    ///
    /// # Errors
    ///
    /// [`Error::BadProof`] and [`Error::BadSignature`] blame the peer, [`Error::TwoHistories`] the
    /// log's writer. [`Error::ForkMismatch`] and [`Error::Outdated`] blame nobody: drop the proof.
    /// All others are this machine's; the log is then as before.
    pub fn apply(&self, proof: &Proof) -> Result<Applied> {
        self.shared.apply_one(proof, Belief::Stored)
    }

    /// Applies many proofs in order, as [`apply`](Self::apply) does each, but with one write for
    /// all. Returns what became of each.
    ///
    /// # Errors
    ///
    /// Those of this machine, after which the log is as before. What is wrong with a single proof
    /// stands in its result, and stops none of the others.
    pub fn apply_all(&self, proofs: &[Proof]) -> Result<Vec<Result<Applied>>> {
        self.shared.apply(proofs, Belief::Stored)
    }
}

#[cfg(feature = "testing")]
impl Log {
    /// Verifies proofs as [`apply_all`](Self::apply_all) does, and stores nothing: for measuring
    /// the one without the other.
    ///
    /// # Errors
    ///
    /// As [`apply`](Self::apply).
    pub fn verify_all(&self, proofs: &[Proof]) -> Result<()> {
        let mut stage = Stage::new(&self.shared, Belief::Stored);
        proofs.iter().try_for_each(|proof| stage.add(proof).map(drop))
    }
}

impl Shared {
    /// Applies a proof alone.
    pub(crate) fn apply_one(&self, proof: &Proof, belief: Belief) -> Result<Applied> {
        let results = self.apply(std::slice::from_ref(proof), belief)?;
        results.into_iter().next().expect("one proof has one result")
    }

    fn apply(&self, proofs: &[Proof], belief: Belief) -> Result<Vec<Result<Applied>>> {
        self.apply_each(proofs, belief, Stage::add)
    }

    pub(crate) fn apply_runs(&self, runs: &[ProofRun]) -> Result<Vec<Result<()>>> {
        self.apply_each(runs, Belief::Stored, Stage::add_run)
    }

    fn apply_each<'a, P, R>(
        &'a self,
        proofs: &[P],
        belief: Belief,
        add: impl Fn(&mut Stage<'a>, &P) -> Result<R>,
    ) -> Result<Vec<Result<R>>> {
        let mut writer = self.writer()?;
        let mut stage = Stage::new(self, belief);
        let mut results = Vec::with_capacity(proofs.len());
        for proof in proofs {
            match add(&mut stage, proof) {
                Err(error @ (Error::Io(_) | Error::Corrupt { .. })) => return Err(error),
                result => results.push(result),
            }
        }
        if !stage.entries.is_empty() {
            let change = self.store(&mut writer, stage)?;
            drop(writer);
            self.settle(change)?;
        }
        Ok(results)
    }

    /// Writes what was verified. Returns the number of the change.
    fn store(&self, writer: &mut Writer, stage: Stage<'_>) -> Result<u64> {
        let Stage { commit, learnt, blocks, entries, has_mended_sizes, .. } = stage;
        if let Some(manifest) = &learnt {
            // Only a header can tell it. It is there before the head that it verifies.
            writer.header.manifest = Some(manifest.as_ref().clone());
            self.flush(writer)?;
        }
        self.write_blocks(&blocks)?;
        self.write_entries(writer, &entries, false)?;
        // In the order in which they came: a later one replaces an earlier one.
        self.tree.insert_all(entries.iter().filter_map(|entry| entry.nodes.as_deref()));
        if has_mended_sizes {
            self.tree.forget_places();
        }
        self.tree.forget_blocks(blocks.iter().flat_map(|staged| staged.blocks.clone()));
        let change = {
            let mut state = self.state_mut();
            for staged in blocks {
                state.bits.set(staged.blocks, true);
            }
            if self.keys().is_none() {
                state.durable = commit.clone();
            }
            if let Some(manifest) = learnt {
                state.manifest = Some(manifest);
            }
            state.accept(commit)
        };
        self.flush_if_due(writer);
        Ok(change)
    }

    /// Writes blocks to their places, neighbours together.
    fn write_blocks(&self, blocks: &[Staged]) -> Result<()> {
        let mut in_order: Vec<&Staged> = blocks.iter().collect();
        in_order.sort_unstable_by_key(|staged| (staged.offset, staged.blocks.start));
        let mut joined = Vec::new();
        let mut start = 0;
        for block in in_order {
            let is_next = start + joined.len() as u64 == block.offset;
            if !is_next || joined.len() + block.bytes.len() > JOINED_WRITE_BYTES {
                self.write_data(start, &joined)?;
                joined.clear();
                start = block.offset;
            }
            if block.bytes.len() < JOINED_WRITE_BYTES {
                joined.extend_from_slice(&block.bytes);
            } else {
                // It is a long write by itself.
                self.write_data(block.offset, &block.bytes)?;
                start = block.offset + block.bytes.len() as u64;
            }
        }
        self.write_data(start, &joined)
    }

    fn write_data(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.disk.write_at(Part::Data, offset, bytes)
    }
}

/// Valid proofs on their way into the log. Each is checked against those before it.
struct Stage<'a> {
    shared: &'a Shared,
    belief: Belief,
    commit: Arc<Commit>,
    manifest: Option<Arc<Manifest>>,
    /// The manifest, if a proof brought it.
    learnt: Option<Arc<Manifest>>,
    /// Without those below runs, which no later proof leads to unless its blocks are here already.
    nodes: Nodes,
    blocks: Vec<Staged>,
    entries: Vec<Entry>,
    /// Whether a node has another size than the one stored at its place.
    has_mended_sizes: bool,
}

/// Neighbouring blocks, and their place.
struct Staged {
    blocks: Range<u64>,
    offset: u64,
    bytes: Bytes,
}

impl<'a> Stage<'a> {
    fn new(shared: &'a Shared, belief: Belief) -> Self {
        let state = shared.state();
        Self {
            shared,
            belief,
            commit: state.accepted.clone(),
            manifest: state.manifest.clone(),
            learnt: None,
            nodes: Nodes::default(),
            blocks: Vec::new(),
            entries: Vec::new(),
            has_mended_sizes: false,
        }
    }

    fn add(&mut self, proof: &Proof) -> Result<Applied> {
        self.shared.check_undisputed(proof)?;
        if let Some(block) = proof.block.as_ref().filter(|b| b.value.len() as u64 > BLOCK_LEN_MAX) {
            let index = block.index.saturating_mul(2);
            return Err(Error::BadProof { index, what: "a block longer than any" });
        }
        let stored = self.shared.tree.at(self.commit.length());
        let known = Overlaid { new: &self.nodes, below: &stored };
        let verified = verify(&known, &self.local(), proof)?;
        let Verified { mut nodes, upgrade, block, manifest } = verified;
        let commit = upgrade.as_ref().map(|upgrade| {
            Arc::new(Commit {
                fork: upgrade.fork,
                roots: upgrade.roots.clone(),
                signature: upgrade.signature.clone(),
            })
        });
        let commit = commit.unwrap_or_else(|| self.commit.clone());
        self.drop_known(&mut nodes, commit.length())?;
        let number = block.as_ref().map(|(number, _)| *number);
        // In the order in which they would be found: a later one replaces an earlier one.
        let replaced: Vec<_> =
            nodes.iter().map(|n| (n.index, self.nodes.insert(n.index, *n))).collect();
        let new_block = block.map(|(number, value)| self.place(&commit, number, value)).transpose();
        let new_block = match new_block {
            Ok(block) => block.flatten(),
            Err(error) => {
                for (index, old) in replaced.into_iter().rev() {
                    match old {
                        Some(old) => self.nodes.insert(index, old),
                        None => self.nodes.remove(&index),
                    };
                }
                return Err(error);
            }
        };

        // Nothing fails from here on.
        let upgraded = upgrade.as_ref().map(|new| (new.ancestors, new.roots.length()));
        if new_block.is_some() || upgraded.is_some() || !nodes.is_empty() {
            self.entries.push(Entry {
                user_data: None,
                nodes: Some(nodes),
                upgrade: upgrade.map(|upgrade| EntryUpgrade {
                    fork: upgrade.fork,
                    ancestors: upgrade.ancestors,
                    length: upgrade.roots.length(),
                    signature: upgrade.signature,
                }),
                bitfield: new_block.as_ref().map(|staged| EntryBitfield {
                    drop: false,
                    start: staged.blocks.start,
                    length: 1,
                }),
            });
        }
        self.blocks.extend(new_block);
        self.commit = commit;
        if let Some(manifest) = manifest.map(Arc::new) {
            self.manifest = Some(manifest.clone());
            self.learnt = Some(manifest);
        }
        Ok(Applied { upgraded, block: number })
    }

    /// Removes the nodes that are stored already.
    fn drop_known(&mut self, nodes: &mut Vec<Node>, length: u64) -> Result<()> {
        let stored = self.shared.tree.at(length);
        let known = Overlaid { new: &self.nodes, below: &stored };
        let mut new = Vec::with_capacity(nodes.len());
        for node in nodes.drain(..) {
            match known.node(node.index)? {
                Some(known) if known == node => {}
                Some(_) => {
                    self.has_mended_sizes = true;
                    new.push(node);
                }
                None => new.push(node),
            }
        }
        *nodes = new;
        Ok(())
    }

    /// Finds the place of a verified block. `None` if its data is there already.
    fn place(&self, commit: &Commit, number: u64, value: Bytes) -> Result<Option<Staged>> {
        if self.blocks.iter().rev().take(64).any(|staged| staged.blocks.start == number) {
            return Ok(None);
        }
        // What is held may have rotted; this is the chance to mend it.
        if self.shared.state().bits.get(number)
            && self.shared.read_block(commit, number).is_ok_and(|held| *held == *value)
        {
            return Ok(None);
        }
        let stored = self.shared.tree.at(commit.length());
        let staged = Overlaid { new: &self.nodes, below: &stored };
        staged.expect_node(number.saturating_mul(2))?;
        let offset = self.shared.tree.offset(&staged, &commit.roots, number)?;
        Ok(Some(Staged { blocks: number..number + 1, offset, bytes: value }))
    }

    /// Blocks that are held already are written again, as they are.
    fn add_run(&mut self, run: &ProofRun) -> Result<()> {
        let (start, count) = (run.start, run.lens.len() as u64);
        if start.saturating_add(count) > self.shared.state().trusted_len() {
            self.shared.check_one_history()?;
        }
        let stored = self.shared.tree.at(self.commit.length());
        let known = Overlaid { new: &self.nodes, below: &stored };
        let mut nodes = verify_run(&known, &self.local(), run)?;
        // All below the node that the run has proven, and then the path above it.
        let mut path = nodes.split_off(nodes.len().min(2 * run.lens.len() - 2));
        self.drop_known(&mut path, self.commit.length())?;
        let over = Nodes::from_iter(path.iter().map(|node| (node.index, *node)));
        let known = Overlaid { new: &self.nodes, below: &stored };
        let staged = Overlaid { new: &over, below: &known };
        let offset = self.shared.tree.offset(&staged, &self.commit.roots, start)?;
        self.nodes.extend(over);

        nodes.append(&mut path);
        let bitfield = EntryBitfield { drop: false, start, length: count };
        let (nodes, bitfield) = (Some(nodes), Some(bitfield));
        self.entries.push(Entry { nodes, bitfield, ..Entry::default() });
        let (blocks, bytes) = (start..start + count, run.data.clone());
        self.blocks.push(Staged { blocks, offset, bytes });
        Ok(())
    }

    fn local(&self) -> LocalState<'_> {
        LocalState {
            key: &self.shared.key,
            manifest: self.manifest.as_deref(),
            fork: self.commit.fork,
            roots: &self.commit.roots,
            belief: self.belief,
        }
    }
}
