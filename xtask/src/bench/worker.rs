//! The process of one job.

use std::io::{self, Write as _};

use anyhow::Result;
use multibee::Multibee;
use multibee_btree::Bee;

use super::job::{Job, Layer, Task};
use super::record::Record;
use super::{blocks, clone, entries, floor, idle, large, logs, sparse, transfer, trees};

/// Does a job in this process and prints its results, one on each line.
pub(super) fn run(task: &Task) -> Result<()> {
    let records = measure(task)?;
    let mut output = io::stdout().lock();
    for record in &records {
        writeln!(output, "{}", serde_json::to_string(record)?)?;
    }
    Ok(output.flush()?)
}

fn measure(task: &Task) -> Result<Vec<Record>> {
    match task.job {
        Job::Append { batch, durability } => blocks::append(task, batch, durability),
        Job::AppendFloor { batch, durability } => floor::append(task, batch, durability),
        Job::ReadWhileWriting { threads } => blocks::read_while_writing(task, threads),
        Job::WriteLong => logs::write_long(task),
        Job::OpenLong => logs::open(task),
        Job::Verify => logs::verify(task),
        Job::Read { threads } => blocks::read(task, threads),
        Job::PutSingle { layer, durability } => match layer {
            Layer::Tree => entries::put_single::<Bee>(task, layer, durability),
            Layer::Database => entries::put_single::<Multibee>(task, layer, durability),
        },
        Job::PutBatch { layer, durability } => match layer {
            Layer::Tree => entries::put_batch::<Bee>(task, layer, durability),
            Layer::Database => entries::put_batch::<Multibee>(task, layer, durability),
        },
        Job::Get { layer } => match layer {
            Layer::Tree => entries::get::<Bee>(task, layer),
            Layer::Database => entries::get::<Multibee>(task, layer),
        },
        Job::Scan { layer } => match layer {
            Layer::Tree => entries::scan::<Bee>(task, layer),
            Layer::Database => entries::scan::<Multibee>(task, layer),
        },
        Job::Overwrite => trees::overwrite(task),
        Job::Diff => trees::diff(task),
        Job::LoadLarge { order } => trees::load(task, order),
        Job::OpenLarge { order } => trees::open(task, order),
        Job::Clone => clone::run(task),
        Job::CloneFloor => transfer::of_tree(task),
        Job::CloneLargeFloor { len } => transfer::of_large(task, len),
        Job::Idle => idle::run(task),
        Job::IdleServe => idle::serve(task).map(|()| Vec::new()),
        Job::Sparse { round_trip_ms, is_hinted } => sparse::run(task, round_trip_ms, is_hinted),
        Job::CloneLarge { len, keeps } => large::run(task, len, keeps),
        Job::ServeLarge { len, .. } => large::serve(task, len).map(|()| Vec::new()),
        Job::Serve => clone::serve(task).map(|()| Vec::new()),
    }
}
