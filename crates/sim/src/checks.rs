//! What is checked, and when.

use std::collections::BTreeMap;

use multibee::{Entry, MAX_DRIFT_MS, RangeSpec};

use crate::model::{Lengths, Pending, Shown, Write};
use crate::plan::Change;
use crate::report::{Rule, Violation};
use crate::world::World;

/// At the beginning of every value: it must never be seen on a wire.
const CANARY: &[u8] = b"canary!";

/// What a device has stored and fetched.
pub(crate) type Footprint = Vec<(Vec<u64>, u64)>;

impl World<'_> {
    /// A device's clock, as a list of lengths.
    pub(crate) fn clock(&self, device: usize) -> Result<Lengths, Violation> {
        let Some(running) = self.running(device) else { return Ok(Vec::new()) };
        let clock = running.hand.clock().map_err(|error| self.broken(Rule::S10, error))?;
        Ok(self.devices.iter().map(|device| clock.length(device.id)).collect())
    }

    /// Looks at a device after anything that it did.
    pub(crate) fn observe(&mut self, device: usize) -> Result<(), Violation> {
        let clock = self.clock(device)?;
        let Some(running) = self.running(device) else { return Ok(()) };
        let (digest, heads) = (running.hand.digest(), running.hand.heads());
        for (key, length) in heads {
            let owner = self.devices.iter().position(|one| one.key == key);
            if let Some(owner) = owner.filter(|&owner| owner != device) {
                let shared = &mut self.shared[owner];
                *shared = length.max(*shared);
            }
        }
        self.note_news(device, &clock);
        match self.evidence.get(&clock) {
            Some((other, known)) if *known != digest => {
                let what = format!("devices {other} and {device} differ at clock {clock:?}");
                Err(self.broken(Rule::S1, what))
            }
            Some((other, _)) => {
                if *other != device {
                    self.met("two devices have equal clocks");
                }
                Ok(())
            }
            None => {
                self.evidence.insert(clock, (device, digest));
                Ok(())
            }
        }
    }

    /// What a device has merged since it was looked at last.
    fn note_news(&mut self, device: usize, clock: &[u64]) {
        let before = std::mem::replace(&mut self.devices[device].known, clock.to_vec());
        let is_new = |other: &usize| *other != device && clock.get(*other) > before.get(*other);
        let news: Vec<usize> = (0..clock.len()).filter(is_new).collect();
        if before.is_empty() {
            return;
        }
        if news.len() > 1 {
            self.met("a device merges two authors at once");
        }
        if news.iter().any(|&author| self.wire_between(device, author).is_none()) {
            self.met("news comes through a third device");
        }
    }

    /// A user changes keys.
    pub(crate) fn write(&mut self, device: usize, changes: &[Change]) -> Result<(), Violation> {
        if self.running(device).is_none() {
            return Ok(());
        }
        self.report.operations += 1;
        self.devices[device].tick(self.now);
        let seen = self.clock(device)?;
        let changes: Vec<_> = changes.iter().map(|change| (*change, self.value(change))).collect();
        for (change, _) in &changes {
            self.note_situation(change, &seen);
        }
        if changes.len() > 1 {
            self.met("a batch is written");
        }
        let Some(running) = self.running(device) else { return Ok(()) };
        let mut batch = running.db.batch();
        for (change, value) in &changes {
            match value {
                Some(value) => batch.put(key(change.key), value.clone()),
                None => batch.del(key(change.key)),
            };
        }
        match batch.commit() {
            Ok(changed) => {
                self.written(device, seen, &changes, &changed)?;
                let is_connected =
                    self.running(device).is_some_and(|running| !running.ends.is_empty());
                if is_connected { self.settle(device) } else { self.observe(device) }
            }
            Err(_) if self.devices[device].disk.is_failing() => {
                self.devices[device].pending = Some(Pending { changes, seen });
                self.fail(device, true)
            }
            Err(error) => Err(self.broken(Rule::S10, format!("a write was refused: {error}"))),
        }
    }

    fn value(&mut self, change: &Change) -> Option<Vec<u8>> {
        let len = usize::from(change.value_len?);
        if len == 0 {
            self.met("a value is empty");
            return Some(Vec::new());
        }
        self.values += 1;
        let mut value = CANARY.to_vec();
        value.extend(self.values.to_le_bytes());
        value.resize(len.max(value.len()), b'.');
        Some(value)
    }

    fn note_situation(&mut self, change: &Change, seen: &[u64]) {
        let versions = self.model.versions(change.key, seen);
        let is_delete = change.value_len.is_none();
        let (live, count) =
            (versions.iter().filter(|write| write.value.is_some()).count(), versions.len());
        if count > 1 && live > 0 {
            self.met("a conflict is resolved by a write");
        }
        match (is_delete, live > 0) {
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
        seen: Lengths,
        changes: &[(Change, Option<Vec<u8>>)],
        changed: &[bool],
    ) -> Result<(), Violation> {
        let end = self.clock(device)?[device];
        for ((change, value), &changed) in changes.iter().zip(changed) {
            let was_there = self.model.shown(change.key, &seen).is_some();
            if changed != (value.is_some() || was_there) {
                let what = format!("device {device}: deleting key {} said {changed}", change.key);
                return Err(self.broken(Rule::S4, what));
            }
            if !changed {
                continue;
            }
            let mut order = (0, self.devices[device].id.as_u64());
            if let Some(value) = value {
                let entry = self.read(device, change.key)?;
                let Some(entry) = entry.filter(|entry| entry.value == *value) else {
                    let what = format!("device {device} does not read its write of {}", change.key);
                    return Err(self.broken(Rule::S5, what));
                };
                order.0 = entry.time.as_u64();
                self.check_stamp(device, change.key, &seen, order.0)?;
            }
            let is_durable = self.waits_for_disk(device);
            let (value, seen) = (value.clone(), seen.clone());
            self.model.add(change.key, Write { device, end, seen, value, order, is_durable });
        }
        self.devices[device].own_end = end;
        Ok(())
    }

    /// A write is later than what it supersedes. But for that its stamps go on from each other, and
    /// no further ahead of its own wall clock than others may pull it.
    fn check_stamp(
        &mut self,
        device: usize,
        key: u16,
        seen: &[u64],
        time: u64,
    ) -> Result<(), Violation> {
        let floor = self.model.latest(key, seen);
        let superseded = self.model.versions(key, seen);
        let supersedes_delete = superseded.iter().any(|write| write.value.is_none());
        let one = &mut self.devices[device];
        let bound_ms = one.latest_wall_ms + MAX_DRIFT_MS + 1;
        // When a delete was, nobody can read.
        let is_pushed = floor.checked_add(1) == Some(time) || supersedes_delete;
        let fault = if time <= floor {
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
            let what = format!("device {device} stamps key {key} with {time}, but {why} ({floor})");
            return Err(self.broken(Rule::T11, what));
        }
        if is_pushed && time >> 16 > bound_ms {
            self.met("a write supersedes one from the future");
        }
        Ok(())
    }

    fn read(&self, device: usize, number: u16) -> Result<Option<Entry>, Violation> {
        let Some(running) = self.running(device) else { return Ok(None) };
        running.db.get(key(number)).map_err(|error| self.broken(Rule::S10, error))
    }

    /// Compares all that a device shows with what follows from its clock.
    pub(crate) fn look(&mut self, device: usize) -> Result<(), Violation> {
        if self.running(device).is_none() {
            return Ok(());
        }
        self.report.operations += 1;
        let clock = self.clock(device)?;
        let expected = self.model.view(&clock);
        let shown = self.view(device)?;
        for number in expected.keys().chain(shown.keys()) {
            if expected.get(number) != shown.get(number) {
                let what = format!(
                    "device {device} at {clock:?}: key {number} is {}, should be {}; {}",
                    tell(shown.get(number)),
                    tell(expected.get(number)),
                    self.model.tell(*number),
                );
                return Err(self.broken(Rule::S4, what));
            }
        }
        self.note_conflicts(&clock);
        Ok(())
    }

    fn note_conflicts(&mut self, clock: &[u64]) {
        for number in self.model.keys() {
            let versions = self.model.versions(number, clock);
            let values = versions.iter().filter(|write| write.value.is_some()).count();
            let count = versions.len();
            if values >= 2 {
                self.met("two values are in conflict");
            }
            if values >= 3 {
                self.met("three values are in conflict");
            }
            if values == 0 && count > 1 {
                self.met("two deletes meet");
            }
            if values > 0 && values < count {
                self.met("a delete is in conflict with a value");
            }
        }
    }

    fn view(&self, device: usize) -> Result<BTreeMap<u16, Shown>, Violation> {
        let Some(running) = self.running(device) else { return Ok(BTreeMap::new()) };
        let fail = |error: multibee::Error| self.broken(Rule::S10, error);
        let mut view = BTreeMap::new();
        for entry in running.db.range(RangeSpec::default()).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let Some(number) = number(&entry.key) else {
                return Err(self.broken(Rule::S10, format!("a strange key: {:?}", entry.key)));
            };
            let shown = Shown { value: entry.value.to_vec(), others: entry.conflicts };
            view.insert(number, shown);
        }
        Ok(view)
    }

    /// A device has started again: what was promised is there, what was shown to others too.
    pub(crate) fn check_restart(&mut self, device: usize) -> Result<(), Violation> {
        let clock = self.clock(device)?;
        let own = clock[device];
        let Some(running) = self.running(device) else { return Ok(()) };
        let key = self.devices[device].key;
        let length = running.hand.heads().iter().find(|(one, _)| *one == key).map(|(_, len)| *len);
        if length < Some(self.shared[device]) {
            let what = format!(
                "device {device} has {length:?} blocks, others have seen {}",
                self.shared[device]
            );
            return Err(self.broken(Rule::S9, what));
        }
        let pending = self.devices[device].pending.take();
        let before = self.devices[device].own_end;
        if own < before {
            if self.model.reaches_beyond(device, own) {
                self.met("a power cut takes a write that was not called safe");
            }
            if let Some(lost) = self.model.recover(device, own) {
                let what = format!("device {device} lost a write up to block {}", lost.end);
                return Err(self.broken(Rule::S2, what));
            }
            self.devices[device].last_stamp = 0;
            // Another commit may end where a lost one did: what was said of its clock is void.
            self.evidence.retain(|clock, _| clock[device] <= own);
        }
        match pending {
            Some(pending) if own > before => self.did_happen(device, own, pending)?,
            Some(_) => self.met("a write that failed turns out not to have happened"),
            None if own > before => {
                let what = format!("device {device} came back with a commit that nobody made");
                return Err(self.broken(Rule::S6, what));
            }
            None => {}
        }
        self.devices[device].own_end = own;
        self.note_restart(device, &clock);
        self.look(device)
    }

    fn note_restart(&mut self, device: usize, clock: &[u64]) {
        let before = &self.devices[device].known;
        let mut others = (0..clock.len()).filter(|&other| other != device);
        let gained = others.any(|other| clock.get(other) > before.get(other));
        if gained {
            self.met("a device merges on opening, with nobody there");
        }
        self.devices[device].known = clock.to_vec();
    }

    /// A write that failed is there after all: then it is there whole.
    fn did_happen(&mut self, device: usize, end: u64, pending: Pending) -> Result<(), Violation> {
        self.met("a write that failed turns out to have happened");
        for (change, value) in pending.changes {
            let entry = self.read(device, change.key)?;
            if entry.as_ref().map(|entry| entry.value.to_vec()) != value {
                let what = format!("device {device}: key {} of a failed batch", change.key);
                return Err(self.broken(Rule::S6, what));
            }
            let time = entry.map_or(0, |entry| entry.time.as_u64());
            let was_there = self.model.shown(change.key, &pending.seen).is_some();
            if value.is_some() || was_there {
                let order = (time, self.devices[device].id.as_u64());
                let seen = pending.seen.clone();
                let write = Write { device, end, seen, value, order, is_durable: false };
                self.model.add(change.key, write);
            }
        }
        Ok(())
    }

    /// Nothing that a user wrote can be read on a wire.
    pub(crate) fn check_secrecy(&self, bytes: &[u8]) -> Result<(), Violation> {
        let is_readable = bytes.windows(CANARY.len()).any(|window| window == CANARY);
        if is_readable { Err(self.broken(Rule::S12, "a value in plain sight")) } else { Ok(()) }
    }

    /// Whether all devices say that they are at the same point.
    pub(crate) fn is_converged(&self) -> Result<bool, Violation> {
        let first = self.clock(0)?;
        for device in 0..self.devices.len() {
            if self.clock(device)? != first || self.clock(device)?[device] < self.model.end(device)
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(crate) fn describe_difference(&self) -> String {
        let mut text = String::from("the clocks stay apart:");
        for device in 0..self.devices.len() {
            let clock = self.clock(device).unwrap_or_default();
            let heads = self.running(device).map(|running| running.hand.heads());
            let lengths = heads.iter().flatten().map(|(_, length)| *length);
            let lengths: Vec<_> = lengths.collect();
            text += &format!(" {device} {clock:?} logs {lengths:?};");
        }
        text
    }

    /// All devices hold the same, and what the model says.
    pub(crate) fn check_end(&mut self) -> Result<(), Violation> {
        for device in 0..self.devices.len() {
            self.look(device)?;
            self.observe(device)?;
            let Some(running) = self.running(device) else { continue };
            let scan = running.db.verify().map_err(|error| self.broken(Rule::S10, error))?;
            let expected = self.model.view(&self.clock(device)?);
            let conflicts = expected.values().filter(|shown| shown.others > 0).count() as u64;
            if (scan.keys, scan.conflicts) != (expected.len() as u64, conflicts) {
                let what = format!("{scan:?}, should be {} and {conflicts}", expected.len());
                return Err(self.broken(Rule::S1, what));
            }
        }
        Ok(())
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

fn key(number: u16) -> Vec<u8> {
    format!("key {number:05}").into_bytes()
}

fn number(key: &[u8]) -> Option<u16> {
    std::str::from_utf8(key).ok()?.strip_prefix("key ")?.parse().ok()
}

fn tell(shown: Option<&Shown>) -> String {
    match shown {
        None => "absent".into(),
        Some(shown) => {
            let text = String::from_utf8_lossy(&shown.value);
            let text: String = text.chars().take(20).collect();
            format!("{text:?} beside {} others", shown.others)
        }
    }
}
