//! Absorbing connected devices' states, and when to.

use std::ops::Range;

use multibee_log::LogKey;
use multibee_merge::{Applied, Clock, DeviceId, Digest};

use super::{Advance, Core, Following, events};
use crate::Error;
use crate::absorb::{Absorb, AbsorbStep, Batch, Origin, Ours, forked};
use crate::broken::BrokenRule;
use crate::catch_up::{
    Choice, Reachable, Situation, State, Surroundings, Whose, choose, choose_reader,
};
use crate::event::Event;
use crate::follow::FollowError;
use crate::primary::tag_at;

/// A device's state that is being absorbed.
#[derive(Debug)]
pub(crate) struct Absorbing {
    pub(crate) peer: LogKey,
    pub(crate) absorb: Absorb,
}

impl Core {
    /// Chooses how to catch up, given who is connected.
    pub(super) fn choose(
        &mut self,
        around: &Surroundings,
        advance: &mut Advance,
    ) -> Result<(), Error> {
        let reachable = &around.reachable[..];
        let clock = self.primary.whole_clock()?;
        self.note_covered(&clock, reachable);
        let is_here = |key: &LogKey| {
            let mut here = reachable.iter().chain(&around.readers);
            here.any(|peer| peer.key == *key)
        };
        // Whoever is gone may be gone for ever. What it gave is kept.
        self.absorbing.take_if(|absorbing| !is_here(&absorbing.peer));
        let news = self.news(reachable);
        let left = self.left(&clock, reachable, news);
        if left == 0 {
            self.is_following = false;
        }
        if self.absorbing.is_none() {
            let ours = Situation {
                clock: &clock,
                is_new: self.primary.digest() == Digest::EMPTY,
                news,
                is_following: self.is_following,
                news_min: self.limits.news_min,
            };
            let state = |peer: &Reachable| self.state_of(peer);
            let whose = |device, length| self.whose(around, device, length);
            let mut choice = choose(&ours, reachable, state, whose);
            if !matches!(choice, Choice::Absorb(_)) {
                let is_over = |key: &LogKey| self.is_short_of_end(key);
                let reader = choose_reader(&clock, around, state, is_over, whose);
                choice = reader.map_or(choice, Choice::Absorb);
            }
            self.is_following_in_parts = choice == Choice::FollowInParts;
            match choice {
                Choice::Follow | Choice::FollowInParts => {}
                Choice::Absorb(peer) => self.begin(peer, None, advance),
                Choice::Probe(peer, budget) => self.begin(peer, Some(budget), advance),
            }
        }
        // Without anybody who would know, nothing new is known of what is left.
        if !reachable.is_empty() {
            let to_do = self.absorbing.as_ref().map_or(1.0, |one| 1.0 - one.absorb.fraction());
            // At least one until it is done.
            self.progress.update(if left == 0 { 0 } else { ((left as f64 * to_do) as u64).max(1) });
        }
        Ok(())
    }

    /// The device whose state is being absorbed.
    pub(crate) fn absorbing_from(&self) -> Option<LogKey> {
        self.absorbing.as_ref().map(|absorbing| absorbing.peer)
    }

    /// Whether everything is compared in what is being absorbed; `None` until it is known.
    #[cfg(feature = "testing")]
    pub(crate) fn is_absorbing_whole(&self) -> Option<bool> {
        self.absorbing.as_ref()?.absorb.is_whole()
    }

    /// The sum of the versions of other devices' states that were absorbed: it grows with each.
    #[cfg(feature = "testing")]
    pub(crate) fn absorbed_sum(&self) -> u64 {
        self.following.values().map(|following| following.absorbed).sum()
    }

    /// Takes one step of what is being absorbed. Returns whether there may be more at once.
    pub(super) fn step_absorbing(&mut self, advance: &mut Advance) -> Result<bool, Error> {
        let Some(mut absorbing) = self.absorbing.take() else { return Ok(false) };
        let peer = absorbing.peer;
        loop {
            let clock = self.primary.whole_clock()?;
            let ours =
                Ours { clock: &clock, bee: self.primary.bee(), device: self.primary.device() };
            match absorbing.absorb.next(&ours) {
                Ok(AbsorbStep::Target(mut theirs)) => {
                    if BrokenRule::AbsorbWithoutTags.is_broken() {
                        theirs = untagged(&theirs);
                    }
                    if let Some(known) = self.contradiction(&theirs)? {
                        self.become_outdated(known, advance)?;
                        return Ok(true);
                    }
                    if self.is_misplaced(None, &theirs)? {
                        // Another version of it may be in order.
                        self.absorbed_in_vain(peer, absorbing.absorb.version());
                        return Ok(true);
                    }
                    if let Some(event) = self.objection(peer, &theirs)? {
                        self.give_up(peer, event, advance);
                        return Ok(true);
                    }
                    if clock.covers_all(&theirs) {
                        self.absorbed(peer, absorbing.absorb.version());
                        return Ok(true);
                    }
                }
                Ok(AbsorbStep::Need(ranges)) => {
                    if !ranges.is_empty() {
                        advance.wants.push((peer, ranges));
                    }
                    self.absorbing = Some(absorbing);
                    return Ok(false);
                }
                Ok(AbsorbStep::Ready(batch)) => {
                    if !self.is_writer(&peer) && self.has_own_news(peer, &batch, &clock) {
                        let why = "a device that may only read wrote some of what it holds".into();
                        self.give_up(peer, Event::Stuck { device: peer, why }, advance);
                        return Ok(true);
                    }
                    self.join(&batch, advance)?;
                    self.absorbing = Some(absorbing);
                    return Ok(true);
                }
                Ok(AbsorbStep::TooFar) => {
                    self.is_following = true;
                    return Ok(true);
                }
                Ok(AbsorbStep::Done) => {
                    self.absorbed(peer, absorbing.absorb.version());
                    return Ok(true);
                }
                Err(FollowError::Here(error)) => return Err(error),
                Err(FollowError::Author(bad)) => {
                    let event = Event::Stuck { device: peer, why: bad.to_string() };
                    self.give_up(peer, event, advance);
                    return Ok(true);
                }
            }
        }
    }

    /// Joins a batch, and tells of it.
    pub(super) fn join(&mut self, batch: &Batch, advance: &mut Advance) -> Result<(), Error> {
        let before = self.primary.clock().clone();
        let members = &self.membership.devices;
        let key_of = |device| members.iter().find(|one| one.device == device).map(|one| one.key);
        let merged = self.primary.absorb(batch, self.now_ms(), key_of)?;
        advance.committed = true;
        if merged.statements {
            self.reread_statements(advance)?;
        }
        if merged.keys > 0 || batch.is_last {
            advance.events.extend(events(&merged));
        }
        // What was asked for of logs that are now applied is no news any more.
        for (key, following) in &self.following {
            let device = following.follower.device();
            let applied = self.primary.clock().length(device);
            if applied > before.length(device) {
                advance.unwants.push((*key, 0..applied));
            }
        }
        Ok(())
    }

    fn begin(&mut self, peer: LogKey, budget: Option<u64>, advance: &mut Advance) {
        self.want_nothing(advance);
        let Some(following) = self.following.get(&peer) else { return };
        let bee = following.follower.bee().clone();
        let version = bee.log().len();
        let applied = self.applied(following.follower.device());
        let hints = vec![applied, following.opened_at, following.covered];
        let absorb = Absorb::new(bee, Origin::Device, version, hints, budget)
            .in_batches_of(self.limits.absorb_keys);
        self.absorbing = Some(Absorbing { peer, absorb });
    }

    /// Whether something in a device's state was written by itself, and is not applied here.
    fn has_own_news(&self, peer: LogKey, batch: &Batch, clock: &Clock) -> bool {
        self.line_before(peer).into_iter().any(|key| {
            let author = DeviceId::of_key(key.as_bytes());
            batch.has_news_of(author, clock.length(author))
        })
    }

    /// Most of what was asked for may be no news any more, once a state is absorbed. What is news then is
    /// asked for again.
    fn want_nothing(&mut self, advance: &mut Advance) {
        for (key, following) in &mut self.following {
            if let Some((start, end)) = following.said.take() {
                advance.unwants.push((*key, start..end));
            }
        }
    }

    /// A version was absorbed: once is enough.
    fn absorbed(&mut self, peer: LogKey, version: u64) {
        if let Some(following) = self.following.get_mut(&peer) {
            following.waits = false;
            following.covered = following.covered.max(version);
            following.absorbed = following.absorbed.max(version);
        }
    }

    /// A version can't be absorbed as it is: it is not tried again.
    fn absorbed_in_vain(&mut self, peer: LogKey, version: u64) {
        if let Some(following) = self.following.get_mut(&peer) {
            following.absorbed = following.absorbed.max(version);
        }
    }

    fn give_up(&mut self, peer: LogKey, event: Event, advance: &mut Advance) {
        if let Some(following) = self.following.get_mut(&peer) {
            following.stuck = Some(match &event {
                Event::Stuck { why, .. } => why.clone(),
                _ => "it knows another history of a log".into(),
            });
        }
        advance.events.push(event);
    }

    /// Why a state is not to be joined, whatever is in it.
    fn objection(&self, peer: LogKey, theirs: &Clock) -> Result<Option<Event>, Error> {
        let own = self.primary.device();
        let known = |device: DeviceId, length| {
            let log = if device == own {
                Some(self.primary.log())
            } else {
                let mut logs = self.following.values();
                let following = logs.find(|one| one.follower.device() == device);
                following.map(|one| one.follower.bee().log())
            };
            // What can't be read here says nothing about them.
            log.and_then(|log| tag_at(log, length).ok().flatten())
        };
        let fork = forked(theirs, &self.primary.whole_clock()?, known);
        Ok(fork.map(|_| Event::Diverged { peer }))
    }

    /// Whether a device's newest state is at hand, and was not absorbed already.
    fn state_of(&self, peer: &Reachable) -> State {
        let following = self.following.get(&peer.key).filter(|one| one.stuck.is_none());
        let Some(following) = following else { return State::OfNoUse };
        let version = following.follower.bee().log().len();
        if version <= 1 || version < peer.status.length {
            State::OnItsWay
        } else if version > following.absorbed {
            State::AtHand
        } else {
            State::OfNoUse
        }
    }

    fn whose(&self, around: &Surroundings, device: DeviceId, length: u64) -> Whose {
        if let Some(source) = self.source_of(device) {
            let is_stuck = self.sources.get(source).is_none_or(|one| one.stuck.is_some());
            let at_hand = around.sources.get(source).copied().unwrap_or_default();
            return if at_hand >= length && !is_stuck { Whose::AtHand } else { Whose::Nobody };
        }
        if device == self.primary.device() {
            return Whose::Ours;
        }
        let mut logs = self.following.iter();
        // What can't be taken from its log is to be had by absorbing.
        let is_his = |one: &Following| one.follower.device() == device && !one.waits;
        let key = logs.find(|(_, one)| is_his(one)).map(|(key, _)| *key);
        key.map_or(Whose::Nobody, Whose::Device)
    }

    /// Notes which versions of others our clock covers: what they write later is all that differs.
    fn note_covered(&mut self, clock: &Clock, reachable: &[Reachable]) {
        for Reachable { key, status, .. } in reachable {
            if let Some(following) = self.following.get_mut(key)
                && status.ahead.is_empty()
                && status.length > following.covered
                && clock.covers_all(&status.clock)
            {
                following.covered = status.length;
            }
        }
    }

    /// Blocks of news, as far as they are known.
    fn news(&self, reachable: &[Reachable]) -> u64 {
        let news = self.following.values().map(|following| {
            let device = following.follower.device();
            let theirs = reachable.iter().map(|peer| peer.status.clock.length(device)).max();
            following.follower.news(self.applied(device), theirs.unwrap_or_default())
        });
        news.fold(0, u64::saturating_add)
    }

    /// Blocks of news that are left to merge, those that nobody has listed yet included.
    fn left(&self, clock: &Clock, reachable: &[Reachable], news: u64) -> u64 {
        let mut newest = clock.clone();
        reachable.iter().for_each(|peer| newest.merge(&peer.status.clock));
        newest.remove(self.primary.device());
        let is_listed = |device, applied, theirs| {
            let mut logs = self.following.values();
            let following = logs.find(|one| one.follower.device() == device);
            following.is_some_and(|one| one.follower.news(applied, theirs) > 0)
        };
        let beyond = newest.beyond(clock);
        let known = beyond.iter().filter_map(|(device, at)| {
            let applied = clock.length(device);
            (!is_listed(device, applied, at.length)).then(|| at.length - applied)
        });
        known.fold(news, u64::saturating_add)
    }
}

/// What is no longer wanted.
pub(crate) type Unwant = (LogKey, Range<u64>);

/// A clock that does not say which histories of logs it means.
pub(crate) fn untagged(clock: &Clock) -> Clock {
    clock.iter().map(|(device, at)| (device, Applied { tag: None, ..at })).collect()
}
