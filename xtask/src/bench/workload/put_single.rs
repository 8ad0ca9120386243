//! W3: putting entries one by one.

use anyhow::Result;
use multibee::Multibee;
use multibee_btree::Bee;
use serde::{Deserialize, Serialize};

use super::{Plan, Workload};
use crate::bench::data;
use crate::bench::entries::{self, finish_writing};
use crate::bench::job::{Job, Kind};
use crate::bench::peer::Peer;
use crate::bench::record::Record;
use crate::bench::store::{Durability, Layer, Store};
use crate::bench::task::Task;
use crate::bench::usage::Meter;
use crate::bench::work::Work;

pub(super) const PLAN: Plan =
    Plan { theirs: entries::theirs_written, ..Plan::of(Workload::W3, jobs) };

fn jobs() -> Vec<Job> {
    let both =
        |layer| Durability::BOTH.map(|durability| Job::PutSingle(PutSingle { layer, durability }));
    Layer::BOTH.into_iter().flat_map(both).collect()
}

/// Puts, each a commit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::bench) struct PutSingle {
    pub(in crate::bench) layer: Layer,
    pub(in crate::bench) durability: Durability,
}

impl Kind for PutSingle {
    fn workload(&self) -> Workload {
        Workload::W3
    }

    fn name(&self) -> String {
        format!("{}-{}", self.layer, self.durability)
    }

    fn full_n(&self) -> u32 {
        match self.durability {
            // Each of them waits for the disk.
            Durability::Immediate => 5_000,
            Durability::Buffered => 20_000,
        }
    }

    fn at_peer(&self, peer: Peer) -> Option<Work> {
        let is_theirs = self.layer == Layer::Tree && peer.stores_with(self.durability);
        is_theirs.then_some(Work::new("W3", 1).with(self.durability))
    }

    fn run(&self, task: &Task) -> Result<Vec<Record>> {
        match self.layer {
            Layer::Tree => put_single::<Bee>(task, self.layer, self.durability),
            Layer::Database => put_single::<Multibee>(task, self.layer, self.durability),
        }
    }
}

fn put_single<S: Store>(task: &Task, layer: Layer, durability: Durability) -> Result<Vec<Record>> {
    let (keys, values) = (data::keys(task.n()), data::values(task.n()));
    let store = S::create(&task.folder(), durability)?;
    let meter = Meter::start();
    for (key, index) in keys.iter().zip(0..) {
        store.put(key, values.share(index))?;
    }
    let span = meter.stop();
    finish_writing(task, store, span, layer, durability)
}
