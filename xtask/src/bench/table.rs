//! All results as a table for people.

use std::collections::BTreeMap;

use serde_json::Value;

use super::peer::Peer;
use super::record::{Record, SERVER_CPU_MS};
use super::times::Measurement;

/// One result for each measurement of each peer: the median of all runs of it. Ours are told in
/// relation to the peers', too.
pub(super) fn table(records: &[Record]) -> String {
    let rows = rows(records);
    let mut cells: Vec<Vec<String>> = vec![HEADS.map(str::to_owned).to_vec()];
    cells.extend(rows.iter().map(|row| row.cells(&rows)));
    aligned(&cells)
}

/// All runs in which one peer did one measurement.
struct Row<'a> {
    measurement: Measurement,
    first: &'a Record,
    /// `first` too.
    runs: Vec<&'a Record>,
}

/// In the order in which they were first measured.
fn rows(records: &[Record]) -> Vec<Row<'_>> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    let mut places = BTreeMap::new();
    for record in records {
        let measurement = Measurement::of(record);
        let place = *places.entry((&record.peer, measurement.clone())).or_insert(rows.len());
        match rows.get_mut(place) {
            Some(row) => row.runs.push(record),
            None => rows.push(Row { measurement, first: record, runs: vec![record] }),
        }
    }
    rows
}

const HEADS: [&str; 15] = [
    "peer",
    "workload",
    "variant",
    "durability",
    "n",
    "per s",
    "times",
    "per CPU s",
    "CPU times",
    "unit",
    "ms",
    "peak MiB",
    "disk MiB",
    "load",
    "more",
];

/// How many columns, from the left, are words and not numbers.
const WORDS: [usize; 6] = [0, 1, 2, 3, 9, 14];

impl Row<'_> {
    /// As one of `rows`.
    fn cells(&self, rows: &[Self]) -> Vec<String> {
        let first = self.first;
        let number = |of, digits| {
            self.median(of).map_or_else(|| "-".to_owned(), |number| grouped(number, digits))
        };
        vec![
            format!("{} {}", first.peer, first.version),
            format!("{:?}", first.workload),
            first.variant.clone(),
            first.durability.clone(),
            grouped(f64::from(first.n), 0),
            number(|run| Some(run.rate), 0),
            self.times(rows, |run| Some(run.rate)),
            number(|run| run.cpu_rate, 0),
            self.times(rows, told_cpu_rate),
            first.unit.clone(),
            number(|run| Some(run.ms), 1),
            number(|run| run.peak_rss_kib.map(|kib| kib as f64 / 1024.0), 1),
            number(|run| Some(run.disk_bytes as f64 / f64::from(1 << 20)), 1),
            number(|run| run.load1, 1),
            more(first),
        ]
    }

    fn median(&self, of: fn(&Record) -> Option<f64>) -> Option<f64> {
        median(&mut self.runs.iter().filter_map(|run| of(run)).collect::<Vec<_>>())
    }

    fn is_ours(&self) -> bool {
        self.first.peer == Peer::Multibee.to_string()
    }

    /// How many times the rate of its floor our rate is, and that of each peer who did the same.
    fn times(&self, rows: &[Self], rate: fn(&Record) -> Option<f64>) -> String {
        let wanted = self.measurement.clone().of_peers();
        let whose = |row: &Self| match row.is_ours() {
            true => self.measurement.has_floor(&row.measurement).then(|| "floor".to_owned()),
            false => (row.measurement == wanted).then(|| row.first.peer.clone()),
        };
        let others = rows.iter().filter(|_| self.is_ours());
        let times = others.filter_map(|row| {
            let whose = whose(row)?;
            let times = self.median(rate)? / row.median(rate)?;
            let digits = if times < 10.0 { 2 } else { 1 };
            Some(format!("{whose} {}", grouped(times, digits)))
        });
        let times: Vec<_> = times.collect();
        if times.is_empty() { "-".to_owned() } else { times.join(", ") }
    }
}

/// Processor time below which the clock is too coarse for a ratio, where threads have ended: see
/// `usage.rs`.
const CPU_MS_MIN: f64 = 20.0;

/// By the time of all our processes that took part.
fn told_cpu_rate(run: &Record) -> Option<f64> {
    let own_ms = run.cpu_ms.filter(|ms| *ms >= CPU_MS_MIN)?;
    let server_ms = run.more.get(SERVER_CPU_MS).and_then(Value::as_f64).unwrap_or_default();
    Some(run.cpu_rate? * own_ms / (own_ms + server_ms))
}

/// The number in the middle, or between the two in the middle.
fn median(numbers: &mut [f64]) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    let upper = *numbers.get(numbers.len() / 2)?;
    let lower = *numbers.get(numbers.len().saturating_sub(1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

/// What only some workloads tell, of the first run.
fn more(record: &Record) -> String {
    let told = record.more.iter().filter(|(_, value)| !value.is_null());
    let words: Vec<_> = told
        .map(|(name, value)| match value {
            Value::Number(number) => {
                let number = number.as_f64().unwrap_or_default();
                format!("{name} {}", grouped(number, if number.fract() == 0.0 { 0 } else { 2 }))
            }
            Value::String(text) => format!("{name} {text}"),
            other => format!("{name} {other}"),
        })
        .collect();
    words.join(", ")
}

/// A number with commas between its thousands.
fn grouped(number: f64, digits: usize) -> String {
    let text = format!("{number:.digits$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut out = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out + rest
}

fn aligned(rows: &[Vec<String>]) -> String {
    let count = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for ((column, cell), width) in row.iter().enumerate().zip(&widths) {
            if WORDS.contains(&column) {
                line += &format!("{cell:<width$}  ");
            } else {
                line += &format!("{cell:>width$}  ");
            }
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::bench::disk::DiskUse;
    use crate::bench::job::Job;
    use crate::bench::record::Title;
    use crate::bench::task::Task;
    use crate::bench::usage::Span;
    use crate::bench::workload::Workload;

    fn record(variant: &str, seconds: u64) -> Record {
        let (peer, root) = (Peer::Multibee, PathBuf::new());
        let task = Task { peer, job: Job::Clone, root, run: 1, quick: false };
        let title = Title { variant, durability: "buffered", unit: "entries/s" };
        let span = Span { wall: Duration::from_secs(seconds), cpu: None };
        Record::new(&task, &title, span, DiskUse::default())
    }

    /// Runs of one measurement become one row, with the median; the order is that of measuring.
    #[test]
    fn runs_become_one_row() {
        let records =
            [record("b", 100), record("a", 1), record("b", 1), record("a", 1), record("b", 50)];
        let table = table(&records);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[1].contains(" W8        b  ") && lines[1].contains(" 2,000 "));
        assert!(lines[2].contains(" W8        a  ") && lines[2].contains(" 100,000 "));
    }

    /// A result of 100,000 operations in W5.
    fn get(peer: &str, variant: &str, seconds: u64) -> Record {
        let common = record(variant, seconds);
        let (peer, durability) = (peer.to_owned(), "read".to_owned());
        Record { peer, workload: Workload::W5, durability, ..common }
    }

    /// The cells below `times`, from the top.
    fn times(records: &[Record]) -> Vec<String> {
        let rows = rows(records);
        rows.iter().map(|row| row.times(&rows, |run| Some(run.rate))).collect()
    }

    /// A peer's results never become ours, though they have the same name; ours are told as
    /// multiples of theirs, by the medians of each, and theirs of nobody's.
    #[test]
    fn ours_is_told_in_times_of_the_same_of_a_peer() {
        let records = [
            get("multibee", "reopened", 1),
            get("hyperbee", "reopened", 20),
            get("multibee", "reopened", 2),
            get("hyperbee", "reopened", 50),
            get("multibee", "reopened", 4),
            get("hyperbee", "reopened", 50),
            get("multibee", "warm", 10),
            get("hyperbee", "warm", 5),
            get("multibee", "multibee-warm", 100),
        ];
        let expected = ["hyperbee 25.0", "-", "hyperbee 0.50", "-", "hyperbee 0.05"];
        assert_eq!(times(&records), expected);
        assert!(table(&records).contains("  hyperbee 25.0  "));
    }

    /// Each ratio has its own column; processor time that is not known, or too short for its clock,
    /// makes none.
    #[test]
    fn processor_times_are_compared_apart() {
        let row = |our_cpu_ms, their_cpu_rate| {
            let cpu = Record { cpu_rate: Some(3000.0), ..get("multibee", "warm", 1) };
            let ours = Record { cpu_ms: Some(our_cpu_ms), ..cpu };
            let cpu = Record { cpu_rate: their_cpu_rate, ..get("hyperbee", "warm", 4) };
            let theirs = Record { cpu_ms: Some(100.0), ..cpu };
            table(&[ours, theirs]).lines().nth(1).unwrap().to_owned()
        };
        let known = row(20.0, Some(1000.0));
        assert!(known.contains("  hyperbee 4.00      3,000  hyperbee 3.00  entries/s"), "{known}");
        for without in [row(20.0, None), row(19.9, Some(1000.0))] {
            assert!(
                without.contains("  hyperbee 4.00      3,000          -  entries/s"),
                "{without}"
            );
        }
    }

    /// What has a floor is told as a share of it, beside its peers; where a server took part, its
    /// processor time counts.
    #[test]
    fn the_share_of_the_floor_is_told() {
        let (floor, mut ours) = (record("btree FLOOR", 1), record("btree", 2));
        let floor = Record { durability: "read".to_owned(), ..floor };
        assert_eq!(times(&[floor.clone(), ours.clone()]), ["-", "floor 0.50"]);
        let theirs = Record { peer: "another".to_owned(), ..record("btree", 4) };
        let all = [floor.clone(), ours.clone(), theirs];
        assert_eq!(times(&all), ["-", "floor 0.50, another 2.00", "-"]);
        let floor = Record { cpu_ms: Some(100.0), cpu_rate: Some(1000.0), ..floor };
        (ours.cpu_ms, ours.cpu_rate) = (Some(150.0), Some(600.0));
        let table = table(&[floor, ours.and(SERVER_CPU_MS, 50.0)]);
        assert!(table.contains("  floor 0.50        600  floor 0.45  "), "{table}");
    }

    /// Without the same of a peer there is nothing to tell; with that of several, each is told.
    #[test]
    fn times_are_told_of_whom_there_is() {
        let alone = [get("multibee", "warm", 1), get("hyperbee", "reopened", 1)];
        assert_eq!(times(&alone), ["-", "-"]);
        let synced = Record { durability: "immediate".to_owned(), ..get("multibee", "warm", 1) };
        assert_eq!(times(&[synced, get("hyperbee", "warm", 1)]), ["-", "-"]);
        let several =
            [get("multibee", "warm", 1), get("hyperbee", "warm", 2), get("another", "warm", 1000)];
        assert_eq!(times(&several), ["hyperbee 2.00, another 1,000.0", "-", "-"]);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(median(&mut [4.0, 1.0, 3.0, 100.0]), Some(3.5));
        assert_eq!(median(&mut [4.0, 1.0, 100.0]), Some(4.0));
        assert_eq!(median(&mut []), None);
    }

    #[test]
    fn thousands_are_told_apart() {
        assert_eq!(grouped(1_234_567.25, 1), "1,234,567.2");
        assert_eq!(grouped(999.0, 0), "999");
        assert_eq!(grouped(1000.0, 0), "1,000");
    }
}
