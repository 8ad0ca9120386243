//! Keeping house: while nothing is left to merge, tombstones and blocks that nobody needs any more
//! are given back, a little at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use bytes::Bytes;
use multibee_log::LogKey;
use multibee_merge::{Applied, Clock, DeviceId};

use super::{Advance, Core};
use crate::catch_up::Surroundings;
use crate::clearing::{Bound, PIECE_BLOCKS, bound, clearable};
use crate::collecting::{Amount, Ended, Grounds, Mode, Piece, Seen};
use crate::follow::{FollowError, HeadClock};
use crate::merging::device_of;
use crate::news::News;
use crate::published::Published;
use crate::statement::Claim;
use crate::{DeviceRole, Error};

/// What is remembered between one tidying and the next. Nothing of it is stored.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    published: Published,
    /// The tombstone behind which a walk through all of them goes on, if one is under way.
    walk: Option<Option<Bytes>>,
    /// Length of the own log when the last walk ended, and what all members had seen.
    walked_at: u64,
    walked_with: u64,
    /// Tombstones that stayed then, and those of the walk under way.
    left: u64,
    leaving: u64,
    /// Length of each log whose head was read for what its author had seen.
    heads: BTreeMap<LogKey, u64>,
    /// Blocks of heads that were asked for last.
    asked: BTreeMap<LogKey, u64>,
    /// How far each log was cleared.
    cleared: BTreeMap<LogKey, u64>,
}

/// A part of a followed log that may go.
#[derive(Debug, Default)]
pub(crate) struct ReplicaPiece {
    /// Up to here it may go.
    pub(crate) length: u64,
    pub(crate) going: Amount,
    /// Whether nothing behind it may go.
    pub(crate) is_last: bool,
    /// Because of whom what lies behind it stays.
    pub(crate) held_back_by: Option<LogKey>,
    /// What stays though it is merged here.
    pub(crate) staying: Amount,
}

impl Keeping {
    /// Learns from news that was merged what its authors had seen.
    pub(super) fn hear(&mut self, news: &[News]) {
        for part in news {
            if let Some(commit) = part.commits.last() {
                let mut clock = commit.clock.clone();
                clock.advance(part.device, part.applied);
                self.published.note(part.author, clock);
            }
        }
    }
}

impl Core {
    /// A member says how far it is.
    pub(crate) fn hear_clock(&mut self, member: LogKey, clock: &Clock) {
        self.keeping.published.note(member, clock.clone());
    }

    /// Gives back a little of what nobody needs. Returns whether there may be more at once.
    pub(super) fn keep_house(
        &mut self,
        around: &Surroundings,
        advance: &mut Advance,
    ) -> Result<bool, Error> {
        if !self.is_tidy_allowed() {
            return Ok(false);
        }
        if self.keeping.walk.is_none() {
            let is_waiting = self.keeping.left > 0;
            if is_waiting {
                self.hear_heads(around, advance)?;
            }
            if !self.limits.forget_deletes || !self.is_walk_due() {
                return self.clear_some(advance);
            }
            self.hear_heads(around, advance)?;
        }
        let after = self.keeping.walk.take().flatten();
        let piece = self.collect_piece(after.as_ref(), Mode::Collect)?;
        let keeping = &mut self.keeping;
        keeping.leaving += piece.held_back.values().map(|amount| amount.count).sum::<u64>();
        advance.committed |= piece.committed;
        match piece.last {
            Some(last) => keeping.walk = Some(Some(last)),
            None => {
                keeping.left = std::mem::take(&mut keeping.leaving);
                keeping.walked_at = self.primary.log().len();
                self.keeping.walked_with = self.seen_by_all();
            }
        }
        Ok(true)
    }

    /// Whether anything may be given back: not by a device that may not write, or was removed, whom
    /// nobody tells what others have seen; and not in the midst of a state that is being joined.
    pub(crate) fn is_tidy_allowed(&self) -> bool {
        self.refusal().is_none()
            && self.is_active(&self.key())
            && self.absorbing.is_none()
            && self.primary.ahead().is_empty()
    }

    /// A walk looks at every tombstone. So it waits until as many blocks were written, or are known to
    /// have been seen by all, as there were tombstones left.
    fn is_walk_due(&self) -> bool {
        let keeping = &self.keeping;
        let pause = self.limits.tidy_blocks.max(keeping.left);
        let is_seen = || self.seen_by_all() >= keeping.walked_with.saturating_add(pause);
        self.primary.log().len() >= keeping.walked_at.saturating_add(pause)
            || (keeping.left > 0 && is_seen())
    }

    /// Blocks of all logs together that every member is known to have seen.
    fn seen_by_all(&self) -> u64 {
        let members: Vec<_> =
            self.others().map(|key| self.keeping.published.newest(&key)).collect();
        let seen = |device: DeviceId, at: Applied| {
            let least = members.iter().map(|clock| clock.length(device)).min();
            least.map_or(at.length, |least| least.min(at.length))
        };
        let clock = self.primary.clock();
        clock.iter().map(|(device, at)| seen(device, at)).fold(0, u64::saturating_add)
    }

    /// The other members.
    fn others(&self) -> impl Iterator<Item = LogKey> + '_ {
        let me = self.key();
        let others = self.members().iter().filter(move |one| one.is_active() && one.key != me);
        others.map(|member| member.key)
    }

    /// Goes through some tombstones, those behind `after`.
    pub(crate) fn collect_piece(
        &mut self,
        after: Option<&Bytes>,
        mode: Mode,
    ) -> Result<Piece, Error> {
        let grounds = self.grounds()?;
        let now_ms = self.now_ms();
        self.primary.collect(&grounds, after, mode, now_ms)
    }

    /// What decides on tombstones, as far as it is known now.
    fn grounds(&mut self) -> Result<Grounds, Error> {
        let clock = self.primary.whole_clock()?;
        self.keeping.published.ripen(|device| clock.length(device));
        let published = &self.keeping.published;
        let seen = |key| Seen {
            key,
            applied: published.applied(&key).cloned().unwrap_or_default(),
            newest: published.newest(&key),
        };
        let me = self.key();
        let ended = self.members().iter().filter(|one| !one.is_active() && one.key != me);
        let ended = ended.map(|member| Ended {
            key: member.key,
            device: member.device,
            cut: member.cut.map(|cut| cut.length),
            unsettled: if member.cut.is_some() { self.silent_on(&member.key) } else { Vec::new() },
        });
        let sources = self.statements().filter_map(|statement| match &statement.claim {
            Claim::Source { key, .. } => Some(*key),
            _ => None,
        });
        Ok(Grounds {
            members: self.others().map(seen).collect(),
            ended: ended.collect(),
            sources: sources.collect(),
            clock,
            #[cfg(test)]
            without: None,
        })
    }

    /// Members who have not said how far they had applied a log that counts no further than somebody
    /// had.
    fn silent_on(&self, removed: &LogKey) -> Vec<LogKey> {
        let said = self.statements().filter_map(|statement| match &statement.claim {
            Claim::Remove { key, .. } | Claim::Applied { key, .. } if key == removed => {
                Some(statement.author)
            }
            _ => None,
        });
        let said: BTreeSet<LogKey> = said.collect();
        self.others().chain([self.key()]).filter(|key| !said.contains(key)).collect()
    }

    /// Reads what members had seen when their logs were as long as they are here: of some nobody here
    /// hears otherwise. Asks for the heads that are not here, of those who are not connected.
    pub(crate) fn hear_heads(
        &mut self,
        around: &Surroundings,
        advance: &mut Advance,
    ) -> Result<(), Error> {
        for key in self.others().collect::<Vec<_>>() {
            let Some(following) = self.following.get_mut(&key) else { continue };
            let length = following.follower.bee().log().len();
            if length <= 1 || self.keeping.heads.get(&key) == Some(&length) {
                continue;
            }
            let applied = self.primary.clock().length(following.follower.device());
            if applied > 1
                && let Ok(HeadClock::Here(clock)) = following.follower.clock_at(applied)
            {
                // The head may not be here.
                self.keeping.published.note(key, clock);
            }
            match following.follower.clock_at(length) {
                Ok(HeadClock::Here(clock)) => {
                    self.keeping.heads.insert(key, length);
                    self.keeping.published.note(key, clock);
                }
                Ok(HeadClock::Missing(block)) => {
                    let is_connected = around.reachable.iter().any(|peer| peer.key == key);
                    if !is_connected && self.keeping.asked.insert(key, block) != Some(block) {
                        advance.wants.push((key, std::iter::once(block..block + 1).collect()));
                    }
                }
                Err(FollowError::Author(_)) => {
                    self.keeping.heads.insert(key, length);
                }
                Err(FollowError::Here(error)) => return Err(error),
            }
        }
        Ok(())
    }

    /// Clears a part of one log, once there is enough to clear. Returns whether there may be more.
    fn clear_some(&mut self, advance: &mut Advance) -> Result<bool, Error> {
        for key in self.followed() {
            let cleared = self.keeping.cleared.get(&key).copied().unwrap_or_default();
            let bound = self.clearing_bound(&key).length;
            if bound < cleared.saturating_add(self.limits.tidy_blocks) {
                continue;
            }
            let length = bound.min(cleared.saturating_add(PIECE_BLOCKS));
            self.clear(&key, length, advance)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// The logs that are followed.
    pub(crate) fn followed(&self) -> Vec<LogKey> {
        self.following.keys().copied().collect()
    }

    /// Whether this device keeps all that there is.
    pub(crate) fn is_mirror(&self) -> bool {
        self.member(&self.key()).is_some_and(|member| member.role == DeviceRole::Mirror)
    }

    /// The logs of which all blocks are wanted: of a mirror, those of all who were not thrown out.
    pub(crate) fn mirrored(&self) -> Vec<LogKey> {
        let is_kept = |key: &LogKey| !self.is_removed(key);
        let all = self.following.keys().copied().filter(is_kept);
        if self.is_mirror() { all.collect() } else { Vec::new() }
    }

    /// How far a followed log is needed here no more, by nobody.
    pub(crate) fn clearing_bound(&self, key: &LogKey) -> Bound {
        let me = self.key();
        if self.is_mirror() {
            return Bound { length: 0, held_back_by: Some(me) };
        }
        let others: Vec<_> =
            self.others().map(|other| (other, self.keeping.published.newest(&other))).collect();
        let device = device_of(key);
        let others = others.iter().map(|(other, clock)| (*other, clock));
        bound((*key, device), self.applied(device), others)
    }

    /// How far nobody would need the own log any more, if another one took over.
    pub(crate) fn own_clearing_bound(&self) -> Result<Bound, Error> {
        let (me, device) = (self.key(), self.primary.device());
        if self.is_mirror() {
            return Ok(Bound { length: 0, held_back_by: Some(me) });
        }
        let others: Vec<_> =
            self.others().map(|other| (other, self.keeping.published.newest(&other))).collect();
        let others = others.iter().map(|(other, clock)| (*other, clock));
        let own = self.primary.whole_clock()?.length(device);
        let seen = bound((me, device), own, others);
        // Behind the last own commit nothing is news to anybody.
        let is_all = seen.held_back_by.is_none();
        Ok(if is_all { Bound { length: self.primary.log().len(), ..seen } } else { seen })
    }

    /// The blocks of a followed log below `length` that may go.
    pub(crate) fn clearable(&self, key: &LogKey, length: u64) -> Result<Vec<Range<u64>>, Error> {
        let Some(following) = self.following.get(key) else { return Ok(Vec::new()) };
        let follower = &following.follower;
        let applied = self.applied(follower.device());
        debug_assert!(length <= applied, "what is not applied is never cleared");
        let kept = match follower.landmarks(applied) {
            Ok(kept) => kept,
            Err(FollowError::Here(error)) => return Err(error),
            // What nobody can read, nobody has to keep.
            Err(FollowError::Author(_)) => BTreeSet::new(),
        };
        Ok(clearable(follower.bee().log(), length.min(applied), &kept))
    }

    /// What of a followed log may go next, behind what lies below `from`; if it is so wished, as far as
    /// it is merged here, whoever may still lack it.
    pub(crate) fn replica_piece(
        &self,
        key: &LogKey,
        from: u64,
        even_for_others: bool,
    ) -> Result<ReplicaPiece, Error> {
        let Some(following) = self.following.get(key) else { return Ok(ReplicaPiece::default()) };
        let follower = &following.follower;
        let applied = self.applied(follower.device());
        let mut bound = self.clearing_bound(key);
        if even_for_others && bound.held_back_by != Some(self.key()) {
            bound = Bound { length: applied, held_back_by: None };
        }
        let length = bound.length.min(from.saturating_add(PIECE_BLOCKS));
        let log = follower.bee().log();
        let amount = |ranges: &[Range<u64>]| {
            let mut amount = Amount::default();
            for range in ranges {
                let held = log.held(range.clone()).iter().map(|run| run.end - run.start).sum();
                amount.add(Amount { count: held, bytes: log.held_bytes(range.clone())? });
            }
            Ok::<_, Error>(amount)
        };
        let going: Vec<_> = self
            .clearable(key, length)?
            .into_iter()
            .filter_map(|range| {
                let range = range.start.max(from)..range.end;
                (range.start < range.end).then_some(range)
            })
            .collect();
        let staying = self
            .clearable(key, applied)?
            .into_iter()
            .filter_map(|range| {
                let range = range.start.max(bound.length)..range.end;
                (range.start < range.end).then_some(range)
            })
            .collect::<Vec<_>>();
        Ok(ReplicaPiece {
            length,
            going: amount(&going)?,
            is_last: length >= bound.length,
            held_back_by: bound.held_back_by,
            staying: amount(&staying)?,
        })
    }

    /// Clears the blocks of a followed log below `length`, but for those that following goes on from.
    ///
    /// What was joined of them is on the disk before any of them goes.
    pub(crate) fn clear(
        &mut self,
        key: &LogKey,
        length: u64,
        advance: &mut Advance,
    ) -> Result<(), Error> {
        let ranges = self.clearable(key, length)?;
        self.keeping.cleared.insert(*key, length);
        let Some(following) = self.following.get(key).filter(|_| !ranges.is_empty()) else {
            return Ok(());
        };
        self.primary.log().sync()?;
        following.follower.bee().log().clear_all(&ranges)?;
        advance.cleared.extend(ranges.into_iter().map(|range| (*key, range)));
        Ok(())
    }
}
