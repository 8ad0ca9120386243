//! Admitting, naming, retiring and removing devices.

use std::collections::BTreeSet;

use multibee_log::{KeyPair, LogKey};
use multibee_merge::DeviceId;

use super::{Advance, Core};
use crate::author::Author;
use crate::broken::BrokenRule;
use crate::devices::AddOptions;
use crate::statement::{Claim, Extent, Leaving, Statement};
use crate::{DeviceRole, Error, MAX_NAME_LEN};

/// Logs that go on for one device's that are heard of from removed devices.
const SUCCESSORS_MAX: usize = 16;

impl Core {
    /// Admits a device: writes the statement, and follows its log from now on. To one that is admitted
    /// already nothing happens, unless it may do more from now on.
    pub(crate) fn add(&mut self, key: LogKey, options: AddOptions) -> Result<Advance, Error> {
        let AddOptions { name, role } = options;
        name.as_deref().map_or(Ok(()), check_name)?;
        self.may_state()?;
        if key == self.key() {
            return Err(Error::OwnKey { key });
        }
        let device = DeviceId::of_key(key.as_bytes());
        match self.members().iter().find(|member| member.device == device) {
            Some(member) if member.key != key => return Err(Error::IdTaken { key }),
            Some(member) if !member.is_active() => return Err(Error::Removed { key }),
            Some(member) if role <= member.role => return Ok(Advance::default()),
            // What was taken in of it has no clock of a device.
            _ if self.source_of(device).is_some() => return Err(Error::IdTaken { key }),
            _ => {}
        }
        self.say([Claim::Add { key, name, role }].into())
    }

    /// Removes a device: what is applied of its log stays, nothing later is taken.
    pub(crate) fn remove(&mut self, key: LogKey) -> Result<Advance, Error> {
        self.may_state()?;
        let claim = self.removal(key)?;
        self.say([claim].into())
    }

    /// As [`remove`](Self::remove), said by a recovery secret.
    pub(crate) fn remove_by(&mut self, secret: &KeyPair, key: LogKey) -> Result<Advance, Error> {
        let author = Author::key(secret);
        if !self.recovery().contains(&author) {
            return Err(Error::UnknownRecovery { key: author });
        }
        let claim = self.removal(key)?;
        let time = self.primary.stamp(self.now_ms());
        self.learn(Statement::sign(secret, time, claim).into_iter().collect())
    }

    /// The removal of a device.
    ///
    /// A log that it goes on for is removed, too, unless that is another active device's as well:
    /// whoever has the device has the keys of both.
    fn removal(&self, key: LogKey) -> Result<Claim, Error> {
        let member = self.member(&key).ok_or(Error::UnknownDevice { key })?;
        if member.removed_by.is_some() {
            return Err(Error::Removed { key });
        }
        let mut first = member;
        while let Some(before) = first.predecessor.and_then(|key| self.member(&key))
            && self.line(before.key).iter().all(|one| *one == key || !self.is_active(one))
        {
            first = before;
        }
        let key = first.key;
        if self.line(key).contains(&self.key()) {
            return Err(Error::OwnKey { key });
        }
        Ok(Claim::Remove { key, applied: self.extent(&key)?, why: Leaving::Removed })
    }

    /// Says that a recovery secret counts, and no earlier one.
    pub(crate) fn set_recovery(&mut self, secret: &KeyPair) -> Result<Advance, Error> {
        self.may_state()?;
        let earlier = self.recovery().to_vec();
        let log = self.primary.log().clone();
        let mut time = || self.primary.stamp(self.place.setup.clock.now_ms());
        let mut statements: Vec<_> =
            Statement::recovery(&log, secret, time()).into_iter().collect();
        for key in earlier {
            let applied = Extent::default();
            let claim = Claim::Remove { key, applied, why: Leaving::Removed };
            statements.extend(Statement::sign(&log, time(), claim));
        }
        self.state(&statements)
    }

    /// Has a recovery secret admit this device.
    pub(crate) fn be_admitted_by(
        &mut self,
        secret: &KeyPair,
        options: AddOptions,
    ) -> Result<Advance, Error> {
        let AddOptions { name, role } = options;
        name.as_deref().map_or(Ok(()), check_name)?;
        let claim = Claim::Add { key: self.key(), name, role };
        let mut time = || self.primary.stamp(self.place.setup.clock.now_ms());
        // Until this device knows better, the secret has founded the database.
        let founded = Statement::recovery(secret, secret, time());
        let admitted = Statement::sign(secret, time(), claim);
        self.learn(founded.into_iter().chain(admitted).collect())
    }

    /// Waits for a device no longer, which has stayed away: its log is finished with what is applied
    /// of it, and another one may go on for it.
    pub(crate) fn retire(&mut self, key: LogKey) -> Result<Advance, Error> {
        self.may_state()?;
        if key == self.key() {
            return Err(Error::OwnKey { key });
        }
        let member = self.member(&key).ok_or(Error::UnknownDevice { key })?;
        if !member.is_active() {
            return Err(Error::Removed { key });
        }
        let applied = self.extent(&key)?;
        self.say([Claim::Remove { key, applied, why: Leaving::Absent }].into())
    }

    /// Whether a statement is heard though a device says it that was removed, or is finished.
    ///
    /// That a member removed another one is: two may have removed each other while apart, and which of
    /// them stays can be told only by those who know both. One from each about each is enough. So is that
    /// a log goes on for a member's: it may have been removed, or have removed somebody, as that log.
    pub(crate) fn counts_from_outside(&self, statement: &Statement) -> bool {
        if BrokenRule::HideStatements.is_broken() || self.member(&statement.author).is_none() {
            return false;
        }
        let author = statement.author;
        let is_removal =
            |claim: &Claim| matches!(claim, Claim::Remove { why: Leaving::Removed, .. });
        let mut said = self.statements().filter(|one| one.author == author);
        match &statement.claim {
            claim @ Claim::Remove { key, why: Leaving::Removed, .. } => {
                self.member(key).is_some()
                    && !said.any(|one| is_removal(&one.claim) && one.claim.key() == claim.key())
            }
            Claim::Succeed { .. } => {
                let succeeds = |one: &&Statement| matches!(one.claim, Claim::Succeed { .. });
                said.filter(succeeds).count() < SUCCESSORS_MAX
            }
            _ => false,
        }
    }

    /// Gives a device another name.
    pub(crate) fn rename(&mut self, key: LogKey, name: String) -> Result<Advance, Error> {
        check_name(&name)?;
        self.may_state()?;
        let member = self.member(&key).ok_or(Error::UnknownDevice { key })?;
        if member.name.as_ref() == Some(&name) {
            return Ok(Advance::default());
        }
        self.say([Claim::Name { key, name }].into())
    }

    /// Whether this device may write: it was not removed, and not admitted for reading only.
    pub(crate) fn may_write(&self) -> Result<(), Error> {
        self.may_state()?;
        let key = self.key();
        let is_read_only =
            |role| role == DeviceRole::ReadOnly && !BrokenRule::IgnoreRole.is_broken();
        let role = self.member(&key).map_or(DeviceRole::Full, |member| member.role);
        if is_read_only(role) { Err(Error::ReadOnly { key }) } else { Ok(()) }
    }

    /// Whether a device's own writes count.
    pub(crate) fn is_writer(&self, key: &LogKey) -> bool {
        self.member(key).is_some_and(|member| member.role != DeviceRole::ReadOnly)
    }

    /// Whether a log is finished, and may count further than it is applied here.
    pub(super) fn is_short_of_end(&self, key: &LogKey) -> bool {
        let applied = self.applied(DeviceId::of_key(key.as_bytes()));
        self.member(key).is_some_and(|member| match member.cut {
            Some(cut) => cut.length > applied,
            None => !member.successors.is_empty(),
        })
    }

    /// A log and all that it goes on for.
    pub(super) fn line_before(&self, key: LogKey) -> Vec<LogKey> {
        let mut line = vec![key];
        while let Some(before) = line.last().and_then(|key| self.member(key)?.predecessor)
            && !line.contains(&before)
        {
            line.push(before);
        }
        line
    }

    /// Nobody hears a device that was removed.
    fn may_state(&self) -> Result<(), Error> {
        let key = self.key();
        if self.is_removed(&key) { Err(Error::Removed { key }) } else { Ok(()) }
    }

    /// A device and all that goes on for it.
    pub(super) fn line(&self, key: LogKey) -> BTreeSet<LogKey> {
        let mut line = BTreeSet::new();
        let mut next = vec![key];
        while let Some(key) = next.pop() {
            if line.insert(key) {
                next.extend(self.member(&key).into_iter().flat_map(|member| &member.successors));
            }
        }
        line
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    let len = name.len();
    if len > MAX_NAME_LEN { Err(Error::NameTooLong { len }) } else { Ok(()) }
}
