//! What a run did, and what it found.

use std::collections::BTreeMap;
use std::fmt;

use crate::situations;

/// What happened in one run or in many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Runs.
    pub runs: u64,
    /// Simulated microseconds times devices.
    pub device_us: u64,
    /// Writes, reads and starts.
    pub operations: u64,
    /// Faults that took effect.
    pub faults: u64,
    /// Bytes that were sent.
    pub wire_bytes: u64,
    /// How often each situation was met.
    pub situations: BTreeMap<&'static str, u64>,
    /// Tells whether two runs were the same in every step.
    pub trace: u64,
}

impl Report {
    /// Adds what another run did.
    pub fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.device_us += other.device_us;
        self.operations += other.operations;
        self.faults += other.faults;
        self.wire_bytes += other.wire_bytes;
        self.trace ^= other.trace;
        for (&name, count) in &other.situations {
            *self.situations.entry(name).or_default() += count;
        }
    }

    /// Simulated time times devices, in years.
    pub fn device_years(&self) -> f64 {
        self.device_us as f64 / 1e6 / 86_400.0 / 365.25
    }

    /// Situations that have to come about and have not.
    pub fn unreached(&self) -> Vec<&'static str> {
        let reached = |name: &&&str| !self.situations.contains_key(**name);
        situations::ALL.iter().filter(reached).copied().collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} runs, {:.1} device-years, {} operations, {} faults, {} of {} situations",
            self.runs,
            self.device_years(),
            self.operations,
            self.faults,
            situations::ALL.len() - self.unreached().len(),
            situations::ALL.len(),
        )
    }
}

/// A rule that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which rule.
    pub rule: Rule,
    /// The number of the step that had come last.
    pub step: usize,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} after step {}: {}", self.rule, self.step, self.what)
    }
}

impl std::error::Error for Violation {}

/// What has to hold, by the numbers of the reliability document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// The plan itself is about devices that are there.
    Plan,
    /// Equal clocks mean equal digests, and the data is what the model says.
    S1,
    /// No write that was called safe is lost.
    S2,
    /// Nothing is there that nobody wrote, or somebody deleted.
    S3,
    /// What a device shows follows from its clock: nothing that was superseded comes back.
    S4,
    /// A device reads its own writes.
    S5,
    /// Batches are there whole, or not at all.
    S6,
    /// The versions that are held are those that the clock stands for, each once.
    S7,
    /// After quiet nothing is appended and no block moves.
    S8,
    /// Nobody holds what its author lacks after a restart.
    S9,
    /// Everything that is stored is sound, and opens.
    S10,
    /// Work and traffic are bounded.
    S11,
    /// Nothing readable is on the wire.
    S12,
    /// After the last fault all devices converge.
    S13,
    /// Somebody who exists twice holds up nobody else.
    S14,
    /// The same plan gives the same run.
    S15,
    /// All agree on who belongs to the group, and how far a removed device's log counts.
    T3,
    /// Writes that supersede others are stamped later, and no clock pulls others along.
    T11,
}
