//! Three peers in a chain: the one in the middle has a copy, which the last one reads.

use anyhow::{Result, ensure};

use super::blocks::{block, blocks};
use super::{
    COUNT, Case, Dialer, Kind, Ours, SEED, Theirs, agree, check_blocks, meet, our_copy, our_log,
};

pub(super) fn cases(version: &'static str) -> Vec<Case> {
    Kind::ALL
        .into_iter()
        .flat_map(|kind| {
            let name = kind.name();
            let others = if version == "10" { "11" } else { "10" };
            [
                Case::new(
                    format!("a {name} log goes from us by hypercore {version} to us"),
                    move || by_them(version, kind),
                ),
                Case::new(
                    format!(
                        "a {name} log goes from hypercore {version} by us to hypercore {version}"
                    ),
                    move || by_us(version, version, kind),
                ),
                Case::new(
                    format!(
                        "a {name} log goes from hypercore {version} by us to hypercore {others}"
                    ),
                    move || by_us(version, others, kind),
                ),
            ]
        })
        .collect()
}

/// Whole, as it grows, and through a cut.
fn by_them(version: &str, kind: Kind) -> Result<()> {
    let log = our_log(SEED, kind, 0)?;
    let (mut first, mut last) = (Ours::new()?, Ours::new()?);
    first.add(&log);
    let copy = our_copy(log.key())?;
    last.add(&copy);
    last.with(|replicator| replicator.want_all(&copy.key()));
    let mut middle = Theirs::start(version)?;
    middle.copy("log", &log.key())?;
    middle.follow("log")?;
    meet(&mut last, &mut middle, Dialer::We)?;
    meet(&mut first, &mut middle, Dialer::They)?;
    last.reach(&copy, COUNT, 0)?;
    last.hold(&copy, &[0..COUNT])?;

    first.append(&log, &blocks(0, COUNT..COUNT + 10))?;
    last.reach(&copy, COUNT + 10, 0)?;
    last.hold(&copy, &[0..COUNT + 10])?;
    check_blocks(&copy, 0, 0..COUNT + 10)?;

    first.truncate(&log, 100)?;
    first.append(&log, &blocks(1, 100..120))?;
    last.reach(&copy, 120, 1)?;
    last.hold(&copy, &[0..120])?;
    check_blocks(&copy, 0, 0..100)?;
    check_blocks(&copy, 1, 100..120)?;
    agree(&copy, &middle.state("log")?)?;
    middle.finish()
}

/// The same with us in the middle.
fn by_us(from: &str, to: &str, kind: Kind) -> Result<()> {
    let mut first = Theirs::start(from)?;
    first.write("log", SEED, kind)?;
    let written = first.append("log", &blocks(0, 0..COUNT))?;
    let key = written.log_key()?;
    let copy = our_copy(key)?;
    let mut middle = Ours::new()?;
    middle.add(&copy);
    middle.with(|replicator| replicator.want_all(&key));
    let mut last = Theirs::start(to)?;
    last.copy("log", &key)?;
    meet(&mut middle, &mut last, Dialer::They)?;
    meet(&mut middle, &mut first, Dialer::We)?;
    last.reach("log", COUNT, 0)?;
    last.download("log", 0..COUNT)?;

    last.begin_get("log", COUNT + 9)?;
    first.append("log", &blocks(0, COUNT..COUNT + 10))?;
    ensure!(last.end_get()? == block(0, COUNT + 9), "the last block differs");
    last.download("log", 0..COUNT + 10)?;

    first.truncate("log", 100)?;
    let written = first.append("log", &blocks(1, 100..120))?;
    last.reach("log", 120, 1)?;
    let read = last.download("log", 0..120)?;
    ensure!(read.tree_hash == written.tree_hash, "the tree hashes differ");
    ensure!(read.held.into_iter().eq(0..120), "blocks are missing");
    ensure!(last.get("log", 99)? == block(0, 99), "a block from before the cut differs");
    ensure!(last.get("log", 119)? == block(1, 119), "a block from after the cut differs");
    agree(&copy, &written)?;
    first.finish()?;
    last.finish()
}
