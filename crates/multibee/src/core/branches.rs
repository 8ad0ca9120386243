//! Logs that were written twice: their histories are named, and no longer taken for each other.
//!
//! Whoever has such a log's writes knows them as that log's, until it hears that the history that it
//! has from some block on is to be known as another device's. Then all that it holds of it gets that
//! other name, in one commit. If it has another history than the one that was named, it names that one,
//! too: the log itself ends, for everybody, where its histories part. What others wrote without knowing
//! it means one of them by the log's name; it is not taken as it is, and its author's state is absorbed
//! instead, when that has got over it.

use std::collections::{BTreeMap, BTreeSet};

use multibee_btree::{Bee, Error as TreeError};
use multibee_log::LogKey;
use multibee_merge::{Clock, DeviceId, Renaming};

use super::{Advance, Core, Following};
use crate::Error;
use crate::catch_up::Surroundings;
use crate::format::Meta;
use crate::inquiries::{Answers, Inquiry};
use crate::keyspace::{self, Place};
use crate::members::Member;
use crate::news::News;
use crate::parting::{self, Answer, Landmark, Parting};
use crate::primary::tag_at;
use crate::record;
use crate::renaming::Before;
use crate::statement::{Branch, Claim};
use crate::view::View;

impl Core {
    /// The named histories of a log, those that part first first.
    pub(super) fn branches(&self, key: &LogKey) -> &[Branch] {
        self.branches.get(key).map_or(&[], Vec::as_slice)
    }

    /// Reads the named histories of all logs out of the statements.
    pub(super) fn refresh_branches(&mut self) {
        let mut branches: BTreeMap<LogKey, BTreeSet<Branch>> = BTreeMap::new();
        for statement in self.statements() {
            if let Claim::Branch { key, branch } = &statement.claim
                && self.member(&statement.author).is_some()
            {
                branches.entry(*key).or_default().insert(*branch);
            }
        }
        let in_order =
            |(key, branches): (LogKey, BTreeSet<Branch>)| (key, branches.into_iter().collect());
        self.branches = branches.into_iter().map(in_order).collect();
    }

    /// Begins to find out where two histories of another device's log part, if somebody who is connected
    /// has another one.
    pub(super) fn look_for_partings(&mut self, around: &Surroundings) -> Result<(), Error> {
        if around.reachable.is_empty() {
            self.partings.clear();
            self.agreed.clear();
        }
        for peer in &around.reachable {
            for (key, following) in &self.following {
                let device = following.follower.device();
                let log = following.follower.bee().log();
                let Some(at) = peer.status.clock.get(device) else { continue };
                let (name, seen) = ((peer.key, device), (at, log.len()));
                let is_agreed = log.conflict().is_none() && self.agreed.get(&name) == Some(&seen);
                if is_agreed || self.partings.contains_key(key) || !self.branches(key).is_empty() {
                    continue;
                }
                if !self.is_contradicted(following, &peer.status.clock)? {
                    self.agreed.insert(name, seen);
                    continue;
                }
                let applied = self.applied(device);
                // Back from there on they are known to be the same.
                let since = if log.trusted_len() < applied { log.trusted_len() } else { 0 };
                if let Some(own) = following.follower.applied_ranges(since, applied) {
                    self.partings.insert(*key, Parting::among(own, since));
                }
            }
        }
        Ok(())
    }

    /// Whether somebody has applied another history of a log than we have.
    fn is_contradicted(&self, following: &Following, theirs: &Clock) -> Result<bool, Error> {
        let log = following.follower.bee().log();
        let Some(at) = theirs.get(following.follower.device()) else { return Ok(false) };
        if log.conflict().is_some() && at.length > log.trusted_len() {
            return Ok(true);
        }
        let ours = tag_at(log, at.length)?;
        Ok(at.tag.is_some() && ours.is_some() && at.tag != ours)
    }

    /// Whether it is being found out, or dealt with, that somebody knows other histories of logs: that
    /// is no divergence yet.
    pub(crate) fn is_looking_into(&self, theirs: &Clock) -> bool {
        let is_open = |key: &LogKey| {
            let parting = self.partings.get(key).is_some_and(|parting| !parting.is_found());
            parting || !self.branches(key).is_empty()
        };
        let mut open = self.following.iter().filter(|(key, _)| is_open(key));
        self.outdated.is_some()
            || open.any(|(_, following)| self.is_contradicted(following, theirs).unwrap_or(false))
    }

    /// Names histories of which it was found out where they part.
    fn name_partings(&mut self, advance: &mut Advance) -> Result<bool, Error> {
        // One that is found to be nowhere is kept: it would be looked for again.
        let is_to_be_named =
            |parting: &Parting| parting.is_found() && parting.first_apart().is_some();
        let found = self.partings.iter().find(|(_, parting)| is_to_be_named(parting));
        let Some(key) = found.map(|(key, _)| *key) else { return Ok(false) };
        let Some(parting) = self.partings.remove(&key) else { return Ok(false) };
        let first = parting.first_apart().filter(|_| self.branches(&key).is_empty());
        if let (Some(first), Some(following)) = (first, self.following.get(&key)) {
            let branch = Branch::at(following.follower.bee(), first)?;
            let said = self.say([Claim::Branch { key, branch }].into())?;
            advance.join(said);
            return Ok(true);
        }
        Ok(false)
    }

    /// What to ask somebody about where histories of logs part.
    pub(crate) fn questions(&self, theirs: Option<&Clock>) -> Result<Vec<Inquiry>, Error> {
        let mut questions = Vec::new();
        if let Some(outdated) = &self.outdated {
            let landmarks = outdated.parting.question(self.primary.bee())?;
            questions.push(Inquiry { key: self.key(), landmarks });
        }
        for (key, parting) in self.partings.iter().filter(|(_, parting)| !parting.is_found()) {
            let (Some(following), Some(theirs)) = (self.following.get(key), theirs) else {
                continue;
            };
            if self.is_contradicted(following, theirs)? {
                let landmarks = parting.question(following.follower.bee())?;
                questions.push(Inquiry { key: *key, landmarks });
            }
        }
        questions.retain(|question| !question.landmarks.is_empty());
        Ok(questions)
    }

    /// Which own commits of a log are here as well.
    pub(crate) fn common(&self, key: &LogKey, question: &[Landmark]) -> Result<Answers, Error> {
        let applied = self.primary.clock().get(crate::merging::device_of(key));
        let log = self.bee(key).map(Bee::log);
        let mut answers = parting::answer(log, applied.unwrap_or_default(), question)?;
        let unknown = answers.iter_mut().zip(question).filter(|one| *one.0 == Answer::Unknown);
        let (resolver, me) = (self.primary.resolver().clone(), self.primary.device());
        let view = View::new(self.primary.bee().snapshot()?, me, resolver);
        let held = |key: &[u8]| Ok(view.held(key)?.versions);
        for (answer, landmark) in unknown {
            let device = crate::merging::device_of(key);
            let sampled = parting::sampled(device, &landmark.samples, held)?;
            *answer = sampled.unwrap_or(Answer::Unknown);
        }
        Ok(question.iter().map(|landmark| landmark.last).zip(answers).collect())
    }

    /// Asks others for blocks that it takes to answer.
    pub(crate) fn want_for_answer(&mut self, key: &LogKey, answers: &Answers) -> Advance {
        let mut advance = Advance::default();
        let unknown = answers.iter().filter(|(_, answer)| *answer == Answer::Unknown);
        let mut seqs: Vec<u64> = unknown.map(|(last, _)| *last).collect();
        seqs.sort_unstable();
        self.want_once(*key, &seqs, &mut advance);
        advance
    }

    /// Takes a device's answer, from itself or passed on by somebody.
    pub(crate) fn take_common(
        &mut self,
        who: LogKey,
        is_passed_on: bool,
        key: &LogKey,
        answers: &Answers,
    ) {
        if *key == self.key() {
            self.take_of_own(who, is_passed_on, answers);
        } else if let Some(parting) = self.partings.get_mut(key) {
            parting.take(answers);
        }
    }

    fn take_of_own(&mut self, who: LogKey, is_passed_on: bool, answers: &Answers) {
        let is_disputed = self.primary.log().conflict().is_some();
        let is_finished = self.is_finished();
        let Some(outdated) = &mut self.outdated else { return };
        if is_disputed {
            outdated.parting.dispute();
        }
        let known = outdated.answered.entry(who).or_default();
        known.extend(answers.iter().copied());
        // That somebody has not applied something means nothing if it is not known to have more.
        let is_witness = !is_passed_on && (is_finished || outdated.witnesses.contains(&who));
        let is_told = |(_, answer): &&(u64, Answer)| is_witness || *answer != Answer::Beyond;
        let told: Answers = answers.iter().filter(is_told).copied().collect();
        outdated.parting.take(&told);
    }

    /// If all other devices have said that they have applied nothing of what is not known to be the same,
    /// that is all that is to be found out.
    pub(super) fn note_if_nobody_knows(&mut self) {
        let others = self.other_lines(&self.key());
        let Some(outdated) = &mut self.outdated else { return };
        let knows_nothing = |known: &BTreeMap<_, _>| outdated.parting.knows_nothing(known);
        let are_all = outdated.answered.values().all(knows_nothing);
        let mut others = others.iter().map(|key| outdated.answered.get(key));
        if are_all && others.len() > 0 && others.all(|known| known.is_some_and(knows_nothing)) {
            outdated.parting.nobody_knows_more();
        }
    }

    /// The active devices, but for those that go on for a log.
    fn other_lines(&self, key: &LogKey) -> Vec<LogKey> {
        let line = self.line(*key);
        let is_other = |one: &&Member| one.is_active() && !line.contains(&one.key);
        self.members().iter().filter(is_other).map(|one| one.key).collect()
    }

    /// Gives what is held of one named history its name. Returns whether anything was done.
    pub(super) fn name_branches(&mut self, advance: &mut Advance) -> Result<bool, Error> {
        if self.name_partings(advance)? {
            return Ok(true);
        }
        let all: Vec<(LogKey, Branch)> = self
            .branches
            .iter()
            .flat_map(|(key, branches)| branches.iter().map(|branch| (*key, *branch)))
            .collect();
        for (key, branch) in all {
            if self.name_branch(key, branch, advance)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn name_branch(
        &mut self,
        key: LogKey,
        branch: Branch,
        advance: &mut Advance,
    ) -> Result<bool, Error> {
        let Some(following) = self.following.get(&key) else { return Ok(false) };
        let device = following.follower.device();
        let applied = self.applied(device);
        if applied <= branch.from {
            return Ok(false);
        }
        let bee = following.follower.bee().clone();
        let ours = following.follower.applied_ranges(branch.from, applied);
        let ours = match ours.and_then(|ours| ours.into_iter().next()) {
            Some(first) => Branch::at(&bee, &first)?,
            // Somebody has named it, and what he wrote so far has come here under that name, too.
            None if self.is_here_as(&key, branch) => branch,
            // It was absorbed, or its blocks were let go: only somebody else can name it.
            None if !self.is_as_known(&key)? => return Ok(false),
            None => match is_on(&bee, branch)? {
                Some(true) => branch,
                Some(false) => return Ok(false),
                None => {
                    self.want_once(key, &[branch.last], advance);
                    return Ok(false);
                }
            },
        };
        if ours != branch {
            if self.branches(&key).contains(&ours) {
                return Ok(false);
            }
            // What is here is another history from there on, and needs a name as well.
            let said = self.say([Claim::Branch { key, branch: ours }].into())?;
            advance.join(said);
            return Ok(true);
        }
        let tag = tag_at(bee.log(), branch.from)?;
        let renaming = Renaming { device, from: branch.from, tag, to: branch.device(&key) };
        let (before, missing) = self.before(&bee, &renaming)?;
        if !missing.is_empty() {
            self.want_once(key, &missing, advance);
            return Ok(false);
        }
        let now_ms = self.now_ms();
        self.primary.rename(&renaming, &before, now_ms)?;
        advance.committed = true;
        Ok(true)
    }

    /// The id that what is here of a log from block `from` on would have, were it named.
    #[cfg(feature = "testing")]
    pub(crate) fn history_name(&self, key: &LogKey, from: u64) -> Option<DeviceId> {
        let following = self.following.get(key)?;
        let applied = self.applied(following.follower.device());
        let first = following.follower.applied_ranges(from, applied)?.into_iter().next()?;
        Some(Branch::at(following.follower.bee(), &first).ok()?.device(key))
    }

    /// Whether what was applied of a log was applied under a history's name, too: the same tree behind it.
    fn is_here_as(&self, key: &LogKey, branch: Branch) -> bool {
        let clock = self.primary.clock();
        let at = clock.get(crate::merging::device_of(key));
        at.is_some_and(|at| at.tag.is_some()) && clock.get(branch.device(key)) == at
    }

    /// Whether what is here of a log is of the history that was applied.
    fn is_as_known(&self, key: &LogKey) -> Result<bool, Error> {
        let Some(following) = self.following.get(key) else { return Ok(false) };
        let Some(at) = self.primary.clock().get(following.follower.device()) else {
            return Ok(false);
        };
        let tag = tag_at(following.follower.bee().log(), at.length)?;
        Ok(tag.is_some() && tag == at.tag)
    }

    /// What the log's author had written to keys, last before its histories part, as far as that is
    /// needed to tell its part before from that behind; or the blocks that it takes to tell.
    fn before(&self, bee: &Bee, renaming: &Renaming) -> Result<(Before, Vec<u64>), Error> {
        let mut wanted = self.primary.renamed_from_before(renaming)?;
        let mut found = Before::new();
        let mut at = renaming.from.checked_sub(1);
        while let Some(last) = at.filter(|_| !wanted.is_empty()) {
            let commit = match bee.get_by_seq(last) {
                Err(TreeError::Missing(missing)) => return Ok((found, missing)),
                block => {
                    let meta = block?.and_then(|block| Meta::decode_extra(&block.extra).ok());
                    meta.and_then(|meta| meta.commit)
                }
            };
            let Some(first) = commit.as_ref().and_then(|commit| commit.own_first) else { break };
            for seq in (first..=last).rev() {
                let block = match bee.get_by_seq(seq) {
                    Err(TreeError::Missing(missing)) => return Ok((found, missing)),
                    block => block?,
                };
                let Some(block) = block else { continue };
                let Place::User(key) = keyspace::place(&block.key) else { continue };
                if wanted.remove(&key) {
                    let state = record::written(&block, renaming.device, &Clock::new());
                    found.insert(key, state.versions().to_vec());
                }
            }
            at = commit.and_then(|commit| commit.prev_own).filter(|before| *before < first);
        }
        Ok((found, Vec::new()))
    }

    fn want_once(&mut self, key: LogKey, seqs: &[u64], advance: &mut Advance) {
        let ranges: Vec<_> = seqs.iter().map(|&seq| seq..seq + 1).collect();
        if let Some(following) = self.following.get_mut(&key)
            && following.is_new_want(&ranges)
        {
            advance.wants.push((key, ranges));
        }
    }

    /// Leaves out what names another history of a log than is known here. It comes again if its
    /// author's state is not absorbed before.
    pub(super) fn without_misplaced(&mut self, news: Vec<News>) -> Result<Vec<News>, Error> {
        let mut kept = Vec::new();
        for part in news {
            let mut is_misplaced = false;
            let mut last = None;
            for commit in &part.commits {
                // Most know what the one before did.
                if last.replace(&commit.clock) != Some(&commit.clock) {
                    is_misplaced |= self.is_misplaced(Some(part.device), &commit.clock)?;
                }
            }
            if !is_misplaced {
                kept.push(part);
                continue;
            }
            let applied = self.applied(part.device);
            if let Some(following) = self.following.get_mut(&part.author) {
                following.follower.forget_plan(applied);
                following.waits = true;
            }
        }
        Ok(kept)
    }

    /// Whether a clock names a history of a log that is not the one known here by its name.
    pub(super) fn is_misplaced(
        &self,
        author: Option<DeviceId>,
        clock: &Clock,
    ) -> Result<bool, Error> {
        for (key, following) in &self.following {
            let device = following.follower.device();
            let Some(at) = clock.get(device).filter(|_| Some(device) != author) else { continue };
            let Some(theirs) = at.tag else { continue };
            let log = following.follower.bee().log();
            let known = self.primary.clock().get(device).unwrap_or_default();
            let known_tag = known.tag.filter(|_| known.length == at.length);
            let ours = tag_at(log, at.length)?.or(known_tag);
            // Both of us have something of its histories, and it is not known to be of the same one.
            let trusted = log.trusted_len();
            let is_disputed = log.conflict().is_some() && known.length.min(at.length) > trusted;
            let is_other = ours.map_or(is_disputed, |ours| ours != theirs);
            let is_behind = self.branches(key).iter().any(|branch| branch.from < at.length);
            if is_other || is_behind {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whether a log is here in this history; `None` if its block is not here that would tell.
fn is_on(bee: &Bee, branch: Branch) -> Result<Option<bool>, Error> {
    if bee.log().len() <= branch.last {
        return Ok(Some(false));
    }
    let hash = bee.log().block_hash(branch.last)?;
    Ok(hash.map(|hash| *hash.as_bytes() == branch.hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The id of a history depends on the log and on where the history is its own.
    #[test]
    fn histories_have_ids_of_their_own() {
        let branch = |hash| Branch { from: 7, last: 9, hash: [hash; 32] };
        let (one, other) = (LogKey::from_bytes([1; 32]), LogKey::from_bytes([2; 32]));
        assert_ne!(branch(1).device(&one), branch(2).device(&one));
        assert_ne!(branch(1).device(&one), branch(1).device(&other));
        assert_ne!(branch(1).device(&one), crate::merging::device_of(&one));
    }
}
