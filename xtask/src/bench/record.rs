//! One result, as a line of JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::disk::DiskUse;
use super::peer::Peer;
use super::task::Task;
use super::usage::{Span, load1, peak_rss_kib};
use super::workload::Workload;

/// One result. What the system does not tell is `null`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    pub(super) peer: String,
    pub(super) version: String,
    pub(super) workload: Workload,
    pub(super) variant: String,
    /// When a write was done, or `read` where nothing was written.
    pub(super) durability: String,
    /// Number of operations.
    pub(super) n: u32,
    /// Wall time.
    pub(super) ms: f64,
    /// Processor time of all threads.
    pub(super) cpu_ms: Option<f64>,
    /// Operations per second of wall time.
    pub(super) rate: f64,
    /// Operations per second of processor time.
    pub(super) cpu_rate: Option<f64>,
    pub(super) unit: String,
    /// Of the whole process, data generation included.
    #[serde(rename = "peakRssKiB")]
    pub(super) peak_rss_kib: Option<u64>,
    pub(super) disk_bytes: u64,
    pub(super) disk_allocated: Option<u64>,
    /// The machine's load at the end.
    pub(super) load1: Option<f64>,
    /// From 1.
    pub(super) run: u32,
    /// Whether sizes are a tenth of what the workload says.
    pub(super) quick: bool,
    /// What only this workload tells.
    #[serde(flatten)]
    pub(super) more: BTreeMap<String, Value>,
}

/// In [`Record::more`]: processor time of the other process, which is not in [`Record::cpu_ms`].
pub(super) const SERVER_CPU_MS: &str = "serverCpuMs";

/// What a result is called.
pub(super) struct Title<'a> {
    pub(super) variant: &'a str,
    pub(super) durability: &'a str,
    pub(super) unit: &'a str,
}

impl Record {
    /// The result of our own task whose timed part took `span` and that has closed its data since.
    pub(super) fn new(task: &Task, title: &Title<'_>, span: Span, disk: DiskUse) -> Self {
        let n = task.n();
        let rate = |seconds: f64| f64::from(n) / seconds;
        let cpu = span.cpu.map(|cpu| cpu.as_secs_f64());
        Self {
            peer: Peer::Multibee.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            workload: task.job.kind().workload(),
            variant: title.variant.to_owned(),
            durability: title.durability.to_owned(),
            n,
            ms: rounded(span.wall.as_secs_f64() * 1e3, 3),
            cpu_ms: cpu.map(|cpu| rounded(cpu * 1e3, 3)),
            rate: rounded(rate(span.wall.as_secs_f64()), 1),
            // Below the resolution of the clock no rate can be told.
            cpu_rate: cpu.filter(|cpu| *cpu > 0.0).map(|cpu| rounded(rate(cpu), 1)),
            unit: title.unit.to_owned(),
            peak_rss_kib: peak_rss_kib(),
            disk_bytes: disk.bytes,
            disk_allocated: disk.allocated,
            load1: load1(),
            run: task.run,
            quick: task.quick,
            more: BTreeMap::new(),
        }
    }

    /// Adds what only this workload tells.
    pub(super) fn and(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    /// Adds the rate of so many bytes per operation, in MB (10^6 bytes) per second.
    pub(super) fn and_mb_per_s(self, name: &str, bytes_per_op: usize) -> Self {
        let rate = rounded(self.rate * bytes_per_op as f64 / 1e6, 3);
        self.and(name, rate)
    }

    /// Adds what an entry takes on disk, in bytes.
    pub(super) fn and_bytes_per_entry(self) -> Self {
        let bytes = rounded(self.disk_bytes as f64 / f64::from(self.n), 1);
        self.and("bytesPerEntry", bytes)
    }
}

fn rounded(number: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (number * scale).round() / scale
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::bench::job::Job;

    fn record(cpu: Option<Duration>) -> Record {
        let (peer, root) = (Peer::Multibee, PathBuf::new());
        let task = Task { peer, job: Job::Clone, root, run: 1, quick: false };
        let title = Title { variant: "v", durability: "d", unit: "u" };
        let span = Span { wall: Duration::from_secs(2), cpu };
        Record::new(&task, &title, span, DiskUse { bytes: 12_345_000, allocated: None })
    }

    /// A result of W8, of 100,000 operations in a second.
    pub(in crate::bench) fn sample(peer: &str, variant: &str) -> Record {
        let (job, root) = (Job::Clone, PathBuf::new());
        let task = Task { peer: Peer::Multibee, job, root, run: 1, quick: false };
        let title = Title { variant, durability: "buffered", unit: "entries/s" };
        let span = Span { wall: Duration::from_secs(1), cpu: None };
        let record = Record::new(&task, &title, span, DiskUse::default());
        Record { peer: peer.to_owned(), ..record }
    }

    /// The names are those that all peers use; what is unknown is null, not left out.
    #[test]
    fn a_line_has_the_common_fields() {
        let line = serde_json::to_value(record(None).and("logBytes", 7)).unwrap();
        let names = [
            "peer",
            "version",
            "workload",
            "variant",
            "durability",
            "n",
            "ms",
            "cpuMs",
            "rate",
            "cpuRate",
            "unit",
            "peakRssKiB",
            "diskBytes",
            "diskAllocated",
            "load1",
            "logBytes",
        ];
        for name in names {
            assert!(line.get(name).is_some(), "{name} is missing");
        }
        assert_eq!((&line["workload"], &line["cpuMs"]), (&Value::from("W8"), &Value::Null));
    }

    /// What the runner reads is what the worker wrote.
    #[test]
    fn a_line_reads_back() {
        let record = record(Some(Duration::from_millis(500))).and_mb_per_s("mbPerS", 128);
        let line = serde_json::to_string(&record).unwrap();
        let read: Record = serde_json::from_str(&line).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), line);
        assert_eq!((read.rate, read.cpu_rate), (50_000.0, Some(200_000.0)));
        assert_eq!(read.more["mbPerS"], 6.4);
    }

    /// The program of a peer writes such lines: numbers without a point where ours have one, and
    /// what only it tells.
    #[test]
    fn a_line_of_a_peer_reads() {
        let line = r#"{"peer":"hypercore","version":"11.37.1","workload":"W1","variant":"batch100",
            "durability":"buffered","n":10000,"ms":431,"cpuMs":0,"rate":23163.325,"cpuRate":null,
            "unit":"blocks/s","peakRssKiB":101332,"diskBytes":2429845,"diskAllocated":2457600,
            "load1":0,"run":2,"quick":true,"mbPerS":2.965}"#;
        let read: Record = serde_json::from_str(line).unwrap();
        assert_eq!((read.peer.as_str(), read.workload), ("hypercore", Workload::W1));
        assert_eq!((read.ms, read.cpu_rate, read.run), (431.0, None, 2));
        assert_eq!(read.more.keys().collect::<Vec<_>>(), ["mbPerS"]);
    }
}
