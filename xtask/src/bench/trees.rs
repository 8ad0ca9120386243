//! Workloads on the tree alone: the difference between two versions, and a very large one.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use multibee_btree::{Bee, BeeOptions, RangeOptions};
use multibee_log::{FileStorage, Log, LogOptions};

use super::data;
use super::disk::DiskUse;
use super::entries::PASSES;
use super::job::{BATCH_OPS, Durability, Order, Task};
use super::record::{Record, Title};
use super::store::Store;
use super::usage::{Meter, rss_kib};

/// Entries after which the memory is told.
const MARKS: [(u32, &str); 3] =
    [(1_000_000, "rssKiB1M"), (5_000_000, "rssKiB5M"), (10_000_000, "rssKiB10M")];

/// W7's data: a copy of W4's tree, in which one batch overwrites one entry of each hundred.
pub(super) fn overwrite(task: &Task) -> Result<Vec<Record>> {
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

/// W7: what differs between the version before that batch and the one after it.
pub(super) fn diff(task: &Task) -> Result<Vec<Record>> {
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

/// Loads the tree of L3, in batches, and tells how much memory it takes on the way.
pub(super) fn load(task: &Task, order: Order) -> Result<Vec<Record>> {
    let bee = Bee::create(&task.folder(), Durability::Buffered)?;
    let mut entries = data::EntryStream::new();
    let mut marks = Vec::new();
    let before = rss_kib();
    let meter = Meter::start();
    for start in (0..task.n()).step_by(BATCH_OPS as usize) {
        let (keys, values) = entries.next(BATCH_OPS);
        let mut batch = bee.batch()?;
        for index in 0..BATCH_OPS {
            let ascending = ascending_key(start + index);
            let key = match order {
                Order::Ascending => &ascending,
                Order::Random => keys.get(index),
            };
            batch.put(key, Some(values.share(index)), Bytes::new())?;
        }
        batch.flush()?;
        let done = start + BATCH_OPS;
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

/// L3: opens that tree in a fresh process, and gets one entry. Before that it is opened as the
/// writer left it, which may have to recover what was not flushed; that time is told beside.
pub(super) fn open(task: &Task, order: Order) -> Result<Vec<Record>> {
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
