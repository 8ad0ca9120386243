//! Who belongs to the group.

use multibee::{AddOptions, DeviceRole, Error, LogOptions};

use crate::plan::{Role, Stop};
use crate::report::Violation;
use crate::world::World;

impl World<'_> {
    /// Every device admits every other, but for those that come later.
    pub(crate) fn admit_all(&mut self) -> Result<(), Violation> {
        let is_early = |one: &usize| !self.devices[*one].character.is_late;
        let early: Vec<usize> = (0..self.devices.len()).filter(is_early).collect();
        for &by in &early {
            for &device in early.iter().filter(|device| **device != by) {
                self.admit(by, device)?;
            }
            self.settle(by)?;
        }
        Ok(())
    }

    /// A device and another one admit each other.
    pub(crate) fn join(&mut self, device: usize, by: usize) -> Result<(), Violation> {
        if self.is_forked(device) || self.is_forked(by) {
            return Ok(());
        }
        if self.running(device).is_none() || self.running(by).is_none() {
            return Ok(());
        }
        self.report.operations += 1;
        self.met("a device joins later");
        for (by, device) in [(by, device), (device, by)] {
            self.devices[by].tick(self.now);
            if !self.is_admitted(by, device)? {
                self.admit(by, device)?;
                self.settle(by)?;
            }
        }
        Ok(())
    }

    /// Whoever has not joined, or was forgotten, does now.
    pub(crate) fn join_all(&mut self) -> Result<(), Violation> {
        let insiders = self.insiders();
        let is_early = |one: &&usize| !self.devices[**one].character.is_late;
        // If all who began are gone, whoever they let in.
        let Some(&first) = insiders.iter().find(is_early).or(insiders.first()) else {
            return Ok(());
        };
        // Copies are members as those are whose copies they are; newcomers have their own hosts.
        let end = match self.membership.is_on {
            true => self.plan.devices.len(),
            false => self.devices.len(),
        };
        for device in 0..self.members() {
            if self.devices[device].character.is_late && device != first {
                self.join(device, first)?;
                for neighbour in [device - 1, device + 1] {
                    // They meet nobody else, who could tell them.
                    if self.plan.is_line && neighbour < end {
                        self.join(device, neighbour)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn is_admitted(&self, by: usize, device: usize) -> Result<bool, Violation> {
        let Some(running) = self.running(by) else { return Ok(false) };
        let devices = running.db.devices().map_err(|error| self.unsound(by, &error))?;
        Ok(devices.iter().any(|one| one.key == self.devices[device].key))
    }

    fn admit(&mut self, by: usize, device: usize) -> Result<(), Violation> {
        let key = self.devices[device].key;
        let Some(running) = self.running(by) else { return Ok(()) };
        let role = match self.devices[device].character.role {
            Role::Full => DeviceRole::Full,
            Role::ReadOnly => DeviceRole::ReadOnly,
            Role::Mirror => DeviceRole::Mirror,
        };
        match running.db.add_with(key, AddOptions { role, ..AddOptions::default() }) {
            Err(Error::Removed { .. }) if self.membership.is_on => Ok(()),
            Ok(()) => {
                let clock = self.clock(by)?;
                self.devices[by].own_end = self.own_length(by, &clock);
                Ok(())
            }
            Err(Error::StaleRestore { .. }) => self.refused(by),
            Err(_) if self.devices[by].disk.is_failing() => self.fail_stating(by),
            Err(error) => Err(self.unsound(by, &error)),
        }
    }

    /// A device is killed, and what it holds of others' logs is lost.
    pub(crate) fn forget(
        &mut self,
        device: usize,
        is_whole: bool,
        down_us: u64,
    ) -> Result<(), Violation> {
        if self.running(device).is_none() {
            return Ok(());
        }
        self.stop(device, Stop::Kill, down_us)?;
        self.devices[device].disk.heal();
        if is_whole {
            self.met("a device loses its copies of others' logs");
            self.devices[device].disk.drop_replicas();
            return Ok(());
        }
        self.met("a device clears its copies of others' logs");
        let home = self.devices[device].home();
        let keys: Vec<_> = self.devices.iter().map(|one| one.key).collect();
        for key in keys.into_iter().filter(|key| *key != self.devices[device].key) {
            let log = home.replica(key, LogOptions::default());
            let cleared = log.and_then(|log| {
                log.clear(0..log.len())?;
                log.sync()?;
                Ok(())
            });
            cleared.map_err(|error| self.unsound(device, &error))?;
        }
        Ok(())
    }
}
