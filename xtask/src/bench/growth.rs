//! How time grows with the size of the data or of the group, from the results of workload G.

use serde_json::Value;

use super::record::Record;
use super::rows::{Row, rows};
use super::stats::PowerLaw;
use super::words::{grouped, markdown, rate};

/// In [`Record::more`]: what a result is one point of, and where on the curve.
pub(super) const GROWTH_OF: &str = "growthOf";
pub(super) const SIZE: &str = "size";

/// What one peer takes for one thing at several sizes.
#[derive(Clone, Debug)]
pub(super) struct Curve {
    pub(super) peer: String,
    /// What grows, as in `W5 warm`.
    pub(super) of: String,
    /// Size, and median milliseconds.
    pub(super) points: Vec<(f64, f64)>,
    /// Of the points; none if there are not two sizes.
    pub(super) law: Option<PowerLaw>,
}

fn place(row: &Row<'_>) -> Option<(String, f64)> {
    let of = row.first.more.get(GROWTH_OF).and_then(Value::as_str)?;
    let size = row.first.more.get(SIZE).and_then(Value::as_f64)?;
    Some((of.to_owned(), size))
}

/// The curves in some results, each with its points from left to right.
pub(super) fn curves(records: &[Record]) -> Vec<Curve> {
    let mut curves: Vec<Curve> = Vec::new();
    for row in rows(records) {
        if let Some((of, size)) = place(&row)
            && let Some(ms) = row.median(|run| Some(run.ms))
        {
            let peer = row.first.peer.clone();
            match curves.iter_mut().find(|curve| curve.peer == peer && curve.of == of) {
                Some(curve) => curve.points.push((size, ms)),
                None => curves.push(Curve { peer, of, points: vec![(size, ms)], law: None }),
            }
        }
    }
    for curve in &mut curves {
        curve.points.sort_by(|one, other| one.0.total_cmp(&other.0));
        curve.law = PowerLaw::fit(&curve.points);
    }
    // Those that are drawn together, together.
    curves.sort_by(|one, other| one.of.cmp(&other.of));
    curves
}

/// A table of all curves with their exponents, if there are any.
pub(super) fn told(curves: &[Curve]) -> Option<String> {
    let mut cells = vec![["of", "who", "time ~ size^", "size: ms"].map(str::to_owned).to_vec()];
    cells.extend(curves.iter().map(|curve| {
        let exponent =
            curve.law.map_or_else(|| "-".to_owned(), |law| format!("{:.2}", law.exponent));
        let points = curve.points.iter();
        let points: Vec<_> =
            points.map(|(size, ms)| format!("{}: {}", grouped(*size, 0), rate(*ms))).collect();
        vec![curve.of.clone(), curve.peer.clone(), exponent, points.join("; ")]
    }));
    let text = "The exponent is that of the power law nearest to the points (least squares of the \
                logarithms). W4 and W8 take all entries, so 1.00 is the same time for each; W5 takes \
                50,000 gets and W11 one opening, so 0.00 is the same time for each. Of W10 the size is \
                the number of devices, each of which writes the same: 1.00 is the same time for each \
                write, though each is merged by all.";
    (!curves.is_empty()).then(|| format!("## Growth\n\n{text}\n\n{}", markdown(&cells, &[0, 1, 3])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::tests::sample;

    fn point(peer: &str, of: &str, size: u32, ms: f64) -> Record {
        let record = Record { ms, ..sample(peer, &format!("{of} {size}")) };
        record.and(GROWTH_OF, of).and(SIZE, size)
    }

    /// Points of one peer and one thing make one curve, whatever their order; each point is the
    /// median of its runs.
    #[test]
    fn points_become_curves() {
        let records = [
            point("multibee", "W4", 1000, 10.0),
            point("redb", "W4", 1000, 7.0),
            point("multibee", "W4", 100, 1.0),
            point("multibee", "W4", 1000, 10.0),
            point("multibee", "W4", 1000, 900.0),
            point("multibee", "W11", 100, 1.0),
            sample("multibee", "btree"),
        ];
        let curves = curves(&records);
        let names: Vec<_> = curves.iter().map(|curve| (&curve.of[..], &curve.peer[..])).collect();
        assert_eq!(names, [("W11", "multibee"), ("W4", "multibee"), ("W4", "redb")]);
        assert_eq!(curves[1].points, [(100.0, 1.0), (1000.0, 10.0)]);
        assert!((curves[1].law.unwrap().exponent - 1.0).abs() < 1e-9);
        assert!(curves[2].law.is_none());
    }

    /// Each curve has its exponent beside it, and none where there is but one point.
    #[test]
    fn exponents_are_told() {
        let records = [point("multibee", "W4", 100, 1.0), point("multibee", "W4", 10_000, 10.0)];
        let text = told(&curves(&records)).unwrap();
        assert!(text.contains("| W4 | multibee | 0.50 | 100: 1.00; 10,000: 10.00 |"), "{text}");
        assert!(told(&curves(&records[..1])).unwrap().contains("| multibee | - |"));
        assert!(told(&[]).is_none());
    }
}
