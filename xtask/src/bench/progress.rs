//! How far the run has come, and how long it will take still.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

/// What is left, by how long the same took before.
struct Estimate {
    left: Vec<String>,
    /// In seconds, of what was done.
    took: BTreeMap<String, (f64, u32)>,
}

impl Estimate {
    fn new(mut steps: Vec<String>) -> Self {
        // From the end, where steps are taken away.
        steps.reverse();
        Self { left: steps, took: BTreeMap::new() }
    }

    /// The next step is done.
    fn step(&mut self, took: Duration) {
        if let Some(name) = self.left.pop() {
            let (sum, count) = self.took.entry(name).or_default();
            *sum += took.as_secs_f64();
            *count += 1;
        }
    }

    /// Steps that were never done are taken for as long as those that were, on average. `None` before
    /// the first.
    fn left(&self) -> Option<Duration> {
        let means: BTreeMap<_, _> =
            self.took.iter().map(|(name, (sum, count))| (name, sum / f64::from(*count))).collect();
        let mean = means.values().sum::<f64>() / means.len() as f64;
        let of = |name| means.get(name).copied().unwrap_or(mean);
        (!means.is_empty()).then(|| Duration::from_secs_f64(self.left.iter().map(of).sum()))
    }
}

/// A bar on the standard error, if that is a terminal; else a line for each step.
pub(super) struct Progress {
    bar: ProgressBar,
    estimate: Estimate,
    count: usize,
}

impl Progress {
    /// Of steps with these names; those that are repeated have the same.
    pub(super) fn of(steps: Vec<String>) -> Result<Self> {
        let count = steps.len();
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed_precise} {msg}")?;
        let bar = ProgressBar::new(count as u64).with_style(style);
        bar.enable_steady_tick(Duration::from_secs(1));
        Ok(Self { bar, estimate: Estimate::new(steps), count })
    }

    /// Says what is done now.
    pub(super) fn begin(&self, what: &str) {
        let left = self.estimate.left().map_or_else(String::new, |left| {
            let seconds = left.as_secs();
            format!("about {}:{:02} left, ", seconds / 60, seconds % 60)
        });
        let number = self.count - self.estimate.left.len() + 1;
        if self.bar.is_hidden() {
            eprintln!("[{number}/{}] {left}{what}", self.count);
        }
        self.bar.set_message(format!("{left}{what}"));
    }

    /// Whatever was begun is done.
    pub(super) fn end(&mut self, took: Duration) {
        self.estimate.step(took);
        self.bar.inc(1);
    }

    /// Lets something be printed without a bar in it.
    pub(super) fn pause<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }

    pub(super) fn finish(self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(estimate: &Estimate) -> Option<u64> {
        estimate.left().map(|left| left.as_secs())
    }

    /// What is known counts as it was, the rest as the average of what is known.
    #[test]
    fn the_time_left_is_that_of_the_steps_left() {
        let steps = ["a", "b", "c", "a", "b", "c"].map(str::to_owned).to_vec();
        let mut estimate = Estimate::new(steps);
        assert_eq!(left(&estimate), None);
        estimate.step(Duration::from_secs(10));
        assert_eq!(left(&estimate), Some(50));
        estimate.step(Duration::from_secs(2));
        assert_eq!(left(&estimate), Some(6 + 10 + 2 + 6));
        for seconds in [3, 20, 2] {
            estimate.step(Duration::from_secs(seconds));
        }
        assert_eq!(left(&estimate), Some(3));
        estimate.step(Duration::from_secs(3));
        assert_eq!(left(&estimate), Some(0));
    }
}
