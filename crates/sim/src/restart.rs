//! What has to hold when a device has started again.

use multibee::PLAIN;

use crate::keys::Slot;
use crate::report::{Rule, Violation};
use crate::world::World;
use crate::writes::Pending;

impl World<'_> {
    /// A device has started again: what was promised is there, what was shown to others too.
    pub(crate) fn check_restart(&mut self, device: usize) -> Result<(), Violation> {
        if self.is_forked(device) {
            self.devices[device].pending = None;
            return self.note_move(device, false).map(|_| ());
        }
        self.name_second_life(device)?;
        let clock = self.clock(device)?;
        let (own, voice) = (self.own_length(device, &clock), self.voice(device));
        let Some(running) = self.running(device) else { return Ok(()) };
        let key = self.devices[device].key;
        let length = running.hand.heads().iter().find(|(one, _)| *one == key).map(|(_, len)| *len);
        let shared = self.authors[voice].shared;
        // Once another log goes on for it, and nobody is left who reads it, it is given back.
        let is_given_back = running.db.key() != key && length.is_none();
        if length.unwrap_or_default() < shared && !is_given_back {
            let what = format!("device {device} has {length:?} blocks, others have seen {shared}");
            return Err(self.broken(Rule::S9, what));
        }
        let pending = self.devices[device].pending.take();
        let before = self.devices[device].own_end;
        if own < before {
            if self.model.reaches_beyond(voice, own) {
                self.met("a power cut takes a write that was not called safe");
            }
            // What is lost here is in a backup that was made before it was: the model knows it no more.
            self.devices[device].backup.take_if(|backup| backup.is_beyond(voice, own));
            let lost = self.model.recover(voice, own);
            if self.rotten == Some(device) {
                let what = format!("device {device} lost what it wrote beyond block {own}");
                return Err(self.broken(Rule::S2, what));
            }
            if let Some(lost) = lost {
                let what = format!("device {device} lost a write up to block {}", lost.end);
                return Err(self.broken(Rule::S2, what));
            }
            self.devices[device].last_stamp = 0;
            // Another commit may end where a lost one did: what was said of its clock is void.
            self.evidence.retain(|(clock, _), _| clock.get(voice).is_none_or(|&at| at <= own));
        }
        match pending {
            Some(pending) if own > before => self.did_happen(device, before, own, pending)?,
            Some(_) => self.met("a write that failed turns out not to have happened"),
            // What it says of members by itself is on its disk before anybody looked at it.
            None if own > before && !self.may_state() => {
                let what = format!("device {device} came back with a commit that nobody made");
                return Err(self.broken(Rule::S6, what));
            }
            None => {}
        }
        self.devices[device].own_end = own;
        let was_compacting = std::mem::take(&mut self.devices[device].is_compacting);
        let has_moved = self.note_move(device, was_compacting)?;
        if has_moved && !was_compacting {
            // A copy stamps by the wall clock alone.
            self.devices[device].last_stamp = 0;
        }
        self.met_after_compaction(was_compacting, has_moved);
        let clock = self.clock(device)?;
        self.note_restart(device, &clock);
        self.look(device)
    }

    fn met_after_compaction(&mut self, was_compacting: bool, has_moved: bool) {
        match (was_compacting, has_moved) {
            (true, true) => self.met("a compaction that was interrupted is finished at the start"),
            (true, false) => self.met("a compaction that was interrupted is forgotten"),
            (false, true) => self.met("a device has moved as it starts"),
            (false, false) => {}
        }
    }

    fn note_restart(&mut self, device: usize, clock: &[u64]) {
        let before = &self.devices[device].known;
        let mut others = (0..clock.len()).filter(|&other| self.authors[other].device != device);
        let gained = others.any(|other| clock.get(other) > before.get(other));
        if gained {
            self.met("a device merges on opening, with nobody there");
        }
        self.devices[device].known = clock.to_vec();
    }

    /// A write that failed is there after all: then it is there whole.
    fn did_happen(
        &mut self,
        device: usize,
        before: u64,
        end: u64,
        pending: Pending,
    ) -> Result<(), Violation> {
        let id = self.authors[self.voice(device)].id;
        if self.may_state() && !self.has_any_of(device, &pending, before..end)? {
            // It was something else that it said of members by itself.
            return Ok(());
        }
        self.met("a write that failed turns out to have happened");
        for intent in pending.intents {
            let versions = self.held_versions(device, intent.slot)?;
            let is_own = |one: &&multibee::Version| {
                one.dot.device == id && (before..end).contains(&one.dot.seq)
            };
            let value = |one: &multibee::Version| one.value().map(|value| value.to_vec());
            let Some(version) = versions.iter().find(is_own) else {
                let what = format!("device {device}: {:?} of a failed batch", intent.slot);
                return Err(self.broken(Rule::S6, what));
            };
            let is_plain = matches!(intent.slot, Slot::Key(_)) && intent.kind == PLAIN;
            if is_plain && value(version) != intent.value {
                let what = format!("device {device}: {:?} of a failed batch", intent.slot);
                return Err(self.broken(Rule::S6, what));
            }
            let write = self.write_of(device, end, &pending.seen, intent.clone(), version);
            self.model.add(intent.slot, write);
        }
        Ok(())
    }

    /// Whether anything of a write is there, in this part of the device's own log.
    fn has_any_of(
        &self,
        device: usize,
        pending: &Pending,
        part: std::ops::Range<u64>,
    ) -> Result<bool, Violation> {
        let id = self.authors[self.voice(device)].id;
        for intent in &pending.intents {
            let versions = self.held_versions(device, intent.slot)?;
            if versions.iter().any(|one| one.dot.device == id && part.contains(&one.dot.seq)) {
                return Ok(true);
            }
        }
        Ok(pending.intents.is_empty())
    }
}
