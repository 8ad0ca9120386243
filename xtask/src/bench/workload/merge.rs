//! M1, M2: merging what was downloaded, and opening what has become of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use multibee::{Durability, Home, LogKey, Multibee, Options};
use serde::{Deserialize, Serialize};

use super::{Plan, Workload};
use crate::bench::data::{self, EntryStream};
use crate::bench::disk::DiskUse;
use crate::bench::job::{Job, Kind};
use crate::bench::record::{Record, Title};
use crate::bench::task::Task;
use crate::bench::usage::{Meter, rss_kib};

pub(super) const PLAN: Plan = Plan::of(Workload::M1, jobs);
pub(super) const LARGE: Plan = Plan { is_large: true, ..Plan::of(Workload::M2, large_jobs) };

fn jobs() -> Vec<Job> {
    [1, 1000].map(|batch| Job::Merge(Merge { writers: 1, batch })).to_vec()
}

fn large_jobs() -> Vec<Job> {
    vec![Job::Merge(GROUP), Job::OpenGroup]
}

/// Whose data M2 opens.
const GROUP: Merge = Merge { writers: 5, batch: 1000 };

/// Merges what other devices wrote, so many changes in a commit. It is all here when the time
/// begins: nothing is downloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::bench) struct Merge {
    pub(in crate::bench) writers: u8,
    pub(in crate::bench) batch: u32,
}

impl Kind for Merge {
    fn workload(&self) -> Workload {
        if *self == GROUP { Workload::M2 } else { Workload::M1 }
    }

    fn name(&self) -> String {
        format!("{}-replicas-batch{}", self.writers, self.batch)
    }

    fn full_n(&self) -> u32 {
        if *self == GROUP { 1_000_000 } else { 100_000 }
    }

    fn run(&self, task: &Task) -> Result<Vec<Record>> {
        merge(*self, task)
    }
}

fn merge(kind: Merge, task: &Task) -> Result<Vec<Record>> {
    let home = home(&task.folder());
    let device = Multibee::create(Home::dir(&home), options())?;
    let mut stream = EntryStream::new();
    for number in 0..kind.writers {
        let folder = task.folder().join(format!("writer-{number}"));
        let each = task.n() / u32::from(kind.writers);
        let key = write(&folder, &mut stream, each, kind.batch)?;
        // So that its replica has a place.
        device.add_replica(key)?;
        let replica = home.join("replicas").join(key.discovery_key().to_string());
        hand_over(&folder.join("primary"), &replica)?;
    }
    drop(device);

    let meter = Meter::start();
    let device = Multibee::open(Home::dir(&home), options())?;
    let span = meter.stop();
    let status = device.status()?;
    ensure!(status.remaining == 0, "{} blocks are not merged", status.remaining);
    let scan = device.verify()?;
    ensure!(scan.keys == u64::from(task.n()), "there are {} keys", scan.keys);
    drop(device);
    let disk = DiskUse::of(&home)?;
    let variant = kind.name();
    let title = Title { variant: &variant, durability: "buffered", unit: "entries/s" };
    let record = Record::new(task, &title, span, disk).and_bytes_per_entry();
    Ok(vec![record.and("logBytes", status.bytes)])
}

/// Writes the next `count` entries into a database of another device.
fn write(folder: &Path, stream: &mut EntryStream, count: u32, batch: u32) -> Result<LogKey> {
    let writer = Multibee::create(Home::dir(folder), options())?;
    for _ in 0..count / batch {
        let (keys, values) = stream.next(batch);
        let mut changes = writer.batch();
        for (index, key) in (0..).zip(keys.iter()) {
            changes.put(key, values.share(index));
        }
        changes.commit()?;
    }
    Ok(writer.key())
}

/// Puts a log in the place of its empty replica, as if it had been downloaded.
fn hand_over(log: &Path, replica: &Path) -> Result<()> {
    for entry in fs::read_dir(log)? {
        let entry = entry?;
        // What only the writer has.
        if entry.file_name() != "key" && entry.file_name() != "instance" {
            let to = replica.join(entry.file_name());
            fs::copy(entry.path(), &to).with_context(|| format!("{}", to.display()))?;
        }
    }
    match fs::remove_file(replica.join("instance")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Opens that in a fresh process, and gets one entry.
pub(in crate::bench) struct OpenGroup;

impl Kind for OpenGroup {
    fn workload(&self) -> Workload {
        Workload::M2
    }

    fn name(&self) -> String {
        "open".to_owned()
    }

    fn source(&self) -> Option<Job> {
        Some(Job::Merge(GROUP))
    }

    fn full_n(&self) -> u32 {
        1
    }

    fn run(&self, task: &Task) -> Result<Vec<Record>> {
        open(task)
    }
}

fn open(task: &Task) -> Result<Vec<Record>> {
    let number = 77;
    let (keys, values) = (data::keys(number + 1), data::values(number + 1));
    let home = home(&task.source_folder());
    let open_and_get = || {
        let meter = Meter::start();
        let device = Multibee::open(Home::dir(&home), options())?;
        let start = Instant::now();
        let entry = device.get(keys.get(number))?.context("an entry is missing")?;
        let first_get = start.elapsed();
        ensure!(entry.value == values.get(number), "an entry has the value of another");
        anyhow::Ok((device, meter.stop(), first_get))
    };
    // As the one before has left it; then as it is when it was opened and closed in peace.
    let (device, as_left, _) = open_and_get()?;
    drop(device);
    let (device, span, first_get) = open_and_get()?;
    let rss = rss_kib();
    let replicas = device.devices()?.len() - 1;
    drop(device);
    let title = Title { variant: "open", durability: "read", unit: "opens/s" };
    let record = Record::new(task, &title, span, DiskUse::of(&home)?);
    Ok(vec![
        record
            .and("entries", task.population())
            .and("replicas", replicas)
            .and("rssKiB", rss)
            .and("firstGetUs", u64::try_from(first_get.as_micros())?)
            .and("asLeftUs", u64::try_from(as_left.wall.as_micros())?),
    ])
}

fn home(folder: &Path) -> PathBuf {
    folder.join("home")
}

fn options() -> Options {
    Options { durability: Durability::Buffered, ..Options::default() }
}
