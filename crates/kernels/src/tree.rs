//! Getting, putting, scanning, comparing.

use std::hint::black_box;

use anyhow::{Context, Result};
use bytes::Bytes;
use multibee_btree::{Bee, BeeOptions, Block, RangeOptions, Tree};
use multibee_log::{Log, MemoryStorage};

use crate::kernel::{Kernel, Work};
use crate::sample;

pub(crate) const KERNELS: &[Kernel] = &[
    Kernel {
        name: "tree-block",
        what: "decode the block of an entry, with its tree nodes",
        operations: 5000,
        prepare: |_| decode(),
    },
    Kernel {
        name: "tree-get",
        what: "get a random one of 10,000 entries, all cached",
        operations: 20_000,
        prepare: |_| get(false),
    },
    Kernel {
        name: "tree-get-first",
        what: "the same of a tree just opened, each once",
        operations: HELD,
        prepare: |_| get(true),
    },
    Kernel {
        name: "tree-put",
        what: "put a key that is there, as a commit",
        operations: 200,
        prepare: |_| put(1),
    },
    Kernel {
        name: "tree-put-1000",
        what: "put one of 1000 keys in one commit",
        operations: 10_000,
        prepare: |_| put(1000),
    },
    Kernel {
        name: "tree-scan",
        what: "give one entry of a scan, all cached",
        operations: HELD,
        prepare: |_| scan(),
    },
    Kernel {
        name: "tree-diff",
        what: "find one of 1000 changes among 10,000 entries, of a tree just opened",
        operations: CHANGED,
        prepare: |_| diff(),
    },
];

/// Entries in the tree: three levels.
const HELD: u64 = 10_000;
/// Entries that have changed since.
const CHANGED: u64 = 1000;
/// Has no common factor with [`HELD`].
const STEP: u64 = 7919;

/// Puts the values of `numbers` in commits of `batch`.
fn fill(bee: &Bee, numbers: impl Iterator<Item = u64>, batch: u64) -> Result<()> {
    let mut staged = bee.batch()?;
    for number in numbers {
        staged.put(&sample::key(number), Some(sample::VALUE), Bytes::new())?;
        if staged.len() as u64 == batch {
            staged.flush()?;
            staged = bee.batch()?;
        }
    }
    staged.flush()?;
    Ok(())
}

fn bee() -> Result<(Bee, MemoryStorage)> {
    let (log, storage) = sample::log()?;
    let bee = Bee::open(log, BeeOptions::default())?;
    fill(&bee, 0..HELD, 1000)?;
    Ok((bee, storage))
}

/// The tree as a process finds it that has just started.
fn reopen(storage: &MemoryStorage) -> Result<Bee> {
    let log = Log::open_read_only(storage.clone(), sample::options())?;
    Ok(Bee::open(log, BeeOptions::default())?)
}

fn decode() -> Result<Box<dyn Work>> {
    let (bee, _) = bee()?;
    fill(&bee, [0].into_iter(), 1)?;
    let raw = bee.log().get(bee.version() - 1)?.context("the last block is there")?;
    Ok(Box::new(move |count| {
        for _ in 0..count {
            black_box(Block::decode(black_box(&raw).clone())?.levels()?);
        }
        Ok(())
    }))
}

struct Get {
    storage: MemoryStorage,
    tree: Tree,
    is_reopened: bool,
}

fn get(is_reopened: bool) -> Result<Box<dyn Work>> {
    let (bee, storage) = bee()?;
    Ok(Box::new(Get { storage, tree: bee.snapshot()?, is_reopened }))
}

impl Work for Get {
    fn make_ready(&mut self, _: u64) -> Result<()> {
        if self.is_reopened {
            self.tree = reopen(&self.storage)?.snapshot()?;
        }
        Ok(())
    }

    fn run(&mut self, count: u64) -> Result<()> {
        let mut number = 0;
        for _ in 0..count {
            number = (number + STEP) % HELD;
            black_box(self.tree.get(&sample::key(number))?.context("the key is there")?);
        }
        Ok(())
    }
}

fn put(batch: u64) -> Result<Box<dyn Work>> {
    let (bee, _) = bee()?;
    let mut number = 0;
    Ok(Box::new(move |count| {
        let numbers = (0..count).map(|_| {
            number = (number + STEP) % HELD;
            number
        });
        fill(&bee, numbers, batch)
    }))
}

fn scan() -> Result<Box<dyn Work>> {
    let (bee, _) = bee()?;
    let tree = bee.snapshot()?;
    Ok(Box::new(move |count| {
        let mut given = 0;
        for entry in tree.range(RangeOptions::default()) {
            black_box(entry?);
            given += 1;
        }
        anyhow::ensure!(given == count, "{given} entries");
        Ok(())
    }))
}

struct Diff {
    storage: MemoryStorage,
    versions: [u64; 2],
    trees: [Tree; 2],
}

fn diff() -> Result<Box<dyn Work>> {
    let (bee, storage) = bee()?;
    let before = bee.snapshot()?;
    fill(&bee, (0..CHANGED).map(|number| number * STEP % HELD), CHANGED)?;
    let trees = [before, bee.snapshot()?];
    let versions = trees.each_ref().map(Tree::version);
    Ok(Box::new(Diff { storage, versions, trees }))
}

impl Work for Diff {
    fn make_ready(&mut self, _: u64) -> Result<()> {
        let bee = reopen(&self.storage)?;
        let [before, after] = self.versions;
        self.trees = [bee.checkout(before)?, bee.checkout(after)?];
        Ok(())
    }

    fn run(&mut self, count: u64) -> Result<()> {
        let [before, after] = &self.trees;
        let mut changes = before.diff(after, RangeOptions::default())?;
        let mut found = 0;
        while let Some(change) = changes.next()? {
            black_box(change);
            found += 1;
        }
        anyhow::ensure!(found == count, "{found} changes");
        Ok(())
    }
}
