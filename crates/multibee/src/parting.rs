//! Finding out where two histories of a log part, by asking somebody who has the other one.
//!
//! The question names own commits of the log, newest first, by their last blocks and the hashes of
//! these; the answer says which of them the other side has as well.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use bytes::Bytes;
use multibee_btree::{Bee, Error as TreeError};
use multibee_log::Log;
use multibee_merge::{Applied, Clock, DeviceId, Dot, Time, Version};

use crate::Error;
use crate::keyspace::{self, Place};
use crate::merging::device_of;
use crate::primary::tag_at;
use crate::record;

/// Own commits in one question, at most.
pub(crate) const LANDMARKS_MAX: usize = 64;

/// Writes of an own commit in one question, at most.
pub(crate) const SAMPLES_MAX: usize = 4;

/// Bytes of a key that a question names, at most.
const SAMPLE_LEN_MAX: usize = 256;

/// Blocks of a commit that are looked through for such writes.
const SAMPLED_BLOCKS_MAX: u64 = 64;

/// A write: what is known of it where the block is gone that it came with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sample {
    pub(crate) key: Bytes,
    /// The block in which it was written.
    pub(crate) seq: u64,
    pub(crate) time: Time,
}

/// The end of an own commit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Landmark {
    /// Behind the own commit before it, at the earliest.
    pub(crate) since: u64,
    /// Its last block.
    pub(crate) last: u64,
    /// The hash of that.
    pub(crate) hash: [u8; 32],
    /// First 8 bytes of the log's tree hash behind it, if known.
    pub(crate) tag: Option<[u8; 8]>,
    /// Some of what was written in it.
    pub(crate) samples: Vec<Sample>,
}

/// What somebody else has at a landmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Nobody here knows, though something was applied there.
    Unknown,
    /// The same block.
    Same,
    /// Another one.
    Different,
    /// Nothing was applied that far.
    Beyond,
}

/// What it means that somebody whose history is the same so far has not applied a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beyond {
    /// Nothing: others may have applied another one.
    Open,
    /// That there is no other one: nothing says that the log was written twice.
    Same,
    /// That nobody else has it: the log was written twice.
    Apart,
}

/// The search for the last own commit that is the same in two histories.
#[derive(Clone, Debug)]
pub(crate) struct Parting {
    /// Own commits that are not known to be apart, oldest first.
    left: Vec<Range<u64>>,
    /// No own commit that was ever looked at ends later and comes before those.
    since: u64,
    /// So many of the oldest are known to be the same.
    same: usize,
    /// The first own commit behind those that are the same, as far as is known.
    first_apart: Option<Range<u64>>,
    /// Last blocks of commits of which somebody has known nothing.
    unknown: BTreeSet<u64>,
    /// Last blocks of commits that hold nothing but statements: what they are called changes nothing.
    hollow: BTreeSet<u64>,
    /// What to make of what somebody has not applied.
    beyond: Beyond,
    is_found: bool,
}

impl Parting {
    /// Looks among these own commits of another device, all from block `since` on, oldest first.
    pub(crate) const fn among(own: Vec<Range<u64>>, since: u64) -> Self {
        let is_found = own.is_empty();
        let beyond = Beyond::Open;
        Self {
            left: own,
            since,
            same: 0,
            first_apart: None,
            unknown: BTreeSet::new(),
            hollow: BTreeSet::new(),
            beyond,
            is_found,
        }
    }

    /// Looks among the commits of the own log.
    pub(crate) fn of_own(own: Vec<Range<u64>>) -> Self {
        Self { beyond: Beyond::Same, ..Self::among(own, 0) }
    }

    /// It is proven that the own log was written twice: what others have not applied is only here.
    pub(crate) const fn dispute(&mut self) {
        self.beyond = Beyond::Apart;
    }

    /// Another history has a name already, and parts here from this one.
    pub(crate) fn set(&mut self, from: u64) {
        while self.left.last().is_some_and(|commit| commit.end > from) {
            self.first_apart = self.left.pop();
        }
        self.is_found = true;
    }

    /// Whether the search is over.
    pub(crate) const fn is_found(&self) -> bool {
        self.is_found
    }

    /// The first own commit that is not in the other history; `None` if there is none.
    pub(crate) const fn first_apart(&self) -> Option<&Range<u64>> {
        self.first_apart.as_ref()
    }

    /// Looks which commits hold nothing but statements, as far as their blocks are here.
    pub(crate) fn look_into(&mut self, bee: &Bee) -> Result<(), Error> {
        for commit in &self.left {
            if is_hollow(bee, commit)? {
                self.hollow.insert(commit.end - 1);
            }
        }
        Ok(())
    }

    /// What to ask next, newest first.
    pub(crate) fn question(&self, bee: &Bee) -> Result<Vec<Landmark>, Error> {
        let mut question = Vec::new();
        for commit in self.asked() {
            let last = commit.end - 1;
            let before = self.left.partition_point(|one| one.end < commit.end).checked_sub(1);
            let since = before.and_then(|at| self.left.get(at)).map_or(self.since, |one| one.end);
            let Some(hash) = bee.log().block_hash(last)? else { continue };
            let tag = tag_at(bee.log(), commit.end)?;
            let samples = samples(bee, commit)?;
            question.push(Landmark { since, last, hash: *hash.as_bytes(), tag, samples });
        }
        Ok(question)
    }

    /// What is asked now, newest first: so many commits, spread over those that are left. Those of which
    /// nobody has known anything come last, but for the oldest, which says the most.
    fn asked(&self) -> Vec<&Range<u64>> {
        let open = self.left.get(self.same..).unwrap_or_default();
        let is_new = |commit: &&Range<u64>| !self.unknown.contains(&(commit.end - 1));
        let mut asked: Vec<_> = open.iter().rev().filter(is_new).collect();
        if asked.is_empty() {
            asked = open.iter().rev().collect();
        } else if let Some(oldest) = open.first().filter(|oldest| !is_new(oldest)) {
            asked.push(oldest);
        }
        if asked.len() <= LANDMARKS_MAX {
            return asked;
        }
        let last = asked.len() - 1;
        let spread = (0..LANDMARKS_MAX).map(|number| number * last / (LANDMARKS_MAX - 1));
        spread.filter_map(|index| asked.get(index).copied()).collect()
    }

    /// Takes an answer: last blocks of own commits, and what somebody has there.
    pub(crate) fn take(&mut self, answers: &[(u64, Answer)]) {
        if self.is_found {
            return;
        }
        let index_of = |last: u64| self.left.binary_search_by_key(&last, |one| one.end - 1).ok();
        let known = answers.iter().filter_map(|&(last, answer)| Some((index_of(last)?, answer)));
        let known: BTreeMap<usize, Answer> = known.collect();
        let with = |wanted| {
            let mut known = known.iter().filter(move |(_, answer)| **answer == wanted);
            (known.next().map(|one| *one.0), known.next_back().map(|one| *one.0))
        };
        // A history that differs somewhere differs behind that as well, and is the same before where
        // it is the same.
        let (oldest_apart, _) = with(Answer::Different);
        let (first_same, last_same) = with(Answer::Same);
        if let Some(oldest) = oldest_apart {
            self.part_at(oldest);
        }
        if let Some(latest) = last_same.or(first_same) {
            self.same = self.same.max(latest + 1).min(self.left.len());
        }
        // What nobody can tell any more may be called either way if it makes no difference.
        let is_hollow = |commit: &Range<u64>| self.hollow.contains(&(commit.end - 1));
        while self.left.get(self.same).is_some_and(is_hollow)
            && known.get(&self.same) == Some(&Answer::Unknown)
        {
            self.same += 1;
        }
        // What comes next behind what is the same for certain was applied by nobody else, nor was what
        // follows.
        if self.same > 0 && known.get(&self.same) == Some(&Answer::Beyond) {
            match self.beyond {
                Beyond::Open => {}
                // As long as nothing is known to be different.
                Beyond::Same if self.first_apart.is_none() => self.left.truncate(self.same),
                Beyond::Same | Beyond::Apart => self.part_at(self.same),
            }
        }
        self.is_found = self.left.len() <= self.same;
        let is_open = |answer| matches!(answer, Answer::Unknown | Answer::Beyond);
        self.unknown.extend(answers.iter().filter(|one| is_open(one.1)).map(|(last, _)| *last));
    }

    /// Whether who answers so has applied nothing of what is not known to be the same.
    pub(crate) fn knows_nothing(&self, answers: &BTreeMap<u64, Answer>) -> bool {
        let oldest = self.left.get(self.same).map(|commit| commit.end - 1);
        // Nor has it applied what comes behind what it has not applied.
        let beyond = |(last, answer): (&u64, &Answer)| {
            *answer == Answer::Beyond && oldest.is_some_and(|oldest| *last <= oldest)
        };
        answers.iter().any(beyond)
    }

    /// Everybody there is has applied nothing of what is not known to be the same: there is nothing of
    /// another history that it could be taken for.
    pub(crate) fn nobody_knows_more(&mut self) {
        self.left.truncate(self.same);
        self.is_found = true;
    }

    /// From this one on, the commits that are left are apart.
    fn part_at(&mut self, index: usize) {
        if let Some(first) = self.left.get(index) {
            self.first_apart = Some(first.clone());
            self.left.truncate(index);
        }
    }
}

/// Whether all blocks of a commit are here, and are statements.
fn is_hollow(bee: &Bee, commit: &Range<u64>) -> Result<bool, Error> {
    for seq in commit.clone() {
        let block = match bee.get_by_seq(seq) {
            Err(TreeError::Missing(_)) => return Ok(false),
            block => block?,
        };
        if !block.is_some_and(|block| keyspace::place(&block.key) == Place::Statement) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Some writes of a commit, as far as its blocks are here: the latest first.
fn samples(bee: &Bee, commit: &Range<u64>) -> Result<Vec<Sample>, Error> {
    let device = device_of(&bee.log().key());
    let from = commit.start.max(commit.end.saturating_sub(SAMPLED_BLOCKS_MAX));
    let mut samples = Vec::new();
    for seq in (from..commit.end).rev() {
        let block = match bee.get_by_seq(seq) {
            Err(TreeError::Missing(_)) => continue,
            block => block?,
        };
        let Some(block) = block else { continue };
        let Place::User(key) = keyspace::place(&block.key) else { continue };
        let written = record::written(&block, device, &Clock::new());
        let mut versions = written.versions().iter();
        if let Some(version) = versions.find(|version| is_in(version, device, seq))
            && key.len() <= SAMPLE_LEN_MAX
        {
            samples.push(Sample { key, seq, time: version.time });
        }
        if samples.len() >= SAMPLES_MAX {
            break;
        }
    }
    Ok(samples)
}

fn is_in(version: &Version, device: DeviceId, seq: u64) -> bool {
    version.dot == Dot { device, seq }
}

/// What is known of a commit by one of its writes that is still held here, of what `held` gives.
///
/// No other history has the same write at the same time in the same place: a clock of its own made each.
pub(crate) fn sampled(
    device: DeviceId,
    samples: &[Sample],
    held: impl Fn(&[u8]) -> Result<Vec<Version>, Error>,
) -> Result<Option<Answer>, Error> {
    for Sample { key, seq, time } in samples {
        let held = held(key)?;
        if let Some(version) = held.iter().find(|version| is_in(version, device, *seq)) {
            let is_same = version.time == *time;
            return Ok(Some(if is_same { Answer::Same } else { Answer::Different }));
        }
    }
    Ok(None)
}

/// What is here at landmarks of a log that is applied up to `applied`.
pub(crate) fn answer(
    log: Option<&Log>,
    applied: Applied,
    question: &[Landmark],
) -> Result<Vec<Answer>, Error> {
    let compared = |is_same| if is_same { Answer::Same } else { Answer::Different };
    let mut answers = Vec::with_capacity(question.len());
    for Landmark { since, last, hash, tag, .. } in question {
        let log = log.filter(|log| *last < log.len());
        let ours = match log {
            Some(log) => log.block_hash(*last)?,
            None => None,
        };
        let end = last.saturating_add(1);
        let our_tag = match log {
            Some(log) => tag_at(log, end)?,
            None => None,
        };
        let our_tag = our_tag.or(applied.tag.filter(|_| applied.length == end));
        answers.push(match (ours, our_tag, tag) {
            (Some(ours), _, _) => compared(ours.as_bytes() == hash),
            (None, Some(ours), Some(theirs)) => compared(ours == *theirs),
            // An own commit that was applied ends where there is none.
            _ if *since < applied.length && applied.length < end => Answer::Different,
            _ if applied.length <= *last => Answer::Beyond,
            _ => Answer::Unknown,
        });
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn commits(count: u64) -> Vec<Range<u64>> {
        (0..count).map(|number| 1 + 2 * number..3 + 2 * number).collect()
    }

    /// What somebody answers whose history is the same for so many commits, of which so many are applied.
    fn answers(
        parting: &Parting,
        same: u64,
        applied: u64,
        is_known: impl Fn(u64) -> bool,
    ) -> Vec<(u64, Answer)> {
        let answer = |commit: &Range<u64>| {
            let answer = match (commit.end - 3) / 2 {
                number if number >= applied => Answer::Beyond,
                number if !is_known(number) => Answer::Unknown,
                number if number < same => Answer::Same,
                _ => Answer::Different,
            };
            (commit.end - 1, answer)
        };
        parting.asked().into_iter().map(answer).collect()
    }

    proptest! {
        /// Whatever the histories, and however far the other side's goes, the search ends where they
        /// part. What it has not applied is apart if it is the own history, and there is another one.
        #[test]
        fn the_search_ends_where_histories_part(
            count in 0..200_u64, same in 1..200_u64, applied in 1..250_u64,
            (is_own, is_disputed) in any::<(bool, bool)>(),
        ) {
            let all = commits(count);
            let mut parting =
                if is_own { Parting::of_own(all.clone()) } else { Parting::among(all.clone(), 0) };
            if is_own && is_disputed {
                parting.dispute();
            }
            for _ in 0..20 {
                let asked = answers(&parting, same, applied, |_| true);
                parting.take(&asked);
            }
            let is_apart = is_own && is_disputed;
            let end = if is_apart { same.min(applied) } else { same };
            let expected = all.get(usize::try_from(end).unwrap());
            // Of another's log nothing follows from what somebody has not applied.
            let is_told = applied > same || applied >= count;
            prop_assert_eq!(parting.is_found(), is_own || is_told);
            prop_assert_eq!(parting.first_apart(), expected.filter(|_| is_apart || is_told));
        }

        /// Who knows only some commits does not end the search in the wrong place: with the help of
        /// another one it ends in the right one.
        #[test]
        fn what_nobody_knows_is_not_guessed(
            count in 1..200_u64, same in 0..200_u64, known in vec(any::<bool>(), 200), is_own: bool,
        ) {
            let all = commits(count);
            let mut parting =
                if is_own { Parting::of_own(all.clone()) } else { Parting::among(all.clone(), 0) };
            if is_own {
                parting.dispute();
            }
            let expected = all.get(usize::try_from(same).unwrap());
            let is_known = |number: u64| known[usize::try_from(number).unwrap()];
            for _ in 0..20 {
                let asked = answers(&parting, same, count, is_known);
                parting.take(&asked);
                prop_assert!(!parting.is_found() || parting.first_apart() == expected);
            }
            for _ in 0..20 {
                let asked = answers(&parting, same, count, |_| true);
                parting.take(&asked);
            }
            prop_assert!(parting.is_found());
            prop_assert_eq!(parting.first_apart(), expected);
        }
    }

    /// Who knows that a later commit is another one, and has not applied this one, because it calls its own
    /// history by another name by now, says that this one is apart, too.
    #[test]
    fn what_comes_before_another_one_and_was_not_applied_is_apart() {
        let all = commits(5);
        let mut parting = Parting::of_own(all.clone());
        let answer = |number: usize, answer| (all[number].end - 1, answer);
        let same = [2, 1, 0].map(|number| answer(number, Answer::Same));
        let mut first = vec![answer(4, Answer::Different), answer(3, Answer::Unknown)];
        first.extend(same);
        parting.take(&first);
        assert!(!parting.is_found());
        parting.take(&[answer(3, Answer::Beyond)]);
        assert!(parting.is_found());
        assert_eq!(parting.first_apart(), Some(&all[3]));
    }

    /// What holds nothing but statements is passed over where nobody can tell, but for what comes behind it.
    #[test]
    fn what_makes_no_difference_is_passed_over() {
        let all = commits(4);
        let mut parting = Parting::of_own(all.clone());
        parting.hollow.insert(all[2].end - 1);
        let answer = |number: usize, answer| (all[number].end - 1, answer);
        parting.take(&[answer(2, Answer::Unknown), answer(0, Answer::Same)]);
        assert!(!parting.is_found() && parting.same == 1, "what comes before is open");
        let unknown = [answer(3, Answer::Unknown), answer(2, Answer::Unknown)];
        parting.take(&[&unknown[..], &[answer(1, Answer::Same)]].concat());
        assert!(!parting.is_found() && parting.same == 3);
        parting.take(&[answer(3, Answer::Different)]);
        assert_eq!((parting.is_found(), parting.first_apart()), (true, Some(&all[3])));
    }

    /// Who has applied an own commit that ends within another one here has another history.
    #[test]
    fn a_commit_that_ends_within_another_one_is_another() {
        let question =
            [Landmark { since: 3, last: 8, hash: [1; 32], tag: None, samples: Vec::new() }];
        let at = |length| answer(None, Applied { length, tag: None }, &question).unwrap();
        assert_eq!([at(0), at(3)], [[Answer::Beyond], [Answer::Beyond]].map(Vec::from));
        assert_eq!([at(4), at(8)], [[Answer::Different], [Answer::Different]].map(Vec::from));
        assert_eq!([at(9), at(20)], [[Answer::Unknown], [Answer::Unknown]].map(Vec::from));
    }

    /// If all devices say to have applied nothing, nothing is apart.
    #[test]
    fn what_nobody_has_applied_is_known_to_nobody() {
        for count in [1, 100] {
            let all = commits(count);
            let mut parting = Parting::of_own(all.clone());
            let known = answers(&parting, count, 0, |_| true);
            parting.take(&known);
            assert!(!parting.is_found(), "others may know more");
            let known = |applied| answers(&parting, count, applied, |_| true).into_iter().collect();
            assert!(parting.knows_nothing(&known(0)) && !parting.knows_nothing(&known(1)));
            parting.nobody_knows_more();
            assert!(parting.is_found() && parting.first_apart().is_none());
        }
    }
}
