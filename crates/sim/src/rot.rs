//! A disk on which bits change: its device must notice, and nobody else must suffer.

use crate::plan::{Place, Stop};
use crate::report::{Rule, Violation};
use crate::world::{Event, World};

impl World<'_> {
    /// A device is killed, and bits on its disk change before it starts again.
    pub(crate) fn rot(
        &mut self,
        device: usize,
        places: &[Place],
        down_us: u64,
    ) -> Result<(), Violation> {
        if self.running(device).is_none() || self.rotten.is_some() {
            return Ok(());
        }
        self.stop(device, Stop::Kill, down_us)?;
        self.devices[device].disk.heal();
        for place in places {
            let changed = self.devices[device].disk.rot(*place);
            self.report.faults += u64::from(changed.unwrap_or_default());
        }
        self.met("bits change on a disk");
        self.rotten = Some(device);
        Ok(())
    }

    /// What a device says that has a rotten disk, or exists twice, is no surprise: its user takes it
    /// away. Wrong data would be.
    pub(crate) fn forgive(&mut self, done: Result<(), Violation>) -> Result<(), Violation> {
        let Err(violation) = &done else { return done };
        let twice = self.fork.as_ref().map(|fork| [fork.original, fork.twin]);
        let suspects = twice.into_iter().flatten().chain(self.rotten);
        let (rule, what) = (violation.rule, &violation.what);
        let is_told = |&one: &usize| rule == Rule::S10 && what.starts_with(&Self::blaming(one));
        let told = suspects.into_iter().find(is_told);
        // A log that lost its end is a log: only others can know, and say so when they meet it.
        let is_loss = matches!(rule, Rule::S2 | Rule::S6 | Rule::S9);
        let short = self.rotten.filter(|_| is_loss && self.is_starting == self.rotten);
        let Some(device) = told.or(short) else { return done };
        self.met(match (told, self.is_forked(device)) {
            (_, true) => "a device that exists twice gives up",
            (Some(_), false) => "a device tells that its disk is bad",
            (None, false) => "a log rots short",
        });
        self.bury(device)
    }

    /// A device is gone for ever.
    pub(crate) fn bury(&mut self, device: usize) -> Result<(), Violation> {
        self.devices[device].character.is_lost = true;
        self.devices[device].is_gone = true;
        self.stop(device, Stop::Kill, 0)?;
        self.queue.retain(
            |_, event| !matches!(event, Event::Start { device: one, .. } if *one == device),
        );
        Ok(())
    }
}
