//! The end of a run: nothing fails any more, and all have to converge.

use crate::plan::{Role, Stop};
use crate::report::{Rule, Violation};
use crate::world::{Event, SECOND, World};

/// Until then all must have converged, once nothing fails any more.
const CALM_US: u64 = 600 * SECOND;

impl World<'_> {
    /// Nothing fails any more, everybody meets everybody: all must converge, and then be silent.
    pub(crate) fn calm_down(&mut self) -> Result<(), Violation> {
        let count = self.devices.len();
        for device in 0..count {
            if self.devices[device].is_gone {
                continue;
            }
            self.devices[device].disk.disarm();
            self.devices[device].doom = None;
            if self.devices[device].character.is_lost {
                self.met("a device is lost for ever");
                self.bury(device)?;
                continue;
            }
            if self.devices[device].running.is_none() {
                let how = self.planned_start(device);
                let started = self.start(device, how);
                self.forgive(started)?;
            }
        }
        let mut done = self.converge();
        while done.is_err() {
            // Only a device whose disk is bad may drop out, and but once.
            self.forgive(done)?;
            done = self.converge();
        }
        Ok(())
    }

    fn converge(&mut self) -> Result<(), Violation> {
        self.join_all()?;
        self.part_all()?;
        self.meet_all()?;
        let end = self.now + CALM_US;
        while !self.is_converged()? {
            if self.now >= end - CALM_US / 2 && self.devices.iter().any(|one| one.is_deceived) {
                self.restart_deceived()?;
            }
            if self.now >= end - CALM_US / 2 {
                self.retire_lost()?;
            }
            if self.membership.is_on && self.now >= end - CALM_US / 2 {
                // Who let somebody in may have been out itself, and have learnt so since.
                self.join_all()?;
            }
            if let Some(bad) = self.rotten.filter(|bad| {
                // What it wrote, and nobody else has, it may be unable to hand out.
                self.now >= end && self.running(*bad).is_some()
            }) {
                self.met("a device with a bad disk is taken away");
                self.bury(bad)?;
                return self.converge();
            }
            if self.now >= end {
                let what = self.describe_difference();
                let rule = if self.fork.is_some() { Rule::S14 } else { Rule::S13 };
                return Err(self.broken(rule, what));
            }
            self.advance(self.now + SECOND)?;
            self.meet_all()?;
        }
        if self.membership.is_on {
            // Those who are out may have heard of their own removal only.
            self.advance(self.now + 10 * SECOND)?;
        }
        self.check_end()?;
        if self.plan.seed.is_multiple_of(4) || self.rotten.is_some() || self.fork.is_some() {
            self.check_stores()?;
        }
        // What was asked for before may still come. Whoever was a stranger when a connection began
        // stays one until it ends. Who learns on a connection what all have seen forgets deletes.
        for _ in 0..if self.forgets_deletes() { 3 } else { 1 } {
            self.part_all()?;
            self.meet_all()?;
            self.advance(self.now + 60 * SECOND)?;
        }
        let before = self.footprint();
        self.part_all()?;
        self.meet_all()?;
        self.advance(self.now + 60 * SECOND)?;
        // Whoever exists twice is asked again and again.
        if self.fork.is_none() && self.footprint() != before {
            let what = format!("{before:?} became {:?}", self.footprint());
            return Err(self.broken(Rule::S8, what));
        }
        self.check_compaction()
    }

    /// Where all have the same, a compaction is news to nobody: others fetch what says so, and no more.
    fn check_compaction(&mut self) -> Result<(), Violation> {
        const BLOCKS_MAX: u64 = 8;
        let insiders = self.insiders();
        let Some(&device) = insiders.first() else { return Ok(()) };
        // Some plans are enough: it takes time.
        let is_plain = self.fork.is_none() && self.rotten.is_none() && !self.forgets_deletes();
        if !is_plain || self.plan.seed % 5 != 2 {
            return Ok(());
        }
        let before: Vec<u64> = insiders.iter().map(|&one| self.downloaded(one)).collect();
        self.met("a device is compacted while all have the same");
        self.compact(device, None)?;
        for _ in 0..2 {
            self.advance(self.now + 60 * SECOND)?;
            self.part_all()?;
            self.meet_all()?;
        }
        self.advance(self.now + 60 * SECOND)?;
        for (&other, before) in insiders.iter().zip(before) {
            let more = self.downloaded(other).saturating_sub(before);
            // A mirror fetches all that anybody has, when it has the chance.
            let is_mirror =
                self.plan.devices.get(other).is_some_and(|one| one.role == Role::Mirror);
            if more > BLOCKS_MAX && !is_mirror {
                let what =
                    format!("device {other} fetched {more} blocks as {device} was compacted");
                return Err(self.broken(Rule::S8, what));
            }
        }
        if self.is_converged()? {
            return Ok(());
        }
        let what = format!("as {device} was compacted, {}", self.describe_difference());
        Err(self.broken(Rule::S13, what))
    }

    /// Blocks that a device has fetched since it was started.
    fn downloaded(&self, device: usize) -> u64 {
        let status = self.running(device).and_then(|running| running.db.status().ok());
        status.map_or(0, |status| status.blocks_downloaded)
    }

    /// What a liar said of itself may be believed for as long as a process runs, but no longer.
    fn restart_deceived(&mut self) -> Result<(), Violation> {
        for device in self.alive() {
            if std::mem::take(&mut self.devices[device].is_deceived) {
                self.stop(device, Stop::Kill, 0)?;
            }
        }
        self.advance(self.now + SECOND)?;
        self.meet_all()
    }

    pub(crate) fn planned_start(&self, device: usize) -> Stop {
        let planned = self.queue.values().find_map(|event| match event {
            Event::Start { device: one, how } if *one == device => Some(*how),
            _ => None,
        });
        planned.unwrap_or(Stop::Kill)
    }

    pub(crate) fn part_all(&mut self) -> Result<(), Violation> {
        let faults = self.report.faults;
        for a in 0..self.devices.len() {
            for b in 0..a {
                self.part(a, b)?;
            }
        }
        self.report.faults = faults;
        Ok(())
    }

    pub(crate) fn meet_all(&mut self) -> Result<(), Violation> {
        for a in 0..self.devices.len() {
            // Where somebody is lost for ever, the others find other ways.
            let is_line = self.plan.is_line && self.insiders().len() == self.devices.len();
            for b in if is_line { a.saturating_sub(1)..a } else { 0..a } {
                self.meet(a, b, 1_000, &[], &[])?;
            }
        }
        Ok(())
    }
}
