//! From which version on another database's state is news.

use multibee_merge::Clock;

use super::landmark::{Hindrance, SparseLog};

/// Own commits that are tried, going back from a version that is not covered.
const STEPS_MAX: u32 = 16;

/// Looks for the latest version whose clock ours covers.
#[derive(Debug)]
pub(crate) struct Search {
    /// Versions to try, the latest last.
    candidates: Vec<u64>,
    steps_left: u32,
}

impl Search {
    pub(crate) fn new(hints: &[u64]) -> Self {
        let mut candidates = hints.to_vec();
        candidates.sort_unstable();
        candidates.dedup();
        Self { candidates, steps_left: STEPS_MAX }
    }

    /// The latest version below `version` that ours covers, of those that were hinted at and those
    /// that the chain of own commits leads back to from there; `None` if there is none.
    pub(crate) fn find(
        &mut self,
        log: &SparseLog,
        version: u64,
        ours: &Clock,
    ) -> Result<Option<u64>, Hindrance> {
        while let Some(&candidate) = self.candidates.last() {
            // Below 2 nothing but the header is there.
            if candidate < 2 {
                break;
            }
            if candidate <= version {
                match log.landmark(candidate) {
                    Ok(landmark) if ours.covers_all(&landmark.reach()) => {
                        return Ok(Some(candidate));
                    }
                    Ok(landmark) => self.go_back(landmark.prev_own),
                    Err(missing @ Hindrance::Missing(_)) => return Err(missing),
                    // A hint may be wrong.
                    Err(_) => {}
                }
            }
            self.candidates.retain(|&other| other != candidate);
        }
        // Of nothing, everything is news, and nobody can lack what is in the empty tree.
        Ok(ours.is_empty().then_some(1))
    }

    fn go_back(&mut self, prev_own: Option<u64>) {
        let Some(version) = prev_own.map(|seq| seq.saturating_add(1)) else { return };
        if self.steps_left > 0 && !self.candidates.contains(&version) {
            self.steps_left -= 1;
            let at = self.candidates.partition_point(|&other| other < version);
            self.candidates.insert(at, version);
        }
    }
}
