use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use multibee_log::Progress;

use crate::error::{BlockFault, Error, Result};
use crate::header::Header;
use crate::limits::{DEPTH_MAX, FINDINGS_MAX, MISSING_MAX, NODE_KEYS_MIN, PROGRESS_NODES};
use crate::node::{Kid, Node};
use crate::seq_set::SeqSet;
use crate::store::Store;
use crate::tree::Tree;

/// Something that a check found wrong with a tree. The writer of the log is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The number of the block that is not as it should be.
    pub seq: u64,
    /// The level of that block's index, if it is about a node.
    pub level: Option<u64>,
    /// What is wrong.
    pub what: BlockFault,
}

/// The result of a check. Made by [`Tree::check`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Check {
    /// The version that was checked.
    pub version: u64,
    /// Keys in the tree.
    pub entries: u64,
    /// Nodes in the tree.
    pub nodes: u64,
    /// Levels from the root down to the leaves, both included. 0: there is no root yet.
    pub depth: u32,
    /// Blocks that the tree needs: the header, and each block that has one of its nodes or keys.
    pub reachable_blocks: u64,
    /// Blocks of this version that the tree does not need: those of replaced values, of deletions,
    /// and of nodes that were written anew since.
    pub unreachable_blocks: u64,
    /// What is wrong, at most 256 of it. What lies below an unsound node is not looked at.
    pub findings: Vec<Finding>,
    /// Whether the check ended early, with that many findings.
    pub is_cut_short: bool,
    reached: SeqSet,
}

impl Check {
    /// Returns whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    /// Returns the runs of blocks that are not reachable, in order. Of a tree that is not sound
    /// they are a guess.
    pub fn unreachable(&self) -> impl Iterator<Item = Range<u64>> {
        self.reached.gaps(0..self.reachable_blocks.saturating_add(self.unreachable_blocks))
    }
}

impl Tree {
    /// Reads the whole tree, of which a sub-database may be a part, and checks all that makes it one:
    ///
    /// - block 0 is the header of a Hyperbee;
    /// - each block that has a node or a key of the tree decodes, and each level that is named is
    ///   there;
    /// - a node has 4 to 8 keys, the root at most 8, and an inner one a child more than keys;
    /// - keys ascend, within each node and within the bounds that the nodes above set, so each is
    ///   found where it is looked for;
    /// - all leaves are equally deep;
    /// - nodes name nothing newer than themselves, and not the header. (This holds for what can be
    ///   reached. Batches may leave dead levels behind that it does not hold for: section 4.6 of
    ///   docs/spec/btree.md.)
    ///
    /// Blocks that are not reachable are counted and not read. Bytes are checked against the log's
    /// signature as they are read; to check those that no tree names, audit the log.
    ///
    /// Takes memory for one path, for a bit a block, and for what it finds. Nothing is changed, and
    /// writers may go on. Tells `on_progress` now and then how many of the blocks are known to be
    /// reachable, and in the end that all are done.
    ///
    /// ```
    /// # use multibee_btree::{Bee, BeeOptions};
    /// # use multibee_log::{KeyPair, Log, LogOptions, MemoryStorage};
    /// # let keys = KeyPair::from_seed([7; 32]);
    /// # let log = Log::create(MemoryStorage::default(), keys, LogOptions::default())?;
    /// # let bee = Bee::open(log, BeeOptions::default())?;
    /// bee.put(b"milk", Some("two"))?;
    /// bee.put(b"milk", Some("one"))?;
    /// let check = bee.snapshot()?.check(|_progress| {})?;
    /// assert!(check.is_sound());
    /// assert_eq!((check.entries, check.depth), (1, 1));
    /// assert_eq!(check.unreachable().collect::<Vec<_>>(), [1..2]);
    /// # Ok::<(), multibee_btree::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] over a sparse log: all blocks that are known to be needed, up to 65,536 of
    /// them. After the next call it gets one level further. [`Error::NotACommitEnd`] if there is no
    /// root, or whatever the log says. What is wrong with the tree is no error but a finding.
    pub fn check(&self, on_progress: impl FnMut(Progress)) -> Result<Check> {
        let check = Checker::new(self.walk().store, self.version()).run(on_progress);
        self.on_fork(check)
    }
}

struct Checker<'a> {
    store: &'a Store,
    check: Check,
    /// Needed, and not here.
    missing: BTreeSet<u64>,
    /// The path from the root to where the check is.
    frames: Vec<Frame>,
    leaf_depth: Option<usize>,
}

struct Frame {
    node: Arc<Node>,
    /// The child that is being looked at, or comes next.
    taken: usize,
}

impl<'a> Checker<'a> {
    fn new(store: &'a Store, version: u64) -> Self {
        let check = Check {
            version,
            entries: 0,
            nodes: 0,
            depth: 0,
            reachable_blocks: 0,
            unreachable_blocks: 0,
            findings: Vec::new(),
            is_cut_short: false,
            reached: SeqSet::default(),
        };
        Self { store, check, missing: BTreeSet::new(), frames: Vec::new(), leaf_depth: None }
    }

    fn run(mut self, mut on_progress: impl FnMut(Progress)) -> Result<Check> {
        // A tree of version 1 may be that of a log without a header.
        let total = self.check.version.min(self.store.log().len());
        self.check_header()?;
        if self.check.version >= 2 {
            self.enter(Kid { seq: self.check.version - 1, level: 0 })?;
        }
        let mut reported = 0;
        while let Some(frame) = self.frames.last() {
            if self.check.is_cut_short || self.missing.len() >= MISSING_MAX {
                break;
            }
            let entered = match frame.node.kids().get(frame.taken).copied() {
                Some(kid) => self.enter(kid)?,
                None => {
                    self.frames.pop();
                    false
                }
            };
            if let Some(frame) = self.frames.last_mut().filter(|_| !entered) {
                frame.taken += 1;
            }
            if self.check.nodes - reported >= PROGRESS_NODES {
                reported = self.check.nodes;
                on_progress(Progress { done: self.check.reached.len(), total });
            }
        }
        if !self.missing.is_empty() {
            return Err(Error::Missing(self.missing.into_iter().collect()));
        }
        let Self { mut check, .. } = self;
        check.reachable_blocks = check.reached.len();
        check.unreachable_blocks = total.saturating_sub(check.reachable_blocks);
        on_progress(Progress { done: total, total });
        Ok(check)
    }

    fn check_header(&mut self) -> Result<()> {
        let log = self.store.log();
        if log.is_empty() {
            return Ok(());
        }
        let Some(block) = log.get(0)? else {
            self.missing.insert(0);
            return Ok(());
        };
        self.check.reached.insert(0);
        match Header::decode(&block) {
            Ok(header) if header.is_hyperbee() => {}
            Ok(_) => self.note(0, None, BlockFault::NotAHeader),
            Err(fault) => self.note(0, None, fault.into()),
        }
        Ok(())
    }

    /// Checks one node, and puts it on the path if its children can be looked at. Since the keys of
    /// all nodes on the path ascend within each other's bounds, no node gets there twice, and the
    /// check ends.
    fn enter(&mut self, spot: Kid) -> Result<bool> {
        let depth = self.frames.len() + 1;
        if depth > DEPTH_MAX {
            self.note(spot.seq, Some(spot.level), BlockFault::TooDeep);
            return Ok(false);
        }
        let node = match self.store.node(spot) {
            Ok(node) => node,
            Err(Error::Missing(seqs)) => {
                self.missing.extend(seqs);
                return Ok(false);
            }
            Err(Error::BadBlock { what: BlockFault::NoLevel { .. }, .. }) if depth == 1 => {
                return Err(Error::NotACommitEnd { version: self.check.version });
            }
            Err(Error::BadBlock { seq, what }) => {
                self.note(seq, (seq == spot.seq).then_some(spot.level), what);
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        if !node.is_whole() {
            self.miss(&node);
            return Ok(false);
        }
        if let Some(fault) = self.fault(&node) {
            self.note(spot.seq, Some(spot.level), fault);
            return Ok(false);
        }
        let count = node.key_seqs().len();
        if depth > 1 && count == 0 {
            self.note(spot.seq, Some(spot.level), BlockFault::NoKeys);
            return Ok(false);
        }
        if depth > 1 && count < NODE_KEYS_MIN {
            self.note(spot.seq, Some(spot.level), BlockFault::TooFewKeys { count });
        }
        if node.is_leaf() && *self.leaf_depth.get_or_insert(depth) != depth {
            self.note(spot.seq, Some(spot.level), BlockFault::Uneven);
        }
        self.check.reached.insert(spot.seq);
        for seq in node.key_seqs() {
            self.check.reached.insert(*seq);
        }
        self.check.nodes += 1;
        self.check.entries += count as u64;
        // At most 64.
        self.check.depth = self.check.depth.max(depth as u32);
        self.frames.push(Frame { node, taken: 0 });
        Ok(true)
    }

    /// Whether a node is out of the bounds that the path sets, or names what holds no part of a
    /// tree.
    fn fault(&self, node: &Node) -> Option<BlockFault> {
        let names = node.key_seqs().iter().copied().chain(node.kids().iter().map(|kid| kid.seq));
        if names.min() == Some(0) {
            return Some(BlockFault::NamesHeader);
        }
        let (Some(last), false) = (node.key_seqs().len().checked_sub(1), self.frames.is_empty())
        else {
            return None;
        };
        let mut path = self.frames.iter().rev();
        let lower = path.find_map(|frame| frame.node.key(frame.taken.checked_sub(1)?));
        let mut path = self.frames.iter().rev();
        let upper = path.find_map(|frame| frame.node.key(frame.taken));
        let within = lower.is_none_or(|lower| node.key(0).is_some_and(|key| key > lower))
            && upper.is_none_or(|upper| node.key(last).is_some_and(|key| key < upper));
        (!within).then_some(BlockFault::Unordered)
    }

    /// Notes what is not here of a node: its keys, and its children, of which nothing can be said
    /// before the keys are there.
    fn miss(&mut self, node: &Node) {
        self.missing.extend(node.unknown_seqs());
        let kids = node.kids().iter().map(|kid| kid.seq);
        self.missing.extend(kids.filter(|seq| !self.store.log().has(*seq)));
    }

    fn note(&mut self, seq: u64, level: Option<u64>, what: BlockFault) {
        self.check.findings.push(Finding { seq, level, what });
        self.check.is_cut_short = self.check.findings.len() >= FINDINGS_MAX;
    }
}
