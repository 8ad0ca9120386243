use std::ops::{Deref, Range};
use std::sync::Arc;

use bytes::Bytes;
use multibee_log::{BlockBytes, Log};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::block::Block;
use crate::entry::Entry;
use crate::error::{BlockFault, Error, Result};
use crate::glimpses::Glimpses;
use crate::limits::{CACHED_BYTES_MEAN, CACHED_OVERHEAD_BYTES, NODE_KEYS_MAX, WIDE_BLOCK_LEN};
use crate::node::{Kid, Node, Outline, Place, Undecided};

/// The blocks of a log, decoded: what every read goes through.
///
/// Blocks never change on one fork of the log, so neither do the nodes in them, and the cache is never
/// invalidated. It is bounded by bytes. What is not on this machine comes back as [`Error::Missing`].
pub(crate) struct Store {
    log: Log,
    cache: Cache<Spot, Cached, Weight>,
}

/// What the cache is asked for. Should the log be cut, other blocks may come in the place of those
/// that were there: then its fork is another one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Spot {
    fork: u64,
    part: Part,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    Block(u64),
    Node(Kid),
    Outline(Kid),
    /// Some keys of a node: from which on, and up to which.
    Keys(Kid, u8, u8),
}

#[derive(Clone)]
enum Cached {
    /// As it is in the log. To find its fields again takes less time than a cached block more would
    /// save if they were kept.
    Block(Bytes),
    Node(Arc<Node>),
    Outline(Arc<Outline>),
}

#[derive(Clone)]
struct Weight;

impl Weighter<Spot, Cached> for Weight {
    fn weight(&self, _: &Spot, cached: &Cached) -> u64 {
        let own = match cached {
            Cached::Block(raw) => raw.len() as u64,
            Cached::Node(node) => node.weight(),
            Cached::Outline(outline) => outline.weight(),
        };
        own + CACHED_OVERHEAD_BYTES
    }
}

impl Store {
    pub(crate) fn new(log: Log, cache_bytes: u64) -> Self {
        let items = usize::try_from(cache_bytes / CACHED_BYTES_MEAN).unwrap_or(usize::MAX);
        Self { log, cache: Cache::with_weighter(items, cache_bytes, Weight) }
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// Where a part is cached. To be asked before the log is read: what is read from a newer fork
    /// must not be taken for a part of that one.
    fn spot(&self, part: Part) -> Spot {
        Spot { fork: self.log.fork(), part }
    }

    /// The block with number `seq`.
    pub(crate) fn block(&self, seq: u64) -> Result<Block> {
        let spot = self.spot(Part::Block(seq));
        if let Some(Cached::Block(raw)) = self.cache.get(&spot) {
            return decode(seq, raw);
        }
        let raw = self.log.get(seq)?.ok_or_else(|| Error::Missing(vec![seq]))?;
        let block = decode(seq, raw.clone())?;
        self.cache.insert(spot, Cached::Block(raw));
        Ok(block)
    }

    /// As [`block`](Self::block), of one that is read once: it is not cached.
    pub(crate) fn block_once(&self, seq: u64) -> Result<Block> {
        if let Some(Cached::Block(raw)) = self.cache.get(&self.spot(Part::Block(seq))) {
            return decode(seq, raw);
        }
        decode(seq, self.log.get(seq)?.ok_or_else(|| Error::Missing(vec![seq]))?)
    }

    /// A look at a block. All that is needed of it goes into something else that is cached.
    pub(crate) fn glimpse(&self, seq: u64) -> Result<Option<Block<BlockBytes>>> {
        self.log.read(seq)?.map(|raw| decode(seq, raw)).transpose()
    }

    /// The node at `spot`, with as many of its keys as are on this machine.
    pub(crate) fn node(&self, spot: Kid) -> Result<Arc<Node>> {
        let cached = self.spot(Part::Node(spot));
        if let Some(Cached::Node(node)) = self.cache.get(&cached) {
            return Ok(node);
        }
        let mut glimpses = Glimpses::new(self);
        let block = glimpses.expect(spot.seq)?;
        let fault = |fault| bad(spot.seq, fault);
        let level = block.level(spot.level).map_err(fault)?;
        let outline = Outline::decode(spot.seq, level).map_err(fault)?;
        let node = assemble(spot, &outline.key_seqs, outline.kids, &mut glimpses)?;
        if node.is_whole() {
            self.cache.insert(cached, Cached::Node(node.clone()));
        }
        Ok(node)
    }

    /// The node at `spot`, which is not a root and therefore has keys.
    pub(crate) fn kid(&self, spot: Kid) -> Result<Arc<Node>> {
        let kid = self.node(spot)?;
        if kid.key_seqs().is_empty() {
            return Err(bad(spot.seq, BlockFault::NoKeys));
        }
        Ok(kid)
    }

    /// The node at `spot`, if it is at hand as a whole.
    pub(crate) fn cached(&self, spot: Kid) -> Option<Arc<Node>> {
        match self.cache.get(&self.spot(Part::Node(spot))) {
            Some(Cached::Node(node)) => Some(node),
            _ => None,
        }
    }

    /// The node at `spot`, which is not a root, before its keys are looked up.
    pub(crate) fn outline(&self, spot: Kid, glimpses: &mut Glimpses<'_>) -> Result<Arc<Outline>> {
        let cached = self.spot(Part::Outline(spot));
        if let Some(Cached::Outline(outline)) = self.cache.get(&cached) {
            return Ok(outline);
        }
        let block = glimpses.expect(spot.seq)?;
        let level = block.level(spot.level);
        let outline = level.and_then(|level| Outline::decode(spot.seq, level));
        let outline = outline.and_then(|outline| match outline.key_seqs.len() {
            0 => Err(BlockFault::NoKeys),
            _ => Ok(Arc::new(outline)),
        });
        let outline = outline.map_err(|fault| bad(spot.seq, fault))?;
        self.cache.insert(cached, Cached::Outline(outline.clone()));
        Ok(outline)
    }

    /// A part of the node at `spot`: some of its keys, as many of them as are on this machine, and the
    /// children beside them.
    pub(crate) fn part(
        &self,
        spot: Kid,
        outline: &Outline,
        keys: Range<usize>,
        glimpses: &mut Glimpses<'_>,
    ) -> Result<Arc<Node>> {
        // Nodes have few keys.
        let cached = self.spot(Part::Keys(spot, keys.start as u8, keys.end as u8));
        if let Some(Cached::Node(part)) = self.cache.get(&cached) {
            return Ok(part);
        }
        let kids = match outline.kids.get(keys.start..=keys.end) {
            Some(kids) => kids.into(),
            None => Box::default(),
        };
        let seqs = outline.key_seqs.get(keys).unwrap_or_default();
        let part = assemble(spot, seqs, kids, glimpses)?;
        if part.is_whole() {
            self.cache.insert(cached, Cached::Node(part.clone()));
        }
        Ok(part)
    }

    /// What is stored under key number `i` of a node.
    pub(crate) fn entry(&self, node: &Node, i: usize) -> Result<Entry> {
        let seq = *node.key_seqs().get(i).expect("the caller got the number from this node");
        match node.entry(i) {
            Some(entry) => Ok(entry),
            None => Ok(self.block(seq)?.entry(seq)),
        }
    }

    /// Finds where `key` belongs in `node`; what is missing for that is an error.
    pub(crate) fn search(&self, node: &Node, key: &[u8]) -> Result<Place> {
        node.search(key).map_err(|undecided| self.missing(node, &undecided))
    }

    /// Names the undecided keys of `node`, and the children among which they decide: one of them is
    /// needed next, and a guess costs less than a round trip unless blocks are large.
    fn missing(&self, node: &Node, Undecided(keys): &Undecided) -> Error {
        let mut seqs: Vec<u64> = keys
            .clone()
            .filter(|i| node.key(*i).is_none())
            .filter_map(|i| node.key_seqs().get(i).copied())
            .collect();
        if self.guesses() {
            let kids = node.kids().get(keys.start..=keys.end).unwrap_or_default();
            for kid in kids {
                if !seqs.contains(&kid.seq) && !self.log.has(kid.seq) {
                    seqs.push(kid.seq);
                }
            }
        }
        Error::Missing(seqs)
    }

    /// Whether blocks are small enough to name some that only may be needed.
    pub(crate) fn guesses(&self) -> bool {
        self.log.byte_len() / self.log.len().max(1) <= WIDE_BLOCK_LEN
    }

    /// Keeps the nodes that have just been appended, so that the next write need not read them back,
    /// in the place of those that are no longer part of the newest version. The latter are still
    /// true, and come back if an older version is read; but batch by batch they would fill the cache.
    pub(crate) fn renew(&self, old: &[Kid], new: impl Iterator<Item = (Kid, Node)>) {
        let fork = self.log.fork();
        let at = |spot| Spot { fork, part: Part::Node(spot) };
        let mut old = old.iter();
        // One by one, so that the allocator can use again at once what it gets back.
        let mut retire = || old.next().map(|spot| self.cache.remove(&at(*spot)));
        retire();
        for (spot, node) in new {
            self.cache.insert(at(spot), Cached::Node(Arc::new(node)));
            retire();
        }
        while retire().is_some() {}
    }

    /// Drops what is cached of blocks that are gone.
    pub(crate) fn forget(&self, is_gone: impl Fn(u64) -> bool) {
        self.cache.retain(|spot, _| match spot.part {
            Part::Block(seq)
            | Part::Node(Kid { seq, .. })
            | Part::Outline(Kid { seq, .. })
            | Part::Keys(Kid { seq, .. }, ..) => !is_gone(seq),
        });
    }
}

/// Makes a node, or a part of one, with those of its keys that are on this machine.
fn assemble(
    spot: Kid,
    key_seqs: &[u64],
    kids: Box<[Kid]>,
    glimpses: &mut Glimpses<'_>,
) -> Result<Arc<Node>> {
    let mut keys: [Option<Block<BlockBytes>>; NODE_KEYS_MAX] = [const { None }; NODE_KEYS_MAX];
    for (seq, key) in key_seqs.iter().zip(&mut keys) {
        *key = glimpses.look(*seq)?;
    }
    let known = keys.iter().map(|key| key.as_ref().map(Block::key));
    let node = Node::new(key_seqs.iter().copied().zip(known), kids);
    let node = node.map_err(|fault| bad(spot.seq, fault))?;
    Ok(Arc::new(node.with_records(keys.get(..key_seqs.len()).unwrap_or_default())))
}

fn decode<R: Deref<Target = [u8]>>(seq: u64, raw: R) -> Result<Block<R>> {
    Block::of(raw).map_err(|fault| bad(seq, fault.into()))
}

/// Blames the writer of block `seq`.
pub(crate) fn bad(seq: u64, what: BlockFault) -> Error {
    Error::BadBlock { seq, what }
}
