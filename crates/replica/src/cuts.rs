//! What the cuts of a log have left standing.

use std::collections::VecDeque;

use multibee_log::Log;

/// The cuts that a log has gone through since it was added, whoever made them.
#[derive(Debug)]
pub(crate) struct Cuts {
    /// The fork that the log had when it was last looked at.
    fork: u64,
    /// In order; the oldest are joined when there are many.
    cuts: VecDeque<Cut>,
}

#[derive(Clone, Copy, Debug)]
struct Cut {
    /// The fork that it led to.
    to: u64,
    /// Blocks that stayed.
    shared_len: u64,
}

impl Cuts {
    pub(crate) fn new(log: &Log) -> Self {
        Self { fork: log.fork(), cuts: VecDeque::new() }
    }

    /// The fork that the log had when it was last looked at.
    pub(crate) fn fork(&self) -> u64 {
        self.fork
    }

    /// Looks at the log. Returns how many blocks have stayed if it was cut since the last time.
    pub(crate) fn notice(&mut self, log: &Log) -> Option<u64> {
        let before = self.fork;
        self.fork = log.fork();
        if self.fork == before {
            return None;
        }
        // None of it, if it was empty and took the fork of its first head.
        let shared_len = log.shared_len_since(before);
        self.cuts.push_back(Cut { to: self.fork, shared_len });
        if self.cuts.len() > CUTS_MAX
            && let Some(oldest) = self.cuts.pop_front()
            && let Some(next) = self.cuts.front_mut()
        {
            next.shared_len = next.shared_len.min(oldest.shared_len);
        }
        Some(shared_len)
    }

    /// How many blocks are still those of an earlier fork.
    pub(crate) fn shared_len_since(&self, fork: u64) -> u64 {
        let since = self.cuts.iter().filter(|cut| cut.to > fork);
        since.map(|cut| cut.shared_len).min().unwrap_or(u64::MAX)
    }
}

/// Cuts that are told apart.
const CUTS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use multibee_log::{KeyPair, Log, LogOptions, MemoryStorage};

    use super::{CUTS_MAX, Cuts};

    /// What is said to have stayed since any fork is never more than what has, whether the cuts
    /// were looked at one by one or several at once; for the last few it is all of it.
    #[test]
    fn nothing_is_said_to_have_stayed_that_has_not() {
        let keys = KeyPair::from_seed([1; 32]);
        let log = Log::create(MemoryStorage::default(), keys, LogOptions::default()).unwrap();
        log.append(&vec![b"x"; 100]).unwrap();
        let mut cuts = Cuts::new(&log);
        let mut lens = Vec::new();
        for step in 0..40_u64 {
            let len = step * 37 % log.len();
            log.truncate(len).unwrap();
            lens.push(len);
            log.append(&[b"y"; 30]).unwrap();
            if step % 2 == 1 {
                cuts.notice(&log);
            }
            for (fork, _) in (0..).zip(&lens).filter(|_| step % 2 == 1) {
                let stayed = *lens[fork..].iter().min().unwrap();
                let said = cuts.shared_len_since(fork as u64);
                assert!(said <= stayed, "fork {fork}: {said} of {stayed}");
            }
        }
        assert_eq!(cuts.cuts.len(), CUTS_MAX);
        log.truncate(17).unwrap();
        assert_eq!(cuts.notice(&log), Some(17));
        assert_eq!((cuts.shared_len_since(40), cuts.shared_len_since(41)), (17, u64::MAX));
        assert_eq!(cuts.notice(&log), None);
    }
}
