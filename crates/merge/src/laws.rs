//! The laws of merging, to be run on strategies and types of one's own.
//!
//! A check simulates replicas of one key that write, delete and exchange states at random, in any
//! order and as often as they like, and then looks at all states that occurred. It is a pure
//! function of its seed: call it with many seeds, from a property test perhaps.
//!
//! ```
//! use multibee_merge::{Counter, laws};
//!
//! for seed in 0..20 {
//!     laws::check_type(&Counter, &laws::Counts, seed).expect("a counter obeys the laws");
//! }
//! ```

mod expectations;
mod history;
mod random;

use std::fmt;

use bytes::Bytes;

pub use expectations::{Counts, Documents, Elements};
pub use history::Write;
pub use random::Random;

use crate::{Content, MergeStrategy, MergeType, Shown, State};
use history::History;

/// A law that was broken, and how to see it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The law.
    pub law: &'static str,
    /// The seed of the history that breaks it.
    pub seed: u64,
    /// What was found.
    pub found: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "with seed {}: not so: {}: {}", self.seed, self.law, self.found)
    }
}

impl std::error::Error for Broken {}

/// What users put, and what must come of it: the part of the laws that only a type's author knows.
pub trait Workload {
    /// A value to put, for a user who sees `shown`.
    fn next(&self, random: &mut Random, shown: Option<&[u8]>) -> Vec<u8>;

    /// Checks what is shown after `writes`: all that count, oldest first. No write is lost that
    /// no later one saw.
    ///
    /// # Errors
    ///
    /// What is wrong, in words.
    fn check(&self, writes: &[&Write], shown: &[u8]) -> Result<(), String>;
}

/// Checks that a type's states form a join, and that what is shown follows from the writes.
///
/// # Errors
///
/// The first law that is broken.
///
/// # Panics
///
/// The type refuses what the workload puts.
pub fn check_type(
    subject: &dyn MergeType,
    workload: &dyn Workload,
    seed: u64,
) -> Result<(), Broken> {
    let mut random = Random::new(seed);
    let history = History::run(Some((subject, workload)), &mut random);
    let law = Laws { seed };
    law.versions(&history)?;
    law.states(subject, &history, &mut random)?;
    let join = |a: &Bytes, b: &Bytes| subject.join(a, b);
    for state in history.now.iter().chain([&history.everything()]) {
        let Some(joined) = history::joined(state, &join) else { continue };
        let joined = joined.map_err(|error| law.broken("states can be joined", &error))?;
        let shown = subject.value(&joined).map_err(|e| law.broken("states can be shown", &e))?;
        let writes = history.counting(state);
        workload.check(&writes, &shown).map_err(|found| {
            let law = "what is shown is what the writes say, and none is lost";
            let shown = String::from_utf8_lossy(&shown);
            Broken { law, seed, found: format!("{found}; shown {shown}; after {writes:#?}") }
        })?;
    }
    Ok(())
}

/// Checks that a strategy is a pure function of the versions, and shows only what is there.
///
/// # Errors
///
/// The first law that is broken.
pub fn check_strategy(strategy: &dyn MergeStrategy, seed: u64) -> Result<(), Broken> {
    let mut random = Random::new(seed);
    let history = History::run(None, &mut random);
    let law = Laws { seed };
    law.versions(&history)?;
    for state in history.ever.iter().chain([&history.everything()]) {
        let versions = state.versions();
        let shown = strategy.resolve(b"key", versions);
        let again = strategy.resolve(b"key", versions);
        law.equal("equal versions show the same", &shown, &again)?;
        let positions = match &shown {
            Shown::Nothing => Vec::new(),
            Shown::One(position) => vec![*position],
            Shown::All(positions) => positions.clone(),
        };
        let mut once = positions.clone();
        once.sort_unstable();
        once.dedup();
        law.equal("nothing is shown twice", &once.len(), &positions.len())?;
        let empty = matches!(&shown, Shown::All(all) if all.is_empty());
        law.equal("`All` is not empty", &empty, &false)?;
        let showable = positions
            .iter()
            .all(|&position| versions.get(position).is_some_and(crate::Version::is_showable));
        law.equal("only showable versions are shown", &showable, &true)?;
        if let [only] = versions {
            let first = shown.first();
            let expected = only.is_showable().then_some(0);
            law.equal("a single version is shown if it can be", &first, &expected)?;
        }
    }
    Ok(())
}

/// Reports with the seed of the history at hand.
struct Laws {
    seed: u64,
}

impl Laws {
    fn broken(&self, law: &'static str, found: &dyn fmt::Debug) -> Broken {
        Broken { law, seed: self.seed, found: format!("{found:?}") }
    }

    fn equal<T: PartialEq + fmt::Debug>(
        &self,
        law: &'static str,
        left: &T,
        right: &T,
    ) -> Result<(), Broken> {
        if left == right { Ok(()) } else { Err(self.broken(law, &(left, right))) }
    }

    /// Every replica holds exactly the writes that none it knows has superseded; and when all
    /// have met all, in whatever order, they hold the same.
    fn versions(&self, history: &History) -> Result<(), Broken> {
        for (state, known) in history.now.iter().zip(&history.known) {
            let held: Vec<_> = state.versions().iter().map(|version| version.dot).collect();
            self.equal("no write is lost that none saw", &held, &history.greatest(known))?;
        }
        let forth = history.everything();
        let back = history.now.iter().rev().fold(State::default(), |sum, state| state.join(&sum));
        self.equal("any order of exchange gives the same", &forth, &back)?;
        for state in &history.now {
            self.equal("nothing new is learnt twice", &forth.join(state), &forth)?;
        }
        Ok(())
    }

    /// States join in any order, in any grouping, any number of times, byte for byte.
    fn states(
        &self,
        subject: &dyn MergeType,
        history: &History,
        random: &mut Random,
    ) -> Result<(), Broken> {
        let join = |a: &Bytes, b: &Bytes| {
            subject.join(a, b).map_err(|error| self.broken("states can be joined", &error))
        };
        let mut states: Vec<Bytes> = Vec::new();
        for version in history.ever.iter().flat_map(State::versions) {
            states.extend(version.state.clone());
            if let (Some(state), Content::Value(value)) = (&version.state, &version.content) {
                let shown =
                    subject.value(state).map_err(|e| self.broken("states can be shown", &e))?;
                self.equal("a state shows what was put", &shown, value)?;
            }
        }
        for _ in 0..TRIPLES {
            let (Some(a), Some(b), Some(c)) =
                (random.pick(&states), random.pick(&states), random.pick(&states))
            else {
                return Ok(());
            };
            let (ab, bc) = (join(a, b)?, join(b, c)?);
            self.equal("joining is commutative", &ab, &join(b, a)?)?;
            self.equal("joining is associative", &join(&ab, c)?, &join(a, &bc)?)?;
            self.equal("joining is idempotent", &join(a, a)?, a)?;
            self.equal("joining again changes nothing", &join(&ab, b)?, &ab)?;
        }
        Ok(())
    }
}

/// Triples of states that are tried in one history.
const TRIPLES: usize = 4;
