//! Collecting tombstones: when the last trace of a deleted key may go.
//!
//! A tombstone is there for those who still hold what was deleted, or may still write without
//! knowing of the delete. Once there is nobody left of whom that is possible, it goes. Who drops it
//! too early lets a deleted key come back, or holds something else than others hold.
//!
//! [`Grounds`] decides from facts alone; [`Primary::collect`] goes through the tombstones, in pieces.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use multibee_btree::RangeOptions;
use multibee_log::LogKey;
use multibee_merge::{Clock, DeviceId};

use crate::Error;
use crate::aside::Outline;
use crate::broken::BrokenRule;
use crate::keyspace::{self, Place};
use crate::merging::device_of;
use crate::primary::{Primary, between};
use crate::record::{self, Held};

/// Tombstones in one piece: whoever writes meanwhile need not wait for more.
const PIECE_RECORDS: u64 = if cfg!(test) { 2 } else { 512 };

/// What has to hold before a tombstone may go. Each is needed: without it a key comes back, or two
/// devices hold different data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// All versions of the key are deletes.
    Deleted,
    /// Our clock covers what the deletes had seen. For the logs of members that follows from the rest;
    /// but who drops what a key has seen beyond the clock must be sure by itself.
    Context,
    /// No plain Hyperbee is taken in: what it writes has seen no delete, ever.
    Sourceless,
    /// Every other member has published a clock that covers the deletes.
    Published,
    /// What each member had written before it published that clock is applied here.
    Applied,
    /// Every member has said how far it had applied each removed log.
    Settled,
    /// What counts of each removed log is applied here.
    Reached,
    /// What any member has seen of a log that no member writes any more is applied here.
    Ended,
}

#[cfg(test)]
impl Condition {
    const ALL: [Self; 8] = [
        Self::Deleted,
        Self::Context,
        Self::Sourceless,
        Self::Published,
        Self::Applied,
        Self::Settled,
        Self::Reached,
        Self::Ended,
    ];
}

/// Why a tombstone has to stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Obstacle {
    /// The key has versions that are no deletes, though it shows none of them.
    Live,
    /// A delete had seen what is not applied here.
    Context,
    /// This plain Hyperbee is taken in, or was once.
    Source(LogKey),
    /// This member is not known to have seen the delete.
    Unseen(LogKey),
    /// This member has seen it, but not all that it wrote before is applied here.
    Unapplied(LogKey),
    /// This member has not said yet how far it had applied a log that was removed.
    Unsettled(LogKey),
    /// What counts of this log, which was removed or goes on no more, is not applied here; or this
    /// member has seen more than is here of a log that is no member's.
    Unreached(LogKey),
}

/// Another member, as far as it is known what it has seen.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) key: LogKey,
    /// Of clocks up to whose own commits its log is applied here.
    pub(crate) applied: Clock,
    /// Of all clocks.
    pub(crate) newest: Clock,
}

/// A log that nobody goes on with: of a removed device, or one that moved to another log.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) key: LogKey,
    pub(crate) device: DeviceId,
    /// How far it counts, if it was removed.
    pub(crate) cut: Option<u64>,
    /// Members who have not said how far they had applied it, if it was removed.
    pub(crate) unsettled: Vec<LogKey>,
}

/// What decides on tombstones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grounds {
    /// Our clock, with the own log in it.
    pub(crate) clock: Clock,
    /// The other members.
    pub(crate) members: Vec<Seen>,
    pub(crate) ended: Vec<Ended>,
    /// Plain Hyperbees that are taken in, or were.
    pub(crate) sources: Vec<LogKey>,
    /// A condition that is left out, to see that it is missed.
    #[cfg(test)]
    pub(crate) without: Option<Condition>,
}

impl Grounds {
    /// What holds back every tombstone, if anything does.
    pub(crate) fn common_obstacle(&self) -> Option<Obstacle> {
        if let Some(source) = self.sources.first().filter(|_| self.asks(Condition::Sourceless)) {
            return Some(Obstacle::Source(*source));
        }
        let of_ended = self.ended.iter().find_map(|ended| {
            let unsettled = ended.unsettled.first().filter(|_| self.asks(Condition::Settled));
            let is_short = |cut: u64| self.clock.length(ended.device) < cut;
            let is_unreached = self.asks(Condition::Reached) && ended.cut.is_some_and(is_short);
            match unsettled {
                Some(member) => Some(Obstacle::Unsettled(*member)),
                None => is_unreached.then_some(Obstacle::Unreached(ended.key)),
            }
        });
        of_ended.or_else(|| self.seen_and_ended())
    }

    /// What somebody has seen of a log that no member writes, and is not applied here: a device's that
    /// is none any more, or a history of which there is only what others hold.
    fn seen_and_ended(&self) -> Option<Obstacle> {
        let writing: BTreeSet<DeviceId> =
            self.members.iter().map(|member| device_of(&member.key)).collect();
        let ours = &self.clock;
        self.members.iter().filter(|_| self.asks(Condition::Ended)).find_map(|member| {
            let beyond = member.newest.beyond(ours);
            let (device, _) = beyond.iter().find(|(device, _)| !writing.contains(device))?;
            let ended = self.ended.iter().find(|ended| ended.device == device);
            Some(Obstacle::Unreached(ended.map_or(member.key, |ended| ended.key)))
        })
    }

    /// What holds back the tombstone of a key, if anything does, beside what holds back all.
    pub(crate) fn obstacle(&self, tombstone: &Held) -> Option<Obstacle> {
        if self.asks(Condition::Deleted) && !tombstone.versions.iter().all(record::is_delete) {
            return Some(Obstacle::Live);
        }
        if self.asks(Condition::Context) && !self.clock.covers_all(&tombstone.seen) {
            return Some(Obstacle::Context);
        }
        let covers = |clock: &Clock| tombstone.versions.iter().all(|one| clock.covers(one.dot));
        self.members.iter().find_map(|member| {
            if self.asks(Condition::Published) && !covers(&member.newest) {
                return Some(Obstacle::Unseen(member.key));
            }
            let asks = self.asks(Condition::Published) && self.asks(Condition::Applied);
            (asks && !covers(&member.applied)).then_some(Obstacle::Unapplied(member.key))
        })
    }

    fn asks(&self, condition: Condition) -> bool {
        #[cfg(test)]
        if self.without == Some(condition) {
            return false;
        }
        let broken = match condition {
            Condition::Deleted => BrokenRule::CollectConflict,
            Condition::Settled | Condition::Reached | Condition::Ended => {
                BrokenRule::ForgetRemovedWriters
            }
            _ => return true,
        };
        !broken.is_broken()
    }
}

/// What came of looking at some tombstones.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    /// The tombstones that went, or may go.
    pub(crate) collected: Amount,
    /// Those that have to stay, by what holds them back.
    pub(crate) held_back: BTreeMap<Obstacle, Amount>,
    /// The last one that was looked at; `None` if there are no more.
    pub(crate) last: Option<Bytes>,
    /// Whether a commit was made.
    pub(crate) committed: bool,
}

/// So many things, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) count: u64,
    pub(crate) bytes: u64,
}

impl Amount {
    pub(crate) const fn add(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// Whether tombstones go, or are only looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// What may go goes.
    Collect,
    /// Nothing is written.
    Look,
}

impl Primary {
    /// Goes through some tombstones, those behind `after`, and removes those that may go, as one
    /// commit of what was merged: to nobody is it news, and the digest stays as it is.
    ///
    /// # Errors
    ///
    /// Only the own tree or log can fail; the state is then as before.
    pub(crate) fn collect(
        &mut self,
        grounds: &Grounds,
        after: Option<&Bytes>,
        mode: Mode,
        wall_ms: u64,
    ) -> Result<Piece, Error> {
        let mut spec = between(keyspace::tombstones());
        if let Some(after) = after {
            (spec.gt, spec.gte) = (Some(after.clone()), None);
        }
        let tree = self.bee().snapshot()?;
        let mut records = tree.range(RangeOptions { limit: Some(PIECE_RECORDS), ..spec });
        let common = grounds.common_obstacle();
        let (mut piece, mut looked, mut going) = (Piece::default(), 0, Vec::new());
        while let Some(block) = records.next()? {
            looked += 1;
            piece.last = Some(block.key.clone());
            let Place::Tombstone(key) = keyspace::place(&block.key) else { continue };
            let amount = Amount { count: 1, bytes: (block.key.len() + block.extra.len()) as u64 };
            if tree.get(&keyspace::place_of(&key))?.is_some() {
                // The key is live again: the tombstone says nothing any more.
                piece.collected.add(amount);
                going.push((key, None));
                continue;
            }
            let outline = Outline::tombstone(&block);
            let outline = outline.map_err(|error| Error::bad_record(block.seq, &error))?;
            let bad = |seq, what: &str| Error::bad_record(seq, &what);
            let held = outline.complete(|key| Ok::<_, Error>(tree.get(key)?), bad)?;
            match common.or_else(|| grounds.obstacle(&held)) {
                Some(obstacle) => piece.held_back.entry(obstacle).or_default().add(amount),
                None => {
                    piece.collected.add(amount);
                    going.push((key, Some(held)));
                }
            }
        }
        if looked < PIECE_RECORDS {
            piece.last = None;
        }
        if mode == Mode::Collect && !going.is_empty() {
            let mut staging = self.stage(false)?;
            for (key, held) in going {
                staging.collect(&key, held.as_ref())?;
            }
            let clock = self.clock().clone();
            self.finish_merge(staging, clock, wall_ms)?;
            piece.committed = true;
        }
        Ok(piece)
    }
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests;
