//! Who belongs to the group, and what has to hold of that.
//!
//! What was asked for is written down here. Who is senior to whom is taken from what devices say; that
//! they all say the same, that a removal by somebody whom a senior threw out counts for nothing, and how
//! far a removed device's log counts, is checked.

use std::collections::{BTreeMap, BTreeSet};

use multibee::{Device as Listed, Error, LogKey, RecoverySecret, Unmerged};

use crate::keys::{self, Slot};
use crate::model::{Clocks, Lengths, Write};
use crate::plan::{Plan, Role};
use crate::report::{Rule, Violation};
use crate::world::World;
use crate::writes::Pending;

/// Who threw out whom, and how far logs of such devices count.
#[derive(Debug)]
pub(crate) struct Membership {
    /// Whether any of this is looked at: it takes time.
    pub(crate) is_on: bool,
    removals: Vec<Removal>,
    /// For a device and a log that counts up to some length: how far the one had applied the other, just
    /// before and just after it knew that.
    cuts: BTreeMap<(usize, usize), (u64, u64)>,
    /// The recovery secret, once it counts.
    pub(crate) secret: Option<RecoverySecret>,
}

/// A device threw another one out, or has tried to.
#[derive(Clone, Copy, Debug)]
struct Removal {
    by: usize,
    device: usize,
    /// Whether no crash can take it back.
    is_sure: bool,
}

impl Membership {
    pub(crate) fn new(plan: &Plan) -> Self {
        let (removals, cuts) = (Vec::new(), BTreeMap::new());
        Self { is_on: plan.has_members(), removals, cuts, secret: None }
    }

    /// Whether anybody has thrown a device out.
    pub(crate) fn was_removed(&self, device: usize) -> bool {
        self.removals.iter().any(|one| one.device == device)
    }

    /// Whether one of these devices says that a log counts up to some length only.
    fn is_cut(&self, author: usize, among: &[usize]) -> bool {
        among.iter().any(|&device| self.cuts.contains_key(&(device, author)))
    }
}

impl World<'_> {
    /// A device throws out the latest life of another one that it knows as a member.
    pub(crate) fn remove(
        &mut self,
        device: usize,
        by: usize,
        by_secret: bool,
    ) -> Result<(), Violation> {
        let Some(key) = self.known_as_member(by, device)? else { return Ok(()) };
        let Some(target) = self.author_of(&key).map(|author| self.authors[author].device) else {
            return Ok(());
        };
        if !self.is_founder_agreed()? {
            return Ok(());
        }
        self.report.operations += 1;
        self.devices[by].tick(self.now);
        let secret = self.membership.secret.clone().filter(|_| by_secret);
        let Some(running) = self.running(by) else { return Ok(()) };
        let done = match &secret {
            Some(secret) => running.db.remove_with(secret, &key),
            None => running.db.remove_replica(&key),
        };
        let is_sure = done.is_ok() && self.waits_for_disk(by);
        match done {
            Ok(()) => {
                self.note_removal(by, target, secret.is_some());
                self.membership.removals.push(Removal { by, device: target, is_sure });
                self.settle(by)
            }
            Err(Error::Removed { .. }) if self.devices[by].is_out => Ok(()),
            Err(Error::OwnKey { .. } | Error::UnknownRecovery { .. }) => Ok(()),
            Err(Error::StaleRestore { .. }) => self.refused(by),
            Err(_) if self.devices[by].disk.is_failing() => {
                self.membership.removals.push(Removal { by, device: target, is_sure });
                self.fail_stating(by)
            }
            Err(error) => Err(self.unsound(by, &format!("it removes nobody: {error}"))),
        }
    }

    /// Whether all name the same device as the first: before, seniority is not settled, and whoever is removed
    /// is not asked any more.
    fn is_founder_agreed(&self) -> Result<bool, Violation> {
        let mut founders = BTreeSet::new();
        for device in self.insiders() {
            if self.running(device).is_some() {
                founders.extend(self.listed(device)?.first().map(|one| one.key));
            }
        }
        Ok(founders.len() <= 1)
    }

    /// The disk has failed while a device said something about members.
    pub(crate) fn fail_stating(&mut self, device: usize) -> Result<(), Violation> {
        let pending = Pending { intents: Vec::new(), seen: Clocks::default() };
        self.devices[device].pending = Some(pending);
        self.fail(device, true)
    }

    fn note_removal(&mut self, by: usize, device: usize, by_secret: bool) {
        let is_apart = self.wire_between(by, device).is_none();
        self.met(match is_apart {
            true => "a device is removed while apart from who removes it",
            false => "a device is removed that is connected",
        });
        let is_mutual =
            |one: &Removal| (one.by, one.device) == (device, by) && !self.devices[by].is_gone;
        if self.membership.removals.iter().any(is_mutual) {
            self.met("two devices remove each other");
        }
        if self.membership.removals.iter().any(|one| one.device == device && one.by != by) {
            self.met("a device is removed by two others");
        }
        if by_secret {
            self.met("a device is removed by the recovery secret");
        }
    }

    /// The key of the latest life of a device, if another one knows it as a member.
    pub(crate) fn known_as_member(
        &self,
        by: usize,
        device: usize,
    ) -> Result<Option<LogKey>, Violation> {
        let is_life = |one: usize| one == device || self.devices[one].original == Some(device);
        let is_meant = |one: &Listed| {
            let life = self.author_of(&one.key).map(|author| self.authors[author].device);
            one.is_active() && !one.is_self && life.is_some_and(|life| life != by && is_life(life))
        };
        let found = self.listed(by)?.into_iter().rev().find(is_meant);
        Ok(found.map(|one| one.key))
    }

    /// All devices that one knows of.
    pub(crate) fn listed(&self, device: usize) -> Result<Vec<Listed>, Violation> {
        let Some(running) = self.running(device) else { return Ok(Vec::new()) };
        running.db.devices().map_err(|error| self.unsound(device, &error))
    }

    /// Whether a device knows that it may only read.
    pub(crate) fn may_only_read(&self, device: usize) -> Result<bool, Violation> {
        let reads = |one: &Listed| one.is_self && one.role == multibee::DeviceRole::ReadOnly;
        Ok(self.listed(device)?.iter().any(reads))
    }

    /// Whether a device is to write nothing, since others take nothing of it and it can't know yet.
    pub(crate) fn is_unaware_reader(&self, device: usize) -> Result<bool, Violation> {
        let is_reader = self.devices[device].character.role == Role::ReadOnly;
        Ok(is_reader && !self.may_only_read(device)?)
    }

    /// A device refuses to write, as it was thrown out.
    pub(crate) fn refused_as_removed(&mut self, device: usize) -> Result<(), Violation> {
        if !self.membership.was_removed(device) {
            let what = format!("device {device} says it was removed, and nobody did so");
            return Err(self.broken(Rule::T3, what));
        }
        self.met("a device refuses to write, as it was removed");
        Ok(())
    }

    /// A device refuses to write, as it may only read.
    pub(crate) fn refused_as_reader(&mut self, device: usize) -> Result<(), Violation> {
        if self.devices[device].character.role != Role::ReadOnly {
            let what = format!("device {device} says that it may only read");
            return Err(self.broken(Rule::T3, what));
        }
        self.met("a device refuses to write, as it may only read");
        Ok(())
    }

    /// Whether devices may say something of members, or of logs that were written twice, by themselves.
    pub(crate) fn may_state(&self) -> bool {
        let is_branch = |one: &crate::lives::Author| one.branch.is_some();
        self.membership.is_on || self.fork.is_some() || self.authors.iter().any(is_branch)
    }

    /// Notices what a device knows of members, and what it has of logs that count no further.
    pub(crate) fn note_membership(
        &mut self,
        device: usize,
        clock: &Lengths,
    ) -> Result<(), Violation> {
        if self.may_state() {
            // Statements are own commits, too.
            self.devices[device].own_end = self.own_length(device, clock);
        }
        if !self.membership.is_on {
            return Ok(());
        }
        let listed = self.listed(device)?;
        let is_out = listed.iter().any(|one| one.is_self && one.removed);
        let was_out = std::mem::replace(&mut self.devices[device].is_out, is_out);
        match (was_out, is_out) {
            (false, true) => self.met("a device learns that it was removed"),
            (true, false) => self.met("a device learns that its removal does not count"),
            _ => {}
        }
        let is_cut = |one: &Listed| one.removed || (one.retired && one.successor.is_none());
        let cut = listed.iter().filter(|one| !one.is_self && is_cut(one));
        let cut: BTreeSet<usize> = cut.filter_map(|one| self.author_of(&one.key)).collect();
        self.note_cuts(device, clock, cut);
        Ok(())
    }

    fn note_cuts(&mut self, device: usize, clock: &Lengths, mut cut: BTreeSet<usize>) {
        cut.retain(|&author| self.authors[author].device != device);
        self.membership.cuts.retain(|(by, author), _| *by != device || cut.contains(author));
        let at = |lengths: &Lengths, author: usize| lengths.get(author).copied().unwrap_or(0);
        for author in cut {
            let applied = (at(&self.devices[device].known, author), at(clock, author));
            let cuts = &mut self.membership.cuts;
            let is_new = !cuts.contains_key(&(device, author));
            cuts.entry((device, author)).or_insert(applied);
            let others = cuts.iter().filter(|((_, of), _)| *of == author);
            let differs = others.clone().any(|(_, (before, _))| *before != applied.0);
            if is_new && differs {
                self.met("two devices have applied a removed log to different lengths");
            }
        }
    }

    /// Devices that run, exist once, and were not thrown out as far as they know.
    pub(crate) fn insiders(&self) -> Vec<usize> {
        let mut insiders = self.alive();
        insiders.retain(|&one| !self.devices[one].is_out);
        insiders
    }

    /// Whether a log counts to its end.
    pub(crate) fn is_whole(&self, author: usize, insiders: &[usize]) -> bool {
        !self.membership.is_on
            || (!self.devices[self.authors[author].device].is_out
                && !self.membership.is_cut(author, insiders))
    }

    /// Whether all who are left list the same members, and those who were thrown out know it.
    pub(crate) fn is_agreed_on_members(&self) -> Result<bool, Violation> {
        if !self.membership.is_on {
            return Ok(true);
        }
        let mut agreed = None;
        for device in self.insiders() {
            let said = said_of_all(&self.listed(device)?);
            for other in self.alive() {
                let key = self.devices[other].key;
                let is_out = said.get(&key).map(|one| one.removed_by.is_some());
                // Whoever was thrown out may have moved unheard.
                if is_out.unwrap_or(self.devices[other].is_out) != self.devices[other].is_out {
                    return Ok(false);
                }
            }
            if agreed.get_or_insert_with(|| said.clone()) != &said {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Once all agree: on what follows from what was asked for.
    pub(crate) fn check_members(&mut self) -> Result<(), Violation> {
        if !self.membership.is_on {
            return Ok(());
        }
        let insiders = self.insiders();
        // All others may be lost.
        let Some(&first) = insiders.first() else { return Ok(()) };
        let listed = self.listed(first)?;
        let rank = |key: &LogKey| listed.iter().position(|one| one.key == *key);
        for one in listed.iter().filter(|one| one.removed) {
            self.check_removed(one, &listed, rank)?;
        }
        for removal in self.membership.removals.iter().filter(|one| one.is_sure) {
            let Removal { by, device, .. } = *removal;
            let is_counted = insiders.contains(&by);
            let key = self.devices[device].key;
            if is_counted && listed.iter().any(|one| one.key == key && one.is_active()) {
                let what = format!("device {by} removed {device}, who is a member");
                return Err(self.broken(Rule::T3, what));
            }
        }
        self.check_cuts(first)?;
        for device in self.alive() {
            if self.devices[device].is_out {
                self.check_unmerged(device, first)?;
            }
        }
        Ok(())
    }

    fn check_removed(
        &self,
        one: &Listed,
        listed: &[Listed],
        rank: impl Fn(&LogKey) -> Option<usize>,
    ) -> Result<(), Violation> {
        let device = self.author_of(&one.key).map(|author| self.authors[author].device);
        let is_asked_for =
            |device: usize| self.membership.removals.iter().any(|removal| removal.device == device);
        if !device.is_some_and(is_asked_for) {
            let what = format!("device {device:?} was removed, and nobody did so");
            return Err(self.broken(Rule::T3, what));
        }
        let Some(by) = one.removed_by else { return Ok(()) };
        let Some(remover) = listed.iter().find(|other| other.key == by) else { return Ok(()) };
        let Some(senior) = remover.removed_by else { return Ok(()) };
        if rank(&senior) < rank(&by) && rank(&senior).is_some() {
            let what =
                format!("device {device:?} was removed by one who was removed by a senior device");
            return Err(self.broken(Rule::T3, what));
        }
        Ok(())
    }

    /// Of a removed log nothing is taken but what somebody had applied before it knew.
    fn check_cuts(&self, device: usize) -> Result<(), Violation> {
        let clock = self.clock(device)?;
        let mut most: BTreeMap<usize, u64> = BTreeMap::new();
        for (&(_, author), &(_, after)) in &self.membership.cuts {
            let most = most.entry(author).or_default();
            *most = after.max(*most);
        }
        let insiders = self.insiders();
        // Who is destroyed may have known of a removal that nobody else has heard of.
        most.retain(|author, _| self.membership.is_cut(*author, &insiders));
        for (author, most) in most {
            let at = clock.get(author).copied().unwrap_or_default();
            if at > most {
                let what = format!(
                    "device {device} has taken {at} blocks of log {author} of a removed device, \
                     of which nobody had more than {most} who knew that"
                );
                return Err(self.broken(Rule::T3, what));
            }
        }
        Ok(())
    }

    /// A removed device can tell what it wrote and the others have not.
    fn check_unmerged(&mut self, device: usize, insider: usize) -> Result<(), Violation> {
        let taken = self.clock(insider)?;
        let Some(running) = self.running(device) else { return Ok(()) };
        let told = running.db.unmerged().map_err(|error| self.unsound(device, &error))?;
        let number = |one: &Unmerged| keys::number(&one.key);
        let told: BTreeSet<u16> = told.iter().filter_map(number).collect();
        let clocks = self.clocks(device)?;
        let is_untaken = |write: &&Write| {
            let at = taken.get(write.author).copied().unwrap_or_default();
            self.authors[write.author].device == device && write.end > at
        };
        let mut wanted = BTreeSet::new();
        for slot in self.model.slots() {
            let versions = self.model.versions(slot, clocks.of(slot));
            // A delete may be forgotten by whom no other is left.
            let is_forgotten =
                self.forgets_deletes() && versions.iter().all(|one| one.value.is_none());
            if let Slot::Key(key) = slot
                && !is_forgotten
                && versions.iter().any(is_untaken)
            {
                wanted.insert(key);
            }
        }
        // Somebody who is destroyed may have had more, and said so.
        let is_lost = self.membership.cuts.iter().any(|(&(by, author), &(_, after))| {
            let is_own = self.authors[author].device == device;
            let is_gone = self.devices[by].is_gone;
            is_own && is_gone && taken.get(author).is_none_or(|&at| at < after)
        });
        if !is_lost && !told.is_superset(&wanted) {
            let what = format!(
                "device {device}, who was removed, says that {told:?} was not taken, but not all \
                 of {wanted:?}"
            );
            return Err(self.broken(Rule::T3, what));
        }
        if !wanted.is_empty() {
            self.met("a removed device tells what the others did not take");
        }
        Ok(())
    }

    /// What each device says of members, for a person to read.
    pub(crate) fn describe_members(&self) -> String {
        let mut text = String::new();
        for device in self.alive() {
            let is_out = self.devices[device].is_out;
            let listed = self.listed(device).unwrap_or_default();
            let name = |key: &LogKey| match self.author_of(key) {
                Some(author) => author.to_string(),
                None => "?".into(),
            };
            let told = listed.iter().map(|one| {
                let by = one.removed_by.map(|by| format!(" removed by {}", name(&by)));
                let retired = if one.retired { " retired" } else { "" };
                format!("{}{}{retired}", name(&one.key), by.unwrap_or_default())
            });
            let told = told.collect::<Vec<_>>().join(", ");
            text += &format!(" {device}{} lists {told};", if is_out { " (out)" } else { "" });
        }
        text
    }
}

/// What is said of a member, as far as all have to say the same.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    rank: usize,
    role: multibee::DeviceRole,
    removed_by: Option<LogKey>,
    is_retired: bool,
    successor: Option<LogKey>,
}

fn said_of_all(listed: &[Listed]) -> BTreeMap<LogKey, Said> {
    let said = |(rank, one): (usize, &Listed)| {
        let Listed { key, role, removed_by, retired, successor, .. } = *one;
        (key, Said { rank, role, removed_by, is_retired: retired, successor })
    };
    listed.iter().enumerate().map(said).collect()
}
