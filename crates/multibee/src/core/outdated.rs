//! When others know other things of the own log than what is here.
//!
//! An older state of the log was put back, or it is in use twice. To append to it would be to sign a
//! second history. So nothing is written any more; what others have of the log is fetched as any
//! device's is, until it is known where the two part. Then the database moves to a fresh log. What was
//! written behind that point and never left this device is taken along under another name.

use std::ops::Range;

use multibee_btree::{Bee, BeeOptions};
use multibee_log::{BLOCK_LEN_MAX, Log, LogKey, LogOptions, MemoryStorage};
use multibee_merge::{Clock, Renaming};

use super::{Advance, Core, FOLLOWED_CACHE_BYTES};
use crate::Error;
use crate::catch_up::Surroundings;
use crate::event::Event;
use crate::moving::{Renamed, Successor};
use crate::news::News;
use crate::primary::tag_at;
use crate::statement::{Branch, Claim, Statement};
use crate::view::View;

/// Blocks that are compared at once, at most.
const COMPARED_AT_ONCE: usize = 32;

/// The value in the own log that says that others know other things of it.
const OUTDATED: &str = "multibee/outdated";

/// What others have of the own log.
#[derive(Debug)]
pub(super) struct Outdated {
    theirs: Bee,
    /// So long it is known to be.
    known: u64,
    /// Own commits that are not compared yet, oldest first.
    left: Vec<Range<u64>>,
    /// The first own commit behind those that are the same, as far as is known.
    first_apart: Option<Range<u64>>,
    /// What was heard meanwhile.
    pub(super) heard: Vec<Statement>,
}

impl Core {
    /// Whether nothing may be written, and why.
    pub(crate) fn refusal(&self) -> Option<Error> {
        self.outdated.as_ref().map(|_| Error::StaleRestore { log: self.key() })
    }

    /// The log that is served under the own key.
    pub(crate) fn served_log(&self) -> &Log {
        self.outdated.as_ref().map_or(self.primary.log(), |outdated| outdated.theirs.log())
    }

    /// Begins to find out, if somebody who is connected knows other things of the own log.
    pub(super) fn look_for_own(
        &mut self,
        around: &Surroundings,
        advance: &mut Advance,
    ) -> Result<(), Error> {
        let mut known = None;
        for peer in &around.reachable {
            known = known.max(self.contradiction(&peer.status.clock)?);
        }
        // A log that another one goes on for is not written by whoever has a copy of it.
        let is_finished = self.member(&self.key()).is_some_and(|me| !me.successors.is_empty());
        match known.or(is_finished.then_some(1)) {
            Some(known) if self.outdated.is_none() => self.become_outdated(known, advance),
            known => {
                if let Some(outdated) = &mut self.outdated {
                    // Who knew it may know it by another name now.
                    outdated.known = known.unwrap_or(1);
                }
                Ok(())
            }
        }
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

    pub(super) fn become_outdated(
        &mut self,
        known: u64,
        advance: &mut Advance,
    ) -> Result<(), Error> {
        let key = self.key();
        let theirs = nothing_yet(key)?;
        let log = theirs.log().clone();
        let left = self.primary.own_ranges(0)?;
        // By another run, too.
        self.primary.log().set_user_data(OUTDATED, b"1")?;
        self.outdated =
            Some(Outdated { theirs, known, left, first_apart: None, heard: Vec::new() });
        self.absorbing = None;
        // What others have of it is served in its place.
        advance.old_logs.push(key);
        advance.new_logs.push(log);
        let length = self.primary.log().len();
        advance.events.push(Event::StaleRestore { log: key, length, known });
        Ok(())
    }

    /// Goes on finding out, and moves once it is known. Returns whether it has.
    pub(super) fn step_outdated(&mut self, advance: &mut Advance) -> Result<bool, Error> {
        let key = self.key();
        let own = self.primary.log().clone();
        let named = self.named_from(&key);
        let Some(outdated) = &mut self.outdated else { return Ok(false) };
        let theirs = outdated.theirs.log().clone();
        if let Some(from) = named {
            // Another history has a name already, so it is known where they part.
            while outdated.left.last().is_some_and(|commit| commit.end > from) {
                outdated.first_apart = outdated.left.pop();
            }
            self.move_from_outdated(advance)?;
            return Ok(true);
        }
        if theirs.len() < outdated.known {
            return Ok(false);
        }
        let mut wanted = Vec::new();
        while let Some(commit) = outdated.left.last().cloned() {
            let last = commit.end - 1;
            if commit.end <= theirs.len() && !theirs.has(last) {
                let rest = outdated.left.iter().rev().take(COMPARED_AT_ONCE);
                wanted.extend(rest.map(|commit| commit.end - 1..commit.end));
                break;
            }
            if commit.end <= theirs.len() && theirs.get(last)? == own.get(last)? {
                break;
            }
            outdated.first_apart = outdated.left.pop();
        }
        if !wanted.is_empty() {
            wanted.reverse();
            wanted
                .retain(|block: &Range<u64>| block.end <= theirs.len() && !theirs.has(block.start));
            advance.wants.push((key, wanted));
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
        if let Some(commit) = &outdated.first_apart {
            successor = successor.renaming(self.renamed(&former, outdated.from(), commit)?);
        }
        successor.absorb(&former, former.log().len(), self.limits.absorb_keys, now_ms, |_| {})?;
        let branch = match &outdated.first_apart {
            Some(first) => Some(Branch::at(&former, outdated.from(), first)?),
            None => None,
        };
        successor.succeed(former.log(), None, branch, now_ms)?;
        // From now on it is fetched as any other device's.
        advance.old_logs.push(former.log().key());
        let moved = self.take_over(successor, None)?;
        advance.join(moved);
        if !outdated.heard.is_empty() {
            advance.join(self.learn(outdated.heard)?);
        }
        Ok(())
    }

    /// What was written from where the histories part: in the own commit `first`, and after.
    fn renamed(&self, former: &Bee, from: u64, first: &Range<u64>) -> Result<Renamed, Error> {
        let log = former.log();
        let to = Branch::at(former, from, first)?.device(&log.key());
        let renaming =
            Renaming { device: self.primary.device(), from, tag: tag_at(log, from)?, to };
        let resolver = self.primary.resolver().clone();
        let before = former.checkout(from.max(1))?;
        let before = View::new(before, self.primary.device(), resolver.clone());
        Ok(Renamed { renaming, before, resolver })
    }

    /// Whether the database was closed before that was known; then it goes on finding out.
    pub(super) fn resume_outdated(&mut self, advance: &mut Advance) -> Result<(), Error> {
        if self.primary.log().user_data(OUTDATED).is_none() {
            return Ok(());
        }
        self.become_outdated(1, advance)
    }
}

impl Outdated {
    /// Where the histories part.
    fn from(&self) -> u64 {
        self.left.last().map_or(0, |common| common.end)
    }
}

/// An empty copy of the own log, in memory: little of it is needed, and not for long.
fn nothing_yet(key: LogKey) -> Result<Bee, Error> {
    let options = LogOptions { block_len_max: BLOCK_LEN_MAX, ..LogOptions::default() };
    let log = Log::create_replica(MemoryStorage::new(), key, options)?;
    let options = BeeOptions { cache_bytes: FOLLOWED_CACHE_BYTES, ..BeeOptions::default() };
    Ok(Bee::open(log, options)?)
}
