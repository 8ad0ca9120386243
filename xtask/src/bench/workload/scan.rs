//! W6: scanning all entries.

use anyhow::Result;
use multibee::Multibee;
use multibee_btree::Bee;
use serde::{Deserialize, Serialize};

use super::{Plan, PutBatch, Workload};
use crate::bench::data;
use crate::bench::entries::{self, compare, read_twice};
use crate::bench::job::{Job, Kind};
use crate::bench::peer::Peer;
use crate::bench::record::Record;
use crate::bench::store::{Layer, Store};
use crate::bench::task::Task;
use crate::bench::usage::Meter;
use crate::bench::work::Work;

pub(super) const PLAN: Plan = Plan { theirs: entries::theirs_read, ..Plan::of(Workload::W6, jobs) };

fn jobs() -> Vec<Job> {
    Layer::BOTH.map(|layer| Job::Scan(Scan { layer })).to_vec()
}

/// Goes through all entries in the order of their keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::bench) struct Scan {
    pub(in crate::bench) layer: Layer,
}

impl Kind for Scan {
    fn workload(&self) -> Workload {
        Workload::W6
    }

    fn name(&self) -> String {
        self.layer.to_string()
    }

    fn source(&self) -> Option<Job> {
        Some(PutBatch::source(self.layer))
    }

    fn full_n(&self) -> u32 {
        100_000
    }

    fn at_peer(&self, peer: Peer) -> Option<Work> {
        (self.layer == Layer::Tree && peer.is_store()).then_some(Work::new("W6", 1))
    }

    fn run(&self, task: &Task) -> Result<Vec<Record>> {
        match self.layer {
            Layer::Tree => scan::<Bee>(task, self.layer),
            Layer::Database => scan::<Multibee>(task, self.layer),
        }
    }
}

fn scan<S: Store>(task: &Task, layer: Layer) -> Result<Vec<Record>> {
    let expected = data::sorted_entries(task.population());
    let pass = |store: &S| {
        let meter = Meter::start();
        compare(store, &expected)?;
        Ok(meter.stop())
    };
    read_twice(task, layer, "entries/s", pass)
}
