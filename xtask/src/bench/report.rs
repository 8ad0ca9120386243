//! The report of a run, in Markdown.

use super::compare::Change;
use super::growth::Curve;
use super::machine::Machine;
use super::memory;
use super::record::Record;
use super::rooflines;
use super::rows::{Other, Row, rows};
use super::words::{grouped, markdown, rate, times};
use super::{compare, growth};

/// All that a report tells.
pub(super) struct Report<'a> {
    /// When the run began.
    pub(super) time: &'a str,
    /// As it was typed.
    pub(super) command: &'a str,
    pub(super) machine: &'a Machine,
    pub(super) records: &'a [Record],
    /// Peers that did not take part, and why; what failed.
    pub(super) complaints: &'a [String],
    /// What the columns mean.
    pub(super) legend: &'a str,
    /// The name of a baseline, and what has changed since.
    pub(super) changes: Option<(&'a str, &'a [Change])>,
    pub(super) curves: &'a [Curve],
    /// Titles and file names.
    pub(super) plots: &'a [(String, String)],
}

impl Report<'_> {
    pub(super) fn markdown(&self) -> String {
        let rows = rows(self.records);
        let mut parts = vec![self.head(), self.machine()];
        if let Some((name, changes)) = self.changes {
            parts.push(format!("## What has changed\n\n{}", compare::told(name, changes)));
        }
        parts.push(format!("## Results\n\n{}", quoted(self.legend)));
        parts.extend(by_workload(&rows).iter().map(|(name, some)| section(name, some, &rows)));
        parts.extend(memory::told(&rows));
        parts.extend(rooflines::told(&rows));
        parts.extend(growth::told(self.curves));
        parts.extend(self.plots());
        parts.join("\n")
    }

    fn head(&self) -> String {
        let mut text =
            format!("# Benchmarks of {}\n\n`{}`\n", self.time, self.command.replace('`', "'"));
        if !self.complaints.is_empty() {
            text += "\n";
        }
        for complaint in self.complaints {
            text += &format!("- **{complaint}**\n");
        }
        text
    }

    fn machine(&self) -> String {
        let mut cells = vec![vec!["machine".to_owned(), String::new()]];
        let lines = self.machine.lines().into_iter();
        cells.extend(lines.map(|(name, value)| vec![name.to_owned(), value]));
        markdown(&cells, &[0, 1])
    }

    fn plots(&self) -> Option<String> {
        let lines = self.plots.iter().map(|(title, file)| format!("![{title}]({file})\n"));
        (!self.plots.is_empty()).then(|| format!("## Plots\n\n{}", lines.collect::<String>()))
    }
}

fn quoted(text: &str) -> String {
    text.lines().map(|line| format!("- {line}\n")).collect()
}

/// Rows of one workload together, each workload where its first row is.
pub(super) fn by_workload<'a, 'b>(rows: &'b [Row<'a>]) -> Vec<(String, Vec<&'b Row<'a>>)> {
    let mut groups: Vec<(String, Vec<&Row<'_>>)> = Vec::new();
    for row in rows {
        let name = format!("{:?}", row.measurement.workload);
        match groups.iter_mut().find(|(known, _)| *known == name) {
            Some((_, group)) => group.push(row),
            None => groups.push((name, vec![row])),
        }
    }
    groups
}

/// The peers that any of `some` is told by, in the order of their rows.
fn peers_of<'a, 'b>(some: &[&Row<'a>], rows: &'b [Row<'a>]) -> Vec<&'b str> {
    let mut peers = Vec::new();
    for row in some {
        for (other, _) in row.times(rows, |run| Some(run.rate)) {
            if let Other::Peer(peer) = other
                && !peers.contains(&peer)
            {
                peers.push(peer);
            }
        }
    }
    peers
}

/// The table of one workload, with a column for each peer.
fn section<'a>(name: &str, some: &[&Row<'a>], rows: &[Row<'a>]) -> String {
    let peers = peers_of(some, rows);
    let has_floor = some.iter().any(|row| {
        row.times(rows, |run| Some(run.rate)).iter().any(|(other, _)| *other == Other::Floor)
    });
    let mut others: Vec<_> = has_floor.then_some(Other::Floor).into_iter().collect();
    others.extend(peers.into_iter().map(Other::Peer));
    let mut heads = ["who", "variant", "durability", "n", "per s", "min", "max", "unit"]
        .map(str::to_owned)
        .to_vec();
    heads.extend(others.iter().map(|other| match other {
        Other::Floor => "by floor".to_owned(),
        Other::Peer(peer) => format!("by {peer}"),
    }));
    heads.extend(["ms", "disk bytes", "peak MiB", "load"].map(str::to_owned));
    let mut cells = vec![heads];
    cells.extend(some.iter().map(|row| cells_of(row, rows, &others)));
    format!("### {name}\n\n{}", markdown(&cells, &[0, 1, 2, 7]))
}

fn cells_of<'a>(row: &Row<'a>, rows: &[Row<'a>], others: &[Other<'_>]) -> Vec<String> {
    let first = row.first;
    let number = |of, digits| {
        row.median(of).map_or_else(|| "-".to_owned(), |number| grouped(number, digits))
    };
    let rates = row.summary(|run| Some(run.rate));
    let told = |number: Option<f64>| number.map_or_else(|| "-".to_owned(), rate);
    let mut cells = vec![
        format!("{} {}", first.peer, first.version),
        first.variant.clone(),
        first.durability.clone(),
        grouped(f64::from(first.n), 0),
        told(rates.map(|rates| rates.median)),
        told(rates.map(|rates| rates.min)),
        told(rates.map(|rates| rates.max)),
        first.unit.clone(),
    ];
    let ratios = row.times(rows, |run| Some(run.rate));
    cells.extend(others.iter().map(|wanted| {
        let ratio = ratios.iter().find(|(other, _)| other == wanted);
        ratio.map_or_else(String::new, |(_, ratio)| times(*ratio))
    }));
    cells.push(number(|run| Some(run.ms), 2));
    cells.push(number(|run| Some(run.disk_bytes as f64), 0));
    cells.push(number(|run| run.peak_rss_kib.map(|kib| kib as f64 / 1024.0), 1));
    cells.push(number(|run| run.load1, 1));
    cells
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::tests::sample;

    fn report(records: &[Record]) -> String {
        let report = Report {
            time: "2026-01-01",
            command: "cargo xtask bench",
            machine: &Machine { cpu: Some("A | B".to_owned()), ..Machine::default() },
            records,
            complaints: &["node was SKIPPED: it sleeps".to_owned()],
            legend: "read: nothing is written.",
            changes: None,
            curves: &[],
            plots: &[("W8".to_owned(), "W8.svg".to_owned())],
        };
        report.markdown()
    }

    /// Medians with both ends, the ratio to the floor and to each peer in columns of their own; what
    /// a row has no ratio to stays empty.
    #[test]
    fn a_workload_has_one_table() {
        let run = |peer, variant, rate| Record { rate, ..sample(peer, variant) };
        let floor =
            Record { durability: "read".to_owned(), ..run("multibee", "btree FLOOR", 400.0) };
        let records = [
            floor,
            run("multibee", "btree", 100.0),
            run("multibee", "btree", 200.0),
            run("multibee", "btree", 300.0),
            run("hyperbee", "clone", 10.0),
            run("hyperbee2", "clone", 400.0),
        ];
        let text = report(&records);
        assert!(text.contains("| by floor | by hyperbee | by hyperbee2 |"), "{text}");
        let ours = text.lines().find(|line| line.contains("| btree |")).unwrap();
        assert!(ours.contains("| 200 | 100 | 300 | entries/s | 0.50 | 20.0 | 0.50 |"), "{ours}");
        let theirs = text.lines().find(|line| line.starts_with("| hyperbee ")).unwrap();
        assert!(theirs.contains("| entries/s |  |  |  |"), "{theirs}");
        assert_eq!(text.matches("### W8").count(), 1);
    }

    /// The machine, the command, who is missing and the plots are told.
    #[test]
    fn circumstances_are_told() {
        let text = report(&[sample("multibee", "btree")]);
        for part in ["`cargo xtask bench`", "A \\| B", "it sleeps", "![W8](W8.svg)", "- read: "] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
