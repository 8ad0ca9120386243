//! Checking the logs beneath a database, byte by byte.

use multibee_log::{Finding, Log, LogKey};

use crate::{Error, Multibee};

/// What is wrong with a log, if anything is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogAudit {
    /// The log.
    pub key: LogKey,
    /// Whether it is this device's own.
    pub is_own: bool,
    /// Blocks that were read and checked.
    pub blocks: u64,
    /// What is wrong: none if all is well.
    pub findings: Vec<Finding>,
}

impl Multibee {
    /// Reads all that is held of all logs from the disk, and checks it against what was signed.
    ///
    /// Whether the data is what was committed says [`verify`](Self::verify). `told` hears how many
    /// blocks of how many are done.
    ///
    /// # Errors
    ///
    /// The disk is at fault. Damage is no error here but a finding.
    pub fn audit(&self, mut told: impl FnMut(u64, u64)) -> Result<Vec<LogAudit>, Error> {
        let logs = {
            let state = self.network().session().lock();
            let core = &state.core;
            let followed = core.following().values().map(|one| one.follower.bee().log().clone());
            let logs = std::iter::once(core.primary.log().clone()).chain(followed);
            logs.chain(core.source_logs().cloned()).collect::<Vec<_>>()
        };
        let held = |log: &Log| {
            log.held(0..log.len()).iter().map(|blocks| blocks.end - blocks.start).sum::<u64>()
        };
        let (mut before, total) = (0, logs.iter().map(held).sum());
        let mut audits = Vec::new();
        for log in logs {
            let audit = log.audit(|progress| told(before + progress.done, total))?;
            before += audit.blocks;
            audits.push(LogAudit {
                key: log.key(),
                is_own: audits.is_empty(),
                blocks: audit.blocks,
                findings: audit.findings,
            });
        }
        Ok(audits)
    }
}
