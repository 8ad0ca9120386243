//! W7: telling the difference between two versions of a tree.

use std::fs;

use anyhow::{Context, Result, ensure};
use multibee_btree::{Bee, BeeOptions, RangeOptions};
use multibee_log::{FileStorage, Log, LogOptions};

use super::{Plan, PutBatch, Workload};
use crate::bench::data;
use crate::bench::disk::DiskUse;
use crate::bench::entries::PASSES;
use crate::bench::job::{Job, Kind};
use crate::bench::peer::Peer;
use crate::bench::record::{Record, Title};
use crate::bench::store::{Layer, Store};
use crate::bench::task::Task;
use crate::bench::usage::Meter;
use crate::bench::work::Work;

pub(super) const PLAN: Plan = Plan::of(Workload::W7, jobs);

fn jobs() -> Vec<Job> {
    vec![Job::Overwrite, Job::Diff]
}

/// Makes the second version.
pub(in crate::bench) struct Overwrite;

impl Kind for Overwrite {
    fn workload(&self) -> Workload {
        Workload::W7
    }

    fn name(&self) -> String {
        "overwrite".to_owned()
    }

    fn source(&self) -> Option<Job> {
        Some(PutBatch::source(Layer::Tree))
    }

    fn full_n(&self) -> u32 {
        CHANGES
    }

    fn at_peer(&self, peer: Peer) -> Option<Work> {
        peer.is_tree().then_some(Work::new("W7-overwrite", 1))
    }

    fn run(&self, task: &Task) -> Result<Vec<Record>> {
        overwrite(task)
    }
}

/// Goes through what differs.
pub(in crate::bench) struct Diff;

impl Kind for Diff {
    fn workload(&self) -> Workload {
        Workload::W7
    }

    fn name(&self) -> String {
        "diff".to_owned()
    }

    fn source(&self) -> Option<Job> {
        Some(Job::Overwrite)
    }

    fn full_n(&self) -> u32 {
        CHANGES
    }

    fn at_peer(&self, peer: Peer) -> Option<Work> {
        peer.is_tree().then_some(Work::new("W7", 1))
    }

    fn run(&self, task: &Task) -> Result<Vec<Record>> {
        diff(task)
    }
}

/// Makes a copy of W4's tree, in which one batch overwrites one entry of each hundred.
fn overwrite(task: &Task) -> Result<Vec<Record>> {
    fs::create_dir_all(task.folder())?;
    for file in fs::read_dir(task.source_folder())? {
        let from = file?.path();
        fs::copy(&from, task.folder().join(from.file_name().unwrap_or_default()))?;
    }
    let keys = data::keys(task.population());
    let (changed, values) = data::changes(task.population());
    // A copied log is written only by one who says that it has taken the place of the other.
    let log = Log::adopt(FileStorage::open(task.folder())?, LogOptions::default())?;
    let bee = Bee::open(log, BeeOptions::default())?;
    let meter = Meter::start();
    bee.put_all(changed.iter().zip(0..).map(|(key, value)| (keys.get(*key), values.share(value))))?;
    let span = meter.stop();
    drop(bee);
    let disk = DiskUse::of(&task.folder())?;
    let title = Title { variant: "overwrite", durability: "immediate", unit: "puts/s" };
    Ok(vec![Record::new(task, &title, span, disk)])
}

/// Tells what differs between the version before that batch and the one after it.
fn diff(task: &Task) -> Result<Vec<Record>> {
    let folder = task.source_folder();
    let population = task.n() * 100;
    let (keys, before) = (data::keys(population), data::values(population));
    let (changed, after) = data::changes(population);
    let mut expected: Vec<_> = changed
        .iter()
        .zip(after.iter())
        .map(|(number, after)| (keys.get(*number), before.get(*number), after))
        .collect();
    expected.sort_unstable();

    let bee: Bee = Store::open(&folder)?;
    let pass = || {
        let meter = Meter::start();
        let now = bee.snapshot()?;
        let then = bee.checkout(now.version() - u64::from(task.n()))?;
        let mut rest = expected.iter();
        for change in now.diff(&then, RangeOptions::default())? {
            let change = change?;
            let (key, before, after) = rest.next().context("more changes than were made")?;
            ensure!(change.key() == key, "another key has changed");
            let [left, right] = [change.left, change.right].map(|entry| entry?.value);
            ensure!(left.as_deref() == Some(after), "the new value is another one");
            ensure!(right.as_deref() == Some(before), "the old value is another one");
        }
        ensure!(rest.len() == 0, "{} changes are missing", rest.len());
        Ok(meter.stop())
    };
    let spans = [pass()?, pass()?];
    drop(bee);
    let disk = DiskUse::of(&folder)?;
    let record = |(variant, span)| {
        Record::new(task, &Title { variant, durability: "read", unit: "changes/s" }, span, disk)
    };
    Ok(PASSES.into_iter().zip(spans).map(record).collect())
}

/// Entries that differ.
const CHANGES: u32 = 1_000;
