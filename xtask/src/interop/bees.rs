//! Trees that Hyperbee and `multibee-btree` write side by side and in turns, by random scripts.
//!
//! Each script has two logs with the same key pair. In each turn one side writes the one and the
//! other side the other, by the same steps; in the next turn they change places, so each goes on
//! where the other stopped. After each turn the logs must not differ in any byte, nor the answers to
//! questions about them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use multibee_btree::{Bee, BeeOptions, Metadata};
use multibee_log::{Durability, FileStorage, KeyPair, Log, LogOptions};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::program::Program;
use super::script::{Operation, Query, Script, Step};
use super::steps::text;
use super::{Case, Outcome, our_bee};

const KEY_SEED: [u8; 32] = [0x5a; 32];

/// How often each side writes a log.
const ROUNDS: usize = 2;

/// Scripts of the case that is always run.
const FEW: u32 = 20;

/// Its first seed.
const FEW_SEED: u64 = 0x6d75_6c74_6962_6565;

/// Scripts for one process of Node, which may live for a minute.
const SCRIPTS_PER_PROCESS: u32 = 10;

pub(super) fn cases() -> Vec<Case> {
    vec![Case::new("we and hyperbee take the same random steps in turns", || {
        let total = run_all(FEW_SEED, FEW)?;
        println!("    {total}");
        Ok(())
    })]
}

/// Runs `count` scripts, of this seed and those that follow it.
pub(super) fn run(count: u32, seed: u64) -> Outcome {
    println!("{count} scripts from --seed {seed}");
    match run_all(seed, count) {
        Ok(total) => {
            println!("{total}");
            Outcome::Ran { passed: count as usize, failed: 0 }
        }
        Err(error) => {
            println!("FAILED {error:#}");
            Outcome::Ran { passed: 0, failed: 1 }
        }
    }
}

/// What was done in all scripts.
#[derive(Default)]
struct Total {
    scripts: u32,
    operations: usize,
    blocks: u64,
    answers: usize,
    stale_gets: usize,
}

impl std::fmt::Display for Total {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { scripts, operations, blocks, answers, stale_gets } = self;
        write!(
            f,
            "{scripts} scripts, {operations} operations by each side, {blocks} blocks compared, \
             {answers} answers compared, of which {stale_gets} are deleted entries that Hyperbee \
             still gives"
        )
    }
}

/// What `bee-script.mjs` answers.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(default)]
    lengths: Vec<u64>,
    tree_hash: Option<String>,
    reads: Vec<Value>,
}

fn run_all(seed: u64, count: u32) -> Result<Total> {
    let mut total = Total::default();
    let mut node = None;
    for number in 0..count {
        if number % SCRIPTS_PER_PROCESS == 0 {
            finish(node.take())?;
        }
        let node = match &mut node {
            Some(node) => node,
            none => none.insert(Program::node("bee-script.mjs", &[])?),
        };
        let seed = seed.wrapping_add(number.into());
        let again = || format!("`cargo xtask interop --btree 1 --seed {seed}` repeats it");
        Run::new(seed)?.take_turns(node, &mut total).with_context(again)?;
        total.scripts += 1;
        if total.scripts % 100 == 0 {
            println!("{} scripts passed", total.scripts);
        }
    }
    finish(node)?;
    Ok(total)
}

fn finish(node: Option<Program>) -> Result<()> {
    node.map_or(Ok(()), |node| node.finish::<Value>().map(drop))
}

/// One script with its two logs.
struct Run {
    script: Script,
    /// Lengths that were versions.
    versions: Vec<u64>,
    _folder: TempDir,
    logs: [PathBuf; 2],
}

impl Run {
    fn new(seed: u64) -> Result<Self> {
        let folder = TempDir::new()?;
        let logs = ["one", "other"].map(|name| folder.path().join(name));
        Ok(Self { script: Script::new(seed), versions: Vec::new(), _folder: folder, logs })
    }

    fn take_turns(mut self, node: &mut Program, total: &mut Total) -> Result<()> {
        for turn in 0..2 * ROUNDS {
            let steps = self.script.turn();
            let (blocks, compared) = self
                .turn(node, turn == 0, &steps, total)
                .with_context(|| format!("turn {turn} of {:?}", self.script))?;
            total.blocks += blocks;
            total.answers += compared;
            total.operations += steps.iter().map(Step::len).sum::<usize>();
            self.logs.reverse();
        }
        Ok(())
    }

    /// Has us write the first log and Node the other. Returns how many blocks were compared, and how
    /// many answers.
    fn turn(
        &mut self,
        node: &mut Program,
        is_first: bool,
        steps: &[Step],
        total: &mut Total,
    ) -> Result<(u64, usize)> {
        let [ours, theirs] = &self.logs;
        let bee = self.open(ours, is_first)?;
        let (lengths, reads) = our_bee::take(&bee, steps)?;
        node.ask::<Answer>(&self.order_to_open(theirs, is_first)?)?;
        let orders: Vec<_> = steps.iter().map(Step::to_json).collect();
        let answer: Answer = node.ask(&json!({ "steps": orders }))?;
        let differs = lengths.iter().zip(&answer.lengths).position(|(ours, theirs)| ours != theirs);
        if let Some(step) = differs {
            let lengths = [&lengths, &answer.lengths].map(|lengths| lengths.get(step));
            bail!("lengths {lengths:?} after step {step}, {:?}", steps.get(step));
        }
        let hash = bee.log().tree_hash_at(bee.log().len())?.map(|hash| hash.to_string());
        let queries = {
            self.versions.extend(lengths.iter().filter(|len| **len > 0));
            self.versions.dedup();
            self.script.queries(&self.versions)
        };
        let orders: Vec<_> = queries.iter().map(Query::to_json).collect();
        let told: Answer = node.ask(&json!({ "queries": orders }))?;
        node.ask::<Value>(&json!({ "close": true }))?;

        let [ours, theirs] = &self.logs;
        compare_blocks(bee.log(), &self.open_log(theirs)?)?;
        ensure!(hash == answer.tree_hash, "the tree hashes differ");
        let asked: Vec<_> =
            reads_of(steps).map(Asked::Within).chain(queries.iter().map(Asked::After)).collect();
        let found = [reads, our_bee::answer(&bee, &queries)?].concat();
        let expected = [answer.reads, told.reads].concat();
        ensure!(asked.len() == found.len(), "{} answers to {}", found.len(), asked.len());
        ensure!(expected.len() == found.len(), "{} answers and {}", expected.len(), found.len());
        for ((asked, ours), theirs) in asked.into_iter().zip(&found).zip(&expected) {
            if ours == theirs {
                continue;
            }
            let excused = asked.is_get() && our_bee::is_stale_get(&bee, ours, theirs)?;
            ensure!(excused, "{asked:?}: we read {ours}, but Node {theirs}");
            total.stale_gets += 1;
        }
        let blocks = bee.log().len();
        drop(bee);
        // What is on disk is what was in memory.
        compare_blocks(&self.open_log(ours)?, &self.open_log(theirs)?)?;
        Ok((blocks, found.len()))
    }

    fn open(&self, folder: &Path, is_new: bool) -> Result<Bee> {
        let log = if is_new {
            let keys = KeyPair::from_seed(KEY_SEED);
            Log::create(FileStorage::create(folder)?, keys, log_options())?
        } else {
            self.open_log(folder)?
        };
        let bytes = |bytes: &Option<Vec<u8>>| bytes.clone().map(Bytes::from);
        let metadata = self.script.metadata.as_ref().map(|metadata| Metadata {
            content_feed: bytes(&metadata.content_feed),
            user_data: bytes(&metadata.user_data),
        });
        let always_duplicate = self.script.always_duplicate;
        Ok(Bee::open(log, BeeOptions { metadata, always_duplicate, ..BeeOptions::default() })?)
    }

    fn open_log(&self, folder: &Path) -> Result<Log> {
        Ok(Log::open(FileStorage::open(folder)?, log_options())?)
    }

    fn order_to_open(&self, folder: &Path, is_new: bool) -> Result<Value> {
        let metadata = self.script.metadata.as_ref().map(|metadata| {
            json!({
                "contentFeed": metadata.content_feed.as_ref().map(hex::encode),
                "userData": metadata.user_data.as_ref().map(hex::encode),
            })
        });
        Ok(json!({
            "open": text(folder)?,
            "create": is_new,
            "seed": hex::encode(KEY_SEED),
            "alwaysDuplicate": self.script.always_duplicate,
            "metadata": metadata,
        }))
    }
}

/// Something that is read.
#[derive(Debug)]
enum Asked<'a> {
    Within(&'a Operation),
    After(&'a Query),
}

impl Asked<'_> {
    fn is_get(&self) -> bool {
        match self {
            Self::Within(operation) => matches!(operation, Operation::Get { .. }),
            Self::After(query) => {
                matches!(query, Query::Read { operation: Operation::Get { .. }, .. })
            }
        }
    }
}

/// What is read within steps.
fn reads_of(steps: &[Step]) -> impl Iterator<Item = &Operation> {
    let operations = steps.iter().flat_map(|step| match step {
        Step::Single(operation) => std::slice::from_ref(operation),
        Step::Batch { operations, .. } => operations,
    });
    operations.filter(|operation| matches!(operation, Operation::Get { .. } | Operation::Range(_)))
}

fn log_options() -> LogOptions {
    LogOptions { durability: Durability::Buffered, ..LogOptions::default() }
}

fn compare_blocks(ours: &Log, theirs: &Log) -> Result<()> {
    ensure!(ours.key() == theirs.key(), "the logs have different keys");
    for seq in 0..ours.len().max(theirs.len()) {
        let blocks = [ours.get(seq)?, theirs.get(seq)?];
        let [our_block, their_block] = &blocks;
        if our_block != their_block {
            let shown = blocks.map(|block| block.map(hex::encode));
            bail!("block {seq}: ours and Node's are {shown:?}");
        }
    }
    Ok(())
}
