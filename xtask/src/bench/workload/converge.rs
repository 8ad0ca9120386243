//! W10: devices that write at once until all hold the same, and one that comes back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use multibee_btree::{Bee, BeeOptions};
use multibee_log::{KeyPair, Log, LogOptions, MemoryStorage};
use serde::{Deserialize, Serialize};

use super::device::{Content, GroupDevice, Order, Wrote};
use super::group::{Ended, Group, now_us};
use super::{Plan, Workload};
use crate::bench::data::{self, KEY_LEN, VALUE_LEN};
use crate::bench::job::{Job, Kind};
use crate::bench::peer::Peer;
use crate::bench::record::{Record, Title};
use crate::bench::task::Task;
use crate::bench::usage::Span;
use crate::bench::work::Work;

pub(super) const PLAN: Plan = Plan::of(Workload::W10, jobs);

fn jobs() -> Vec<Job> {
    let converge = |(devices, batch)| Job::Converge(Converge { devices, batch });
    let mut jobs: Vec<_> = [(3, 50), (3, 1), (6, 50), (6, 1)].into_iter().map(converge).collect();
    jobs.push(Job::CatchUp);
    jobs
}

/// What each device writes.
const WRITES: u32 = 2500;

/// All write at once, so many changes in a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::bench) struct Converge {
    pub(in crate::bench) devices: u8,
    pub(in crate::bench) batch: u32,
}

impl Converge {
    fn device(self) -> GroupDevice {
        let Self { devices, batch } = self;
        GroupDevice { number: 0, devices, batch, n: u32::from(devices) * WRITES }
    }
}

impl Kind for Converge {
    fn workload(&self) -> Workload {
        Workload::W10
    }

    fn name(&self) -> String {
        format!("{}-devices-batch{}", self.devices, self.batch)
    }

    fn server(&self) -> Option<Job> {
        Some(Job::Device(self.device()))
    }

    fn full_n(&self) -> u32 {
        u32::from(self.devices) * WRITES
    }

    fn at_peer(&self, peer: Peer) -> Option<Work> {
        (peer == Peer::Autobase).then_some(Work::new("W10", self.batch))
    }

    fn run(&self, task: &Task) -> Result<Vec<Record>> {
        converge(*self, task)
    }
}

/// When things happened, in microseconds since 1970, and what was there.
struct Course {
    begun: u64,
    written: u64,
    converged: u64,
    compared: u64,
    wire_bytes: u64,
    entries: u64,
    ended: Ended,
}

pub(super) fn converge(kind: Converge, task: &Task) -> Result<Vec<Record>> {
    let course = course(kind, task)?;
    let devices = u64::from(kind.devices);
    let (receivers, user_bytes) = (devices - 1, u64::from(task.n()) * (KEY_LEN + VALUE_LEN) as u64);
    let tree_bytes = tree_bytes(kind, task.n() / u32::from(kind.devices))?;
    let per_receiver = |bytes: u64| rounded(course.wire_bytes as f64 / (bytes * receivers) as f64);
    let ms = |from: u64, to: u64| rounded(to.saturating_sub(from) as f64 / 1e3);
    let total = Duration::from_micros(course.converged.saturating_sub(course.begun));
    // Of all devices, and until they were closed.
    let cpu = course.ended.cpu_ms.map(|ms| Duration::from_secs_f64(ms / 1e3));
    let span = Span { wall: total, cpu };
    let variant = kind.name();
    let title = Title { variant: &variant, durability: "buffered", unit: "writes/s" };
    let mut record = Record::new(task, &title, span, course.ended.disk);
    record.peak_rss_kib = course.ended.rss_kib;
    let record = course.ended.of_its_peer(task, record);
    let disk = course.ended.disk.bytes / devices;
    Ok(vec![
        record
            .and("convergeMs", ms(course.written, course.converged))
            .and("settleMs", ms(course.converged, course.compared))
            .and("totalMs", ms(course.begun, course.converged))
            .and("writeMs", ms(course.begun, course.written))
            .and("wireBytes", course.wire_bytes)
            .and("wireAmp", rounded(course.wire_bytes as f64 / user_bytes as f64))
            .and("wireAmpPerReceiver", per_receiver(user_bytes))
            .and("wirePerTreeByte", per_receiver(tree_bytes))
            .and("treeBytes", tree_bytes)
            .and("same", true)
            .and("entries", course.entries)
            .and("diskPerDevice", disk)
            .and("diskPerUserByte", rounded(disk as f64 / user_bytes as f64)),
    ])
}

fn course(kind: Converge, task: &Task) -> Result<Course> {
    let mut group = Group::start(task, kind.device())?;
    let before = bytes_sent(&group.read()?);
    let wrote = group.write()?;
    let begun = wrote.iter().map(|wrote| wrote.begun_us).min().context("nobody wrote")?;
    let written = wrote.iter().map(|wrote| wrote.ended_us).max().context("nobody wrote")?;
    // One that has come early looks again when it is asked.
    let converged = group.wait(lengths(&wrote))?.max(written);
    let contents = group.read()?;
    let compared = now_us()?;
    let first = contents.first().context("the group is empty")?;
    let same =
        contents.iter().all(|one| (&one.digest, one.entries) == (&first.digest, first.entries));
    ensure!(same, "devices hold different data: {contents:?}");
    let shared = task.n() / u32::from(kind.devices) / 5;
    let expected = task.n() - (u32::from(kind.devices) - 1) * shared;
    ensure!(first.entries == u64::from(expected), "there are {} entries", first.entries);
    let wire_bytes = bytes_sent(&contents) - before;
    let entries = first.entries;
    Ok(Course { begun, written, converged, compared, wire_bytes, entries, ended: group.end()? })
}

fn lengths(wrote: &[Wrote]) -> Vec<u64> {
    wrote.iter().map(|wrote| wrote.length).collect()
}

fn bytes_sent(contents: &[Content]) -> u64 {
    contents.iter().map(|content| content.bytes_sent).sum()
}

/// What plain trees take for the same: bytes of all blocks when each device puts its writes, in the
/// same batches, into a tree of its own, without anything of ours in it.
fn tree_bytes(kind: Converge, each: u32) -> Result<u64> {
    (0..kind.devices)
        .map(|device| plain_tree_bytes(&data::device_writes(device, each), kind.batch))
        .sum()
}

fn plain_tree_bytes(writes: &[(Bytes, Bytes)], batch: u32) -> Result<u64> {
    let keys = KeyPair::from_seed([1; 32]);
    let log = Log::create(MemoryStorage::default(), keys, LogOptions::default())?;
    let bee = Bee::open(log, BeeOptions::default())?;
    for writes in writes.chunks(usize::try_from(batch)?) {
        let mut batch = bee.batch()?;
        for (key, value) in writes {
            batch.put(key, Some(value.clone()), Bytes::new())?;
        }
        batch.flush()?;
    }
    Ok(bee.log().byte_len())
}

/// One of three devices is away while another one writes, and comes back.
pub(in crate::bench) struct CatchUp;

impl CatchUp {
    const DEVICE: GroupDevice = GroupDevice { number: 0, devices: 3, batch: 100, n: 10_000 };
}

impl Kind for CatchUp {
    fn workload(&self) -> Workload {
        Workload::W10
    }

    fn name(&self) -> String {
        "catchup".to_owned()
    }

    fn server(&self) -> Option<Job> {
        Some(Job::Device(Self::DEVICE))
    }

    fn full_n(&self) -> u32 {
        Self::DEVICE.n
    }

    fn at_peer(&self, peer: Peer) -> Option<Work> {
        (peer == Peer::Autobase).then_some(Work::new("W10", Self::DEVICE.batch))
    }

    fn run(&self, task: &Task) -> Result<Vec<Record>> {
        catch_up(task)
    }
}

fn catch_up(task: &Task) -> Result<Vec<Record>> {
    let mut group = Group::start(task, CatchUp::DEVICE)?;
    ensure!(group.one::<bool>(2, &Order::Leave)?, "device 2 stays");
    let wrote: Wrote = group.one(0, &Order::WriteMissed)?;
    let all = vec![wrote.length, 0, 0];
    group.one::<u64>(1, &Order::Await(all.clone()))?;
    let before: Content = group.one(2, &Order::Read)?;
    let took: u64 = group.one(2, &Order::Return(all))?;
    let contents = group.read()?;
    let same = contents.iter().all(|one| one.entries == u64::from(task.n()));
    ensure!(same && before.entries == 0, "devices hold {contents:?}");
    let ended = group.end()?;
    let span = Span { wall: Duration::from_micros(took), cpu: None };
    let title = Title { variant: "catchup", durability: "buffered", unit: "entries/s" };
    let mut record = Record::new(task, &title, span, ended.disk);
    record.peak_rss_kib = ended.rss_kib;
    let record = ended.of_its_peer(task, record);
    Ok(vec![record.and("writeMs", rounded((wrote.ended_us - wrote.begun_us) as f64 / 1e3))])
}

fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}
