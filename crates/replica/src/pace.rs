//! How fast one remote answers, and how much may be asked of it at once.

use std::time::{Duration, Instant};

use crate::limits::{
    BATCHING_TIME, HEDGE_MAX, HEDGE_MIN, HEDGE_UNKNOWN, START_LEN, START_WINDOW, WINDOW_FLOOR,
};

/// What was measured of one connection, over all logs on it.
///
/// The window is twice what the remote delivers in its shortest round trip: as much as the path
/// holds, and as much again so that growth shows whether it holds more. So it doubles in each
/// round trip until the remote, or the path, delivers no faster, and a queue beyond that does not
/// make it larger.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Blocks asked for and not settled.
    in_flight: usize,
    /// Blocks that came.
    delivered: u64,
    usual: Option<Usual>,
    /// Shortest time to an answer, of this period and of the one before.
    shortest: [Option<Duration>; 2],
    /// Blocks per second at best, likewise.
    fastest: [f64; 2],
    /// Since when each of the two is measured anew.
    shortest_from: Option<Instant>,
    fastest_from: Option<Instant>,
    /// The window was full in this period: what is measured is the path, and not how little was
    /// asked for.
    was_full: bool,
    /// Until when the window is small, so that the queue drains and the shortest time shows.
    probes_until: Option<Instant>,
    /// How many logs share the window.
    sharers: usize,
}

/// The usual time to an answer.
#[derive(Clone, Copy, Debug)]
struct Usual {
    mean: Duration,
    deviation: Duration,
    /// When it was last measured: answers that come together count once.
    at: Instant,
}

/// What is noted when something is asked for, to measure by when it comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pub(crate) at: Instant,
    delivered: u64,
}

impl Pace {
    /// Blocks are asked for.
    pub(crate) fn asked(&mut self, blocks: usize, now: Instant) -> Mark {
        self.in_flight += blocks;
        Mark { at: now, delivered: self.delivered }
    }

    /// Blocks that were asked for do not come, or do not count as under way any more.
    pub(crate) fn settled(&mut self, blocks: usize) {
        self.in_flight = self.in_flight.saturating_sub(blocks);
    }

    /// Blocks that were asked for have come. Each is [`settled`](Self::settled), too.
    pub(crate) fn answered(&mut self, mark: Mark, blocks: usize, now: Instant) {
        self.delivered += blocks as u64;
        let took = now.saturating_duration_since(mark.at);
        self.turn_periods(now);
        let [shortest, _] = &mut self.shortest;
        *shortest = Some(shortest.map_or(took, |shortest| shortest.min(took)));
        let came = (self.delivered - mark.delivered) as f64;
        let rate = came / took.max(CLOCK_TICK).as_secs_f64();
        let [fastest, _] = &mut self.fastest;
        *fastest = fastest.max(rate);
        self.note_usual(took, now);
    }

    /// More would have been asked for if the window were larger.
    pub(crate) fn note_full(&mut self) {
        self.was_full = true;
    }

    /// So many logs share the window from now on.
    pub(crate) fn share_among(&mut self, logs: usize) {
        self.sharers = logs;
    }

    /// How many blocks of `mean_len` bytes one log may have under way that has `own` of them
    /// already. One is always allowed, so that no log waits for another to end.
    pub(crate) fn room(&self, own: usize, mean_len: u64) -> usize {
        let window = self.window(mean_len);
        let share = window.div_ceil(self.sharers.max(1)).max(1);
        let room = window.saturating_sub(self.in_flight).min(share.saturating_sub(own));
        room.max(usize::from(own == 0))
    }

    /// Whether a log that has `own` blocks under way in runs may have a run of `count` more. One run is
    /// always allowed, however long it is, when nothing else is under way, or nothing of this log and
    /// the window is not full.
    pub(crate) fn has_room_for_run(&self, count: usize, own: usize, mean_len: u64) -> bool {
        let window = self.window(mean_len);
        let share = window.div_ceil(self.sharers.max(1));
        self.in_flight == 0
            || (own == 0 && self.in_flight < window)
            || (self.in_flight + count <= window && own + count <= share)
    }

    /// How many blocks of `mean_len` bytes may be under way.
    pub(crate) fn window(&self, mean_len: u64) -> usize {
        let start = usize::try_from(START_LEN / mean_len.max(1)).unwrap_or(usize::MAX);
        let start = start.clamp(WINDOW_FLOOR, START_WINDOW);
        let [present, past] = self.fastest;
        let rate = present.max(past);
        if self.usual.is_none() || self.probes_until.is_some() {
            return start;
        }
        let [present, past] = self.shortest;
        let shortest = present.into_iter().chain(past).min().unwrap_or_default();
        // Casts from a float saturate.
        let held = (rate * shortest.max(BATCHING_TIME).as_secs_f64() * 2.0) as usize;
        let least = (rate * LEAST_TIME.as_secs_f64()) as usize;
        held.max(least.clamp(WINDOW_FLOOR, start))
    }

    /// The usual time to an answer.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.usual.map(|usual| usual.mean)
    }

    /// How long to wait for an answer before somebody else is asked too.
    pub(crate) fn patience(&self) -> Duration {
        self.usual.map_or(HEDGE_UNKNOWN, |usual| {
            ((usual.mean + usual.deviation * 4) * 2).clamp(HEDGE_MIN, HEDGE_MAX)
        })
    }

    fn note_usual(&mut self, took: Duration, now: Instant) {
        let Some(usual) = &mut self.usual else {
            self.usual = Some(Usual { mean: took, deviation: took / 2, at: now });
            return;
        };
        if usual.at == now {
            return;
        }
        usual.at = now;
        usual.deviation = (usual.deviation * 3 + usual.mean.abs_diff(took)) / 4;
        usual.mean = (usual.mean * 7 + took) / 8;
    }

    /// What is not measured again for two periods is forgotten: paths change.
    fn turn_periods(&mut self, now: Instant) {
        let usual = self.usual.map_or(Duration::ZERO, |usual| usual.mean);
        self.probes_until = self.probes_until.filter(|until| now < *until);
        let since =
            |from: &mut Option<Instant>| now.saturating_duration_since(*from.get_or_insert(now));
        let shortest_is_old = since(&mut self.shortest_from) >= SHORTEST_PERIOD;
        let fastest_is_old = since(&mut self.fastest_from) >= FASTEST_PERIOD.max(usual * 2);
        if self.was_full && shortest_is_old {
            self.shortest_from = Some(now);
            self.probes_until = Some(now + usual * 2);
            let [present, past] = &mut self.shortest;
            *past = present.take();
        }
        if self.was_full && fastest_is_old {
            self.fastest_from = Some(now);
            self.was_full = false;
            let [present, past] = &mut self.fastest;
            *past = std::mem::take(present);
        }
    }
}

/// Times shorter than this are not told apart.
const CLOCK_TICK: Duration = Duration::from_millis(1);
/// How long a rate counts as present, at least.
const FASTEST_PERIOD: Duration = Duration::from_secs(2);
/// The same of the shortest time. Our own requests queue up and hide it, so it takes a pause of two
/// round trips to measure.
const SHORTEST_PERIOD: Duration = Duration::from_secs(30);
/// As much as comes in this time may always be asked for, up to the window at the start.
const LEAST_TIME: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::Pace;
    use crate::limits::{HEDGE_MAX, HEDGE_MIN, HEDGE_UNKNOWN, START_WINDOW, WINDOW_FLOOR};

    /// A path that takes `round_trip` and lets `rate` blocks through each second, for so many
    /// round trips. Returns the windows at their ends.
    fn run(pace: &mut Pace, round_trip: Duration, rate: f64, rounds: u32) -> Vec<usize> {
        let mut now = Instant::now();
        let mut free_at = now;
        let mut under_way = std::collections::VecDeque::new();
        let mut windows = Vec::new();
        for _ in 0..rounds {
            let end = now + round_trip;
            while now < end {
                while under_way.len() < pace.window(100) {
                    free_at = free_at.max(now) + Duration::from_secs_f64(1.0 / rate);
                    under_way.push_back((pace.asked(1, now), free_at + round_trip));
                }
                pace.note_full();
                now += Duration::from_millis(1);
                while under_way.front().is_some_and(|(_, at)| *at <= now) {
                    let (mark, _) = under_way.pop_front().unwrap();
                    pace.settled(1);
                    pace.answered(mark, 1, now);
                }
            }
            windows.push(pace.window(100));
        }
        windows
    }

    /// The window grows until the path is full, to about twice what the path holds, and no further
    /// although what is beyond waits in a queue.
    #[test]
    fn window_fits_the_path() {
        for (millis, rate) in [(50, 4000.0), (200, 1000.0), (20, 20_000.0)] {
            let round_trip = Duration::from_millis(millis);
            let held = round_trip.as_secs_f64() * rate;
            let rounds = 70_000 / u32::try_from(round_trip.as_millis()).unwrap();
            let windows = run(&mut Pace::default(), round_trip, rate, rounds);
            let last = *windows.last().unwrap() as f64;
            assert!((1.5 * held..2.5 * held).contains(&last), "{last} where {held} fit");
            assert!(windows.iter().all(|window| (*window as f64) < 2.5 * held), "{windows:?}");
        }
    }

    /// A slow peer is asked for little, and a path that has become slow for less than before.
    #[test]
    fn window_shrinks_with_the_path() {
        let mut pace = Pace::default();
        let windows = run(&mut pace, Duration::from_millis(20), 50.0, 50);
        assert!(windows[5..].iter().all(|window| *window < START_WINDOW / 2), "{windows:?}");
        let mut pace = Pace::default();
        let fast = *run(&mut pace, Duration::from_millis(50), 20_000.0, 60).last().unwrap();
        let slow = *run(&mut pace, Duration::from_millis(50), 1000.0, 400).last().unwrap();
        assert!(slow * 4 < fast, "{slow} after {fast}");
    }

    /// Somebody who answers in 20 ms is not waited for for seconds; one of whom nothing is known is
    /// waited for for one.
    #[test]
    fn patience_is_a_multiple_of_the_usual() {
        let mut pace = Pace::default();
        assert_eq!(pace.patience(), HEDGE_UNKNOWN);
        run(&mut pace, Duration::from_millis(20), 1000.0, 50);
        let patience = pace.patience();
        assert!((HEDGE_MIN..Duration::from_millis(400)).contains(&patience), "{patience:?}");
        run(&mut pace, Duration::from_secs(9), 1.0, 4);
        assert_eq!(pace.patience(), HEDGE_MAX);
    }

    proptest! {
        /// Whatever logs share a window, each may have one block under way, all together no more
        /// than the window and one for each, and a log alone all of it.
        #[test]
        fn logs_share_the_window(logs in 1_usize..200, mean_len in 0_u64..1 << 24) {
            let mut pace = Pace::default();
            pace.share_among(logs);
            let window = pace.window(mean_len);
            prop_assert!((WINDOW_FLOOR..=START_WINDOW).contains(&window));
            let mut owns = vec![0; logs];
            let now = Instant::now();
            for own in &mut owns {
                *own = pace.room(0, mean_len);
                pace.asked(*own, now);
                prop_assert!(*own >= 1 && *own <= window.div_ceil(logs));
            }
            prop_assert!(owns.iter().sum::<usize>() < window + logs);
            prop_assert!(owns.iter().all(|own| pace.room(*own, mean_len) == 0));
        }
    }
}
