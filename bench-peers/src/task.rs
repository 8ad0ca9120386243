//! What is asked of this program, and what it answers.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::disk::DiskUse;
use crate::usage::{Span, load1, peak_rss_kib};

/// When a write is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum Durability {
    /// When it is on disk.
    Immediate,
    /// When the system has it, or the store itself.
    Buffered,
}

/// One job.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Task {
    pub(crate) peer: String,
    pub(crate) job: String,
    /// Of a batch.
    pub(crate) size: u32,
    pub(crate) durability: Durability,
    /// Number of operations.
    pub(crate) n: u32,
    /// Number of entries in what is read.
    pub(crate) population: u32,
    /// What is read.
    pub(crate) source: PathBuf,
    /// What is written.
    pub(crate) folder: PathBuf,
    run: u32,
    quick: bool,
}

/// One result, under the names that all peers use.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    peer: String,
    version: String,
    workload: String,
    pub(crate) variant: String,
    durability: &'static str,
    n: u32,
    ms: f64,
    cpu_ms: Option<f64>,
    rate: f64,
    cpu_rate: Option<f64>,
    unit: &'static str,
    #[serde(rename = "peakRssKiB")]
    peak_rss_kib: Option<u64>,
    disk_bytes: u64,
    disk_allocated: Option<u64>,
    load1: Option<f64>,
    run: u32,
    quick: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_per_entry: Option<f64>,
}

impl Record {
    /// Of a job that wrote.
    pub(crate) fn written(task: &Task, version: &str, span: Span, disk: DiskUse) -> Self {
        let durability = match task.durability {
            Durability::Immediate => "immediate",
            Durability::Buffered => "buffered",
        };
        let record = Self::new(task, version, span, disk);
        let each = disk.bytes as f64 / f64::from(task.n);
        let bytes_per_entry = Some((each * 10.0).round() / 10.0);
        Self { variant: task.peer.clone(), durability, unit: "puts/s", bytes_per_entry, ..record }
    }

    /// Of a job that read.
    pub(crate) fn read(
        task: &Task,
        (version, variant, unit): (&str, &str, &'static str),
        span: Span,
        disk: DiskUse,
    ) -> Self {
        let record = Self::new(task, version, span, disk);
        Self { variant: variant.to_owned(), unit, ..record }
    }

    fn new(task: &Task, version: &str, span: Span, disk: DiskUse) -> Self {
        let thousandth = |number: f64| (number * 1e3).round() / 1e3;
        let rate = |seconds: f64| thousandth(f64::from(task.n) / seconds);
        let cpu = span.cpu.map(|cpu| cpu.as_secs_f64());
        Self {
            peer: task.peer.clone(),
            version: version.to_owned(),
            workload: task.job.clone(),
            variant: String::new(),
            durability: "read",
            n: task.n,
            ms: thousandth(span.wall.as_secs_f64() * 1e3),
            cpu_ms: cpu.map(|cpu| thousandth(cpu * 1e3)),
            rate: rate(span.wall.as_secs_f64()),
            // Below the resolution of the clock no rate can be told.
            cpu_rate: cpu.filter(|cpu| *cpu > 0.0).map(rate),
            unit: "",
            peak_rss_kib: peak_rss_kib(),
            disk_bytes: disk.bytes,
            disk_allocated: disk.allocated,
            load1: load1(),
            run: task.run,
            quick: task.quick,
            bytes_per_entry: None,
        }
    }
}
