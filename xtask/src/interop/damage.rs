//! Damaged logs, judged by us and, as a second opinion, by Hypercore 10.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use multibee_log::{FileStorage, KeyPair, Log, LogOptions};
use serde_json::json;
use tempfile::TempDir;

use super::Case;
use super::steps::{Block, Seen, Steps, Verdict, text};
use crate::random::Random;

/// The same damage in every run.
const SEED: u64 = 0x6d75_6c74_6962_6565;

/// How often each file is damaged, in each way.
const TIMES: usize = 30;

const LEN: u64 = 10;

const FILES: &[&str] = &["oplog", "tree", "data", "bitfield"];

pub(super) fn cases() -> Vec<Case> {
    vec![Case::new("we and hypercore 10 judge damaged logs", judge_damaged)]
}

/// How a file was damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Damage {
    /// One to three bits are others.
    Flipped,
    /// The file ends earlier.
    Cut,
}

/// A damaged log, once for each of the two who open it, since opening may change it.
struct Image {
    file: &'static str,
    damage: Damage,
    ours: PathBuf,
    theirs: PathBuf,
}

/// What somebody makes of a damaged log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Judgement {
    /// As if nothing had happened.
    Whole,
    /// An older state, or one without some blocks; what is there is right.
    Less,
    /// Reading some blocks fails.
    Errors,
    /// Some blocks are read that were never written.
    Wrong,
    Refused,
}

fn judge_damaged() -> Result<()> {
    let folder = TempDir::new()?;
    let mut node = Steps::start()?;
    let sound = [make_theirs(&mut node, folder.path())?, make_ours(folder.path())?];
    let mut images = Vec::new();
    for path in &sound {
        damage(path, folder.path(), &mut images)?;
    }
    let truth = Truth::of(&sound)?;
    let theirs: Vec<&Path> = images.iter().map(|image| image.theirs.as_path()).collect();
    let theirs = node.judge(&theirs)?;
    ensure!(theirs.len() == images.len(), "{} judgements of {}", theirs.len(), images.len());
    node.finish()?;

    let (mut table, mut differences) = (BTreeMap::new(), BTreeMap::new());
    for (image, theirs) in images.iter().zip(&theirs) {
        let ours = judge(&image.ours)?;
        truth.check(&ours, image)?;
        let judgements = [truth.judge(&ours), truth.judge(theirs)];
        *table.entry((image.file, image.damage, judgements)).or_insert(0) += 1;
        if let Some(difference) = truth.difference(&ours, theirs) {
            let Some(reason) = difference.reason(image.file) else {
                let (file, damage) = (image.file, image.damage);
                bail!("{difference:?}, {file} {damage:?}: we {ours:?}, but Node {theirs:?}");
            };
            *differences.entry(reason).or_insert(0) += 1;
        }
    }
    print_table(&table);
    differences.iter().for_each(|(reason, count)| println!("    {count} logs: {reason}"));
    Ok(())
}

/// A log by Node: four times flushed, and one entry in the oplog.
fn make_theirs(node: &mut Steps, folder: &Path) -> Result<PathBuf> {
    let path = folder.join("theirs");
    let seed = hex::encode([0x5a; 32]);
    node.step(&json!({ "open": text(&path)?, "create": true, "seed": seed, "compat": false }))?;
    for seq in 0..LEN {
        node.step(&json!({ "append": [hex::encode(block(seq))] }))?;
    }
    node.close()?;
    Ok(path)
}

/// The same by us, with three entries in the oplog.
fn make_ours(folder: &Path) -> Result<PathBuf> {
    let path = folder.join("ours");
    let keys = KeyPair::from_seed([0x5a; 32]);
    let log = Log::create(FileStorage::create(&path)?, keys, LogOptions::default())?;
    for seq in 0..LEN {
        log.append(&[block(seq)])?;
        if seq == 6 {
            log.flush()?;
        }
    }
    Ok(path)
}

/// Blocks of different lengths; the sixth is empty.
fn block(seq: u64) -> Vec<u8> {
    (0..seq * 7 % 35).map(|at| (seq * 40 + at) as u8).collect()
}

/// Makes damaged copies of a log in `folder`.
fn damage(sound: &Path, folder: &Path, images: &mut Vec<Image>) -> Result<()> {
    let mut random = Random::new(SEED);
    for &file in FILES {
        for damage in [Damage::Flipped, Damage::Cut] {
            for _ in 0..TIMES {
                let mut bytes = fs::read(sound.join(file))?;
                match damage {
                    Damage::Cut => bytes.truncate(place(&mut random, &bytes)),
                    Damage::Flipped => {
                        for _ in 0..=random.below(3) {
                            let at = place(&mut random, &bytes);
                            if let Some(byte) = bytes.get_mut(at) {
                                *byte ^= 1 << random.below(8);
                            }
                        }
                    }
                }
                let number = images.len();
                let copy = |who: &str| -> Result<PathBuf> {
                    let to = folder.join(format!("{who}-{number}"));
                    fs::create_dir(&to)?;
                    for entry in fs::read_dir(sound)? {
                        let from = entry?.path();
                        fs::copy(&from, to.join(from.file_name().unwrap_or_default()))?;
                    }
                    fs::write(to.join(file), &bytes)?;
                    Ok(to)
                };
                images.push(Image { file, damage, ours: copy("ours")?, theirs: copy("theirs")? });
            }
        }
    }
    Ok(())
}

fn judge(folder: &Path) -> Result<Verdict> {
    // What is damaged is a copy.
    let log = FileStorage::open(folder).and_then(|files| Log::adopt(files, LogOptions::default()));
    Ok(match log {
        Ok(log) => Verdict::Opened(Seen::of(&log, &[])?),
        Err(error) => Verdict::Refused { error: error.to_string() },
    })
}

/// What was written.
struct Truth {
    blocks: Vec<String>,
    /// At each length from 0.
    tree_hashes: Vec<String>,
}

impl Truth {
    fn of(sound: &[PathBuf]) -> Result<Self> {
        let mut all = Vec::new();
        for path in sound {
            let log = Log::adopt(FileStorage::open(path)?, LogOptions::default())?;
            let hash = |len| Ok(log.tree_hash_at(len)?.map_or_else(String::new, |h| h.to_string()));
            all.push((0..=LEN).map(hash).collect::<Result<Vec<_>>>()?);
        }
        let Some(tree_hashes) = all.pop().filter(|last| all.iter().all(|other| other == last))
        else {
            bail!("the two logs were to have the same blocks");
        };
        Ok(Self { blocks: (0..LEN).map(|seq| hex::encode(block(seq))).collect(), tree_hashes })
    }

    fn is_right(&self, seq: usize, block: &Block) -> bool {
        matches!(block, Block::Held(bytes) if self.blocks.get(seq) == Some(bytes))
    }

    fn judge(&self, verdict: &Verdict) -> Judgement {
        let Verdict::Opened(seen) = verdict else {
            return Judgement::Refused;
        };
        let is_wrong = |(seq, block): (usize, &Block)| {
            matches!(block, Block::Held(_)) && !self.is_right(seq, block)
        };
        let is_error = |block: &Block| matches!(block, Block::Unreadable { .. });
        if seen.blocks.iter().enumerate().any(is_wrong) {
            Judgement::Wrong
        } else if seen.blocks.iter().any(is_error) {
            Judgement::Errors
        } else if seen.length == LEN && !seen.blocks.contains(&Block::Missing) {
            Judgement::Whole
        } else {
            Judgement::Less
        }
    }

    /// Whatever happened, we tell only what was written and signed.
    fn check(&self, ours: &Verdict, image: &Image) -> Result<()> {
        let Verdict::Opened(seen) = ours else {
            return Ok(());
        };
        let (file, damage) = (image.file, image.damage);
        ensure!(self.judge(ours) != Judgement::Wrong, "{file} {damage:?}: wrong bytes: {ours:?}");
        let hash = usize::try_from(seen.length).ok().and_then(|len| self.tree_hashes.get(len));
        ensure!(hash == Some(&seen.tree_hash), "{file} {damage:?}: another tree: {ours:?}");
        Ok(())
    }

    /// Where the two do not agree, if anywhere.
    fn difference(&self, ours: &Verdict, theirs: &Verdict) -> Option<Difference> {
        let read = |verdict: &Verdict| match verdict {
            Verdict::Refused { .. } => vec![],
            Verdict::Opened(seen) => {
                (0..).zip(&seen.blocks).map(|(seq, block)| self.is_right(seq, block)).collect()
            }
        };
        let (we, node) = (read(ours), read(theirs));
        let has = |list: &[bool], seq: usize| list.get(seq).copied().unwrap_or(false);
        if (0..self.blocks.len()).any(|seq| has(&node, seq) && !has(&we, seq)) {
            return Some(Difference::ReadByNode);
        }
        let is_refused = matches!(theirs, Verdict::Refused { .. });
        if is_refused && matches!(ours, Verdict::Opened(_)) {
            return Some(Difference::OpenedByUs);
        }
        (0..self.blocks.len())
            .any(|seq| has(&we, seq) && !has(&node, seq))
            .then_some(Difference::ReadByUs)
    }
}

/// How the two differ about a damaged log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    /// Node alone reads a block rightly.
    ReadByNode,
    /// We alone open the log.
    OpenedByUs,
    /// We alone read a block rightly.
    ReadByUs,
}

impl Difference {
    /// Why that is as it should be, if it is.
    fn reason(self, file: &str) -> Option<&'static str> {
        match (file, self) {
            ("tree", Self::ReadByNode) => Some(
                "Node checks no block against its leaf and no root against the header; we can't \
                 tell which of the two is damaged, and give out neither",
            ),
            _ => None,
        }
    }
}

fn print_table(table: &BTreeMap<(&str, Damage, [Judgement; 2]), usize>) {
    println!("    {:<10}{:<9}{:<9}{:<9}{:>6}", "file", "damage", "we", "Node", "logs");
    for ((file, damage, [ours, theirs]), count) in table {
        let [damage, ours, theirs] =
            [format!("{damage:?}"), format!("{ours:?}"), format!("{theirs:?}")];
        println!("    {file:<10}{damage:<9}{ours:<9}{theirs:<9}{count:>6}");
    }
}

/// A place in `bytes`, three times out of four one that is not zero: most of an oplog is empty.
fn place(random: &mut Random, bytes: &[u8]) -> usize {
    let used: Vec<usize> =
        bytes.iter().enumerate().filter(|(_, byte)| **byte != 0).map(|(at, _)| at).collect();
    let is_anywhere = random.one_in(4);
    let any = random.below(bytes.len());
    let used = used.get(random.below(used.len())).copied();
    used.filter(|_| !is_anywhere).unwrap_or(any)
}
