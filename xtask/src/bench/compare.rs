//! Whether results differ from earlier ones by more than chance does.

use super::record::Record;
use super::rows::{Row, rows};
use super::stats::Summary;
use super::times::Measurement;
use super::words::{markdown, rate, times};

/// How one row has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Faster,
    Slower,
    /// What differs is less than runs of the same program differ.
    WithinNoise,
    /// One side has not measured this, or not as much of it.
    Incomparable,
}

/// One row now and then.
#[derive(Clone, Debug)]
pub(super) struct Change {
    peer: String,
    measurement: Measurement,
    is_ours: bool,
    is_floor: bool,
    before: Option<f64>,
    now: Option<f64>,
    /// Rates nearer to each other than by this share are the same.
    noise: f64,
    pub(super) verdict: Verdict,
}

/// Even a quiet machine gives no two runs that agree better.
const NOISE_MIN: f64 = 0.03;
/// Of a series of a single run, which does not tell how much runs differ: the speed of a virtual
/// machine changes by a fifth from one minute to the next.
const DEVIATION_UNKNOWN: f64 = 0.2;

/// The noise of two series together.
fn noise(before: &Summary, now: &Summary) -> f64 {
    let deviation =
        |of: &Summary| of.deviation().map_or(DEVIATION_UNKNOWN, |seen| seen * unseen(of.count));
    NOISE_MIN + deviation(before) + deviation(now)
}

/// Few runs show little of how far runs can be apart: by how much what they show is to be widened, so
/// that it is about three standard deviations of the difference of two medians.
fn unseen(runs: usize) -> f64 {
    match runs {
        0..=2 => 3.0,
        3 => 1.5,
        _ => 1.0,
    }
}

fn judge(before: &Summary, now: &Summary) -> Verdict {
    let ratio = now.median / before.median;
    let noise = noise(before, now);
    if ratio > 1.0 + noise {
        Verdict::Faster
    } else if ratio < 1.0 / (1.0 + noise) {
        Verdict::Slower
    } else {
        Verdict::WithinNoise
    }
}

/// All rows of now, and those that there were only before.
pub(super) fn compare(before: &[Record], now: &[Record]) -> Vec<Change> {
    let (before, now) = (rows(before), rows(now));
    let same = |one: &Row<'_>, other: &Row<'_>| {
        one.measurement == other.measurement && one.first.peer == other.first.peer
    };
    let missing = before.iter().filter(|then| !now.iter().any(|row| same(row, then)));
    let pairs = now.iter().map(|row| (before.iter().find(|then| same(row, then)), Some(row)));
    pairs.chain(missing.map(|then| (Some(then), None))).filter_map(change).collect()
}

fn change((before, now): (Option<&Row<'_>>, Option<&Row<'_>>)) -> Option<Change> {
    let row = now.or(before)?;
    let rate = |row: Option<&Row<'_>>| row?.summary(|run| Some(run.rate));
    let (then, this) = (rate(before), rate(now));
    let same_size = before.zip(now).is_some_and(|(then, now)| then.first.n == now.first.n);
    let (noise, verdict) = match then.zip(this).filter(|_| same_size) {
        Some((then, this)) => (noise(&then, &this), judge(&then, &this)),
        None => (0.0, Verdict::Incomparable),
    };
    Some(Change {
        peer: row.first.peer.clone(),
        measurement: row.measurement.clone(),
        is_ours: row.is_ours() && !row.is_floor(),
        is_floor: row.is_floor(),
        before: then.map(|summary| summary.median),
        now: this.map(|summary| summary.median),
        noise,
        verdict,
    })
}

impl Change {
    /// Whether this is a reason to fail: neither a peer nor the machine is ours to mend.
    pub(super) fn is_regression(&self) -> bool {
        self.is_ours && self.verdict == Verdict::Slower
    }

    fn cells(&self) -> Vec<String> {
        let told = |number: Option<f64>| number.map_or_else(|| "-".to_owned(), rate);
        let ratio = self.now.zip(self.before).filter(|_| self.verdict != Verdict::Incomparable);
        let verdict = match self.verdict {
            Verdict::Faster => "faster",
            Verdict::Slower if self.is_regression() => "SLOWER",
            Verdict::Slower => "slower",
            Verdict::WithinNoise => "within noise",
            Verdict::Incomparable => "not comparable",
        };
        vec![
            self.peer.clone(),
            format!("{:?}", self.measurement.workload),
            self.measurement.variant.clone(),
            self.measurement.durability.clone(),
            told(self.before),
            told(self.now),
            ratio.map_or_else(|| "-".to_owned(), |(now, before)| times(now / before)),
            ratio.map_or_else(|| "-".to_owned(), |_| format!("{:.0} %", self.noise * 100.0)),
            verdict.to_owned(),
        ]
    }
}

const HEADS: [&str; 9] =
    ["peer", "workload", "variant", "durability", "before, /s", "now, /s", "times", "noise", ""];

/// All changes, and what they come to.
pub(super) fn told(name: &str, changes: &[Change]) -> String {
    let mut cells = vec![HEADS.map(str::to_owned).to_vec()];
    cells.extend(changes.iter().map(Change::cells));
    let count = |verdict, of: fn(&Change) -> bool| {
        changes.iter().filter(|change| change.verdict == verdict && of(change)).count()
    };
    let ours = |change: &Change| change.is_ours;
    let mut text = format!(
        "Against `{name}`: {} faster, {} slower, {} within noise, {} not comparable (our rows).\n",
        count(Verdict::Faster, ours),
        count(Verdict::Slower, ours),
        count(Verdict::WithinNoise, ours),
        count(Verdict::Incomparable, ours),
    );
    let floors = count(Verdict::Slower, |change| change.is_floor);
    if floors > 0 {
        text += &format!(
            "{floors} floors are slower, too: the machine itself is. Measure again when it is quiet.\n"
        );
    }
    text + "\n" + &markdown(&cells, &[0, 1, 2, 3, 8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::tests::sample;

    fn series(peer: &str, variant: &str, rates: &[f64]) -> Vec<Record> {
        let record = |(&rate, run)| Record { rate, run, ..sample(peer, variant) };
        rates.iter().zip(1..).map(record).collect()
    }

    fn verdict(before: &[f64], now: &[f64]) -> Verdict {
        let of = |rates| series("multibee", "btree", rates);
        compare(&of(before), &of(now)).first().unwrap().verdict
    }

    /// What differs by less than both series' own spread is noise, what differs by more is not.
    #[test]
    fn the_spread_of_runs_is_the_measure() {
        assert_eq!(verdict(&[100.0, 101.0, 99.0], &[90.0, 89.0, 91.0]), Verdict::Slower);
        assert_eq!(verdict(&[100.0, 101.0, 99.0], &[110.0, 109.0, 111.0]), Verdict::Faster);
        assert_eq!(verdict(&[100.0, 130.0, 90.0], &[90.0, 89.0, 91.0]), Verdict::WithinNoise);
        assert_eq!(verdict(&[100.0, 101.0, 99.0], &[90.0, 112.0, 89.0]), Verdict::WithinNoise);
        assert_eq!(verdict(&[100.0, 100.0], &[98.0, 98.0]), Verdict::WithinNoise);
    }

    /// The same spread says more of how much runs differ if it is that of more runs.
    #[test]
    fn few_runs_show_little_of_their_spread() {
        let now = [88.0; 4];
        assert_eq!(verdict(&[104.0, 96.0], &now), Verdict::WithinNoise);
        assert_eq!(verdict(&[104.0, 100.0, 96.0], &now), Verdict::Slower);
        assert_eq!(verdict(&[112.0, 100.0, 88.0], &now), Verdict::WithinNoise);
        assert_eq!(verdict(&[110.0, 100.0, 100.0, 96.0], &now), Verdict::Slower);
    }

    /// Single runs tell no spread, so only what is far off counts.
    #[test]
    fn single_runs_are_taken_for_noisy() {
        assert_eq!(verdict(&[100.0], &[75.0]), Verdict::WithinNoise);
        assert_eq!(verdict(&[100.0], &[60.0]), Verdict::Slower);
        assert_eq!(verdict(&[100.0], &[150.0]), Verdict::Faster);
    }

    /// Ours that is slower is a regression; a peer's, or a floor, is told and no more.
    #[test]
    fn only_ours_is_a_regression() {
        let (fast, slow) = ([100.0, 100.0], [50.0, 50.0]);
        let all = |rates: &[f64]| {
            [("multibee", "btree"), ("multibee", "btree FLOOR"), ("hyperbee", "clone")]
                .map(|(peer, variant)| series(peer, variant, rates))
                .concat()
        };
        let changes = compare(&all(&fast), &all(&slow));
        let found: Vec<_> = changes.iter().map(Change::is_regression).collect();
        assert_eq!(found, [true, false, false]);
        assert!(changes.iter().all(|change| change.verdict == Verdict::Slower));
        let text = told("base", &changes);
        assert!(text.contains("0 faster, 1 slower, 0 within noise") && text.contains("SLOWER"));
        assert!(text.contains("1 floors are slower, too"), "{text}");
    }

    /// Other sizes, and rows of one side only, are named but not judged.
    #[test]
    fn what_is_not_the_same_is_not_compared() {
        let before = series("multibee", "a", &[1.0, 1.0]);
        let quick: Vec<_> = before.iter().map(|run| Record { n: 7, ..run.clone() }).collect();
        let now = [quick, series("multibee", "b", &[1.0])].concat();
        let gone = [before, series("multibee", "c", &[1.0])].concat();
        let changes = compare(&gone, &now);
        let names: Vec<_> = changes.iter().map(|change| &change.measurement.variant[..]).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert!(changes.iter().all(|change| change.verdict == Verdict::Incomparable));
    }
}
