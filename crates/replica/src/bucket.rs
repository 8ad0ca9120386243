//! A limit on bytes per second.

use std::time::{Duration, Instant};

/// A token bucket: what was not used lately may be used at once, up to a quarter of a second's worth.
///
/// It may be overdrawn, by what is not to be held up or cannot be divided; nothing more is granted
/// then until that is paid back. So the mean holds whatever the pieces are.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    /// Bytes per second; `None` is no limit.
    rate: Option<u64>,
    /// Bytes that may be used; negative when overdrawn.
    level: f64,
    /// When the level was right; `None` before the first use, when the bucket is full.
    at: Option<Instant>,
}

impl Bucket {
    pub(crate) fn new(rate: Option<u64>) -> Self {
        // With none a second nothing would ever come.
        Self { rate: rate.map(|rate| rate.max(1)), level: 0.0, at: None }
    }

    /// Bytes that may be used now.
    pub(crate) fn room(&self, now: Instant) -> usize {
        // A cast from a float saturates.
        self.rate.map_or(usize::MAX, |rate| self.level_at(rate, now) as usize)
    }

    /// Bytes were used.
    pub(crate) fn spend(&mut self, len: usize, now: Instant) {
        if let Some(rate) = self.rate {
            self.level = self.level_at(rate, now) - len as f64;
            self.at = Some(now);
        }
    }

    /// When something may be used again, if nothing may now.
    pub(crate) fn ready_at(&self, now: Instant) -> Option<Instant> {
        let rate = self.rate?;
        let lacking = 1.0 - self.level_at(rate, now);
        // Rounded up, so that at that time there is something.
        (lacking > 0.0).then(|| {
            now + Duration::from_secs_f64(lacking / rate as f64) + Duration::from_micros(1)
        })
    }

    fn level_at(&self, rate: u64, now: Instant) -> f64 {
        let most = (rate as f64 / 4.0).max(BURST_MIN);
        let Some(at) = self.at else { return most };
        let since = now.saturating_duration_since(at).as_secs_f64();
        (self.level + since * rate as f64).min(most)
    }
}

/// A message or two fit even at the lowest rate.
const BURST_MIN: f64 = 4096.0;

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::{BURST_MIN, Bucket};

    /// Without a limit nothing is held up.
    #[test]
    fn no_limit_is_none() {
        let (mut bucket, now) = (Bucket::new(None), Instant::now());
        bucket.spend(usize::MAX, now);
        assert_eq!((bucket.room(now), bucket.ready_at(now)), (usize::MAX, None));
    }

    proptest! {
        /// Who asks before each use, and waits for as long as it is told, uses no more than the rate
        /// and one burst, less only what the last piece was too large; and waits never in vain.
        #[test]
        fn mean_rate_holds(
            rate in 1..1_000_000_u64,
            uses in vec((1..100_000_usize, 0..50_u64), 1..60),
        ) {
            let mut bucket = Bucket::new(Some(rate));
            let start = Instant::now();
            let (mut now, mut used) = (start, 0.0);
            for (len, pause) in uses {
                now += Duration::from_millis(pause);
                if let Some(at) = bucket.ready_at(now) {
                    prop_assert!(bucket.room(now) == 0 && at > now);
                    now = at;
                }
                prop_assert!(bucket.room(now) > 0);
                prop_assert_eq!(bucket.ready_at(now), None);
                let burst = (rate as f64 / 4.0).max(BURST_MIN);
                let granted = burst + (now - start).as_secs_f64() * rate as f64;
                prop_assert!(used < granted + 1.0, "{} of {}", used, granted);
                bucket.spend(len, now);
                used += len as f64;
            }
        }
    }
}
