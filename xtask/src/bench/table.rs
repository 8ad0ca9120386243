//! All results as a table for people.

use serde_json::Value;

use super::record::Record;
use super::rows::{Other, Row, rows, told_cpu_rate};
use super::words::{grouped, times};

/// One result for each measurement of each peer: the median of all runs of it. Ours are told in
/// relation to the peers', too.
pub(super) fn table(records: &[Record]) -> String {
    let rows = rows(records);
    let mut cells: Vec<Vec<String>> = vec![HEADS.map(str::to_owned).to_vec()];
    cells.extend(rows.iter().map(|row| cells_of(row, &rows)));
    aligned(&cells)
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

/// The cells of one of `rows`.
fn cells_of<'a>(row: &Row<'a>, rows: &[Row<'a>]) -> Vec<String> {
    let first = row.first;
    let number = |of, digits| {
        row.median(of).map_or_else(|| "-".to_owned(), |number| grouped(number, digits))
    };
    vec![
        format!("{} {}", first.peer, first.version),
        format!("{:?}", first.workload),
        first.variant.clone(),
        first.durability.clone(),
        grouped(f64::from(first.n), 0),
        number(|run| Some(run.rate), 0),
        told_times(row, rows, |run| Some(run.rate)),
        number(|run| run.cpu_rate, 0),
        told_times(row, rows, told_cpu_rate),
        first.unit.clone(),
        number(|run| Some(run.ms), 1),
        number(|run| run.peak_rss_kib.map(|kib| kib as f64 / 1024.0), 1),
        number(|run| Some(run.disk_bytes as f64 / f64::from(1 << 20)), 1),
        number(|run| run.load1, 1),
        more(first),
    ]
}

/// How many times the rate of its floor ours is, and that of each peer.
fn told_times<'a>(row: &Row<'a>, rows: &[Row<'a>], rate: fn(&Record) -> Option<f64>) -> String {
    let told = row.times(rows, rate).into_iter().map(|(whose, ratio)| match whose {
        Other::Floor => format!("floor {}", times(ratio)),
        Other::Peer(peer) => format!("{peer} {}", times(ratio)),
    });
    let told: Vec<_> = told.collect();
    if told.is_empty() { "-".to_owned() } else { told.join(", ") }
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
    use crate::bench::peer::Peer;
    use crate::bench::record::{SERVER_CPU_MS, Title};
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
        rows.iter().map(|row| told_times(row, &rows, |run| Some(run.rate))).collect()
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
        let theirs = Record { peer: "another".to_owned(), ..record("clone", 4) };
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
}
