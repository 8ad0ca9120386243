//! What each workload cannot take less than, by arithmetic from the floors of workload F.

use std::collections::BTreeMap;

use super::rows::Row;
use super::times::Measurement;
use super::words::{markdown, rate, times};
use super::workload::{Part, Workload};

/// What one operation takes of one thing.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Term {
    /// How often for each operation; a share, if several operations have it in common.
    count: f64,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    /// All of it.
    Whole(Part),
    /// A byte's share of it.
    Byte(Part),
    /// A given number of microseconds, which is part of the workload.
    Given(f64),
}

fn whole(count: f64, part: Part) -> Term {
    Term { count, what: What::Whole(part) }
}

fn bytes(count: f64, part: Part) -> Term {
    Term { count, what: What::Byte(part) }
}

/// Bytes of a block that holds an entry of 116 bytes: what W4's log has for each, on average.
const ENTRY_BLOCK: f64 = 179.0;
/// Bytes that the log's own file has for each node, and for an entry without its nodes.
const NODE: f64 = 36.0;
const COMMIT: f64 = 110.0;

/// Of what writes `size` blocks of so many bytes in one commit, for each block: a leaf and a parent,
/// the signature, both writes, and both syncs.
fn commit(size: f64, block: f64, is_synced: bool) -> Vec<Term> {
    let share = 1.0 / size;
    let mut terms = vec![
        whole(share, Part::Sign),
        whole(1.0, if size < 8.0 { Part::Leaf } else { Part::Leaves }),
        whole(1.0, Part::Parents),
    ];
    if is_synced {
        terms.push(whole(2.0 * share, Part::Sync));
    } else if size < 8.0 {
        terms.push(whole(2.0 * share, Part::Write));
    }
    if size >= 8.0 {
        terms.push(bytes(block + 2.0 * NODE + COMMIT * share, Part::WriteLarge));
    }
    terms
}

/// Encrypting, copying and decrypting so many bytes.
fn carry(len: f64) -> Vec<Term> {
    [Part::Seal64K, Part::Copy64K, Part::Open64K].map(|part| bytes(len, part)).to_vec()
}

/// What an operation of a measurement takes at least; `None` where there is no saying.
fn terms(measurement: &Measurement) -> Option<Vec<Term>> {
    let variant = measurement.variant.as_str();
    let is_synced = measurement.durability == "immediate";
    let is_written = matches!(measurement.durability.as_str(), "immediate" | "buffered");
    Some(match measurement.workload {
        Workload::W1 if is_written => {
            commit(variant.strip_prefix("batch")?.parse().ok()?, 128.0, is_synced)
        }
        Workload::W2 if variant == "sequential" => vec![whole(1.0, Part::Pread)],
        Workload::W3 => commit(1.0, ENTRY_BLOCK, is_synced),
        Workload::W4 => commit(1000.0, ENTRY_BLOCK, is_synced),
        Workload::W5 | Workload::W6 if variant.ends_with("reopened") => {
            vec![whole(1.0, Part::Pread)]
        }
        // The entry now, and the one before.
        Workload::W7 if variant == "reopened" => vec![whole(2.0, Part::Pread)],
        Workload::W8 => {
            let hashes = [whole(1.0, Part::Leaves), whole(1.0, Part::Parents)];
            [&hashes[..], &carry(ENTRY_BLOCK)].concat()
        }
        Workload::W9 => sparse(variant)?,
        Workload::W10 => converge(variant)?,
        _ => return None,
    })
}

/// One round trip for each get, or for all that are begun at once.
fn sparse(variant: &str) -> Option<Vec<Term>> {
    let round_trip: f64 = variant.split_once(" ms")?.0.parse().ok()?;
    let at_once = if variant.ends_with("concurrent") { 100.0 } else { 1.0 };
    Some(match round_trip {
        0.0 => vec![whole(1.0 / at_once, Part::PingPong)],
        round_trip => vec![Term { count: 1.0 / at_once, what: What::Given(round_trip * 1e3) }],
    })
}

/// For each write, on all devices together: its author's commit; at each other device its block's
/// transfer, checking, and the block of its own that it makes of it.
fn converge(variant: &str) -> Option<Vec<Term>> {
    let (devices, batch) = variant.split_once("-devices-batch")?;
    let (devices, batch): (f64, f64) = (devices.parse().ok()?, batch.parse().ok()?);
    let others = devices - 1.0;
    let mut terms = vec![
        whole(1.0 / batch, Part::Sign),
        whole(others / batch, Part::Verify),
        whole(1.0 + 2.0 * others, Part::Leaves),
        whole(1.0 + 2.0 * others, Part::Parents),
    ];
    terms.extend(carry(ENTRY_BLOCK * others));
    Some(terms)
}

/// Microseconds that each part takes once.
type Costs = BTreeMap<Part, f64>;

fn costs(rows: &[Row<'_>]) -> Costs {
    let cost = |part: Part| {
        let is_it = |row: &&Row<'_>| {
            row.measurement.workload == Workload::F && row.measurement.variant == part.to_string()
        };
        let rate = rows.iter().find(is_it)?.median(|run| Some(run.rate))?;
        (rate > 0.0).then(|| (part, 1e6 / rate))
    };
    Part::ALL.into_iter().filter_map(cost).collect()
}

/// Microseconds of a term, and how it is told; `None` if its part was not measured.
fn cost(term: Term, costs: &Costs) -> Option<(f64, String)> {
    let of = |part| costs.get(&part).copied();
    let count = term.count;
    let told = if count.fract() == 0.0 { format!("{count}") } else { format!("{count:.3}") };
    Some(match term.what {
        What::Whole(part) => (count * of(part)?, format!("{told} x {part} ({:.2} us)", of(part)?)),
        What::Byte(part) => {
            let each = of(part)? / part.len() as f64;
            (count * each, format!("{count:.0} B of {part} ({:.2} ns/B)", each * 1e3))
        }
        What::Given(us) => (count * us, format!("{told} x a round trip of {} ms", us / 1e3)),
    })
}

/// The sum of all terms, and how it is told.
fn sum(terms: &[Term], costs: &Costs) -> Option<(f64, String)> {
    let parts: Vec<_> = terms.iter().map(|term| cost(*term, costs)).collect::<Option<_>>()?;
    let us = parts.iter().map(|(us, _)| us).sum();
    let told: Vec<_> = parts.into_iter().map(|(_, told)| told).collect();
    Some((us, told.join(" + ")))
}

/// The arithmetic of each of our rows that has any, if the floors were measured.
pub(super) fn told(rows: &[Row<'_>]) -> Option<String> {
    let costs = costs(rows);
    let mut cells = vec![
        [
            "workload",
            "variant",
            "durability",
            "floor of one",
            "us",
            "floor, per s",
            "ours",
            "share",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    for row in rows.iter().filter(|row| row.is_ours() && !row.is_floor()) {
        let of = &row.measurement;
        if let Some((us, told)) = terms(of).and_then(|terms| sum(&terms, &costs))
            && let Some(ours) = row.median(|run| Some(run.rate))
        {
            let floor = 1e6 / us;
            cells.push(vec![
                format!("{:?}", of.workload),
                of.variant.clone(),
                of.durability.clone(),
                told,
                format!("{us:.2}"),
                rate(floor),
                rate(ours),
                times(ours / floor),
            ]);
        }
    }
    let text = "What an operation cannot do without, added up from the rows of F as if one thread did \
                it all and nothing else. Where our rate is above it, two threads share the work, the \
                system's cache gives what was counted as a read, or one sync serves both files. W10 \
                counts the work of all devices.";
    (cells.len() > 1).then(|| {
        format!("## Floors by arithmetic\n\n{text}\n\n{}", markdown(&cells, &[0, 1, 2, 3]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::Record;
    use crate::bench::record::tests::sample;
    use crate::bench::rows::rows;

    fn us(workload: Workload, variant: &str, durability: &str) -> Option<f64> {
        let costs: Costs = Part::ALL.into_iter().zip((0..).map(|at| f64::from(1 << at))).collect();
        let (variant, durability) = (variant.to_owned(), durability.to_owned());
        let terms = terms(&Measurement { workload, variant, durability })?;
        sum(&terms, &costs).map(|(us, _)| us)
    }

    fn of(part: Part) -> f64 {
        let at = Part::ALL.iter().position(|known| *known == part).unwrap();
        f64::from(1 << at)
    }

    /// A commit's signature, writes and syncs are shared by all that is in it.
    #[test]
    fn commits_share_what_they_have_once() {
        let each = of(Part::Leaf) + of(Part::Parents);
        let single = each + of(Part::Sign) + 2.0 * of(Part::Write);
        assert_eq!(us(Workload::W3, "btree", "buffered"), Some(single));
        assert_eq!(us(Workload::W1, "batch1", "buffered"), Some(single));
        let synced = each + of(Part::Sign) + 2.0 * of(Part::Sync);
        assert_eq!(us(Workload::W3, "multibee", "immediate"), Some(synced));
        let bytes = (128.0 + 72.0 + 1.1) * of(Part::WriteLarge) / f64::from(1 << 20);
        let batch = of(Part::Leaves) + of(Part::Parents) + of(Part::Sign) / 100.0 + bytes;
        let found = us(Workload::W1, "batch100", "buffered").unwrap();
        assert!((found - batch).abs() < 1e-9, "{found} {batch}");
    }

    /// A round trip that the workload states needs no floor; gets at once share it.
    #[test]
    fn round_trips_are_given() {
        assert_eq!(us(Workload::W9, "20 ms sequential", "buffered"), Some(20_000.0));
        assert_eq!(us(Workload::W9, "20 ms hints 100 concurrent", "buffered"), Some(200.0));
        assert_eq!(us(Workload::W9, "0 ms sequential", "buffered"), Some(of(Part::PingPong)));
    }

    /// What nobody can say a floor of has none: what is warm, and what only we measure.
    #[test]
    fn the_rest_has_no_arithmetic() {
        assert_eq!(us(Workload::W5, "warm", "read"), None);
        assert_eq!(us(Workload::W10, "catchup", "buffered"), None);
        assert_eq!(us(Workload::N1, "10-logs", "read"), None);
        assert!(us(Workload::W10, "3-devices-batch50", "buffered").is_some());
    }

    /// The arithmetic is printed with what it is made of; without the floors nothing is.
    #[test]
    fn the_arithmetic_is_printed() {
        let pread = Record {
            workload: Workload::F,
            rate: 1e6,
            ..sample("multibee", &Part::Pread.to_string())
        };
        let get = Record { workload: Workload::W5, rate: 5e5, ..sample("multibee", "reopened") };
        let text = told(&rows(&[pread, get.clone()])).unwrap();
        assert!(text.contains("| 1 x pread 128 B (1.00 us) | 1.00 | 1,000,000 | 500,000 | 0.50 |"));
        assert_eq!(told(&rows(&[get])), None);
    }
}
