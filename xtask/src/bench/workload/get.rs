//! W5: getting entries at random.

use anyhow::{Context, Result, ensure};
use multibee::Multibee;
use multibee_btree::Bee;
use serde::{Deserialize, Serialize};

use super::{Plan, PutBatch, Workload};
use crate::bench::data;
use crate::bench::entries::{self, read_twice};
use crate::bench::job::{Job, Kind};
use crate::bench::peer::Peer;
use crate::bench::record::Record;
use crate::bench::store::{Layer, Store};
use crate::bench::task::Task;
use crate::bench::usage::Meter;
use crate::bench::work::Work;

pub(super) const PLAN: Plan = Plan { theirs: entries::theirs_read, ..Plan::of(Workload::W5, jobs) };

fn jobs() -> Vec<Job> {
    Layer::BOTH.map(|layer| Job::Get(Get { layer })).to_vec()
}

/// Gets, one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::bench) struct Get {
    pub(in crate::bench) layer: Layer,
}

impl Kind for Get {
    fn workload(&self) -> Workload {
        Workload::W5
    }

    fn name(&self) -> String {
        self.layer.to_string()
    }

    fn source(&self) -> Option<Job> {
        Some(PutBatch::source(self.layer))
    }

    fn full_n(&self) -> u32 {
        50_000
    }

    fn at_peer(&self, peer: Peer) -> Option<Work> {
        (self.layer == Layer::Tree && peer.is_store()).then_some(Work::new("W5", 1))
    }

    fn run(&self, task: &Task) -> Result<Vec<Record>> {
        match self.layer {
            Layer::Tree => get::<Bee>(task, self.layer),
            Layer::Database => get::<Multibee>(task, self.layer),
        }
    }
}

pub(super) fn get<S: Store>(task: &Task, layer: Layer) -> Result<Vec<Record>> {
    let population = task.population();
    let (keys, values) = (data::keys(population), data::values(population));
    let indexes = data::indexes(task.n(), population);
    let pass = |store: &S| {
        let meter = Meter::start();
        for &index in &indexes {
            let value = store.get(keys.get(index))?.context("an entry is missing")?;
            ensure!(value == values.get(index), "an entry has the value of another");
        }
        Ok(meter.stop())
    };
    read_twice(task, layer, "gets/s", pass)
}
