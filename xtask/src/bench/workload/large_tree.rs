//! L3: loading a very large tree, and opening it.

use std::fmt;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use multibee_btree::Bee;
use serde::{Deserialize, Serialize};

use super::{Plan, PutBatch, Workload};
use crate::bench::data;
use crate::bench::disk::DiskUse;
use crate::bench::job::{Job, Kind};
use crate::bench::record::{Record, Title};
use crate::bench::store::{Durability, Store};
use crate::bench::task::Task;
use crate::bench::usage::{Meter, rss_kib};

pub(super) const PLAN: Plan = Plan { is_large: true, ..Plan::of(Workload::L3, jobs) };

fn jobs() -> Vec<Job> {
    let both = |order| [Job::LoadLarge(LoadLarge { order }), Job::OpenLarge(OpenLarge { order })];
    [Order::Ascending, Order::Random].into_iter().flat_map(both).collect()
}

/// The order in which keys come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::bench) enum Order {
    Ascending,
    Random,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ascending => "ascending",
            Self::Random => "random",
        })
    }
}

/// Loads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::bench) struct LoadLarge {
    pub(in crate::bench) order: Order,
}

impl Kind for LoadLarge {
    fn workload(&self) -> Workload {
        Workload::L3
    }

    fn name(&self) -> String {
        format!("load-{}", self.order)
    }

    fn full_n(&self) -> u32 {
        match self.order {
            Order::Ascending => 10_000_000,
            // Beyond the caches each put waits for several reads: ten times this takes half an hour.
            Order::Random => 1_000_000,
        }
    }

    fn run(&self, task: &Task) -> Result<Vec<Record>> {
        load(task, self.order)
    }
}

/// Opens it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::bench) struct OpenLarge {
    pub(in crate::bench) order: Order,
}

impl Kind for OpenLarge {
    fn workload(&self) -> Workload {
        Workload::L3
    }

    fn name(&self) -> String {
        format!("open-{}", self.order)
    }

    fn source(&self) -> Option<Job> {
        Some(Job::LoadLarge(LoadLarge { order: self.order }))
    }

    fn full_n(&self) -> u32 {
        1
    }

    fn run(&self, task: &Task) -> Result<Vec<Record>> {
        open(task, self.order)
    }
}

/// Loads the tree in batches, and tells how much memory it takes on the way.
fn load(task: &Task, order: Order) -> Result<Vec<Record>> {
    let bee = Bee::create(&task.folder(), Durability::Buffered)?;
    let mut entries = data::EntryStream::new();
    let mut marks = Vec::new();
    let before = rss_kib();
    let meter = Meter::start();
    for start in (0..task.n()).step_by(PutBatch::OPS as usize) {
        let (keys, values) = entries.next(PutBatch::OPS);
        let mut batch = bee.batch()?;
        for index in 0..PutBatch::OPS {
            let ascending = ascending_key(start + index);
            let key = match order {
                Order::Ascending => &ascending,
                Order::Random => keys.get(index),
            };
            batch.put(key, Some(values.share(index)), Bytes::new())?;
        }
        batch.flush()?;
        let done = start + PutBatch::OPS;
        if let Some((_, name)) = MARKS.iter().find(|(mark, _)| *mark == done) {
            marks.push((*name, rss_kib()));
            eprintln!("{done} entries, {} KiB", rss_kib().unwrap_or_default());
        }
    }
    let span = meter.stop();
    let log_bytes = bee.log().byte_len();
    drop(bee);
    let disk = DiskUse::of(&task.folder())?;
    let variant = format!("load-{order}");
    let title = Title { variant: &variant, durability: "buffered", unit: "puts/s" };
    let mut record = Record::new(task, &title, span, disk)
        .and("logBytes", log_bytes)
        .and("rssKiBBefore", before)
        .and_bytes_per_entry();
    for (name, rss) in marks {
        record = record.and(name, rss);
    }
    Ok(vec![record])
}

/// Opens that tree in a fresh process, and gets one entry. Before that it is opened as the
/// writer left it, which may have to recover what was not flushed; that time is told beside.
fn open(task: &Task, order: Order) -> Result<Vec<Record>> {
    let number = 77;
    let (keys, values) = (data::keys(number + 1), data::values(number + 1));
    let ascending = ascending_key(number);
    let key = match order {
        Order::Ascending => &ascending,
        Order::Random => keys.get(number),
    };
    let open_and_get = || {
        let meter = Meter::start();
        let bee: Bee = Store::open(&task.source_folder())?;
        let start = Instant::now();
        let value = Store::get(&bee, key)?.context("an entry is missing")?;
        let first_get = start.elapsed();
        let span = meter.stop();
        ensure!(value == values.get(number), "an entry has the value of another");
        anyhow::Ok((bee, span, first_get))
    };
    let (bee, as_left, _) = open_and_get()?;
    bee.log().flush()?;
    drop(bee);
    let (bee, span, first_get) = open_and_get()?;
    drop(bee);
    let disk = DiskUse::of(&task.source_folder())?;
    let variant = format!("open-{order}");
    let title = Title { variant: &variant, durability: "read", unit: "opens/s" };
    let record = Record::new(task, &title, span, disk)
        .and("entries", task.population())
        .and("firstGetUs", first_get.as_micros() as u64)
        .and("asLeftUs", as_left.wall.as_micros() as u64);
    Ok(vec![record])
}

/// Keys of 16 bytes in ascending order.
fn ascending_key(number: u32) -> [u8; data::KEY_LEN] {
    u128::from(number).to_be_bytes()
}

/// Entries after which the memory is told.
const MARKS: [(u32, &str); 3] =
    [(1_000_000, "rssKiB1M"), (5_000_000, "rssKiB5M"), (10_000_000, "rssKiB10M")];
