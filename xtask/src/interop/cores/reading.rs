//! We read a log that Node writes.

use anyhow::{Result, ensure};
use multibee_log::Log;

use super::blocks::{block, blocks, place_of};
use super::{
    COUNT, Case, Dialer, Kind, Ours, SEED, State, Theirs, agree, check_blocks, meet, our_copy,
};

/// A byte must be found with no more blocks than this.
const SEEK_BLOCKS_MAX: u64 = 10;

/// Something that we do with a log of theirs.
type Scenario = fn(Pair) -> Result<()>;

pub(super) fn cases(version: &'static str, dialer: Dialer) -> Vec<Case> {
    let [manifest, compat] = Kind::ALL;
    let scenarios: [(&str, Kind, Scenario); 9] = [
        ("download", manifest, full),
        ("download", compat, full),
        ("get single blocks of", manifest, sparse),
        ("get a range of", manifest, range),
        ("seek in", manifest, seek),
        ("follow", manifest, follow),
        ("follow cuts of", manifest, cut),
        ("follow cuts of", compat, cut),
        ("do without cleared blocks of", manifest, clear),
    ];
    let case = |(what, kind, scenario): (&str, Kind, Scenario)| {
        let (dial, kind_name) = (dialer.name(), kind.name());
        Case::new(
            format!("we {what} a {kind_name} log of hypercore {version}, {dial}"),
            move || scenario(Pair::start(version, dialer, kind)?),
        )
    };
    scenarios.into_iter().map(case).collect()
}

/// Their log, and our copy of it.
struct Pair {
    theirs: Theirs,
    ours: Ours,
    log: Log,
}

impl Pair {
    /// Connected, and the length known; no block is wanted.
    fn start(version: &str, dialer: Dialer, kind: Kind) -> Result<Self> {
        let mut theirs = Theirs::start(version)?;
        theirs.write("log", SEED, kind)?;
        let state = theirs.append("log", &blocks(0, 0..COUNT))?;
        let log = our_copy(state.log_key()?)?;
        let mut ours = Ours::new()?;
        ours.add(&log);
        meet(&mut ours, &mut theirs, dialer)?;
        ours.reach(&log, COUNT, 0)?;
        agree(&log, &state)?;
        Ok(Self { theirs, ours, log })
    }

    fn want_all(&self) {
        self.ours.with(|replicator| replicator.want_all(&self.log.key()));
    }

    /// Waits until we have all of a log as it is there now.
    fn catch_up(&mut self, state: &State) -> Result<()> {
        self.ours.reach(&self.log, state.length, state.fork)?;
        self.ours.hold(&self.log, &[0..state.length])?;
        agree(&self.log, state)
    }

    fn finish(self) -> Result<()> {
        self.theirs.finish()
    }
}

fn full(mut pair: Pair) -> Result<()> {
    pair.want_all();
    pair.ours.hold(&pair.log, &[0..COUNT])?;
    check_blocks(&pair.log, 0, 0..COUNT)?;
    pair.finish()
}

fn sparse(mut pair: Pair) -> Result<()> {
    for seq in [3, COUNT - 1, 77] {
        pair.ours.fetch(&pair.log, seq..seq + 1)?;
        check_blocks(&pair.log, 0, seq..seq + 1)?;
    }
    ensure!(pair.ours.stored() == 3, "{} blocks came", pair.ours.stored());
    pair.finish()
}

fn range(mut pair: Pair) -> Result<()> {
    pair.ours.fetch(&pair.log, 50..120)?;
    check_blocks(&pair.log, 0, 50..120)?;
    let held = pair.log.held(0..COUNT);
    ensure!(held == [50..120], "we hold {held:?}");
    pair.finish()
}

fn seek(mut pair: Pair) -> Result<()> {
    let size = pair.log.byte_len();
    for byte in [0, 7777, size / 2, size - 1] {
        let place = pair.ours.seek(&pair.log, byte)?;
        ensure!(place == place_of(byte), "byte {byte} was found at {place:?}");
    }
    let place = pair.ours.seek(&pair.log, size)?;
    ensure!(place == (COUNT, 0), "the end was found at {place:?}");
    ensure!(pair.ours.stored() <= SEEK_BLOCKS_MAX, "{} blocks came", pair.ours.stored());
    pair.finish()
}

fn follow(mut pair: Pair) -> Result<()> {
    pair.want_all();
    let mut length = COUNT;
    for count in [1, 40, 1] {
        let state = pair.theirs.append("log", &blocks(0, length..length + count))?;
        length += count;
        pair.catch_up(&state)?;
    }
    check_blocks(&pair.log, 0, 0..length)?;
    pair.finish()
}

/// A cut that new blocks follow at once, one that nothing follows, and one of a copy with holes.
fn cut(mut pair: Pair) -> Result<()> {
    pair.ours.fetch(&pair.log, 30..50)?;
    let cut = pair.theirs.truncate("log", 40)?;
    pair.ours.reach(&pair.log, cut.length, cut.fork)?;
    agree(&pair.log, &cut)?;
    check_blocks(&pair.log, 0, 30..40)?;

    pair.want_all();
    let state = pair.theirs.append("log", &blocks(1, 40..90))?;
    pair.catch_up(&state)?;
    pair.theirs.truncate("log", 60)?;
    let state = pair.theirs.append("log", &blocks(2, 60..COUNT))?;
    ensure!(state.fork == 2, "the fork is {}", state.fork);
    pair.catch_up(&state)?;
    check_blocks(&pair.log, 0, 0..40)?;
    check_blocks(&pair.log, 1, 40..60)?;
    check_blocks(&pair.log, 2, 60..COUNT)?;
    pair.finish()
}

/// They clear blocks before we ask for any and later, and we clear some that we then fetch again.
fn clear(mut pair: Pair) -> Result<()> {
    pair.theirs.clear("log", 10..20)?;
    // What is told after the clear arrives after it.
    let state = pair.theirs.append("log", &[block(0, COUNT)])?;
    pair.ours.reach(&pair.log, state.length, 0)?;
    pair.want_all();
    pair.ours.hold(&pair.log, &[0..10, 20..state.length])?;
    ensure!(pair.log.held(10..20).is_empty(), "cleared blocks came");

    pair.ours.clear(&pair.log, 30..40)?;
    ensure!(pair.log.held(30..40).is_empty(), "our blocks were not cleared");
    pair.theirs.clear("log", 100..110)?;
    pair.ours.fetch(&pair.log, 30..40)?;
    check_blocks(&pair.log, 0, 20..state.length)?;
    agree(&pair.log, &pair.theirs.state("log")?)?;
    pair.finish()
}
