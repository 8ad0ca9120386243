//! Hybrid logical time: a wall clock that never runs backwards.

use std::fmt;

/// A hybrid logical timestamp: 48 bits of milliseconds since 1970, 16 bits of counter.
///
/// It orders concurrent versions and nothing else. Adding one to a full counter carries into the
/// milliseconds, so times always grow.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

/// Bits of the counter below the milliseconds.
const COUNTER_BITS: u32 = 16;

/// How far into the future, by the own wall clock, a clock lets itself be moved: 10 minutes.
pub const MAX_DRIFT_MS: u64 = 10 * 60 * 1000;

impl Time {
    /// The time as it stands in a record.
    pub const fn from_u64(time: u64) -> Self {
        Self(time)
    }

    /// The time as it is stored in a record.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The first timestamp of a millisecond; one beyond 48 bits gives the greatest there is.
    pub const fn from_millis(millis: u64) -> Self {
        if millis >> (64 - COUNTER_BITS) == 0 {
            Self(millis << COUNTER_BITS)
        } else {
            Self(u64::MAX)
        }
    }

    /// Milliseconds since 1970.
    pub const fn millis(self) -> u64 {
        self.0 >> COUNTER_BITS
    }

    /// The next timestamp; the greatest one stays.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Time({}ms+{})", self.millis(), self.0 & ((1 << COUNTER_BITS) - 1))
    }
}

/// A device's clock: stamps its writes, and learns from others within bounds.
///
/// The wall clock is an argument (milliseconds since 1970), so that tests and simulations choose
/// it. Each stamp is greater than every earlier one, also when the wall clock was set back.
#[derive(Clone, Debug, Default)]
pub struct HybridClock {
    last: Time,
}

impl HybridClock {
    /// A clock that goes on after `last`, the greatest time that it ever gave.
    pub const fn restored(last: Time) -> Self {
        Self { last }
    }

    /// The greatest time given or learnt.
    pub const fn last(&self) -> Time {
        self.last
    }

    /// The time of a new write, later than every earlier one.
    pub fn stamp(&mut self, wall_ms: u64) -> Time {
        self.last = self.last.next().max(Time::from_millis(wall_ms));
        self.last
    }

    /// The time of a write that supersedes versions up to `floor`: later than those, too.
    ///
    /// The floor holds for this write only and does not move the clock, so that one key with a
    /// time far in the future does not drag all other keys along.
    pub fn stamp_after(&mut self, wall_ms: u64, floor: Time) -> Time {
        self.stamp(wall_ms).max(floor.next())
    }

    /// Learns of another device's time, at most [`MAX_DRIFT_MS`] beyond the own wall clock.
    ///
    /// Returns the milliseconds by which `time` is ahead of that bound, if it is: its writer's
    /// clock is wrong, and the user may want to know.
    pub fn observe(&mut self, time: Time, wall_ms: u64) -> Option<u64> {
        let bound = Time::from_millis(wall_ms.saturating_add(MAX_DRIFT_MS));
        self.last = self.last.max(time.min(bound));
        (time > bound).then(|| time.millis().saturating_sub(wall_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times grow although the wall clock stands still, falls or jumps.
    #[test]
    fn stamps_always_grow() {
        let mut clock = HybridClock::default();
        let stamps: Vec<_> =
            [100, 100, 7, 0, 100, 101, 50].into_iter().map(|wall| clock.stamp(wall)).collect();
        assert!(stamps.windows(2).all(|pair| pair[0] < pair[1]), "{stamps:?}");
    }

    /// A full counter carries into the milliseconds.
    #[test]
    fn a_full_counter_carries() {
        let mut clock = HybridClock::restored(Time::from_u64((5 << COUNTER_BITS) | 0xffff));
        assert_eq!(clock.stamp(5), Time::from_millis(6));
    }

    /// A time ten years ahead moves the clock by no more than the drift, and is reported.
    #[test]
    fn the_future_does_not_drag_the_clock_along() {
        let mut clock = HybridClock::default();
        let future = Time::from_millis(1_000_000 + 10 * MAX_DRIFT_MS);
        assert_eq!(clock.observe(future, 1_000_000), Some(10 * MAX_DRIFT_MS));
        assert!(clock.last() <= Time::from_millis(1_000_000 + MAX_DRIFT_MS));
        assert_eq!(clock.observe(Time::from_millis(1_000_001), 1_000_000), None);
    }

    /// A write on a key with a future time is later than it; the next write elsewhere is not.
    #[test]
    fn a_floor_holds_for_one_write() {
        let mut clock = HybridClock::default();
        let floor = Time::from_millis(9_000_000_000);
        assert!(clock.stamp_after(1_000, floor) > floor);
        assert!(clock.stamp(1_001) < floor);
    }

    /// Even the greatest time of all neither overflows nor stops the clock.
    #[test]
    fn the_end_of_time_is_survived() {
        let mut clock = HybridClock::default();
        assert_eq!(clock.stamp_after(1_000, Time::from_u64(u64::MAX)), Time::from_u64(u64::MAX));
        assert!(clock.stamp(1_001) < Time::from_millis(2_000));
        assert_eq!(Time::from_millis(u64::MAX), Time::from_u64(u64::MAX));
    }
}
