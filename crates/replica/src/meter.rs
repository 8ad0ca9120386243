//! How fast blocks come.

use std::time::{Duration, Instant};

/// Counts blocks and their bytes, and tells their rates over about the last seconds: what is older
/// counts less and less.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Meter {
    pub(crate) blocks: u64,
    pub(crate) bytes: u64,
    /// What came lately, weighed by age.
    recent: [f64; 2],
    /// When those weights were right.
    at: Option<Instant>,
    /// Since when there is something to tell: a mean over less time than usual at first.
    from: Option<Instant>,
}

/// Blocks and bytes per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rates {
    pub(crate) blocks: u64,
    pub(crate) bytes: u64,
}

impl Meter {
    /// Blocks have come, with so many bytes.
    pub(crate) fn note(&mut self, count: u64, len: u64, now: Instant) {
        self.blocks += count;
        self.bytes += len;
        self.recent = self.recent_at(now);
        self.at = Some(self.at.map_or(now, |at| at.max(now)));
        self.from.get_or_insert(now);
        let [blocks, bytes] = &mut self.recent;
        *blocks += count as f64;
        *bytes += len as f64;
    }

    /// The rates now.
    pub(crate) fn rates(&self, now: Instant) -> Rates {
        let Some(from) = self.from else { return Rates::default() };
        let age = now.saturating_duration_since(from).max(SHORTEST).as_secs_f64();
        // What a steady flow of one a second would have left behind.
        let weight = MEMORY.as_secs_f64() * (1.0 - (-age / MEMORY.as_secs_f64()).exp());
        let [blocks, bytes] = self.recent_at(now).map(|recent| (recent / weight).round() as u64);
        Rates { blocks, bytes: if blocks == 0 { 0 } else { bytes } }
    }

    fn recent_at(&self, now: Instant) -> [f64; 2] {
        let Some(at) = self.at else { return self.recent };
        let since = now.saturating_duration_since(at).as_secs_f64();
        self.recent.map(|recent| recent * (-since / MEMORY.as_secs_f64()).exp())
    }
}

/// After this long what came counts a third.
const MEMORY: Duration = Duration::from_secs(2);
/// No rate is told of less time.
const SHORTEST: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Meter, Rates};

    /// A steady flow is told rightly from the first seconds on; a change of it within some seconds;
    /// its end, too.
    #[test]
    fn rate_follows_the_flow() {
        let mut meter = Meter::default();
        let mut now = Instant::now();
        assert_eq!(meter.rates(now), Rates::default());
        let mut flow = |per_second: u32, seconds: u32| {
            for _ in 0..per_second * seconds {
                now += Duration::from_secs(1) / per_second;
                meter.note(1, 1000, now);
            }
            (meter.rates(now), now)
        };
        for (per_second, seconds) in [(100, 1), (100, 9), (1000, 12), (10, 20)] {
            let (rates, _) = flow(per_second, seconds);
            let wanted = u64::from(per_second);
            assert!(rates.blocks.abs_diff(wanted) <= wanted / 20 + 2, "{rates:?} for {wanted}");
            assert!(rates.bytes.abs_diff(rates.blocks * 1000) <= 1000, "{rates:?}");
        }
        let (_, now) = flow(1000, 2);
        assert_eq!(meter.rates(now + Duration::from_secs(60)), Rates::default());
        assert_eq!((meter.blocks, meter.bytes), (15_200, 15_200_000));
    }
}
