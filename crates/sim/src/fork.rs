//! A device that exists twice: a copy of its disk runs beside it, with the same key.
//!
//! What the two write from then on is known to the model only as spoilt keys. All else has to go on
//! as if they were not there: the other devices' writes reach everybody, and are shown everywhere.

use std::collections::BTreeSet;

use crate::device::Device;
use crate::keys::{self, Slot};
use crate::plan::{Change, Stop, What};
use crate::report::Violation;
use crate::world::World;

/// The device that exists twice.
#[derive(Debug)]
pub(crate) struct Fork {
    pub(crate) original: usize,
    pub(crate) twin: usize,
    /// Keys that one of the two has written since.
    pub(crate) spoilt: BTreeSet<Slot>,
}

impl World<'_> {
    /// A copy of a device's disk begins to run beside it.
    pub(crate) fn clone_device(&mut self, device: usize) -> Result<(), Violation> {
        if self.running(device).is_none() || self.fork.is_some() || self.has_moves() {
            return Ok(());
        }
        self.stop(device, Stop::Kill, 0)?;
        self.report.faults += 1;
        self.met("a device exists twice");
        let original = &self.devices[device];
        original.disk.heal();
        let twin = Device::twin(original);
        self.fork =
            Some(Fork { original: device, twin: self.devices.len(), spoilt: BTreeSet::new() });
        self.devices.push(twin);
        self.start(self.devices.len() - 1, Stop::Clean)
    }

    fn has_moves(&self) -> bool {
        self.rotten.is_some() || self.authors.len() > self.plan.devices.len()
    }

    /// Whether a device exists twice.
    pub(crate) fn is_forked(&self, device: usize) -> bool {
        self.fork.as_ref().is_some_and(|fork| fork.original == device || fork.twin == device)
    }

    /// Whether what a key shows depends on somebody who exists twice.
    pub(crate) fn is_spoilt(&self, slot: Slot) -> bool {
        self.fork.as_ref().is_some_and(|fork| fork.spoilt.contains(&slot))
    }

    /// Which of the two is meant, by turns, if a device exists twice.
    pub(crate) fn one_of(&mut self, device: u8) -> usize {
        let device = usize::from(device);
        match &self.fork {
            Some(fork) if fork.original == device && self.random.bool() => return fork.twin,
            _ => {}
        }
        let mut meant = vec![device];
        meant.extend(
            (self.plan.devices.len()..self.devices.len())
                .filter(|&one| self.devices[one].original == Some(device)),
        );
        if meant.iter().any(|&one| !self.devices[one].is_gone) {
            meant.retain(|&one| !self.devices[one].is_gone);
        }
        if let [one] = meant[..] { one } else { meant[self.random.usize(..meant.len())] }
    }

    /// How many devices there are, copies aside.
    pub(crate) fn members(&self) -> usize {
        self.fork.as_ref().map_or(self.devices.len(), |_| self.plan.devices.len())
    }

    /// One of the two writes.
    pub(crate) fn write_forked(
        &mut self,
        device: usize,
        changes: &[Change],
    ) -> Result<(), Violation> {
        self.devices[device].tick(self.now);
        let Some(running) = self.running(device) else { return Ok(()) };
        let mut batch = running.db.batch();
        for change in changes {
            let key = keys::key(change.key);
            match change.what {
                What::Delete => batch.del(key),
                _ => batch.put_typed(key, multibee::PLAIN, format!("by {device}")),
            };
        }
        let done = batch.commit();
        if let Some(fork) = &mut self.fork {
            fork.spoilt.extend(changes.iter().map(|change| Slot::Key(change.key)));
        }
        match done {
            Ok(_) => self.settle(device),
            Err(_) if self.devices[device].disk.is_failing() => self.fail(device, true),
            Err(error) => Err(self.unsound(device, &error)),
        }
    }
}
