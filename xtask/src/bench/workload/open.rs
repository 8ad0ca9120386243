//! W11: opening what holds 100,000 entries, until the first of them is read.

use anyhow::{Context, Result, ensure};
use multibee::Multibee;
use multibee_btree::Bee;
use serde::{Deserialize, Serialize};

use super::{Plan, PutBatch, Workload};
use crate::bench::data;
use crate::bench::disk::DiskUse;
use crate::bench::job::{Job, Kind};
use crate::bench::peer::Peer;
use crate::bench::record::{Record, Title};
use crate::bench::store::{Layer, Store};
use crate::bench::task::Task;
use crate::bench::usage::Meter;
use crate::bench::work::Work;

pub(super) const PLAN: Plan = Plan { theirs, ..Plan::of(Workload::W11, jobs) };

fn jobs() -> Vec<Job> {
    Layer::BOTH.map(|layer| Job::Open(Open { layer })).to_vec()
}

fn theirs(_: &str, _: &str) -> Option<String> {
    Some("open".to_owned())
}

/// Opens a store, and gets one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::bench) struct Open {
    pub(in crate::bench) layer: Layer,
}

impl Kind for Open {
    fn workload(&self) -> Workload {
        Workload::W11
    }

    fn name(&self) -> String {
        self.layer.to_string()
    }

    fn source(&self) -> Option<Job> {
        Some(PutBatch::source(self.layer))
    }

    fn full_n(&self) -> u32 {
        1
    }

    fn at_peer(&self, peer: Peer) -> Option<Work> {
        (self.layer == Layer::Tree && peer.is_store()).then_some(Work::new("W11", 1))
    }

    fn run(&self, task: &Task) -> Result<Vec<Record>> {
        match self.layer {
            Layer::Tree => open::<Bee>(task, self.layer),
            Layer::Database => open::<Multibee>(task, self.layer),
        }
    }
}

/// The entry that is read.
const NUMBER: u32 = 77;

pub(super) fn open<S: Store>(task: &Task, layer: Layer) -> Result<Vec<Record>> {
    let folder = task.source_folder();
    let (keys, values) = (data::keys(NUMBER + 1), data::values(NUMBER + 1));
    let meter = Meter::start();
    let store = S::open(&folder)?;
    let value = store.get(keys.get(NUMBER))?.context("an entry is missing")?;
    let span = meter.stop();
    ensure!(value == values.get(NUMBER), "an entry has the value of another");
    drop(store);
    let disk = DiskUse::of(&folder)?;
    let variant = layer.to_string();
    let title = Title { variant: &variant, durability: "read", unit: "opens/s" };
    Ok(vec![Record::new(task, &title, span, disk).and("entries", task.population())])
}
