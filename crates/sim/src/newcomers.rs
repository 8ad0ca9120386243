//! Devices that come in place of others: of such as were thrown out, or destroyed.

use multibee::{Error, LogKey, RecoverySecret};

use crate::device::Device;
use crate::lives::Author;
use crate::plan::{Character, Role};
use crate::report::{Rule, Violation};
use crate::world::World;

impl World<'_> {
    /// A device is destroyed, and another one waits for it no longer.
    pub(crate) fn retire(&mut self, device: usize, by: usize) -> Result<(), Violation> {
        if self.running(by).is_none() || !self.may_be_lost(device) {
            return Ok(());
        }
        let Some(key) = self.known_as_member(by, device)? else { return Ok(()) };
        if key != self.devices[device].key {
            return Ok(());
        }
        self.bury(device)?;
        self.retire_key(&key, by)
    }

    /// A device that was put back waits for what all others have to say: those who are lost are retired, as
    /// its owner is told to do.
    pub(crate) fn retire_lost(&mut self) -> Result<(), Violation> {
        let is_waiting =
            |one: &usize| self.running(*one).is_some_and(|running| running.hand.is_refusing());
        let insiders = self.insiders();
        let by = insiders.iter().copied().find(|one| !is_waiting(one));
        let Some(by) = by.filter(|_| insiders.iter().any(is_waiting)) else { return Ok(()) };
        for device in 0..self.devices.len() {
            if self.devices[device].is_gone
                && let Some(key) = self.known_as_member(by, device)?
            {
                self.met("a device that was put back goes on once who is lost is retired");
                self.membership.is_on = true;
                self.retire_key(&key, by)?;
            }
        }
        Ok(())
    }

    fn retire_key(&mut self, key: &LogKey, by: usize) -> Result<(), Violation> {
        self.report.operations += 1;
        self.devices[by].tick(self.now);
        let Some(running) = self.running(by) else { return Ok(()) };
        match running.db.retire(key) {
            Ok(()) => {
                self.met("a device that is lost is waited for no longer");
                self.settle(by)
            }
            Err(Error::Removed { .. }) => Ok(()),
            Err(Error::StaleRestore { .. }) => self.refused(by),
            Err(_) if self.devices[by].disk.is_failing() => self.fail_stating(by),
            Err(error) => Err(self.unsound(by, &format!("it retires nobody: {error}"))),
        }
    }

    /// Whether somebody of those who began is left without a device, and will be.
    fn may_be_lost(&self, device: usize) -> bool {
        let others = self.insiders().into_iter().filter(|&one| one != device);
        let mut others = others.map(|one| self.devices[one].character);
        let is_left = others.any(|one| !one.is_late && !one.is_lost);
        is_left && !self.devices[device].is_gone && self.rotten.is_none()
    }

    /// A device that was thrown out begins anew.
    pub(crate) fn readmit(&mut self, device: usize, by: usize) -> Result<(), Violation> {
        let old = self.one_of(u8::try_from(device).unwrap_or(u8::MAX));
        let is_possible = self.running(by).is_some() && !self.devices[by].is_out && old != by;
        if !is_possible || !self.membership.was_removed(old) || self.devices[old].is_gone {
            return Ok(());
        }
        self.met("a device that was removed begins anew");
        self.bury(old)?;
        let new = self.begin(old, None)?;
        self.join(new, by)
    }

    /// A device has the recovery secret count.
    pub(crate) fn make_secret(&mut self, device: usize) -> Result<(), Violation> {
        let is_one = self.membership.secret.is_some();
        if is_one || self.running(device).is_none() || self.devices[device].is_out {
            return Ok(());
        }
        // The same in each run, as all else.
        let words = format!("{}art", "abandon ".repeat(23));
        let secret = RecoverySecret::from_words(&words);
        let secret = secret.map_err(|error| self.broken(Rule::Plan, error))?;
        self.report.operations += 1;
        self.devices[device].tick(self.now);
        let Some(running) = self.running(device) else { return Ok(()) };
        let done = running.hand.set_recovery(&secret);
        self.membership.secret = Some(secret);
        match done {
            Ok(()) => {
                self.met("a recovery secret is made");
                self.settle(device)
            }
            Err(Error::Removed { .. }) => Ok(()),
            Err(Error::StaleRestore { .. }) => self.refused(device),
            Err(_) if self.devices[device].disk.is_failing() => self.fail_stating(device),
            Err(error) => Err(self.unsound(device, &format!("it makes no secret: {error}"))),
        }
    }

    /// A device is destroyed, and a new one stands in for it, which only the recovery secret admits.
    pub(crate) fn recover(&mut self, device: usize) -> Result<(), Violation> {
        let Some(secret) = self.membership.secret.clone() else { return Ok(()) };
        if !self.may_be_lost(device) {
            return Ok(());
        }
        self.met("a new device stands in for a lost one, by the recovery secret");
        self.bury(device)?;
        let new = self.begin(device, Some(&secret))?;
        self.settle(new)
    }

    /// A device with an empty disk, in place of another one.
    fn begin(&mut self, old: usize, secret: Option<&RecoverySecret>) -> Result<usize, Violation> {
        // Whoever says to have admitted somebody before all others passes for the founder.
        let now = self.devices.iter().map(|one| one.latest_wall_ms).max().unwrap_or_default();
        let skew_ms = Device::skew_to(now, self.now);
        let character = Character {
            skew_ms,
            is_late: true,
            is_lost: false,
            role: Role::Full,
            ..self.devices[old].character
        };
        let number = self.devices.len();
        let name = u8::try_from(number).unwrap_or(u8::MAX);
        let device = Device::new(self.plan, name, character, self.now, secret);
        let mut device = device.map_err(|error| self.broken(Rule::S10, error))?;
        device.original = Some(self.devices[old].original.unwrap_or(old));
        let id = device.running.as_ref().map(|running| running.db.device());
        let author = self.authors.len();
        device.author = author;
        self.authors.push(Author::new(number, device.key, id.unwrap_or_default()));
        self.devices.push(device);
        self.devices[number].tick(self.now);
        Ok(number)
    }
}
