//! What a process has used, as Linux tells in `/proc`. On other systems nothing is known.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::time::{Duration, Instant};

/// Wall and processor time of one part of a process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) wall: Duration,
    /// Of all threads, user and system.
    pub(super) cpu: Option<Duration>,
}

/// A part of a process that is being measured.
pub(super) struct Meter {
    cpu: Option<Cpu>,
    start: Instant,
}

impl Meter {
    pub(super) fn start() -> Self {
        let cpu = Cpu::now();
        Self { cpu, start: Instant::now() }
    }

    pub(super) fn stop(self) -> Span {
        let wall = self.start.elapsed();
        let cpu = self.cpu.zip(Cpu::now()).map(|(before, after)| after.since(before));
        Span { wall, cpu }
    }
}

/// Processor time of this process so far, from two sources.
#[derive(Clone, Copy)]
struct Cpu {
    /// Of all threads that there ever were, in steps of [`TICK`].
    process: Duration,
    /// Of the threads that are there now, exact to about a millisecond.
    threads: Duration,
}

/// The unit of times in `/proc/self/stat`: the interface's, not the kernel's own.
const TICK: Duration = Duration::from_millis(10);

impl Cpu {
    fn now() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        Some(Self { process: process_time(&stat)?, threads: threads_time().unwrap_or_default() })
    }

    /// The finer of the two, unless threads that have ended since are missing in it: user and system
    /// time may each be a tick off.
    fn since(self, before: Self) -> Duration {
        let process = self.process.saturating_sub(before.process);
        let threads = self.threads.saturating_sub(before.threads);
        if process.saturating_sub(threads) > 2 * TICK { process } else { threads }
    }
}

/// User and system time in a line of `/proc/self/stat`. The name in it may hold anything, but ends
/// at the last parenthesis.
fn process_time(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    // The fields count from 3 here: utime is 14, stime 15.
    let mut times = fields.split_whitespace().skip(11).take(2).map(str::parse::<u32>);
    let (user, system) = (times.next()?.ok()?, times.next()?.ok()?);
    TICK.checked_mul(user.checked_add(system)?)
}

fn threads_time() -> Option<Duration> {
    let threads = fs::read_dir("/proc/self/task").ok()?;
    // A thread may end while we look.
    let times = threads.flatten().filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse().map(Duration::from_nanos).ok()
    });
    Some(times.sum())
}

/// The most memory that this process ever had at once, in KiB.
pub(super) fn peak_rss_kib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// The memory that this process has now, in KiB.
pub(super) fn rss_kib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// How often each thread of this process has waited for something and gone on, by its number.
pub(super) struct WakeUps(BTreeMap<OsString, u64>);

impl WakeUps {
    pub(super) fn now() -> Option<Self> {
        let threads = fs::read_dir("/proc/self/task").ok()?;
        let counts = threads.flatten().filter_map(|thread| {
            let status = fs::read_to_string(thread.path().join("status")).ok()?;
            let mut lines = status.lines();
            let count = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
            Some((thread.file_name(), count.trim().parse().ok()?))
        });
        Some(Self(counts.collect()))
    }

    /// Of those threads that are there still: one that has ended since woke up for that.
    pub(super) fn since(&self, before: &Self) -> u64 {
        let woken = |(thread, count): (&OsString, &u64)| {
            count.saturating_sub(before.0.get(thread).copied().unwrap_or_default())
        };
        self.0.iter().map(woken).sum()
    }
}

/// Processes that ran or waited to run, as an average over the last minute.
pub(super) fn load1() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_confuse() {
        let stat = "42 (a ) b 9) S 1 2 3 4 5 6 7 8 9 10 250 17 0 0 20 0 1 0";
        assert_eq!(process_time(stat), Some(Duration::from_millis(2670)));
        assert_eq!(process_time("42 (short) S 1"), None);
    }

    /// Threads that ended take their time with them; the process keeps it.
    #[test]
    fn the_coarse_clock_counts_where_the_fine_one_misses_threads() {
        let at = |process, threads| Cpu {
            process: Duration::from_millis(process),
            threads: Duration::from_millis(threads),
        };
        let begin = at(100, 95);
        assert_eq!(at(150, 133).since(begin), Duration::from_millis(38));
        assert_eq!(at(400, 133).since(begin), Duration::from_millis(300));
        assert_eq!(at(400, 20).since(begin), Duration::from_millis(300));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_tells_everything() {
        let span = Meter::start().stop();
        assert!(span.cpu.is_some() && peak_rss_kib().is_some() && load1().is_some());
    }
}
