//! Finding out where two histories of a log part, by asking somebody who has the other one.
//!
//! The question names own commits of the log, newest first, by their last blocks and the hashes of
//! these; the answer says which of them the other side has as well.

use std::ops::Range;

use multibee_btree::Bee;

use crate::Error;

/// Own commits in one question, at most.
pub(crate) const LANDMARKS_MAX: usize = 64;

/// The last block of an own commit, and its hash.
pub(crate) type Landmark = (u64, [u8; 32]);

/// What somebody else has at a landmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Nobody here knows.
    Unknown,
    /// The same block.
    Same,
    /// Another one.
    Different,
}

/// The search for the last own commit that is the same in two histories.
#[derive(Clone, Debug)]
pub(crate) struct Parting {
    /// Own commits of which it is not known, oldest first.
    left: Vec<Range<u64>>,
    /// The first own commit behind those that are the same, as far as is known.
    first_apart: Option<Range<u64>>,
    /// Of so many of the newest nobody has known anything.
    unknown: usize,
    is_found: bool,
}

impl Parting {
    /// Looks among these own commits, oldest first.
    pub(crate) const fn among(own: Vec<Range<u64>>) -> Self {
        let is_found = own.is_empty();
        Self { left: own, first_apart: None, unknown: 0, is_found }
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

    /// What to ask next, newest first.
    pub(crate) fn question(&self, bee: &Bee) -> Result<Vec<Landmark>, Error> {
        let mut question = Vec::new();
        for commit in self.asked() {
            let last = commit.end - 1;
            let Some(hash) = bee.log().block_hash(last)? else { break };
            question.push((last, *hash.as_bytes()));
        }
        Ok(question)
    }

    /// What is asked now, newest first.
    fn asked(&self) -> impl Iterator<Item = &Range<u64>> {
        self.left.iter().rev().skip(self.unknown).take(LANDMARKS_MAX)
    }

    /// Takes an answer, if it is to what is asked now.
    pub(crate) fn take(&mut self, asked: &[(u64, Answer)]) {
        let is_current =
            asked.iter().zip(self.asked()).all(|(one, commit)| one.0 + 1 == commit.end);
        if self.is_found || asked.is_empty() || !is_current {
            return;
        }
        // A history that differs somewhere differs behind that as well.
        let apart = asked.iter().rposition(|(_, answer)| *answer == Answer::Different);
        if let Some(oldest) = apart {
            for _ in 0..=self.unknown + oldest {
                self.first_apart = self.left.pop().or(self.first_apart.take());
            }
            self.unknown = 0;
        }
        let is_same_somewhere = asked.iter().any(|(_, answer)| *answer == Answer::Same);
        self.is_found = is_same_somewhere || self.left.is_empty();
        if apart.is_none() && !is_same_somewhere {
            // Further back, and from the newest again for others to answer.
            self.unknown += asked.len();
            if self.unknown >= self.left.len() {
                self.unknown = 0;
            }
        }
    }
}

/// What is here at landmarks of a log.
pub(crate) fn answer(bee: Option<&Bee>, question: &[Landmark]) -> Result<Vec<Answer>, Error> {
    let mut answers = Vec::with_capacity(question.len());
    for (last, hash) in question {
        let ours = match bee {
            Some(bee) if *last < bee.log().len() => bee.log().block_hash(*last)?,
            _ => None,
        };
        answers.push(match ours {
            None => Answer::Unknown,
            Some(ours) if ours.as_bytes() == hash => Answer::Same,
            Some(_) => Answer::Different,
        });
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the histories, and however much the other side knows of its own, the search ends
        /// where they part, or not at all.
        #[test]
        fn the_search_ends_where_histories_part(count in 0..200_u64, same in 0..200_u64, known in 0..250_u64) {
            let commits: Vec<_> = (0..count).map(|number| 1 + 2 * number..3 + 2 * number).collect();
            let mut parting = Parting::among(commits.clone());
            for _ in 0..10 {
                let asked: Vec<_> = parting.asked().map(|commit| {
                    let number = (commit.end - 3) / 2;
                    let answer = match number {
                        _ if number >= known => Answer::Unknown,
                        _ if number < same => Answer::Same,
                        _ => Answer::Different,
                    };
                    (commit.end - 1, answer)
                }).collect();
                parting.take(&asked);
            }
            let expected = commits.get(usize::try_from(same).unwrap());
            prop_assert!(parting.is_found() || known == 0);
            // Who knows less than what both share knows of no difference.
            if parting.is_found() {
                prop_assert_eq!(parting.first_apart(), expected.filter(|_| known > same));
            }
        }
    }
}
