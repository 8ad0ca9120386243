//! When to dial an address again.

use std::time::{Duration, Instant};

/// Pauses between attempts to reach an address.
///
/// Fields are set with struct update syntax.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedialOptions {
    /// The first pause, about. Each next one is twice as long.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// A connection that lasted this long was a good one: the pauses begin anew. A shorter one
    /// counts as an attempt that failed.
    pub lasting: Duration,
}

impl Default for RedialOptions {
    fn default() -> Self {
        Self {
            first_pause: Duration::from_millis(200),
            longest_pause: Duration::from_secs(30),
            lasting: Duration::from_secs(10),
        }
    }
}

/// Decides when to dial an address again: exponential back-off with jitter.
///
/// A state machine without clock and randomness of its own. Each pause is between half and the whole
/// of what the doubling gives, evenly, so that the clients of a server that was gone do not all
/// return at once.
///
/// ```
/// use std::time::{Duration, Instant};
/// use multibee_replica::{Redial, RedialOptions};
///
/// let (mut redial, now) = (Redial::new(RedialOptions::default()), Instant::now());
/// assert_eq!(redial.failed(now, u64::MAX), now + Duration::from_millis(200));
/// assert_eq!(redial.failed(now, 0), now + Duration::from_millis(200), "half of twice as much");
/// ```
#[derive(Clone, Debug)]
pub struct Redial {
    options: RedialOptions,
    /// The longest that the next pause may be.
    next_pause: Duration,
    /// Since when there is a connection.
    connected_at: Option<Instant>,
}

impl Redial {
    /// Nothing was dialled yet.
    #[must_use]
    pub fn new(options: RedialOptions) -> Self {
        let next_pause = options.first_pause.min(options.longest_pause);
        Self { options, next_pause, connected_at: None }
    }

    /// An attempt has failed. Returns when to make the next one. Any number is `random` enough that
    /// others cannot foresee.
    pub fn failed(&mut self, now: Instant, random: u64) -> Instant {
        self.connected_at = None;
        let most = self.next_pause;
        self.next_pause = most.saturating_mul(2).min(self.options.longest_pause);
        let half = most / 2;
        // 32 bits of randomness: as many steps as a pause can have use for.
        let share = (random >> 32) as u32;
        let spread = (most - half).mul_f64(f64::from(share) / f64::from(u32::MAX));
        now + half + spread
    }

    /// An attempt has led to a connection with somebody who answers as they should.
    pub fn connected(&mut self, now: Instant) {
        self.connected_at = Some(now);
    }

    /// The connection has ended. Returns when to dial again.
    pub fn ended(&mut self, now: Instant, random: u64) -> Instant {
        let lasted = self.connected_at.map(|at| now.saturating_duration_since(at));
        if lasted.is_some_and(|lasted| lasted >= self.options.lasting) {
            *self = Self::new(self.options);
        }
        self.failed(now, random)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn options() -> RedialOptions {
        RedialOptions { first_pause: 100 * MS, longest_pause: 500 * MS, lasting: 1000 * MS }
    }

    /// Without luck the pauses double up to the longest, and stay there.
    #[test]
    fn pauses_double_up_to_the_longest() {
        let (mut redial, now) = (Redial::new(options()), Instant::now());
        let pauses: Vec<Duration> = (0..5).map(|_| redial.failed(now, u64::MAX) - now).collect();
        assert_eq!(pauses, [100 * MS, 200 * MS, 400 * MS, 500 * MS, 500 * MS]);
    }

    /// Only a connection that lasted makes the pauses short again.
    #[test]
    fn a_connection_that_lasted_resets_the_pauses() {
        let (mut redial, start) = (Redial::new(options()), Instant::now());
        redial.failed(start, u64::MAX);
        redial.connected(start);
        let brief = start + 999 * MS;
        assert_eq!(redial.ended(brief, u64::MAX) - brief, 200 * MS);
        redial.connected(brief);
        let later = brief + 1000 * MS;
        assert_eq!(redial.ended(later, u64::MAX) - later, 100 * MS);
        assert_eq!(redial.failed(later, u64::MAX) - later, 200 * MS);
        let end = later + 10_000 * MS;
        assert_eq!(redial.ended(end, u64::MAX) - end, 400 * MS, "it was never connected");
    }

    proptest! {
        /// Whatever the luck, a pause is at least half of what it may be and at most all of it;
        /// whatever the options, nothing overflows.
        #[test]
        fn jitter_stays_within_bounds(
            random: Vec<u64>,
            first in 0..u64::MAX / 4,
            longest in 0..1u64 << 32,
        ) {
            let first_pause = Duration::from_millis(first);
            let longest_pause = Duration::from_millis(longest);
            let options = RedialOptions { first_pause, longest_pause, lasting: MS };
            let (mut redial, now) = (Redial::new(options), Instant::now());
            let mut most = first_pause.min(longest_pause);
            for random in random {
                let pause = redial.failed(now, random) - now;
                prop_assert!(pause >= most / 2 && pause <= most, "{pause:?} of {most:?}");
                most = most.saturating_mul(2).min(longest_pause);
            }
        }
    }
}
