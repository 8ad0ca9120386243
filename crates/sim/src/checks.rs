//! What is checked, and when.

use std::collections::{BTreeMap, BTreeSet};

use multibee::{Counter, Entry, Event, Map, PLAIN, RangeSpec, Set, Strategies};

use crate::device::Absorbing;
use crate::keys::{self, Slot};
use crate::model::{Clocks, Lengths, Shown, Value, short};
use crate::report::{Rule, Violation};
use crate::world::World;
use crate::writes::CANARY;

/// What a device has stored and fetched.
pub(crate) type Footprint = Vec<(Vec<u64>, u64)>;

impl World<'_> {
    /// A device's clock, as a list of lengths.
    pub(crate) fn clock(&self, device: usize) -> Result<Lengths, Violation> {
        let Some(running) = self.running(device) else { return Ok(Vec::new()) };
        let clock = running.hand.clock().map_err(|error| self.unsound(device, &error))?;
        Ok(self.lengths(device, &clock))
    }

    /// Looks at a device after anything that it did.
    pub(crate) fn observe(&mut self, device: usize) -> Result<(), Violation> {
        if self.is_forked(device) {
            // Its own words about itself count for nothing.
            return self.hear(device);
        }
        self.note_names(device)?;
        let mut clock = self.clock(device)?;
        self.note_membership(device, &clock)?;
        let Some(running) = self.running(device) else { return Ok(()) };
        let (digest, heads) = (running.hand.digest(), running.hand.heads());
        let is_ahead = !running.hand.ahead().is_empty();
        let logs =
            heads.into_iter().filter_map(|(key, length)| Some((self.author_of(&key)?, length)));
        let mut heads: BTreeMap<usize, u64> = logs.collect();
        heads.remove(&self.devices[device].author);
        for (&author, &length) in &heads {
            if self.authors[author].device != device {
                let shared = &mut self.authors[author].shared;
                *shared = length.max(*shared);
            }
        }
        self.devices[device].heads = heads;
        self.hear(device)?;
        self.note_absorbing(device);
        self.note_news(device, &clock);
        if is_ahead || self.fork.is_some() || self.devices[device].branch.is_some() {
            // Some keys hold more than the clock says: what it says of the rest is not comparable.
            return Ok(());
        }
        while clock.last() == Some(&0) {
            clock.pop();
        }
        let at = (clock, self.given_names(device)?);
        match self.evidence.get(&at) {
            Some((other, known)) if *known != digest => {
                let what = format!("devices {other} and {device} differ at clock {at:?}");
                Err(self.broken(Rule::S1, what))
            }
            Some((other, _)) => {
                if *other != device {
                    self.met("two devices have equal clocks");
                }
                Ok(())
            }
            None => {
                self.evidence.insert(at, (device, digest));
                Ok(())
            }
        }
    }

    /// What a device tells its user: none of the others is at fault.
    fn hear(&mut self, device: usize) -> Result<(), Violation> {
        while let Some(event) = self.running_mut(device).and_then(|one| (one.told)()) {
            let blame = match &event {
                Event::Diverged { .. } | Event::Stuck { .. } | Event::PeerFault { .. }
                    if self.fork.is_some() =>
                {
                    self.met("a device tells that another exists twice");
                    continue;
                }
                Event::Diverged { .. } if self.devices[device].is_deceived => {
                    self.met("a device says that a liar has other data");
                    continue;
                }
                Event::PeerFault { .. } if self.devices[device].is_deceived => {
                    self.met("a device tells of a liar");
                    continue;
                }
                Event::Diverged { .. } => Rule::S1,
                Event::Stuck { .. } => Rule::S10,
                Event::StaleRestore { .. } => {
                    self.met("a device learns that its state is an old one");
                    if self.devices[device].branch.is_some_and(|second| self.model.end(second) > 0)
                    {
                        self.met("a device that was put back has written when it learns so");
                    }
                    self.devices[device].was_outdated = true;
                    continue;
                }
                Event::Removed { .. } if self.membership.was_removed(device) => continue,
                Event::Removed { .. } => Rule::T3,
                Event::ClockAhead { .. } => {
                    self.met("a device hears of a clock that is ahead");
                    continue;
                }
                _ => continue,
            };
            return Err(self.broken(blame, format!("device {device} says {event:?}")));
        }
        Ok(())
    }

    fn note_absorbing(&mut self, device: usize) {
        let Some(running) = self.running(device) else { return };
        let (hand, before) = (&running.hand, self.devices[device].absorbing);
        let mut now = Absorbing {
            is_on: hand.absorbing().is_some(),
            is_whole: hand.is_absorbing_whole(),
            absorbed: hand.absorbed(),
            is_done: before.is_done,
        };
        if now.absorbed > before.absorbed {
            now.is_done = true;
            self.met(match before.is_whole {
                Some(true) => "a state is absorbed whole",
                Some(false) => "a difference of states is absorbed",
                None => "a state is absorbed that holds no news",
            });
        } else if before.is_on && !now.is_on {
            self.met("absorbing is given up");
        }
        self.devices[device].absorbing = now;
    }

    /// What a device has merged since it was looked at last.
    fn note_news(&mut self, device: usize, clock: &[u64]) {
        let before = std::mem::replace(&mut self.devices[device].known, clock.to_vec());
        let own = |author: usize| self.authors[author].device == device;
        let is_new = |other: &usize| !own(*other) && clock.get(*other) > before.get(*other);
        let news: Vec<usize> = (0..clock.len()).filter(is_new).collect();
        if before.is_empty() {
            return;
        }
        let absorbing = &mut self.devices[device].absorbing;
        if !news.is_empty() && absorbing.is_done {
            absorbing.is_done = false;
            self.met("a device follows others after it absorbed");
        }
        if news.len() > 1 {
            self.met("a device merges two authors at once");
        }
        if news.iter().any(|&author| {
            let other = self.authors[author].device;
            self.wire_between(device, other).is_none()
        }) {
            self.met("news comes through a third device");
        }
    }

    /// Compares all that a device shows with what follows from its clock.
    pub(crate) fn look(&mut self, device: usize) -> Result<(), Violation> {
        if self.running(device).is_none() || self.is_forked(device) {
            return Ok(());
        }
        self.report.operations += 1;
        let clocks = self.clocks(device)?;
        if !clocks.beyond.is_empty() {
            self.met("a device is looked at while keys are ahead of its clock");
        }
        self.check_held(device, &clocks)?;
        self.check_rules(device, &clocks)?;
        let (shown, conflicts) = (self.view(device)?, self.conflicts(device)?);
        for slot in self.model.slots() {
            let Slot::Key(key) = slot else { continue };
            if self.is_spoilt(slot) {
                continue;
            }
            let mut expected = self.model.shown(key, &clocks);
            if self.model.rule(key, &clocks).0 != Strategies::KEEP_ALL {
                expected.values.truncate(1);
            }
            let values = shown.get(&key).cloned().unwrap_or_default();
            let seen = Shown { values, is_conflict: conflicts.contains(&key) };
            if expected != seen {
                let what = format!(
                    "device {device} at {:?}: key {key} is {}, should be {}, {:?}; {}",
                    clocks.of(slot),
                    tell(&seen),
                    tell(&expected),
                    self.model.rule(key, &clocks),
                    self.model.tell(slot),
                );
                return Err(self.broken(Rule::S4, what));
            }
        }
        if let Some(key) = shown.keys().find(|key| {
            let slot = Slot::Key(**key);
            self.model.end_of(slot).is_none() && !self.is_spoilt(slot)
        }) {
            return Err(self.broken(Rule::S3, format!("nobody wrote key {key}")));
        }
        self.note_conflicts(&clocks);
        Ok(())
    }

    /// The versions that are held are those that follow from the clock.
    fn check_held(&mut self, device: usize, clocks: &Clocks) -> Result<(), Violation> {
        let mut forgotten = false;
        for slot in self.model.slots().into_iter().filter(|slot| !self.is_spoilt(*slot)) {
            let held = self.held_versions(device, slot)?;
            let held: Vec<_> = held.iter().map(|version| version.dot).collect();
            let versions = self.model.versions(slot, clocks.of(slot));
            let is_deleted = versions.iter().all(|write| write.value.is_none());
            let expected: Vec<_> = versions.iter().map(|write| write.dot).collect();
            if held.is_empty() && is_deleted && self.forgets_deletes() {
                forgotten |= !expected.is_empty();
                continue;
            }
            if held != expected {
                let (at, story) = (clocks.of(slot), self.model.tell(slot));
                let what = format!(
                    "device {device} at {at:?} holds {held:?} of {slot:?}, not {expected:?}; {story}"
                );
                return Err(self.broken(Rule::S7, what));
            }
        }
        if forgotten {
            self.met("a delete is forgotten");
        }
        Ok(())
    }

    fn check_rules(&mut self, device: usize, clocks: &Clocks) -> Result<(), Violation> {
        let Some(running) = self.running(device) else { return Ok(()) };
        let rules = running.db.rules().map_err(|error| self.unsound(device, &error))?;
        let expected = self.model.rules(clocks);
        let named = |entry: &multibee::RuleEntry| {
            let kind = entry.rule.kind;
            Some((keys::prefix_number(&entry.prefix)?, (entry.rule.strategy.clone(), kind)))
        };
        let named: Vec<_> = rules.iter().map(named).collect();
        let mut wanted: Vec<_> = expected
            .iter()
            .map(|(prefix, (strategy, kind))| Some((*prefix, ((*strategy).to_owned(), *kind))))
            .collect();
        wanted.sort_by_key(|one| one.as_ref().map(|(prefix, _)| keys::prefix(*prefix)));
        if named != wanted {
            let what = format!("device {device} has rules {named:?}, should have {wanted:?}");
            return Err(self.broken(Rule::S4, what));
        }
        Ok(())
    }

    fn note_conflicts(&mut self, clocks: &Clocks) {
        for slot in self.model.slots() {
            let versions = self.model.versions(slot, clocks.of(slot));
            let count = versions.len();
            if count < 2 {
                continue;
            }
            let Slot::Key(key) = slot else {
                self.met("two rules for a prefix meet");
                continue;
            };
            let strategy = self.model.rule(key, clocks).0;
            let live: Vec<_> = versions.iter().filter(|write| write.value.is_some()).collect();
            let of = |kind| live.iter().filter(|write| write.kind == kind).count();
            let [plain, counts, sets, maps] = [PLAIN, Counter::KIND, Set::KIND, Map::KIND].map(of);
            let (values, is_deleted) = (live.len(), live.len() < count);
            let kinds = [plain, counts, sets, maps].iter().filter(|count| **count > 0).count();
            let happened = [
                (plain >= 2, "two values are in conflict"),
                (plain >= 3, "three values are in conflict"),
                (values == 0, "two deletes meet"),
                (values > 0 && is_deleted, "a delete is in conflict with a value"),
                (counts >= 2, "a counter is added to by two at once"),
                (counts >= 1 && is_deleted, "a counter is added to and deleted at once"),
                (sets >= 2, "a set is changed by two at once"),
                (maps >= 2, "a map is changed by two at once"),
                (kinds > 1, "values of two types meet"),
                (
                    is_deleted && values > 0 && strategy == Strategies::DELETE_WINS,
                    "a delete hides a value, by a rule",
                ),
                (values > 1 && strategy == Strategies::KEEP_ALL, "two values are shown, by a rule"),
            ];
            happened.iter().filter(|(is_so, _)| *is_so).for_each(|(_, name)| self.met(name));
        }
    }

    /// All that a device shows, by numbers of keys.
    fn view(&self, device: usize) -> Result<BTreeMap<u16, Vec<Value>>, Violation> {
        let Some(running) = self.running(device) else { return Ok(BTreeMap::new()) };
        let fail = |error: multibee::Error| self.unsound(device, &error);
        let value = |entry: &Entry| Value {
            value: entry.value.to_vec(),
            kind: entry.kind,
            others: entry.conflicts,
        };
        let mut view = BTreeMap::new();
        for entry in running.db.range(RangeSpec::default()).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let Some(number) = keys::number(&entry.key) else {
                return Err(self.broken(Rule::S10, format!("a strange key: {:?}", entry.key)));
            };
            let mut values = vec![value(&entry)];
            if entry.conflicts > 0 {
                let all = running.db.get_all(&entry.key).map_err(fail)?;
                let all: Vec<_> = all.iter().map(value).collect();
                if all.first() != values.first() {
                    let what = format!("device {device}: the foremost of {number} is another");
                    return Err(self.broken(Rule::S4, what));
                }
                values = all;
            }
            view.insert(number, values);
        }
        Ok(view)
    }

    /// The keys that are listed as in conflict.
    fn conflicts(&self, device: usize) -> Result<BTreeSet<u16>, Violation> {
        let Some(running) = self.running(device) else { return Ok(BTreeSet::new()) };
        let conflicts = running.db.conflicts().map_err(|error| self.unsound(device, &error))?;
        Ok(conflicts.iter().filter_map(|conflict| keys::number(&conflict.key)).collect())
    }

    /// Nothing that a user wrote can be read on a wire.
    pub(crate) fn check_secrecy(&self, bytes: &[u8]) -> Result<(), Violation> {
        let mut starts = bytes.split(|byte| *byte == CANARY[0]).skip(1);
        let is_readable = starts.any(|rest| rest.starts_with(&CANARY[1..]));
        if is_readable { Err(self.broken(Rule::S12, "a value in plain sight")) } else { Ok(()) }
    }

    /// Whether all devices say that they are at the same point.
    pub(crate) fn is_converged(&self) -> Result<bool, Violation> {
        let insiders = self.insiders();
        let Some(first) = insiders.first() else { return Ok(true) };
        let first = self.blind(self.clock(*first)?);
        for &device in &insiders {
            let clock = self.blind(self.clock(device)?);
            let is_ahead = self.running(device).is_some_and(|one| !one.hand.ahead().is_empty());
            if clock != first || is_ahead || !self.has_all(&clock, &insiders) {
                return Ok(false);
            }
        }
        self.is_agreed_on_members()
    }

    /// Whether everything is applied that somebody has who is there.
    fn has_all(&self, clock: &[u64], insiders: &[usize]) -> bool {
        let whole = |author: usize| self.is_whole(author, insiders);
        self.authors.iter().enumerate().filter(|(author, _)| whole(*author)).all(|(author, one)| {
            let is_there = self.running(one.device).is_some() && !self.is_forked(one.device);
            let end = self.model.end(author).min(one.kept.unwrap_or(u64::MAX));
            !is_there || clock.get(author).is_some_and(|&at| at >= end)
        })
    }

    /// Devices that run, and exist once.
    pub(crate) fn alive(&self) -> Vec<usize> {
        let devices = 0..self.members();
        let is_alive = |&one: &usize| self.running(one).is_some() && !self.is_forked(one);
        devices.filter(is_alive).collect()
    }

    /// A clock without what it says of a device that exists twice.
    fn blind(&self, mut clock: Lengths) -> Lengths {
        for (length, author) in clock.iter_mut().zip(&self.authors) {
            if self.is_forked(author.device) {
                *length = 0;
            }
        }
        clock
    }

    pub(crate) fn describe_difference(&self) -> String {
        let mut text = String::from("the clocks stay apart:");
        for device in 0..self.devices.len() {
            let clock = self.clock(device).unwrap_or_default();
            let heads = self.running(device).map(|running| running.hand.heads());
            let mut lengths = vec![None; self.authors.len()];
            for (key, length) in heads.into_iter().flatten() {
                if let Some(author) = self.author_of(&key) {
                    lengths[author] = Some(length);
                }
            }
            let lengths: Vec<String> =
                lengths.iter().map(|one| one.map_or("-".into(), |one| one.to_string())).collect();
            let lengths = lengths.join(" ");
            text += &format!(" {device} {clock:?} logs {lengths};");
        }
        if self.membership.is_on {
            text += &self.describe_members();
        }
        text
    }

    /// All devices hold the same, and what the model says.
    pub(crate) fn check_end(&mut self) -> Result<(), Violation> {
        for device in self.alive() {
            self.look(device)?;
            self.observe(device)?;
            let Some(running) = self.running(device) else { continue };
            let scan = running.db.verify().map_err(|error| self.unsound(device, &error))?;
            let clocks = self.clocks(device)?;
            let keys = self.model.slots().into_iter().filter_map(|slot| match slot {
                Slot::Key(key) => Some(key),
                Slot::Rule(_) => None,
            });
            let shown: Vec<_> = keys.map(|key| self.model.shown(key, &clocks)).collect();
            let keys = shown.iter().filter(|shown| !shown.values.is_empty()).count() as u64;
            let conflicts = shown.iter().filter(|shown| shown.is_conflict).count() as u64;
            if self.fork.is_none() && (scan.keys, scan.conflicts) != (keys, conflicts) {
                let what = format!("{scan:?}, should be {keys} and {conflicts}");
                return Err(self.broken(Rule::S1, what));
            }
        }
        self.check_members()
    }

    /// What devices have stored and fetched: unchanged while nobody writes.
    pub(crate) fn footprint(&self) -> Footprint {
        let one = |device| {
            let running = self.running(device)?;
            let lengths = running.hand.heads().iter().map(|(_, length)| *length).collect();
            let fetched = running.db.status().ok()?.blocks_downloaded;
            Some((lengths, fetched))
        };
        (0..self.devices.len()).filter_map(one).collect()
    }
}

fn tell(shown: &Shown) -> String {
    let tell = |one: &Value| {
        format!("{:?} ({}) beside {} others", short(&one.value), one.kind, one.others)
    };
    let texts: Vec<_> = shown.values.iter().map(tell).collect();
    let what = if texts.is_empty() { "absent".into() } else { texts.join(" and ") };
    format!("{what}{}", if shown.is_conflict { ", in conflict" } else { "" })
}
