//! Who wrote what: a device has a log, and another one after each move.

use multibee::{Clock, DeviceId, Dot, LogKey, Version};

use crate::model::Lengths;
use crate::report::{Rule, Violation};
use crate::world::World;

/// A log that was written, or what was written in one that was put back, from there on.
#[derive(Clone, Debug)]
pub(crate) struct Author {
    /// The device that wrote it, or writes it.
    pub(crate) device: usize,
    pub(crate) key: LogKey,
    /// Made up for a branch, until a database has named it.
    pub(crate) id: DeviceId,
    /// Other ids for what was written last, where the log was written twice.
    pub(crate) named: Vec<DeviceId>,
    /// The log from which this one took over.
    pub(crate) former: Option<usize>,
    /// Where this is a branch, the log in which it was written.
    pub(crate) branch: Option<Branch>,
    /// What was written beyond is gone with the only disk that it was on.
    pub(crate) kept: Option<u64>,
    /// How much of the log anybody else has ever known.
    pub(crate) shared: u64,
    /// Whether it took over from one that was put back, and did not know that.
    pub(crate) is_unaware: bool,
}

/// A second life of a log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Branch {
    pub(crate) of: usize,
    /// The end of the last own commit in what was put back.
    pub(crate) from: u64,
    /// The length of what was put back.
    pub(crate) length: u64,
}

/// What a clock says of histories that were given names of their own.
pub(crate) type Names = Vec<(DeviceId, u64)>;

impl Author {
    pub(crate) const fn new(device: usize, key: LogKey, id: DeviceId) -> Self {
        let named = Vec::new();
        let (former, branch, kept) = (None, None, None);
        Self { device, key, id, named, former, branch, kept, shared: 0, is_unaware: false }
    }
}

impl World<'_> {
    /// The author of what a device writes now.
    pub(crate) fn voice(&self, device: usize) -> usize {
        self.second_life(device).unwrap_or(self.devices[device].author)
    }

    /// The branch that a device writes now.
    fn second_life(&self, device: usize) -> Option<usize> {
        let one = &self.devices[device];
        let is_current = |branch: Branch| branch.of == one.author;
        one.branch.filter(|&second| self.authors[second].branch.is_some_and(is_current))
    }

    /// The author with a log, branches aside.
    pub(crate) fn author_of(&self, key: &LogKey) -> Option<usize> {
        self.authors.iter().position(|one| one.key == *key && one.branch.is_none())
    }

    /// A clock of a device, as a list of lengths.
    pub(crate) fn lengths(&self, device: usize, clock: &Clock) -> Lengths {
        let length = |one: &Author| {
            let ids = one.named.iter().chain([&one.id]);
            ids.map(|id| clock.length(*id)).max().unwrap_or_default()
        };
        let mut lengths: Lengths = self.authors.iter().map(length).collect();
        let second = self.devices[device].branch;
        if let Some((second, branch)) =
            second.and_then(|second| Some((second, self.authors[second].branch?)))
            && lengths[branch.of] > branch.from
        {
            lengths[second] = std::mem::replace(&mut lengths[branch.of], branch.from);
        }
        lengths
    }

    /// What a device's clock says of first histories that got another name: until a device has given it,
    /// the same lengths go with other digests.
    pub(crate) fn given_names(&self, device: usize) -> Result<Names, Violation> {
        let Some(running) = self.running(device) else { return Ok(Names::new()) };
        let clock = running.hand.clock().map_err(|error| self.unsound(device, &error))?;
        let named = self.authors.iter().flat_map(|one| &one.named);
        let lengths = named.map(|id| (*id, clock.length(*id)));
        Ok(lengths.filter(|(_, length)| *length > 0).collect())
    }

    /// How far a device's own commits reach, in a clock of its own.
    pub(crate) fn own_length(&self, device: usize, clock: &[u64]) -> u64 {
        let voice = self.voice(device);
        let from = self.authors[voice].branch.map_or(0, |branch| branch.from);
        clock.get(voice).copied().unwrap_or_default().max(from)
    }

    /// The name of a version, told from that of another in the same place in another life.
    pub(crate) fn told_apart(&self, device: usize, version: Version) -> Version {
        let author = self.authors.iter().find(|one| one.named.contains(&version.dot.device));
        if let Some(author) = author {
            let dot = Dot { device: author.id, seq: version.dot.seq };
            return Version { dot, ..version };
        }
        let Some(second) = self.devices[device].branch else { return version };
        let one = &self.authors[second];
        let Some(branch) = one.branch else { return version };
        let is_of_log = version.dot.device == self.authors[branch.of].id;
        if is_of_log && version.dot.seq >= branch.from {
            let dot = Dot { device: one.id, seq: version.dot.seq };
            return Version { dot, ..version };
        }
        version
    }

    /// What a device calls a write now.
    pub(crate) fn name_of(&self, device: usize, dot: Dot) -> Dot {
        let second = self.devices[device].branch.map(|second| &self.authors[second]);
        match second.and_then(|one| Some((one.id, one.branch?))) {
            Some((id, branch)) if dot.device == id => {
                Dot { device: self.authors[branch.of].id, seq: dot.seq }
            }
            _ => self.given_name(device, dot).unwrap_or(dot),
        }
    }

    /// What a device calls a write of a first history that it has given a name.
    fn given_name(&self, device: usize, dot: Dot) -> Option<Dot> {
        let clock = self.running(device)?.hand.clock().ok()?;
        let is_here = |id: DeviceId| clock.length(id) > dot.seq;
        let author = self.authors.iter().find(|one| one.id == dot.device)?;
        let named = author.named.iter().find(|id| is_here(**id) && !is_here(dot.device))?;
        Some(Dot { device: *named, seq: dot.seq })
    }

    /// The first history of a log that was written twice gets a name of its own, too.
    pub(crate) fn note_names(&mut self, device: usize) -> Result<(), Violation> {
        let Some(running) = self.running(device) else { return Ok(()) };
        let clock = running.hand.clock().map_err(|error| self.unsound(device, &error))?;
        if let Some(second) = self.devices[device].branch
            && self.second_life(device).is_none()
            && clock.length(self.authors[second].id) > 0
        {
            self.met("what was written after putting back gets its name after a move");
            self.devices[device].branch = None;
            self.forget_evidence_of(second);
        }
        let is_known =
            |id: &DeviceId| self.authors.iter().any(|one| one.id == *id || one.named.contains(id));
        let strange: Vec<DeviceId> =
            clock.iter().map(|(id, _)| id).filter(|id| !is_known(id)).collect();
        for id in strange {
            // Who was put back gives its own second history a name when it moves; others, who have the
            // first one, may do so earlier.
            let is_pending = |one: &Author| {
                let is_named = self.devices[one.device].branch.is_none();
                one.branch.is_some() && (is_named || one.device != device)
            };
            let written_twice = self.authors.iter().rev().find(|one| is_pending(one));
            if self.fork.is_some() {
                // Nothing that either of the two wrote is looked at.
                return Ok(());
            }
            let Some(of) = written_twice.and_then(|one| one.branch).map(|branch| branch.of) else {
                let what = format!("device {device} names {id:?}, who wrote nothing");
                return Err(self.broken(Rule::S7, what));
            };
            self.met("the first history of a log that was written twice gets a name");
            self.authors[of].named.push(id);
        }
        Ok(())
    }

    /// What was said at a clock with this branch in it was said of other names.
    fn forget_evidence_of(&mut self, second: usize) {
        self.evidence.retain(|(clock, _), _| clock.get(second).is_none_or(|&length| length == 0));
    }

    /// What nobody is known to be called in a clock of a device that goes on as `own`.
    fn strange_names(&self, clock: &Clock, own: DeviceId) -> Vec<DeviceId> {
        let is_known = |one: &DeviceId| {
            *one == own || self.authors.iter().any(|a| a.id == *one || a.named.contains(one))
        };
        clock.iter().map(|(one, _)| one).filter(|one| !is_known(one)).collect()
    }

    /// What a device wrote in what was put back has got its name, if it has moved.
    pub(crate) fn name_second_life(&mut self, device: usize) -> Result<(), Violation> {
        let (Some(second), Some(running)) = (self.second_life(device), self.running(device)) else {
            return Ok(());
        };
        if running.db.key() == self.devices[device].key {
            return Ok(());
        }
        let id = running.db.device();
        let clock = running.hand.clock().map_err(|error| self.unsound(device, &error))?;
        if let Some(named) = self.strange_names(&clock, id).pop() {
            let before = std::mem::replace(&mut self.authors[second].id, named);
            self.model.rename(before, named);
            self.part_earlier(second, &clock);
        }
        Ok(())
    }

    /// Whether another device has applied more of a log than this.
    fn is_applied_beyond(&self, device: usize, author: usize, length: u64) -> bool {
        let others = self.devices.iter().enumerate().filter(|(other, _)| *other != device);
        let others = others.filter(|(_, one)| !one.is_gone);
        others.map(|(_, one)| one.known.get(author)).any(|known| known > Some(&length))
    }

    /// What nobody else had applied of what was put back may belong to the branch as well.
    fn part_earlier(&mut self, second: usize, clock: &Clock) {
        let Some(Branch { of, from, length }) = self.authors[second].branch else { return };
        let (id, named) = (self.authors[of].id, self.authors[second].id);
        let at = clock.length(id);
        let is_known = self.is_applied_beyond(self.authors[second].device, of, at);
        if at < from && !is_known {
            self.met("what was written before a backup and nobody had belongs to the branch");
            self.model.part((of, id), (second, named), &(at..from));
            self.authors[second].branch = Some(Branch { of, from: at, length });
        }
    }

    /// A device that was put back and does not know it has moved: what it wrote since gets its name when
    /// it meets somebody who does.
    fn note_unaware_move(&mut self, device: usize, second: usize) {
        self.met("a device moves that does not know that it was put back");
        let one = &self.authors[second];
        let (Some(branch), key, before) = (one.branch, one.key, one.id) else { return };
        let Some(running) = self.running(device) else { return };
        if let Some(named) = running.hand.history_name(&key, branch.from) {
            self.authors[second].id = named;
            self.model.rename(before, named);
        }
    }

    /// Notices that a device goes on in another log, because it was compacted or for another reason.
    pub(crate) fn note_move(
        &mut self,
        device: usize,
        is_compacted: bool,
    ) -> Result<bool, Violation> {
        let Some(running) = self.running(device) else { return Ok(false) };
        let (key, id) = (running.db.key(), running.db.device());
        if key == self.devices[device].key {
            return Ok(false);
        }
        let clock = running.hand.clock().map_err(|error| self.unsound(device, &error))?;
        self.name_second_life(device)?;
        let strange = self.strange_names(&clock, id);
        let unaware = self.second_life(device).filter(|&second| {
            let beyond = |one: Branch| self.is_known_beyond(device, one.of, (one.from, one.length));
            is_compacted && self.authors[second].branch.is_some_and(beyond)
        });
        if let Some(second) = unaware {
            self.note_unaware_move(device, second);
        } else if let Some(second) = self.second_life(device) {
            self.devices[device].branch = None;
            if clock.length(self.authors[second].id) > 0 {
                self.met("what was written after putting back gets another author");
            } else if let Some(Branch { of, from, length }) = self.authors[second].branch {
                // Nobody has applied anything that it could be taken for.
                if !self.is_applied_beyond(device, of, from) {
                    self.forget_beyond(of, from, length);
                }
                let (before, named) = (self.authors[second].id, self.authors[of].id);
                self.model.rename(before, named);
                self.model.give(second, of);
            }
            self.forget_evidence_of(second);
        }
        // What both lives of whoever exists twice wrote is not looked at.
        if let Some(strange) = strange.first().filter(|_| !self.is_forked(device)) {
            let what = format!("device {device} moved and names {strange:?}, who wrote nothing");
            return Err(self.broken(Rule::S7, what));
        }
        let former = Some(self.devices[device].author);
        let number = self.authors.len();
        let is_unaware = unaware.is_some();
        self.authors.push(Author { former, is_unaware, ..Author::new(device, key, id) });
        let one = &mut self.devices[device];
        (one.author, one.key, one.own_end) = (number, key, clock.length(id));
        self.note(("moved", device, number));
        Ok(true)
    }

    /// Whether somebody else knows of a log, or of what took over from it, more than this.
    pub(crate) fn is_known_beyond(&self, device: usize, author: usize, at: (u64, u64)) -> bool {
        let others = (0..self.devices.len()).filter(|&other| other != device);
        others.into_iter().any(|other| self.knows_beyond(other, author, at))
    }

    pub(crate) fn knows_beyond(&self, other: usize, author: usize, (own, len): (u64, u64)) -> bool {
        let one = &self.devices[other];
        if one.is_gone {
            return false;
        }
        let mut heirs = one.heads.keys().chain([&one.author]);
        one.heads.get(&author).is_some_and(|&head| head > len)
            || one.known.get(author).is_some_and(|&known| known > own)
            || heirs.any(|&heir| self.is_heir(heir, author))
    }

    fn is_heir(&self, mut heir: usize, author: usize) -> bool {
        while let Some(former) = self.authors[heir].former
            && !self.authors[heir].is_unaware
        {
            if former == author {
                return true;
            }
            heir = former;
        }
        false
    }
}
