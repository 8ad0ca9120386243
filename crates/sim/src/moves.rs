//! Devices that move to a fresh log: compacted ones, copies, and such as an old state was put back to.

use multibee::Error;

use crate::device::Device;
use crate::disk::Disk;
use crate::lives::{Author, Branch};
use crate::model::{Clocks, Lengths};
use crate::plan::{Stop, Within};
use crate::report::{Rule, Violation};
use crate::wire::Cargo;
use crate::world::{Event, World};
use crate::writes::Pending;

/// A device as it once was.
#[derive(Clone, Debug)]
pub(crate) struct Backup {
    disk: Disk,
    author: usize,
    own_end: u64,
    length: u64,
}

impl Backup {
    /// Whether it has more of a log than this.
    pub(crate) const fn is_beyond(&self, author: usize, own_end: u64) -> bool {
        self.author == author && self.own_end > own_end
    }
}

impl World<'_> {
    /// A device is compacted, and perhaps its disk stops within.
    pub(crate) fn compact(
        &mut self,
        device: usize,
        within: Option<Within>,
    ) -> Result<(), Violation> {
        if self.running(device).is_none() || self.is_forked(device) {
            return Ok(());
        }
        self.report.operations += 1;
        self.devices[device].tick(self.now);
        if let Some(Within { changes, how, down_us }) = within
            && self.devices[device].doom.is_none()
        {
            self.devices[device].doom = Some((how, down_us));
            self.devices[device].disk.fail_after(changes, how.kind());
        }
        let seen = self.clocks(device)?;
        let digest = self.running(device).map(|running| running.hand.digest());
        self.note_compaction(device);
        let Some(running) = self.running(device) else { return Ok(()) };
        let done = running.db.compact(|_| {});
        let is_failing = self.devices[device].disk.is_failing();
        match done {
            Ok(_) => {
                if !self.note_move(device, true)? {
                    let what = format!("device {device} was compacted and has the same key");
                    return Err(self.broken(Rule::S6, what));
                }
                if self.running(device).map(|running| running.hand.digest()) != digest {
                    let what = format!("device {device} has another digest, being compacted");
                    return Err(self.broken(Rule::S1, what));
                }
                self.devices[device].compactions += 1;
                self.check_compacted(device, &seen)?;
                if is_failing { self.fail(device, true) } else { self.settle(device) }
            }
            Err(Error::StaleRestore { .. }) => self.refused(device),
            Err(_) if is_failing => {
                self.devices[device].pending = Some(Pending { intents: Vec::new(), seen });
                self.devices[device].is_compacting = true;
                self.note_broken_compaction(device);
                self.fail(device, true)
            }
            Err(error) => Err(self.unsound(device, &format!("it can't be compacted: {error}"))),
        }
    }

    fn note_broken_compaction(&mut self, device: usize) {
        self.met(match self.devices[device].doom {
            Some((Stop::PowerCut, _)) => "the power fails within a compaction",
            Some((Stop::DiskFull, _)) => "a disk is full within a compaction",
            _ => "a process is killed within a compaction",
        });
        self.met(match self.devices[device].disk.has_successor() {
            true => "a compaction that was interrupted has left a fresh log",
            false => "a compaction that was interrupted has left no fresh log",
        });
    }

    fn note_compaction(&mut self, device: usize) {
        self.met("a device is compacted");
        let Some(running) = self.running(device) else { return };
        let ends: Vec<usize> = running.ends.values().copied().collect();
        let is_absorbing = running.hand.absorbing().is_some();
        let is_moving = self.queue.values().any(|event| {
            matches!(event, Event::Arrive { wire, cargo: Cargo::Bytes(_), .. } if ends.contains(wire))
        });
        let is_first = self.devices[device].compactions == 0;
        let since = self.devices[device].branch.is_some();
        let others = || self.devices.iter().enumerate().filter(|(other, _)| *other != device);
        let apart = others().any(|(other, one)| {
            one.compactions > 0
                && !self.devices[device].heads.contains_key(&self.devices[other].author)
        });
        let happened = [
            (ends.is_empty(), "a device is compacted while apart"),
            (!ends.is_empty(), "a device is compacted while connected"),
            (is_moving, "a device is compacted while something is under way to it"),
            (is_absorbing, "a device is compacted while it absorbs"),
            (!is_first, "a device is compacted twice"),
            (apart, "two devices are compacted while apart"),
            (since, "a device is compacted that was put back"),
        ];
        happened.iter().filter(|(is_so, _)| *is_so).for_each(|(_, name)| self.met(name));
    }

    /// Nothing but the log is another one: all that was applied is, and nothing else.
    fn check_compacted(&mut self, device: usize, before: &Clocks) -> Result<(), Violation> {
        let after = self.clock(device)?;
        let is_behind = |(after, before): (&u64, &u64)| after < before;
        if after.iter().zip(&before.common).any(is_behind) {
            let what = format!("device {device} was at {:?}, and is at {after:?}", before.common);
            return Err(self.broken(Rule::S2, what));
        }
        self.look(device)
    }

    /// An image of a device's disk is kept.
    pub(crate) fn back_up(&mut self, device: usize) -> Result<(), Violation> {
        if self.is_forked(device) || self.devices[device].branch.is_some() {
            return Ok(());
        }
        let Some(running) = self.running(device) else { return Ok(()) };
        let key = self.devices[device].key;
        let heads = running.hand.heads();
        let length = heads.iter().find(|(one, _)| *one == key).map(|(_, length)| *length);
        let one = &self.devices[device];
        if one.disk.is_failing() {
            return Ok(());
        }
        let backup = Backup {
            disk: one.disk.copy(),
            author: one.author,
            own_end: one.own_end,
            length: length.unwrap_or_default(),
        };
        self.devices[device].backup = Some(backup);
        Ok(())
    }

    /// A device's disk is put back to what it was: nothing tells.
    pub(crate) fn put_back(&mut self, device: usize, down_us: u64) -> Result<(), Violation> {
        if self.is_forked(device) || self.rotten.is_some() || self.running(device).is_none() {
            return Ok(());
        }
        let Some(backup) = self.devices[device].backup.clone() else { return Ok(()) };
        self.stop(device, Stop::Kill, down_us)?;
        self.report.faults += 1;
        self.met("a device is put back to an earlier state");
        let Backup { disk, author, own_end, length } = backup;
        if author != self.devices[device].author {
            self.met("a device is put back to before a move");
        }
        self.devices[device].disk.put_back(&disk);
        self.forget_lives(device, author);
        let at = (own_end, length);
        let is_known = self.is_known_beyond(device, author, at);
        if is_known {
            self.met("others know more than a device that is put back");
            let key = self.authors[author].key;
            let number = self.authors.len() as u64;
            // Nobody has this name until it is given another one.
            let id = multibee::DeviceId::from_u64(u64::MAX - number);
            let branch = Some(Branch { of: author, from: own_end, length });
            self.authors.push(Author { branch, ..Author::new(device, key, id) });
        } else {
            self.met("nobody knows more than a device that is put back");
            self.forget_beyond(author, own_end, length);
        }
        let second = is_known.then(|| self.authors.len() - 1);
        let key = self.authors[author].key;
        let one = &mut self.devices[device];
        (one.author, one.key, one.own_end, one.branch) = (author, key, own_end, second);
        (one.pending, one.known, one.last_stamp) = (None, Lengths::new(), 0);
        one.heads.clear();
        Ok(())
    }

    /// What a device wrote since, and nobody else has applied, is gone with its disk.
    fn forget_lives(&mut self, device: usize, back_to: usize) {
        for author in 0..self.authors.len() {
            if self.authors[author].device != device || author < back_to {
                continue;
            }
            let others = self.devices.iter().enumerate();
            let others = others.filter(|(other, one)| *other != device && !one.is_gone);
            let known = others.filter_map(|(_, one)| one.known.get(author).copied()).max();
            let known = known.unwrap_or_default();
            if self.model.reaches_beyond(author, known) {
                self.met("writes are lost with the only disk that they were on");
            }
            let kept = self.authors[author].kept.unwrap_or(u64::MAX);
            self.authors[author].kept = Some(known.min(kept));
        }
    }

    /// A log goes on from here, and nobody knows that it was longer once.
    pub(crate) fn forget_beyond(&mut self, author: usize, own_end: u64, length: u64) {
        self.model.recover(author, own_end);
        let one = &mut self.authors[author];
        (one.kept, one.shared) = (None, one.shared.min(length));
        self.evidence.retain(|(clock, _), _| clock.get(author).is_none_or(|&at| at <= own_end));
    }

    /// Whether two may meet: a device that wrote since it was put back may not hand on a second
    /// history to somebody who could not tell, since that would be one who exists twice. Once it knows, it
    /// hands on nothing.
    pub(crate) fn may_meet(&mut self, a: usize, b: usize) -> bool {
        for device in [a, b] {
            self.forget_branch(device);
        }
        let is_refusing = |one| self.running(one).is_some_and(|running| running.hand.is_refusing());
        let may = |one: usize, other: usize| match self.devices[one].branch {
            Some(_) if is_refusing(one) => true,
            Some(second) => match self.authors[second].branch {
                Some(branch) => self.knows_beyond(other, branch.of, (branch.from, branch.length)),
                None => true,
            },
            None => true,
        };
        may(a, b) && may(b, a)
    }

    /// If nobody is left who could tell that a device was put back, it goes on as if nothing were.
    fn forget_branch(&mut self, device: usize) {
        let Some(second) = self.devices[device].branch else { return };
        let Some(branch) = self.authors[second].branch else { return };
        if self.is_known_beyond(device, branch.of, (branch.from, branch.length)) {
            return;
        }
        self.met("whoever knew more than a device that was put back is gone");
        self.forget_beyond(branch.of, branch.from, branch.length);
        let names = (self.authors[second].id, self.authors[branch.of].id);
        self.model.rename(names.0, names.1);
        self.model.give(second, branch.of);
        self.evidence.retain(|(clock, _), _| clock.get(second).is_none_or(|&at| at == 0));
        self.devices[device].branch = None;
    }

    /// A copy of a device's disk is started, and both go on.
    pub(crate) fn copy(&mut self, device: usize) -> Result<(), Violation> {
        let one = &self.devices[device];
        let is_plain = one.branch.is_none() && !one.character.is_late;
        let is_alone = self.fork.is_none() && self.rotten.is_none();
        if self.running(device).is_none() || !is_plain || !is_alone {
            return Ok(());
        }
        self.stop(device, Stop::Kill, 0)?;
        self.report.faults += 1;
        self.met("a copy of a device is opened");
        let original = &self.devices[device];
        original.disk.heal();
        let number = self.devices.len();
        let copy = Device::copy(original, device, number);
        self.devices.push(copy);
        self.start(number, Stop::Clean)?;
        if self.devices[number].author == self.devices[device].author
            && self.running(number).is_some()
        {
            let what = format!("device {number} is a copy of {device} and writes the same log");
            return Err(self.broken(Rule::S9, what));
        }
        Ok(())
    }
}
