use std::collections::{BTreeSet, HashSet};

use crate::bee::Bee;
use crate::error::{BlockFault, Error, Result};
use crate::limits::{CLEAR_RUNS, MISSING_MAX, PROGRESS_NODES};
use crate::node::{Kid, Outline};
use crate::seq_set::SeqSet;
use crate::store::{Store, bad};

/// What [`Bee::reclaim`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reclaimed {
    /// Blocks that the versions need that were kept, the header included.
    pub kept_blocks: u64,
    /// Blocks that were held and are not any more.
    pub cleared_blocks: u64,
    /// Bytes in those blocks, about. The room for them went back to the system as far as it knows
    /// how to: where short runs of blocks lie between others that stay, little of it.
    pub cleared_bytes: u64,
}

/// How far [`Bee::reclaim`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReclaimProgress {
    /// It looks for the blocks that have to stay.
    Looking {
        /// How many it has found.
        found: u64,
    },
    /// It clears the others.
    Clearing {
        /// How many of them it is done with.
        done: u64,
        /// How many of them are held.
        total: u64,
    },
}

impl Bee {
    /// Clears the blocks that no version in `keep` needs, nor the newest one. Versions are those of
    /// the whole tree, whichever sub-database this is.
    ///
    /// Afterwards **the newest version, those in `keep`, and all that are written later can be
    /// read**, and so can the header. Any other version can be read only as far as it shares blocks
    /// with these: the rest of it, often its very root, is [`Error::Missing`], for the views of it
    /// that are open too. The same goes for the history. For good, unless somebody else has the
    /// blocks: then they can be fetched again like those of any sparse log.
    ///
    /// The log stays as long as it is, under the same signature. Whatever is still held can be
    /// proven to others; who copies the log gets the versions that were kept.
    ///
    /// Waits until no batch is open, and lets none begin before it is done; so a thread that has one
    /// open must not call this, nor may `on_progress` write. Reading goes on. What is kept is on the disk before anything goes. A
    /// crash, whenever it comes, leaves all that was to be kept; call again for the rest. When there
    /// is nothing to clear nothing is written.
    ///
    /// Waits for the disk once for each 1024 runs of blocks that are cleared. Takes a bit of memory a
    /// block, and up to 8 more for those with nodes.
    ///
    /// ```
    /// # use multibee_btree::{Bee, BeeOptions, Error};
    /// # use multibee_log::{KeyPair, Log, LogOptions, MemoryStorage};
    /// # let keys = KeyPair::from_seed([7; 32]);
    /// # let log = Log::create(MemoryStorage::default(), keys, LogOptions::default())?;
    /// # let bee = Bee::open(log, BeeOptions::default())?;
    /// let monday = bee.put(b"milk", Some("two"))? + 1;
    /// let tuesday = bee.put(b"milk", Some("one"))? + 1;
    /// bee.put(b"milk", Some("none"))?;
    ///
    /// let reclaimed = bee.reclaim([monday], |_progress| {})?;
    /// assert_eq!(reclaimed.cleared_blocks, 1);
    /// assert!(bee.checkout(monday)?.get(b"milk")?.is_some());
    /// assert!(matches!(bee.checkout(tuesday), Err(Error::Missing(_))));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Before anything is cleared: [`Error::BeyondLog`] and [`Error::NotACommitEnd`] if something
    /// in `keep` is not a version; [`Error::BadBlock`] if a tree cannot be read as a whole;
    /// [`Error::Missing`] if one to be kept is not here as a whole. Later only what the log says, or
    /// [`Error::WentBack`] if its writer cuts it meanwhile: then some blocks were cleared.
    pub fn reclaim(
        &self,
        keep: impl IntoIterator<Item = u64>,
        mut on_progress: impl FnMut(ReclaimProgress),
    ) -> Result<Reclaimed> {
        let _turn = self.shared.writer.lock();
        let (store, log) = (&self.shared.store, self.log());
        let (fork, len) = (log.fork(), log.len());
        let mut versions = keep.into_iter().collect::<BTreeSet<_>>();
        for version in &versions {
            self.checkout(*version)?;
        }
        versions.insert(len);
        let mut needed = Needed::new(store);
        for version in versions.into_iter().filter(|version| *version >= 2) {
            needed.add(version, &mut on_progress)?;
        }
        let blocks = needed.finish()?;

        let held = |run| log.held(run).iter().map(|run| run.end - run.start).sum::<u64>();
        let total = blocks.gaps(1..len).map(held).sum();
        let mut reclaimed = Reclaimed { kept_blocks: blocks.len(), ..Reclaimed::default() };
        if total == 0 {
            return Ok(reclaimed);
        }
        let before = log.info()?.held_bytes;
        let mut runs = blocks.gaps(1..len).filter(|run| held(run.clone()) > 0).peekable();
        while runs.peek().is_some() {
            if log.fork() != fork {
                return Err(Error::WentBack { fork: log.fork() });
            }
            let some: Vec<_> = runs.by_ref().take(CLEAR_RUNS).collect();
            reclaimed.cleared_blocks += some.iter().cloned().map(held).sum::<u64>();
            // All that was appended before is on the disk when bytes go. So a power cut never leaves
            // an older version whose blocks were cleared for the sake of a newer one.
            log.clear_all(&some)?;
            on_progress(ReclaimProgress::Clearing { done: reclaimed.cleared_blocks, total });
        }
        reclaimed.cleared_bytes = before.saturating_sub(log.info()?.held_bytes);
        store.forget(|seq| seq > 0 && seq < len && !blocks.contains(seq));
        Ok(reclaimed)
    }
}

/// Finds the blocks that some versions need.
///
/// Looks at each node once, however many versions share it, and does not read keys.
struct Needed<'a> {
    store: &'a Store,
    blocks: SeqSet,
    seen: NodeSet,
    /// Needed, and not here.
    missing: BTreeSet<u64>,
    nodes: u64,
}

impl<'a> Needed<'a> {
    fn new(store: &'a Store) -> Self {
        let (blocks, seen, missing) = Default::default();
        let mut needed = Self { store, blocks, seen, missing, nodes: 0 };
        if !store.log().is_empty() {
            needed.need(0);
        }
        needed
    }

    fn add(&mut self, version: u64, on_progress: &mut impl FnMut(ReclaimProgress)) -> Result<()> {
        let root = Kid { seq: version - 1, level: 0 };
        let mut ahead = Vec::new();
        if self.seen.insert(root) {
            ahead.push(root);
        }
        while let Some(spot) = ahead.pop() {
            if self.missing.len() >= MISSING_MAX {
                break;
            }
            let outline = match self.outline(spot) {
                Ok(outline) => outline,
                Err(Error::Missing(seqs)) => {
                    self.missing.extend(seqs);
                    continue;
                }
                Err(Error::BadBlock { what: BlockFault::NoLevel { .. }, .. }) if spot == root => {
                    return Err(Error::NotACommitEnd { version });
                }
                Err(error) => return Err(error),
            };
            self.need(spot.seq);
            outline.key_seqs.iter().for_each(|seq| self.need(*seq));
            ahead.extend(outline.kids.iter().filter(|kid| self.seen.insert(**kid)));
            self.nodes += 1;
            if self.nodes.is_multiple_of(PROGRESS_NODES) {
                on_progress(ReclaimProgress::Looking { found: self.blocks.len() });
            }
        }
        Ok(())
    }

    fn need(&mut self, seq: u64) {
        if self.blocks.insert(seq) && !self.store.log().has(seq) {
            self.missing.insert(seq);
        }
    }

    fn outline(&self, spot: Kid) -> Result<Outline> {
        let block = self.store.block(spot.seq)?;
        let level = block.level(spot.level);
        level.and_then(|level| Outline::decode(spot.seq, level)).map_err(|what| bad(spot.seq, what))
    }

    fn finish(self) -> Result<SeqSet> {
        if self.missing.is_empty() {
            Ok(self.blocks)
        } else {
            Err(Error::Missing(self.missing.into_iter().collect()))
        }
    }
}

/// A set of nodes. Few blocks have more than eight of them that any version needs, so most take a
/// bit each.
#[derive(Default)]
struct NodeSet {
    low: SeqSet,
    high: HashSet<Kid>,
}

const LEVELS_LOW: u64 = 8;

impl NodeSet {
    /// Adds a node. Returns whether it is new.
    fn insert(&mut self, spot: Kid) -> bool {
        match spot.seq.checked_mul(LEVELS_LOW) {
            Some(first) if spot.level < LEVELS_LOW => self.low.insert(first + spot.level),
            _ => self.high.insert(spot),
        }
    }
}
