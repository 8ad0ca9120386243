//! Compacting a database: what is alive goes to a fresh log, and the old one is given up.

mod estimate;

use crate::moving::Successor;
use crate::{Error, Multibee};
pub use estimate::{CompactEstimate, Weight};

/// Blocks that the last step of a compaction may have left to absorb, about: whoever writes waits
/// for it.
const LAST_STEP_BLOCKS: u64 = 256;
/// Times that the last step is put off, for whoever writes faster than is absorbed.
const ROUNDS_MAX: u32 = 8;

/// How far a compaction has come.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct CompactProgress {
    /// Keys that were taken over.
    pub keys: u64,
    /// The part that is done, from 0 to 1, as far as it can be told.
    pub fraction: f64,
}

/// What a compaction has done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compacted {
    /// Keys that were taken over, deleted ones that are still remembered included.
    pub keys: u64,
    /// Bytes of blocks in the old log.
    pub bytes_before: u64,
    /// Bytes of blocks in the new one.
    pub bytes_after: u64,
}

impl Multibee {
    /// Moves the database to a fresh log that holds only what is alive: current values, conflicts,
    /// what is remembered of deletes. The old log's history is gone then, from this device.
    ///
    /// This device has another [key](Self::key) afterwards; the others learn so, and download nothing
    /// because of it. Meanwhile the database is read and written as ever, but for a moment at the
    /// end. [Versions](crate::View::version) begin anew: earlier ones can't be checked out any more.
    /// What would become of it [can be asked before](Self::compact_dry_run).
    ///
    /// ```
    /// # use multibee::{Home, Multibee, Options};
    /// let db = Multibee::create(Home::memory(), Options::default())?;
    /// for n in 0..100 {
    ///     db.put("count", n.to_string())?;
    /// }
    /// let done = db.compact(|_| {})?;
    /// assert!(done.bytes_after < done.bytes_before);
    /// assert_eq!(db.get("count")?.map(|entry| entry.value), Some("99".into()));
    /// # Ok::<(), multibee::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// This machine's disk, or its content, is at fault. The database is as before then; or, if the
    /// very last step failed, it can't be written until it is opened again, and has moved then.
    pub fn compact(&self, mut told: impl FnMut(CompactProgress)) -> Result<Compacted, Error> {
        let session = self.network().session();
        let (former, (home, setup)) = session.lock().core.begin_move()?;
        let ended = EndMove(self);
        let mut successor = Successor::begin(&home, &setup, &former)?;
        let keys_at_once = session.lock().core.absorb_keys();
        let mut absorbed = 0;
        for _ in 0..ROUNDS_MAX {
            let version = former.version();
            if version <= absorbed + LAST_STEP_BLOCKS && absorbed > 0 {
                break;
            }
            let keys = successor.keys;
            let now_ms = setup.clock.now_ms();
            successor.absorb(&former, version, keys_at_once, now_ms, |fraction| {
                told(CompactProgress { keys, fraction });
            })?;
            absorbed = version;
        }
        // What is on the disk by then need not be waited for under the lock.
        successor.primary.log().sync()?;
        let (keys, bytes_before) = (successor.keys, former.log().byte_len());
        {
            let mut state = session.lock();
            let advance = state.core.move_to(successor)?;
            session.settle(&mut state, Ok(advance));
        }
        drop(ended);
        self.network().own_log_changed();
        let bytes_after = self.bee().log().byte_len();
        told(CompactProgress { keys, fraction: 1.0 });
        Ok(Compacted { keys, bytes_before, bytes_after })
    }
}

/// However a compaction ends, another one may begin.
struct EndMove<'a>(&'a Multibee);

impl Drop for EndMove<'_> {
    fn drop(&mut self) {
        self.0.network().session().lock().core.end_move();
    }
}
