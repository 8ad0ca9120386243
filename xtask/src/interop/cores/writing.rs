//! Node reads a log that we write.

use std::ops::Range;

use anyhow::{Result, ensure};
use multibee_log::Log;

use super::blocks::{block, blocks, place_of};
use super::{COUNT, Case, Dialer, Kind, Ours, SEED, Theirs, agree, meet, our_log};

/// Something that they do with a log of ours.
type Scenario = fn(Pair) -> Result<()>;

pub(super) fn cases(version: &'static str, dialer: Dialer) -> Vec<Case> {
    let [manifest, compat] = Kind::ALL;
    let scenarios: [(&str, Kind, Scenario); 9] = [
        ("downloads", manifest, full),
        ("downloads", compat, full),
        ("gets single blocks of", manifest, sparse),
        ("gets a range of", manifest, range),
        ("seeks in", manifest, seek),
        ("follows", manifest, follow),
        ("follows cuts of", manifest, cut),
        ("follows cuts of", compat, cut),
        ("does without cleared blocks of", manifest, clear),
    ];
    let case = |(what, kind, scenario): (&str, Kind, Scenario)| {
        let (dial, kind_name) = (dialer.name(), kind.name());
        Case::new(format!("hypercore {version} {what} our {kind_name} log, {dial}"), move || {
            scenario(Pair::start(version, dialer, kind)?)
        })
    };
    scenarios.into_iter().map(case).collect()
}

/// Our log, and their copy of it.
struct Pair {
    theirs: Theirs,
    ours: Ours,
    log: Log,
}

impl Pair {
    /// Connected, and the length known there; no block is wanted.
    fn start(version: &str, dialer: Dialer, kind: Kind) -> Result<Self> {
        let log = our_log(SEED, kind, 0)?;
        let mut ours = Ours::new()?;
        ours.add(&log);
        let mut theirs = Theirs::start(version)?;
        theirs.copy("log", &log.key())?;
        meet(&mut ours, &mut theirs, dialer)?;
        let mut pair = Self { theirs, ours, log };
        pair.catch_up()?;
        Ok(pair)
    }

    /// Waits until they know of all that we have.
    fn catch_up(&mut self) -> Result<()> {
        let state = self.theirs.reach("log", self.log.len(), self.log.fork())?;
        agree(&self.log, &state)
    }

    /// Has them download all.
    fn download(&mut self) -> Result<()> {
        self.catch_up()?;
        let state = self.theirs.download("log", 0..self.log.len())?;
        ensure!(state.held.into_iter().eq(0..self.log.len()), "blocks are missing there");
        Ok(())
    }

    /// Has them read blocks, which they fetch if they must.
    fn read(&mut self, history: u64, blocks: impl IntoIterator<Item = u64>) -> Result<()> {
        for seq in blocks {
            let found = self.theirs.get("log", seq)?;
            ensure!(found == block(history, seq), "block {seq} differs");
        }
        Ok(())
    }

    /// They must hold these blocks and no others.
    fn check_held(&mut self, ranges: &[Range<u64>]) -> Result<()> {
        let held = self.theirs.state("log")?.held;
        let expected = ranges.iter().cloned().flatten();
        ensure!(expected.eq(held.iter().copied()), "they hold {held:?}");
        Ok(())
    }

    fn finish(self) -> Result<()> {
        self.theirs.finish()
    }
}

fn full(mut pair: Pair) -> Result<()> {
    pair.download()?;
    pair.read(0, 0..COUNT)?;
    pair.finish()
}

fn sparse(mut pair: Pair) -> Result<()> {
    pair.read(0, [3, COUNT - 1, 77])?;
    pair.check_held(&[3..4, 77..78, COUNT - 1..COUNT])?;
    pair.finish()
}

fn range(mut pair: Pair) -> Result<()> {
    pair.theirs.download("log", 50..120)?;
    pair.check_held(&[50..120])?;
    pair.read(0, 50..120)?;
    pair.finish()
}

fn seek(mut pair: Pair) -> Result<()> {
    let size = pair.log.byte_len();
    for byte in [0, 7777, size / 2, size - 1] {
        let place = pair.theirs.seek("log", byte)?;
        ensure!(place == place_of(byte), "byte {byte} was found at {place:?}");
    }
    pair.finish()
}

/// They wait for a block that is not written yet, each time.
fn follow(mut pair: Pair) -> Result<()> {
    let mut length = COUNT;
    for count in [1, 40, 1] {
        let last = length + count - 1;
        pair.theirs.begin_get("log", last)?;
        pair.ours.append(&pair.log, &blocks(0, length..last + 1))?;
        length += count;
        ensure!(pair.theirs.end_get()? == block(0, last), "block {last} differs");
        pair.catch_up()?;
    }
    pair.download()?;
    pair.finish()
}

/// A cut of a copy with holes that nothing follows, and one that new blocks follow at once.
fn cut(mut pair: Pair) -> Result<()> {
    pair.theirs.download("log", 30..50)?;
    pair.ours.truncate(&pair.log, 40)?;
    pair.catch_up()?;
    pair.check_held(&[30..40])?;

    pair.ours.append(&pair.log, &blocks(1, 40..90))?;
    pair.download()?;
    pair.ours.truncate(&pair.log, 60)?;
    pair.ours.append(&pair.log, &blocks(2, 60..COUNT))?;
    ensure!(pair.log.fork() == 2, "the fork is {}", pair.log.fork());
    pair.download()?;
    pair.read(0, [0, 39])?;
    pair.read(1, [40, 59])?;
    pair.read(2, [60, COUNT - 1])?;
    pair.finish()
}

/// We clear blocks before they ask for any and later, and they clear some and fetch them again.
fn clear(mut pair: Pair) -> Result<()> {
    pair.ours.clear(&pair.log, 10..20)?;
    pair.ours.append(&pair.log, &[block(0, COUNT)])?;
    pair.catch_up()?;
    pair.theirs.download("log", 0..10)?;
    pair.theirs.download("log", 20..100)?;

    pair.theirs.clear("log", 30..40)?;
    pair.ours.clear(&pair.log, 100..110)?;
    pair.theirs.download("log", 30..40)?;
    pair.theirs.download("log", 110..COUNT + 1)?;
    pair.check_held(&[0..10, 20..100, 110..COUNT + 1])?;
    pair.read(0, 20..100)?;
    pair.finish()
}
