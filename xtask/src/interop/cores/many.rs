//! Several logs on one connection, with Hypercores and with a Corestore; and what only version 11
//! does.

use anyhow::{Result, ensure};
use multibee_log::Log;

use super::blocks::{block, blocks};
use super::{
    COUNT, Case, Dialer, Kind, Ours, SEED, State, Theirs, agree, check_blocks, meet, our_copy,
    our_log,
};

/// How there are cores on the other side.
#[derive(Clone, Copy)]
enum Cores {
    /// By themselves, of a version.
    Of(&'static str),
    /// In a Corestore.
    Stored,
}

impl Cores {
    fn start(self) -> Result<Theirs> {
        match self {
            Self::Of(version) => Theirs::start(version),
            Self::Stored => Theirs::with_store(),
        }
    }
}

pub(super) fn cases(version: &'static str, dialer: Dialer) -> Vec<Case> {
    let dial = dialer.name();
    let mut cases = vec![Case::new(
        format!("four logs go both ways with hypercore {version}, {dial}"),
        move || both_ways(Cores::Of(version), dialer),
    )];
    if version == "11" {
        cases.push(Case::new(
            format!("four logs go both ways with a corestore, {dial}"),
            move || both_ways(Cores::Stored, dialer),
        ));
        cases.push(Case::new(format!("hypercore 11 takes what we push, {dial}"), move || {
            push(dialer)
        }));
        if matches!(dialer, Dialer::We) {
            cases.push(Case::new("a corestore opens a core that we ask for", on_demand));
        }
    }
    cases
}

/// Two logs of theirs and two of ours; the last one is opened on a connection that is there.
fn both_ways(cores: Cores, dialer: Dialer) -> Result<()> {
    let mut theirs = cores.start()?;
    let mut ours = Ours::new()?;
    let mut copies = Vec::new();
    for (place, kind) in (0..).zip(Kind::ALL) {
        let copy = our_copy(write(&mut theirs, place, kind)?.log_key()?)?;
        ours.add(&copy);
        ours.with(|replicator| replicator.want_all(&copy.key()));
        copies.push(copy);
    }
    let [early, late] = [(2, Kind::Manifest), (3, Kind::Compat)];
    let log = our_log(seed(early.0), early.1, early.0)?;
    ours.add(&log);
    theirs.copy(&name(early.0), &log.key())?;
    meet(&mut ours, &mut theirs, dialer)?;
    read_by_them(&mut theirs, &log, early.0)?;

    let log = our_log(seed(late.0), late.1, late.0)?;
    ours.add(&log);
    theirs.copy(&name(late.0), &log.key())?;
    read_by_them(&mut theirs, &log, late.0)?;
    for (place, copy) in (0..).zip(&copies) {
        ours.reach(copy, COUNT, 0)?;
        ours.hold(copy, &[0..COUNT])?;
        check_blocks(copy, place, 0..COUNT)?;
        agree(copy, &theirs.state(&name(place))?)?;
    }
    theirs.finish()
}

/// They download a log of ours.
fn read_by_them(theirs: &mut Theirs, log: &Log, place: u64) -> Result<()> {
    let name = name(place);
    theirs.reach(&name, COUNT, 0)?;
    let state = theirs.download(&name, 0..COUNT)?;
    agree(log, &state)?;
    ensure!(state.held.into_iter().eq(0..COUNT), "blocks of {name} are missing there");
    for seq in [0, COUNT - 1] {
        ensure!(theirs.get(&name, seq)? == block(place, seq), "block {seq} of {name} differs");
    }
    Ok(())
}

/// A store that has a core on its disk only opens it when we offer to replicate it.
fn on_demand() -> Result<()> {
    let mut theirs = Theirs::with_store()?;
    let state = write(&mut theirs, 0, Kind::Manifest)?;
    theirs.close(&name(0))?;
    let copy = our_copy(state.log_key()?)?;
    let mut ours = Ours::new()?;
    ours.add(&copy);
    ours.with(|replicator| replicator.want_all(&copy.key()));
    meet(&mut ours, &mut theirs, Dialer::We)?;
    ours.reach(&copy, COUNT, 0)?;
    ours.hold(&copy, &[0..COUNT])?;
    agree(&copy, &state)?;
    check_blocks(&copy, 0, 0..COUNT)?;
    theirs.finish()
}

/// Blocks arrive there that nobody asked for.
fn push(dialer: Dialer) -> Result<()> {
    let log = our_log(SEED, Kind::Manifest, 0)?;
    let mut ours = Ours::new()?;
    ours.add(&log);
    let mut theirs = Theirs::start("11")?;
    theirs.pushed_copy("log", &log.key())?;
    meet(&mut ours, &mut theirs, dialer)?;
    theirs.reach("log", COUNT, 0)?;
    // We know their length by the time that we answer this.
    ensure!(theirs.get("log", 0)? == block(0, 0), "block 0 differs");
    for seq in COUNT..COUNT + 3 {
        ours.append(&log, &blocks(0, seq..seq + 1))?;
        let state = theirs.reach("log", seq + 1, 0)?;
        agree(&log, &state)?;
        let expected = (0..1).chain(COUNT..seq + 1);
        ensure!(expected.eq(state.held.iter().copied()), "they hold {:?}", state.held);
        ensure!(theirs.get("log", seq)? == block(0, seq), "block {seq} differs");
    }
    theirs.finish()
}

/// A log of theirs.
fn write(theirs: &mut Theirs, place: u64, kind: Kind) -> Result<State> {
    theirs.write(&name(place), seed(place), kind)?;
    theirs.append(&name(place), &blocks(place, 0..COUNT))
}

fn name(place: u64) -> String {
    format!("log {place}")
}

/// Another one for each log.
fn seed(place: u64) -> [u8; 32] {
    let mut seed = SEED;
    seed[..8].copy_from_slice(&place.to_le_bytes());
    seed
}
