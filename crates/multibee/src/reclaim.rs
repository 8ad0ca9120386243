//! Giving room back on purpose, and saying what is in the way.

use std::collections::BTreeMap;
use std::fmt;

use multibee_log::LogKey;

use crate::catch_up::Surroundings;
use crate::collecting::{Amount, Mode, Obstacle};
use crate::core::Advance;
use crate::{Error, Multibee};

/// What [`Multibee::reclaim`] is to give back. The default takes nothing from anybody.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ReclaimOptions {
    /// Nothing is given back: it is only said what could be.
    pub dry_run: bool,
    /// Other devices' blocks go as soon as they are merged here, even if a member may not have them
    /// yet. Whoever lacks them gets them from their author, or takes in this device's state.
    pub even_for_others: bool,
}

/// What [`Multibee::reclaim`] has given back, or, in a dry run, would have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReclaimReport {
    /// What was remembered of deleted keys. Its bytes are those of records in the tree; they leave the
    /// disk with the blocks of old versions.
    pub tombstones: Reclaimed,
    /// Blocks of other devices' logs that are merged.
    pub replica_blocks: Reclaimed,
}

/// One kind of what was given back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reclaimed {
    /// Tombstones, or blocks.
    pub count: u64,
    /// Their bytes, about.
    pub bytes: u64,
    /// What had to stay, and why.
    pub held_back: Vec<HeldBack>,
}

/// Something that had to stay.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldBack {
    /// Why.
    pub reason: HoldReason,
    /// The device, or source, that has to do something about it.
    pub device: Option<LogKey>,
    /// Tombstones, or blocks.
    pub count: u64,
    /// Their bytes, about.
    pub bytes: u64,
}

/// Why something had to stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum HoldReason {
    /// The device is not known to have it yet. It is so for ever if the device stays away: then remove
    /// it, or retire it.
    NotSeen,
    /// The device has seen it, but what it wrote before has not been merged here.
    NotMerged,
    /// The device has not said yet how far it had merged a log that was removed.
    Unsettled,
    /// What counts of this log, which was removed or goes on no more, has not been merged here.
    NotReached,
    /// A plain Hyperbee is taken in, or was: what it writes knows of no delete.
    Source,
    /// A write that the delete had seen has not been merged here.
    NotCovered,
    /// The key has versions that are no deletes, though it shows none of them: a conflict.
    Conflict,
    /// This device is a mirror: it keeps everything.
    Mirror,
}

impl fmt::Display for HoldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotSeen => "it is not known to have this yet",
            Self::NotMerged => "what it wrote before is not merged here",
            Self::Unsettled => "it has not said how far it had merged a removed device",
            Self::NotReached => "its log, which ended, is not merged here to the end",
            Self::Source => "it is a plain Hyperbee, and knows of no delete",
            Self::NotCovered => "a write that the delete had seen is not merged here",
            Self::Conflict => "the key is in conflict",
            Self::Mirror => "a mirror keeps everything",
        })
    }
}

impl Reclaimed {
    pub(crate) fn went(&mut self, amount: Amount) {
        self.count = self.count.saturating_add(amount.count);
        self.bytes = self.bytes.saturating_add(amount.bytes);
    }

    pub(crate) fn stayed(&mut self, reason: HoldReason, device: Option<LogKey>, amount: Amount) {
        if amount.count == 0 {
            return;
        }
        let same = |one: &&mut HeldBack| (one.reason, one.device) == (reason, device);
        match self.held_back.iter_mut().find(same) {
            Some(held) => {
                held.count = held.count.saturating_add(amount.count);
                held.bytes = held.bytes.saturating_add(amount.bytes);
            }
            None => {
                let Amount { count, bytes } = amount;
                self.held_back.push(HeldBack { reason, device, count, bytes });
            }
        }
    }
}

impl From<Obstacle> for (HoldReason, Option<LogKey>) {
    fn from(obstacle: Obstacle) -> Self {
        match obstacle {
            Obstacle::Live => (HoldReason::Conflict, None),
            Obstacle::Context => (HoldReason::NotCovered, None),
            Obstacle::Source(key) => (HoldReason::Source, Some(key)),
            Obstacle::Unseen(key) => (HoldReason::NotSeen, Some(key)),
            Obstacle::Unapplied(key) => (HoldReason::NotMerged, Some(key)),
            Obstacle::Unsettled(key) => (HoldReason::Unsettled, Some(key)),
            Obstacle::Unreached(key) => (HoldReason::NotReached, Some(key)),
        }
    }
}

impl Multibee {
    /// Gives back what nobody needs any more: what is remembered of deleted keys, and other devices'
    /// blocks that are merged. Blocks are also given back without being asked for, now and then, and
    /// deletes if [it is so wished](crate::Options::forget_deletes); this does all of it at once, and
    /// says what has to stay, and because of whom.
    ///
    /// A deleted key is remembered until every member is known to have seen the delete. Whoever has
    /// been away for long holds that up: see [`HeldBack::device`].
    ///
    /// Goes in pieces: whoever reads or writes meanwhile waits for one of them at most. Can be called
    /// again at any time, after a crash as well.
    ///
    /// ```
    /// # use multibee::{Home, Multibee, Options, ReclaimOptions};
    /// let db = Multibee::create(Home::memory(), Options::default())?;
    /// db.put("milk", "two")?;
    /// db.del("milk")?;
    ///
    /// let mut options = ReclaimOptions::default();
    /// options.dry_run = true;
    /// assert_eq!(db.reclaim(&options)?.tombstones.count, 1);
    /// # Ok::<(), multibee::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// This machine's disk, or its content, is at fault. What was given back by then is gone.
    pub fn reclaim(&self, options: &ReclaimOptions) -> Result<ReclaimReport, Error> {
        let mut report = ReclaimReport::default();
        self.hear_heads()?;
        self.reclaim_tombstones(options, &mut report.tombstones)?;
        self.reclaim_replicas(options, &mut report.replica_blocks)?;
        self.network().own_log_changed();
        Ok(report)
    }

    /// Reads what is here of what others have seen.
    pub(crate) fn hear_heads(&self) -> Result<(), Error> {
        let session = self.network().session();
        let mut state = session.lock();
        if let Some(error) = state.core.refusal() {
            return Err(error);
        }
        let mut advance = Advance::default();
        state.core.hear_heads(&Surroundings::default(), &mut advance)?;
        session.settle(&mut state, Ok(advance));
        Ok(())
    }

    pub(crate) fn reclaim_tombstones(
        &self,
        options: &ReclaimOptions,
        reclaimed: &mut Reclaimed,
    ) -> Result<(), Error> {
        let session = self.network().session();
        let mode = if options.dry_run { Mode::Look } else { Mode::Collect };
        let mut held_back: BTreeMap<Obstacle, Amount> = BTreeMap::new();
        let mut last = None;
        loop {
            let piece = {
                let mut state = session.lock();
                // Say, in the midst of a state that is being joined.
                if !state.core.is_tidy_allowed() {
                    break;
                }
                state.core.collect_piece(last.as_ref(), mode)?
            };
            reclaimed.went(piece.collected);
            for (obstacle, amount) in piece.held_back {
                held_back.entry(obstacle).or_default().add(amount);
            }
            last = piece.last;
            if last.is_none() {
                break;
            }
        }
        for (obstacle, amount) in held_back {
            let (reason, device) = obstacle.into();
            reclaimed.stayed(reason, device, amount);
        }
        Ok(())
    }

    fn reclaim_replicas(
        &self,
        options: &ReclaimOptions,
        reclaimed: &mut Reclaimed,
    ) -> Result<(), Error> {
        let session = self.network().session();
        let keys = session.lock().core.followed();
        for key in keys {
            let mut from = 0;
            loop {
                let mut state = session.lock();
                let piece = state.core.replica_piece(&key, from, options.even_for_others)?;
                reclaimed.went(piece.going);
                if !options.dry_run {
                    let mut advance = Advance::default();
                    state.core.clear(&key, piece.length, &mut advance)?;
                    session.settle(&mut state, Ok(advance));
                }
                from = piece.length;
                if !piece.is_last {
                    continue;
                }
                if let Some(device) = piece.held_back_by {
                    let is_mirror = device == state.core.key();
                    let reason = if is_mirror { HoldReason::Mirror } else { HoldReason::NotSeen };
                    reclaimed.stayed(reason, Some(device), piece.staying);
                }
                break;
            }
        }
        Ok(())
    }
}
