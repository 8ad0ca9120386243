//! M3: opening a database in which much was said about devices.

use std::time::Duration;

use anyhow::{Result, ensure};
use multibee::{Durability, Home, KeyPair, Log, LogKey, LogOptions, Multibee, Options};
use multibee_log::MemoryStorage;
use serde::{Deserialize, Serialize};

use super::{Plan, Workload};
use crate::bench::disk::DiskUse;
use crate::bench::job::{Job, Kind};
use crate::bench::record::{Record, Title};
use crate::bench::task::Task;
use crate::bench::usage::{Meter, Span};

pub(super) const PLAN: Plan = Plan::of(Workload::M3, jobs);

fn jobs() -> Vec<Job> {
    let kinds = [Said::Names, Said::Devices].into_iter();
    let each = kinds.flat_map(|said| [4, 1000].map(|count| OpenStated { said, count }));
    each.map(Job::OpenStated).collect()
}

/// Opens a database with so many statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::bench) struct OpenStated {
    said: Said,
    count: u32,
}

/// What they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Said {
    /// Names of two devices, again and again.
    Names,
    /// That a device is added, and then that it is removed, one after the other.
    Devices,
}

impl Kind for OpenStated {
    fn workload(&self) -> Workload {
        Workload::M3
    }

    fn name(&self) -> String {
        let Self { said, count } = self;
        match said {
            Said::Names => format!("{count}-names"),
            Said::Devices => format!("{count}-devices"),
        }
    }

    fn full_n(&self) -> u32 {
        50
    }

    fn run(&self, task: &Task) -> Result<Vec<Record>> {
        open(*self, task)
    }
}

fn open(kind: OpenStated, task: &Task) -> Result<Vec<Record>> {
    let home = Home::dir(task.folder());
    state(kind, &Multibee::create(home.clone(), options())?)?;
    // What was left by the writer is put in its place.
    drop(Multibee::open(home.clone(), options())?);
    let mut sum = Span { wall: Duration::ZERO, cpu: Some(Duration::ZERO) };
    for _ in 0..task.n() {
        let meter = Meter::start();
        let db = Multibee::open(home.clone(), options())?;
        let span = meter.stop();
        sum.wall += span.wall;
        sum.cpu = sum.cpu.zip(span.cpu).map(|(sum, one)| sum + one);
        drop(db);
    }
    let variant = kind.name();
    let title = Title { variant: &variant, durability: "read", unit: "opens/s" };
    let record = Record::new(task, &title, sum, DiskUse::of(&task.folder())?);
    let devices = Multibee::open(home, options())?.devices()?.len();
    Ok(vec![record.and("statements", kind.count).and("devices", devices)])
}

/// Says what is to be said.
fn state(kind: OpenStated, db: &Multibee) -> Result<()> {
    db.put("key", "value")?;
    match kind.said {
        Said::Names => {
            let phone = stranger()?;
            db.add_replica(phone)?;
            for number in 1..kind.count {
                let key = if number % 2 == 0 { db.key() } else { phone };
                db.rename(&key, format!("device {number}"))?;
            }
            ensure!(db.devices()?.len() == 2, "there are two devices");
        }
        Said::Devices => {
            for _ in 0..kind.count / 2 {
                let phone = stranger()?;
                db.add_replica(phone)?;
                db.remove_replica(&phone)?;
            }
        }
    }
    Ok(())
}

/// The key of a device that is not there.
fn stranger() -> Result<LogKey> {
    Ok(Log::create(MemoryStorage::default(), KeyPair::generate(), LogOptions::default())?.key())
}

fn options() -> Options {
    Options { durability: Durability::Buffered, ..Options::default() }
}
