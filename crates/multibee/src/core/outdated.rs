//! When others know other things of the own log than what is here.
//!
//! An older state of the log was put back, or it is in use twice. To append to it would be to sign a
//! second history. So nothing is written any more until it is known where the two part. Then the
//! database moves to a fresh log, and takes what was written behind that point along under another name.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use multibee_btree::Bee;
use multibee_log::LogKey;
use multibee_merge::{Applied, Clock, Renaming};

use super::{Advance, Core};
use crate::Error;
use crate::broken::BrokenRule;
use crate::catch_up::Surroundings;
use crate::event::Event;
use crate::members::Membership;
use crate::moving::{Renamed, Successor};
use crate::news::News;
use crate::parting::{Answer, Parting};
use crate::primary::tag_at;
use crate::statement::{Branch, Claim, Statement};
use crate::view::View;

/// The value in the own log that says that others know other things of it.
const OUTDATED: &str = "multibee/outdated";

/// That others know other things of the own log.
#[derive(Debug)]
pub(super) struct Outdated {
    pub(super) parting: Parting,
    /// What was heard meanwhile.
    pub(super) heard: Vec<Statement>,
    /// What devices have answered where the histories part, by the last blocks of commits.
    pub(super) answered: BTreeMap<LogKey, BTreeMap<u64, Answer>>,
    /// Devices that have more of the own log than is here, or something else.
    pub(super) witnesses: BTreeSet<LogKey>,
}

impl Core {
    /// Whether nothing may be written, and why.
    pub(crate) fn refusal(&self) -> Option<Error> {
        self.outdated.as_ref().map(|_| Error::StaleRestore { log: self.key() })
    }

    /// Whether it is proven that the own log was written twice, and nothing was done about it yet.
    pub(crate) fn is_disproved(&self) -> bool {
        self.outdated.is_none() && self.primary.log().conflict().is_some()
    }

    /// Begins to find out, if somebody who is connected knows other things of the own log.
    pub(super) fn look_for_own(
        &mut self,
        around: &Surroundings,
        advance: &mut Advance,
    ) -> Result<(), Error> {
        if self.outdated.is_some() {
            return self.look_for_witnesses(around);
        }
        let mut known = None;
        let own = self.primary.device();
        for peer in &around.reachable {
            // That the own log has grown since changes nothing.
            let at = peer.status.clock.get(own).map(|at| (at, 0));
            if at.is_none() || self.agreed.get(&(peer.key, own)).copied() == at {
                continue;
            }
            match (self.contradiction(&peer.status.clock)?, at) {
                (None, Some(at)) => drop(self.agreed.insert((peer.key, own), at)),
                (length, _) => known = known.max(length),
            }
        }
        match known.or(self.is_finished().then_some(self.primary.log().len())) {
            Some(known) => self.become_outdated(known, advance),
            None => Ok(()),
        }
    }

    /// Notes who is connected and says to have something else of the own log, or more.
    fn look_for_witnesses(&mut self, around: &Surroundings) -> Result<(), Error> {
        for peer in &around.reachable {
            if self.contradiction(&peer.status.clock)?.is_some()
                && let Some(outdated) = &mut self.outdated
            {
                outdated.witnesses.insert(peer.key);
            }
        }
        Ok(())
    }

    /// Hears how much of the own log a device has, merges included: nobody can have more than was on this
    /// disk, unless an older state was put back.
    pub(crate) fn hear_of_own(&mut self, peer: LogKey, held: &Clock) -> Result<Advance, Error> {
        let mut advance = Advance::default();
        if let Some(known) = self.contradiction(held)? {
            if self.outdated.is_none() {
                self.become_outdated(known, &mut advance)?;
            }
            if let Some(outdated) = &mut self.outdated {
                outdated.witnesses.insert(peer);
            }
        }
        Ok(advance)
    }

    /// How much of a device's log is here.
    pub(crate) fn held_of(&self, key: &LogKey) -> Clock {
        let Some(following) = self.following.get(key) else { return Clock::new() };
        let log = following.follower.bee().log();
        let length = log.len();
        let tag = tag_at(log, length).ok().flatten();
        let at = Applied { length, tag };
        Some((following.follower.device(), at)).filter(|_| length > 0).into_iter().collect()
    }

    /// Whether another log goes on for the own one, or it was written twice: whoever has a copy of it must
    /// not write it.
    pub(super) fn is_finished(&self) -> bool {
        let me = self.key();
        self.member(&me).is_some_and(|me| !me.successors.is_empty())
            || !self.branches(&me).is_empty()
            || self.primary.log().conflict().is_some()
    }

    /// The length of the own log in a clock, if it is not one that the log has had here.
    pub(super) fn contradiction(&self, theirs: &Clock) -> Result<Option<u64>, Error> {
        let Some(at) = theirs.get(self.primary.device()) else { return Ok(None) };
        let log = self.primary.log();
        let is_beside = || -> Result<bool, Error> {
            let ours = tag_at(log, at.length)?;
            Ok(at.tag.is_some() && ours.is_some() && at.tag != ours)
        };
        Ok((at.length > log.len() || is_beside()?).then_some(at.length))
    }

    /// Whether one of those whose commits are to be merged knew other things of the own log. Then those
    /// commits come again.
    pub(super) fn names_other_history(
        &mut self,
        news: &[News],
        advance: &mut Advance,
    ) -> Result<bool, Error> {
        let (mut known, mut last) = (None, None);
        for commit in news.iter().flat_map(|part| &part.commits) {
            // Most know what the one before did.
            if last.replace(&commit.clock) != Some(&commit.clock) {
                known = known.max(self.contradiction(&commit.clock)?);
            }
        }
        let Some(known) = known else { return Ok(false) };
        for part in news {
            let applied = self.applied(part.device);
            if let Some(following) = self.following.get_mut(&part.author) {
                following.follower.forget_plan(applied);
            }
        }
        self.become_outdated(known, advance)?;
        Ok(true)
    }

    /// Hears statements that can't be written down yet. Who belongs to the database is known by them
    /// already: else those could not be asked whose logs go on for others by now.
    pub(super) fn hear(&mut self, statements: Vec<Statement>, advance: &mut Advance) {
        let Some(outdated) = &mut self.outdated else { return };
        let before = outdated.heard.len();
        for statement in statements {
            let name = statement.hash();
            let mut heard = outdated.heard.iter();
            if !self.statements.contains_key(&name) && !heard.any(|one| one.hash() == name) {
                outdated.heard.push(statement);
            }
        }
        if outdated.heard.len() > before {
            let key = self.primary.log().key();
            let all = self.statements.values().chain(&outdated.heard);
            self.membership = Membership::of(key, all);
            advance.events.push(Event::DevicesChanged);
        }
    }

    pub(super) fn become_outdated(
        &mut self,
        known: u64,
        advance: &mut Advance,
    ) -> Result<(), Error> {
        let key = self.key();
        let mut parting = Parting::of_own(self.primary.own_ranges(0)?);
        parting.look_into(self.primary.bee())?;
        // By another run, too. A log of which it is proven that it was written twice takes nothing.
        if self.primary.log().conflict().is_none() {
            self.primary.log().set_user_data(OUTDATED, b"1")?;
        }
        let (heard, answered, witnesses) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
        self.outdated = Some(Outdated { parting, heard, answered, witnesses });
        self.absorbing = None;
        // Nobody is to see what was written in place of what others have.
        advance.old_logs.push(key);
        let length = self.primary.log().len();
        advance.events.push(Event::StaleRestore { log: key, length, known });
        Ok(())
    }

    /// Moves once it is known where the histories part. Returns whether it has.
    pub(super) fn step_outdated(&mut self, advance: &mut Advance) -> Result<bool, Error> {
        self.note_if_nobody_knows();
        let named = self.named_from(&self.key());
        let Some(outdated) = &mut self.outdated else { return Ok(false) };
        if let Some(from) = named {
            outdated.parting.set(from);
        }
        if !outdated.parting.is_found() {
            return Ok(false);
        }
        self.move_from_outdated(advance)?;
        Ok(true)
    }

    /// Where the histories of the own log part, if one of them has a name already.
    fn named_from(&self, own: &LogKey) -> Option<u64> {
        let heard = self.outdated.iter().flat_map(|outdated| &outdated.heard);
        let heard = heard.filter(|statement| self.member(&statement.author).is_some());
        let of_heard = heard.filter_map(|statement| match &statement.claim {
            Claim::Branch { key, branch } if key == own => Some(branch.from),
            _ => None,
        });
        of_heard.chain(self.branches(own).first().map(|branch| branch.from)).min()
    }

    fn move_from_outdated(&mut self, advance: &mut Advance) -> Result<(), Error> {
        let Some(outdated) = self.outdated.take() else { return Ok(()) };
        let former = self.primary.bee().clone();
        let now_ms = self.now_ms();
        let (home, setup) = (&self.place.home, &self.place.setup);
        let mut successor = Successor::begin(home, setup, &former)?;
        let mut branch = None;
        if let Some(first) = outdated.parting.first_apart() {
            let named = Branch::at(&former, first)?;
            if !BrokenRule::MoveWithoutRenaming.is_broken() {
                successor = successor.renaming(self.renamed(&former, named)?);
            }
            branch = Some(named);
        }
        successor.absorb(&former, former.log().len(), self.limits.absorb_keys, now_ms, |_| {})?;
        // Stamps go on from where they were.
        if !BrokenRule::ForgetTimeOnMove.is_broken() {
            successor.primary.set_time(self.primary.time().clone());
        }
        successor.succeed(former.log(), None, branch, now_ms)?;
        // From now on it is fetched as any other device's.
        let moved = self.take_over(successor, None)?;
        advance.join(moved);
        if !outdated.heard.is_empty() {
            advance.join(self.learn(outdated.heard)?);
        }
        Ok(())
    }

    /// What was written in this history from where it parts from another one.
    fn renamed(&self, former: &Bee, branch: Branch) -> Result<Renamed, Error> {
        let log = former.log();
        let tag = tag_at(log, branch.from)?;
        let to = branch.device(&log.key());
        let renaming = Renaming { device: self.primary.device(), from: branch.from, tag, to };
        let resolver = self.primary.resolver().clone();
        let before = former.checkout(branch.from.max(1))?;
        let before = View::new(before, self.primary.device(), resolver.clone());
        Ok(Renamed { renaming, before, resolver })
    }

    /// Whether the database was closed before that was known; then it goes on finding out.
    pub(super) fn resume_outdated(&mut self, advance: &mut Advance) -> Result<(), Error> {
        let log = self.primary.log();
        if log.user_data(OUTDATED).is_none() && log.conflict().is_none() {
            return Ok(());
        }
        self.become_outdated(self.primary.log().len(), advance)
    }
}

impl Branch {
    /// The history of the log of `bee` that is here, from where it parts from another one: in the own
    /// commit `first`.
    pub(super) fn at(bee: &Bee, first: &Range<u64>) -> Result<Self, Error> {
        let last = first.end.saturating_sub(1);
        let missing = || Error::bad_record(last, &"it is not there");
        let block = bee.get_by_seq(last)?.ok_or_else(missing)?;
        let meta = crate::format::Meta::decode_extra(&block.extra);
        let commit = meta.ok().and_then(|meta| meta.commit).ok_or_else(missing)?;
        let from = commit.prev_own.map_or(0, |before| before.saturating_add(1));
        let hash = bee.log().block_hash(last)?.ok_or_else(missing)?;
        Ok(Self { from, last, hash: *hash.as_bytes() })
    }
}
