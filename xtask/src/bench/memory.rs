//! W12: the memory that the processes of W4 and W8 take. It is measured with them.

use serde_json::Value;

use super::rows::Row;
use super::words::{grouped, markdown};
use super::workload::Workload;

/// The workloads whose memory it is.
pub(super) const OF: [Workload; 2] = [Workload::W4, Workload::W8];

/// A table of it, if any was measured.
pub(super) fn told(rows: &[Row<'_>]) -> Option<String> {
    let measured = rows.iter().filter(|row| OF.contains(&row.measurement.workload));
    let mut cells = vec![
        ["who", "process", "durability", "n", "peak MiB", "server's peak MiB"]
            .map(str::to_owned)
            .to_vec(),
    ];
    cells.extend(measured.filter(|row| !row.is_floor()).map(|row| {
        let mib =
            |kib: Option<f64>| kib.map_or_else(|| "-".to_owned(), |kib| grouped(kib / 1024.0, 1));
        let server =
            |run: &super::record::Record| run.more.get("serverRssKiB").and_then(Value::as_f64);
        vec![
            format!("{} {}", row.first.peer, row.first.version),
            format!("{:?} {}", row.measurement.workload, row.measurement.variant),
            row.measurement.durability.clone(),
            grouped(f64::from(row.first.n), 0),
            mib(row.median(|run| run.peak_rss_kib.map(|kib| kib as f64))),
            mib(row.median(server)),
        ]
    }));
    (cells.len() > 1).then(|| format!("### W12, memory\n\n{}", markdown(&cells, &[0, 1, 2])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::Record;
    use crate::bench::record::tests::sample;
    use crate::bench::rows::rows;

    /// Clients and servers are told, floors are not; nothing is told of other workloads.
    #[test]
    fn the_memory_of_both_sides_is_told() {
        let clone = Record { peak_rss_kib: Some(2048), ..sample("multibee", "btree") };
        let records = [clone.and("serverRssKiB", 1024), sample("multibee", "btree FLOOR")];
        let text = told(&rows(&records)).unwrap();
        assert!(text.contains("| W8 btree | buffered | 100,000 | 2.0 | 1.0 |"), "{text}");
        assert_eq!(text.lines().count(), 5);
        let other = Record { workload: Workload::W5, ..sample("multibee", "btree") };
        assert_eq!(told(&rows(&[other])), None);
    }
}
