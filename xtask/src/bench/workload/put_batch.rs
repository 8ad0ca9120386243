//! W4: putting entries in batches.

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
    Plan { theirs: entries::theirs_written, ..Plan::of(Workload::W4, jobs) };

fn jobs() -> Vec<Job> {
    let both =
        |layer| Durability::BOTH.map(|durability| Job::PutBatch(PutBatch { layer, durability }));
    Layer::BOTH.into_iter().flat_map(both).collect()
}

/// Puts, a thousand in a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::bench) struct PutBatch {
    pub(in crate::bench) layer: Layer,
    pub(in crate::bench) durability: Durability,
}

impl Kind for PutBatch {
    fn workload(&self) -> Workload {
        Workload::W4
    }

    fn name(&self) -> String {
        format!("{}-{}", self.layer, self.durability)
    }

    fn full_n(&self) -> u32 {
        100_000
    }

    fn at_peer(&self, peer: Peer) -> Option<Work> {
        let is_theirs = self.layer == Layer::Tree && peer.stores_with(self.durability);
        is_theirs.then_some(Work::new("W4", Self::OPS).with(self.durability))
    }

    fn run(&self, task: &Task) -> Result<Vec<Record>> {
        match self.layer {
            Layer::Tree => put_batch::<Bee>(task, self.layer, self.durability),
            Layer::Database => put_batch::<Multibee>(task, self.layer, self.durability),
        }
    }
}

impl PutBatch {
    /// Operations in one batch.
    pub(in crate::bench) const OPS: u32 = 1000;

    /// The writer of the entries that others read from such a store.
    pub(super) fn source(layer: Layer) -> Job {
        Job::PutBatch(Self { layer, durability: Durability::Buffered })
    }
}

pub(super) fn put_batch<S: Store>(
    task: &Task,
    layer: Layer,
    durability: Durability,
) -> Result<Vec<Record>> {
    let (keys, values) = (data::keys(task.n()), data::values(task.n()));
    let store = S::create(&task.folder(), durability)?;
    let meter = Meter::start();
    for start in (0..task.n()).step_by(PutBatch::OPS as usize) {
        let batch = start..start + PutBatch::OPS;
        store.put_all(batch.map(|index| (keys.get(index), values.share(index))))?;
    }
    let span = meter.stop();
    finish_writing(task, store, span, layer, durability)
}
