//! All results as a table for people.

use std::collections::BTreeMap;

use serde_json::Value;

use super::record::Record;

/// One result for each measurement: the median of all runs of it.
pub(super) fn table(records: &[Record]) -> String {
    let mut rows: BTreeMap<_, (usize, Vec<&Record>)> = BTreeMap::new();
    for (order, record) in records.iter().enumerate() {
        let name = (record.workload, &record.variant, &record.durability);
        rows.entry(name).or_insert_with(|| (order, Vec::new())).1.push(record);
    }
    // In the order in which they were first measured.
    let mut rows: Vec<_> = rows.into_values().collect();
    rows.sort_by_key(|(order, _)| *order);
    let mut cells: Vec<Vec<String>> = vec![HEADS.map(str::to_owned).to_vec()];
    cells.extend(rows.iter().filter_map(|(_, runs)| row(runs)));
    aligned(&cells)
}

const HEADS: [&str; 12] = [
    "workload",
    "variant",
    "durability",
    "n",
    "per s",
    "per CPU s",
    "unit",
    "ms",
    "peak MiB",
    "disk MiB",
    "load",
    "more",
];

/// How many columns, from the left, are words and not numbers.
const WORDS: [usize; 5] = [0, 1, 2, 6, 11];

fn row(runs: &[&Record]) -> Option<Vec<String>> {
    let first = runs.first()?;
    let median = |of: fn(&Record) -> Option<f64>| {
        median(&mut runs.iter().filter_map(|run| of(run)).collect::<Vec<_>>())
    };
    let number =
        |of, digits| median(of).map_or_else(|| "-".to_owned(), |number| grouped(number, digits));
    Some(vec![
        format!("{:?}", first.workload),
        first.variant.clone(),
        first.durability.clone(),
        grouped(f64::from(first.n), 0),
        number(|run| Some(run.rate), 0),
        number(|run| run.cpu_rate, 0),
        first.unit.clone(),
        number(|run| Some(run.ms), 1),
        number(|run| run.peak_rss_kib.map(|kib| kib as f64 / 1024.0), 1),
        number(|run| Some(run.disk_bytes as f64 / f64::from(1 << 20)), 1),
        number(|run| run.load1, 1),
        more(first),
    ])
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
    use crate::bench::job::{Job, Task};
    use crate::bench::record::Title;
    use crate::bench::usage::Span;

    fn record(variant: &str, seconds: u64) -> Record {
        let task = Task { job: Job::Clone, root: PathBuf::new(), run: 1, quick: false };
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
        assert!(lines[1].starts_with("W8        b  ") && lines[1].contains(" 2,000 "));
        assert!(lines[2].starts_with("W8        a  ") && lines[2].contains(" 100,000 "));
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
