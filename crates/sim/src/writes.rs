//! What users write, and whether it came to what it should.

use multibee::{Choice, Counter, Error, MAX_DRIFT_MS, Map, PLAIN, Rule as KeyRule, Set};

use crate::intent::{Expected, Held, Intent};
use crate::keys::{self, Slot};
use crate::model::{Clocks, Lengths, Write, short};
use crate::plan::{Change, Settling, What};
use crate::report::{Rule, Violation};
use crate::typed::State;
use crate::world::World;

/// At the beginning of every value: it must never be seen on a wire.
pub(crate) const CANARY: &[u8] = b"canary!";

/// A write that nobody knows to have happened: its device failed within.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) intents: Vec<Intent>,
    pub(crate) seen: Clocks,
}

impl World<'_> {
    /// How far a device is, key by key where it is in the midst of absorbing.
    pub(crate) fn clocks(&self, device: usize) -> Result<Clocks, Violation> {
        let mut clocks = Clocks { common: self.clock(device)?, ..Clocks::default() };
        let Some(running) = self.running(device) else { return Ok(clocks) };
        let ahead = running.hand.ahead();
        if ahead.is_empty() {
            return Ok(clocks);
        }
        let ahead: Lengths = self.lengths(device, &ahead);
        for slot in self.model.slots() {
            let held: Vec<_> =
                self.held_versions(device, slot)?.iter().map(|one| one.dot).collect();
            let reached = self.model.reached(slot, &clocks.common, &held);
            let Some(reached) = reached else {
                let what = format!("device {device} holds a version of {slot:?} that nobody wrote");
                return Err(self.broken(Rule::S4, what));
            };
            let applied = self.model.with_seen(slot, &clocks.common);
            let mut bounds = reached.iter().zip(&applied).zip(&ahead);
            if !bounds.all(|((reached, applied), ahead)| reached <= applied.max(ahead)) {
                let (common, story) = (&clocks.common, self.model.tell(slot));
                let what = format!(
                    "device {device} is at {reached:?} in {slot:?}, beyond {common:?} and {ahead:?}; {story}"
                );
                return Err(self.broken(Rule::S7, what));
            }
            if reached != clocks.common {
                clocks.beyond.insert(slot, reached);
            }
        }
        Ok(clocks)
    }

    /// All versions that a device holds.
    pub(crate) fn held_versions(
        &self,
        device: usize,
        slot: Slot,
    ) -> Result<Vec<multibee::Version>, Violation> {
        let Some(running) = self.running(device) else { return Ok(Vec::new()) };
        let versions = match slot {
            Slot::Key(key) => running.hand.versions(&keys::key(key)),
            Slot::Rule(prefix) => running.hand.rule_versions(keys::prefix(prefix).as_bytes()),
        };
        let versions = versions.map_err(|error| self.unsound(device, &error))?;
        let mut versions: Vec<_> =
            versions.into_iter().map(|version| self.told_apart(device, version)).collect();
        versions.sort_by_key(|version| version.dot);
        Ok(versions)
    }

    /// What the model says that a device holds of a key.
    fn held(&self, key: u16, clocks: &Clocks) -> Held<'_> {
        let slot = Slot::Key(key);
        let versions = self.model.versions(slot, clocks.of(slot));
        Held { key, versions, rule: self.model.rule(key, clocks) }
    }

    /// A user changes keys.
    pub(crate) fn write(&mut self, device: usize, changes: &[Change]) -> Result<(), Violation> {
        if self.is_forked(device) {
            return self.write_forked(device, changes);
        }
        let is_whole = |change: &&Change| !self.is_spoilt(Slot::Key(change.key));
        let changes: Vec<Change> = changes.iter().filter(is_whole).copied().collect();
        let changes = &changes[..];
        if changes.is_empty() {
            return Ok(());
        }
        let Some(seen) = self.begin_write(device)? else { return Ok(()) };
        let (mut expected, mut expectations) = (Vec::new(), Vec::new());
        let mut values = Vec::new();
        for change in changes {
            self.note_situation(change, &seen);
            let kind = self.model.rule(change.key, &seen).1;
            let value = self.value(change.what, kind);
            let held = self.held(change.key, &seen);
            if let What::Swap { is_right, .. } = change.what {
                let right = held.showing().map(|(value, _)| value);
                expectations.push(if is_right { right } else { Some(b"something else".into()) });
            }
            expected.push(held.change(change.what, &value));
            values.push(value);
        }
        if changes.len() > 1 {
            self.met("a batch is written");
        }
        let Some(running) = self.running(device) else { return Ok(()) };
        let (mut batch, mut expectations) = (running.db.batch(), expectations.into_iter());
        for (change, value) in changes.iter().zip(values) {
            let key = keys::key(change.key);
            match change.what {
                What::Put(_) | What::Number(_) => batch.put(key, value),
                What::Delete => batch.del(key),
                What::Add(by) => batch.increment(key, by),
                What::Insert(element) => batch.set_insert(key, element.to_string()),
                What::Remove(element) => batch.set_remove(key, element.to_string()),
                What::Patch { field, value } => {
                    let value = value.map_or_else(|| "null".into(), |value| value.to_string());
                    batch.patch(key, format!("{{\"f{field}\":{value}}}"))
                }
                What::Swap { .. } => {
                    let expectation = expectations.next().flatten();
                    batch.expect(&key, expectation.as_deref()).put(key, value)
                }
            };
        }
        let done = batch.commit();
        self.end_write(device, seen, expected, done)
    }

    /// A user sets the rule for a prefix, or clears it.
    pub(crate) fn set_rule(
        &mut self,
        device: usize,
        prefix: u8,
        rule: Option<u8>,
    ) -> Result<(), Violation> {
        if self.is_forked(device) {
            return Ok(());
        }
        let Some(seen) = self.begin_write(device)? else { return Ok(()) };
        let is_set = self.model.rules(&seen).contains_key(&prefix);
        let value = rule.map(|rule| vec![rule]);
        let intent = Intent { slot: Slot::Rule(prefix), kind: PLAIN, value, base: None };
        let is_nothing = rule.is_none() && !is_set;
        let expected = if is_nothing { Expected::Nothing } else { Expected::Written(intent) };
        let Some(running) = self.running(device) else { return Ok(()) };
        let name = keys::prefix(prefix);
        let done = match rule.map(keys::rule) {
            Some((strategy, kind)) => {
                let rule = KeyRule { strategy: strategy.into(), kind };
                running.db.set_rule(name, rule).map(|()| true)
            }
            None => running.db.clear_rule(name),
        };
        self.met(if rule.is_some() { "a rule is set" } else { "a rule is cleared" });
        self.end_write(device, seen, vec![expected], done.map(|changed| vec![changed]))
    }

    /// A user settles what is held of a key.
    pub(crate) fn resolve(
        &mut self,
        device: usize,
        key: u16,
        how: Settling,
    ) -> Result<(), Violation> {
        if self.is_forked(device) || self.is_spoilt(Slot::Key(key)) {
            return Ok(());
        }
        let Some(seen) = self.begin_write(device)? else { return Ok(()) };
        let kind = self.model.rule(key, &seen).1;
        let value = self.value(What::Put(20), kind);
        let held = self.held(key, &seen);
        if resolve_conflict(&held) {
            self.met("a conflict is settled by name");
        }
        let held = self.held(key, &seen);
        if self.forgets_deletes() && held.versions.iter().all(|write| write.value.is_none()) {
            // There may be nothing left to pick from.
            return Ok(());
        }
        let (choice, expected) = match how {
            Settling::Delete => (Choice::Delete, held.delete()),
            Settling::Value(_) => (Choice::Value(value.clone().into()), held.put(kind, value)),
            Settling::Pick(which) => {
                let at = usize::from(which) % held.versions.len().max(1);
                let Some(write) = held.versions.get(at) else { return Ok(()) };
                (Choice::Version(self.name_of(device, write.dot)), held.pick(write))
            }
        };
        let is_written = matches!(expected, Expected::Written(_));
        let Some(running) = self.running(device) else { return Ok(()) };
        let done = running.db.resolve(keys::key(key), choice).map(|()| vec![is_written]);
        self.end_write(device, seen, vec![expected], done)
    }

    fn begin_write(&mut self, device: usize) -> Result<Option<Clocks>, Violation> {
        if self.running(device).is_none() || self.is_unaware_reader(device)? {
            return Ok(None);
        }
        self.report.operations += 1;
        self.devices[device].tick(self.now);
        let clocks = self.clocks(device)?;
        if self.running(device).is_some_and(|running| running.hand.absorbing().is_some()) {
            self.met("a device writes while it absorbs");
        }
        if !clocks.beyond.is_empty() {
            self.met("a device writes ahead of its clock");
        }
        Ok(Some(clocks))
    }

    /// Compares what came of a commit with what was expected.
    fn end_write(
        &mut self,
        device: usize,
        seen: Clocks,
        expected: Vec<Expected>,
        done: Result<Vec<bool>, Error>,
    ) -> Result<(), Violation> {
        let is_refused = expected.iter().any(|one| matches!(one, Expected::Refused));
        let is_changed = |one: &Expected| matches!(one, Expected::Written(_));
        let should: Vec<bool> = expected.iter().map(is_changed).collect();
        let written = |one: Expected| match one {
            Expected::Written(intent) => Some(intent),
            _ => None,
        };
        let intents: Vec<Intent> = expected.into_iter().filter_map(written).collect();
        let is_reader = self.membership.is_on && self.may_only_read(device)?;
        match done {
            Ok(_) if is_reader && !intents.is_empty() => {
                let what = format!("device {device} may only read, and wrote");
                Err(self.broken(Rule::T3, what))
            }
            Err(Error::Removed { .. }) => self.refused_as_removed(device),
            Err(Error::ReadOnly { .. }) => self.refused_as_reader(device),
            Ok(changed) if !is_refused => {
                if changed != should {
                    let what = format!("device {device}: {changed:?} changed, not {should:?}");
                    return Err(self.broken(Rule::S4, what));
                }
                self.written(device, &seen, intents)?;
                let is_connected =
                    self.running(device).is_some_and(|running| !running.ends.is_empty());
                if is_connected { self.settle(device) } else { self.observe(device) }
            }
            Ok(_) => Err(self.broken(Rule::S4, format!("device {device} wrote what does not fit"))),
            Err(Error::StaleRestore { .. }) => self.refused(device),
            Err(_) if self.devices[device].disk.is_failing() => {
                self.devices[device].pending = Some(Pending { intents, seen });
                self.fail(device, true)
            }
            Err(Error::NotAsExpected { .. } | Error::Value(_)) if is_refused => {
                self.met("a write is refused, with all of its batch");
                if self.clock(device)? != seen.common {
                    let what = format!("device {device} wrote though it refused to");
                    return Err(self.broken(Rule::S6, what));
                }
                Ok(())
            }
            Err(error) => Err(self.unsound(device, &format!("a write was refused: {error}"))),
        }
    }

    /// A device refuses to write, since it was told that its state is an old one.
    pub(crate) fn refused(&mut self, device: usize) -> Result<(), Violation> {
        if !self.devices[device].was_outdated {
            let what = format!("device {device} refuses to write, and nobody told it to");
            return Err(self.broken(Rule::S4, what));
        }
        self.met("a device refuses to write, as its state is an old one");
        Ok(())
    }

    /// A value that was never put before, for a type.
    fn value(&mut self, what: What, kind: u32) -> Vec<u8> {
        let len = match what {
            What::Put(len) | What::Swap { len, .. } => usize::from(len),
            What::Number(number) if kind == PLAIN || kind == Counter::KIND => {
                return number.to_string().into_bytes();
            }
            What::Number(_) => 20,
            _ => return Vec::new(),
        };
        self.values += 1;
        let number = self.values;
        match kind {
            Counter::KIND => (number % 200).to_string().into_bytes(),
            Set::KIND => {
                let (one, two) =
                    ((number % 5).min(number / 5 % 7), (number % 5).max(number / 5 % 7));
                let elements = if one == two { one.to_string() } else { format!("{one},{two}") };
                format!("[{elements}]").into_bytes()
            }
            Map::KIND => format!("{{\"f{}\":{number}}}", number % 3).into_bytes(),
            _ if len == 0 => {
                self.met("a value is empty");
                Vec::new()
            }
            _ => {
                let mut value = CANARY.to_vec();
                value.extend(number.to_le_bytes());
                value.resize(len.max(value.len()), b'.');
                value
            }
        }
    }

    fn note_situation(&mut self, change: &Change, seen: &Clocks) {
        let held = self.held(change.key, seen);
        let live = held.versions.iter().filter(|write| write.value.is_some()).count();
        let count = held.versions.len();
        let is_conflict = resolve_conflict(&held);
        if is_conflict {
            self.met("a conflict is resolved by a write");
        }
        match (change.what == What::Delete, live > 0) {
            (true, true) => self.met("a key is deleted"),
            (true, false) => self.met("an absent key is deleted"),
            (false, false) if count > 0 => self.met("a key is written again after its delete"),
            _ => {}
        }
    }

    /// A write was acknowledged.
    fn written(
        &mut self,
        device: usize,
        seen: &Clocks,
        intents: Vec<Intent>,
    ) -> Result<(), Violation> {
        let clock = self.clock(device)?;
        let end = self.own_length(device, &clock);
        let is_durable = self.waits_for_disk(device);
        for intent in intents {
            let versions = self.held_versions(device, intent.slot)?;
            let [version] = &versions[..] else {
                let what = format!("device {device}: {:?} has {versions:?}", intent.slot);
                return Err(self.broken(Rule::S5, what));
            };
            let write = self.write_of(device, end, seen, intent.clone(), version);
            self.check_stamp(&write, intent.slot, seen)?;
            self.check_own_read(device, &intent)?;
            self.model.add(intent.slot, Write { is_durable, ..write });
        }
        self.devices[device].own_end = end;
        Ok(())
    }

    /// What a write turned out to be.
    pub(crate) fn write_of(
        &self,
        device: usize,
        end: u64,
        seen: &Clocks,
        intent: Intent,
        version: &multibee::Version,
    ) -> Write {
        let Intent { slot, kind, value, base } = intent;
        let (dot, time) = (version.dot, version.time.as_u64());
        let state = match &value {
            Some(value) if kind != PLAIN => {
                Some(State::written(kind, base.as_ref(), value, (time, dot)))
            }
            _ => None,
        };
        let seen = seen.of(slot).to_vec();
        let author = self.voice(device);
        Write { author, dot, end, seen, kind, value, state, time, is_durable: false }
    }

    fn check_own_read(&self, device: usize, intent: &Intent) -> Result<(), Violation> {
        let (Slot::Key(key), Some(running)) = (intent.slot, self.running(device)) else {
            return Ok(());
        };
        let entry = running.db.get(keys::key(key)).map_err(|error| self.unsound(device, &error))?;
        let read = entry.map(|entry| entry.value.to_vec());
        if read == intent.value {
            return Ok(());
        }
        let tell = |value: &Option<Vec<u8>>| value.as_ref().map(|value| short(value));
        let (read, wrote) = (tell(&read), tell(&intent.value));
        let what = format!("device {device} reads {read:?} of key {key}, but wrote {wrote:?}");
        Err(self.broken(Rule::S5, what))
    }

    /// A write is later than what it supersedes. But for that its stamps go on from each other, and
    /// no further ahead of its own wall clock than others may pull it.
    fn check_stamp(&mut self, write: &Write, slot: Slot, seen: &Clocks) -> Result<(), Violation> {
        let superseded = self.model.versions(slot, seen.of(slot));
        let floor = superseded.iter().map(|write| write.time).max().unwrap_or_default();
        let (device, time) = (self.authors[write.author].device, write.time);
        let one = &mut self.devices[device];
        let bound_ms = one.latest_wall_ms + MAX_DRIFT_MS + 1;
        let is_pushed = floor.checked_add(1) == Some(time);
        // Of a delete that is forgotten nobody knows any more when it was.
        let is_forgotten =
            self.plan.forget_deletes && superseded.iter().all(|write| write.value.is_none());
        let fault = if time <= floor && !is_forgotten {
            Some("it supersedes a later one")
        } else if is_pushed {
            None
        } else if time <= one.last_stamp {
            Some("its own last write was later")
        } else if time >> 16 > bound_ms {
            Some("its clock was pulled along")
        } else {
            one.last_stamp = time;
            None
        };
        if let Some(why) = fault {
            let what = format!("device {device} stamps {slot:?} with {time}, but {why} ({floor})");
            return Err(self.broken(Rule::T11, what));
        }
        if is_pushed && time >> 16 > bound_ms {
            self.met("a write supersedes one from the future");
        }
        Ok(())
    }
}

fn resolve_conflict(held: &Held<'_>) -> bool {
    crate::model::resolve(&held.versions, held.rule.0).is_conflict
}
