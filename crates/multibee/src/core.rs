//! A device's whole state behind one lock: its primary, the logs it follows, who belongs to it.

mod absorbing;
mod branches;
mod keeping;
mod membership;
mod moving;
mod outdated;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use multibee_btree::{Bee, BeeOptions};
use multibee_log::{BLOCK_LEN_MAX, Durability, Log, LogKey, LogOptions};
use multibee_merge::{Applied, DeviceId};

use crate::broken::BrokenRule;
use crate::catch_up::{Limits, Surroundings};
use crate::chain::names;
use crate::event::Event;
use crate::follow::{FollowError, Follower, Hint, MERGE_BLOCKS_MAX, MERGE_BYTES_MAX, Step};
use crate::home::Home;
use crate::members::{Member, Membership};
use crate::merging::{Merged, check};
use crate::news::News;
use crate::parting::Parting;
use crate::primary::{Primary, tag_at};
use crate::progress::Progress;
use crate::setup::{Current, Setup};
use crate::statement::{Branch, Claim, Extent, Statement};
use crate::{DeviceRole, Error};
pub(crate) use absorbing::untagged;
use absorbing::{Absorbing, Unwant};
use keeping::Keeping;
use moving::Leaver;
use outdated::Outdated;
use source::Source;

/// Bytes of decoded blocks kept for each followed log: its blocks are read once.
const FOLLOWED_CACHE_BYTES: u64 = 1 << 20;

/// A log that is followed.
#[derive(Debug)]
pub(crate) struct Following {
    pub(crate) follower: Follower,
    pub(crate) stuck: Option<String>,
    /// The wants as they were said last, by first block and end.
    said: Option<(u64, u64)>,
    /// The length of the log as it was found here when the database was opened.
    opened_at: u64,
    /// A length of the log at which its author had seen nothing that is news here.
    covered: u64,
    /// The version of its author's state that was absorbed last.
    absorbed: u64,
    /// What comes next names another history of a third log than is known here: its author's state is
    /// absorbed, once it does so no more.
    waits: bool,
}

impl Following {
    /// Whether these blocks were not asked for yet, as part of a longer list at the latest.
    fn is_new_want(&mut self, ranges: &[Range<u64>]) -> bool {
        let (Some(first), Some(last)) = (ranges.first(), ranges.last()) else { return false };
        let known = self.said.is_some_and(|(start, end)| end == last.end && start <= first.start);
        if !known {
            self.said = Some((first.start, last.end));
        }
        !known
    }
}

/// What came of an advance.
#[derive(Debug, Default)]
pub(crate) struct Advance {
    /// Blocks to ask peers for.
    pub(crate) wants: Vec<(LogKey, Vec<Range<u64>>)>,
    /// Blocks not to ask for any more.
    pub(crate) unwants: Vec<Unwant>,
    /// Logs that are followed from now on.
    pub(crate) new_logs: Vec<Log>,
    /// Logs, the own one aside, that have grown otherwise than by what peers gave.
    pub(crate) grown: Vec<LogKey>,
    /// Logs that are read no longer.
    pub(crate) old_logs: Vec<LogKey>,
    /// Blocks that are not here any more.
    pub(crate) cleared: Vec<(LogKey, Range<u64>)>,
    /// What to tell the user.
    pub(crate) events: Vec<Event>,
    /// Whether the own log grew.
    pub(crate) committed: bool,
    /// Whether there is more to do at once.
    pub(crate) is_unfinished: bool,
}

impl Advance {
    /// What came of another step, too.
    pub(crate) fn join(&mut self, other: Self) {
        self.wants.extend(other.wants);
        self.unwants.extend(other.unwants);
        self.new_logs.extend(other.new_logs);
        self.grown.extend(other.grown);
        self.cleared.extend(other.cleared);
        self.old_logs.extend(other.old_logs);
        self.events.extend(other.events);
        self.committed |= other.committed;
        self.is_unfinished |= other.is_unfinished;
    }
}

/// Where and how a database keeps its own log.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) home: Home,
    pub(crate) setup: Setup,
    /// What all handles read.
    pub(crate) current: Arc<Current>,
}

/// The state.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) primary: Primary,
    place: Place,
    following: BTreeMap<LogKey, Following>,
    statements: BTreeMap<[u8; 32], Statement>,
    membership: Membership,
    sources: BTreeMap<LogKey, Source>,
    absorbing: Option<Absorbing>,
    /// Following was found to be better than absorbing, until the next catch-up.
    is_following: bool,
    /// It may turn out soon that absorbing is better: no more is asked for than is sure to be of use.
    is_following_in_parts: bool,
    progress: Progress,
    limits: Limits,
    /// Another log is being made, to take over.
    is_moving: bool,
    /// Logs that nobody needs any more, and somebody may still read.
    leaving: Vec<Leaver>,
    /// Others know other things of the own log.
    outdated: Option<Outdated>,
    keeping: Keeping,
    /// What peers' clocks say of logs, and how long those were here, where both were found to agree.
    agreed: BTreeMap<(LogKey, DeviceId), (Applied, u64)>,
    /// The named histories of logs that were written twice.
    branches: BTreeMap<LogKey, Vec<Branch>>,
    /// Logs of which somebody has another history, while it is found out where they part.
    partings: BTreeMap<LogKey, Parting>,
}

impl Core {
    /// `statements` are those in the own tree.
    pub(crate) fn open(
        primary: Primary,
        statements: Vec<Statement>,
        place: Place,
        limits: Limits,
    ) -> Result<Self, Error> {
        let statements = statements.into_iter().map(|one| (one.hash(), one)).collect();
        let mut core = Self {
            primary,
            place,
            following: BTreeMap::new(),
            statements,
            membership: Membership::default(),
            sources: BTreeMap::new(),
            absorbing: None,
            is_following: false,
            is_following_in_parts: false,
            progress: Progress::default(),
            limits,
            is_moving: false,
            leaving: Vec::new(),
            outdated: None,
            keeping: Keeping::default(),
            agreed: BTreeMap::new(),
            branches: BTreeMap::new(),
            partings: BTreeMap::new(),
        };
        core.refresh_members(&mut Advance::default())?;
        core.resume_outdated(&mut Advance::default())?;
        Ok(core)
    }

    pub(crate) fn key(&self) -> LogKey {
        self.primary.log().key()
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.place.setup.clock.now_ms()
    }

    pub(crate) fn members(&self) -> &[Member] {
        &self.membership.devices
    }

    pub(crate) fn member(&self, key: &LogKey) -> Option<&Member> {
        self.membership.devices.iter().find(|member| member.key == *key)
    }

    /// Whether the device is a member that was not removed, and whose log is not finished.
    pub(crate) fn is_active(&self, key: &LogKey) -> bool {
        self.member(key).is_some_and(Member::is_active)
    }

    /// Whether the device was thrown out.
    pub(crate) fn is_removed(&self, key: &LogKey) -> bool {
        self.member(key).is_some_and(|member| member.removed_by.is_some())
    }

    /// Keys of recovery secrets that count.
    pub(crate) fn recovery(&self) -> &[LogKey] {
        &self.membership.recovery
    }

    /// The keys by which others may know this device: its own, those of recovery secrets, which may be
    /// all that somebody knows, then those that it goes on for.
    pub(crate) fn names(&self) -> Vec<LogKey> {
        names(self.key(), self.recovery(), self.statements())
    }

    pub(crate) fn statements(&self) -> impl Iterator<Item = &Statement> {
        self.statements.values()
    }

    /// Statements that this one knows and somebody else does not, with their names.
    pub(crate) fn untold<'a>(
        &'a self,
        told: &'a BTreeSet<[u8; 32]>,
    ) -> impl Iterator<Item = (&'a [u8; 32], &'a Statement)> {
        self.statements.iter().filter(|(hash, _)| !told.contains(*hash))
    }

    /// How many statements there are. They are only ever added.
    pub(crate) fn statement_count(&self) -> usize {
        self.statements.len()
    }

    pub(crate) const fn following(&self) -> &BTreeMap<LogKey, Following> {
        &self.following
    }

    /// The tree of a log that is served: the own one, or one that is followed.
    pub(crate) fn bee(&self, key: &LogKey) -> Option<&Bee> {
        if *key == self.key() {
            return Some(self.primary.bee());
        }
        Some(self.following.get(key)?.follower.bee())
    }

    /// Blocks of others that are known to be news and not yet merged.
    pub(crate) fn remaining(&self) -> u64 {
        self.following.values().map(|following| following.follower.remaining()).sum()
    }

    /// How far a log is applied.
    pub(crate) fn applied(&self, device: DeviceId) -> u64 {
        self.primary.clock().length(device)
    }

    /// Takes a peer's word for where a log's news lies.
    pub(crate) fn take_hint(&mut self, key: &LogKey, hint: Hint) {
        if let Some(following) = self.following.get_mut(key) {
            following.follower.take_hint(hint);
        }
    }

    /// How far the catch-up that is under way has come, or the last one.
    pub(crate) const fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Merges what is here, in one commit, and says what is still wanted. To be called again until
    /// it is not [unfinished](Advance::is_unfinished).
    ///
    /// # Errors
    ///
    /// This machine failed. A log that can't be read further is an event, and holds up no other.
    pub(crate) fn advance(&mut self, around: &Surroundings) -> Result<Advance, Error> {
        let mut advance = Advance::default();
        self.forget_leavers(&mut advance)?;
        self.look_for_own(around, &mut advance)?;
        if self.outdated.is_some() {
            advance.is_unfinished = self.step_outdated(&mut advance)?;
            return Ok(advance);
        }
        self.look_for_partings(around)?;
        if self.name_branches(&mut advance)? {
            advance.is_unfinished = true;
            return Ok(advance);
        }
        self.choose(around, &mut advance)?;
        advance.is_unfinished = self.step_sources(&mut advance)?;
        if advance.is_unfinished {
            return Ok(advance);
        }
        if self.absorbing.is_some() {
            // What is absorbed is not followed meanwhile: most of it will be no news any more.
            advance.is_unfinished = self.step_absorbing(&mut advance)?;
            return Ok(advance);
        }
        let news = self.ready(&mut advance)?;
        let news = self.without_misplaced(news)?;
        if self.names_other_history(&news, &mut advance)? {
            advance.is_unfinished = true;
            return Ok(advance);
        }
        if news.is_empty() {
            advance.is_unfinished = self.keep_house(around, &mut advance)?;
            return Ok(advance);
        }
        let merged = self.primary.merge(&news, self.now_ms())?;
        self.keeping.hear(&news);
        (advance.committed, advance.is_unfinished) = (true, true);
        if merged.statements {
            self.reread_statements(&mut advance)?;
        }
        advance.events.extend(events(&merged));
        Ok(advance)
    }

    /// What can be merged now, of all logs. Adds to the wants in `advance`.
    fn ready(&mut self, advance: &mut Advance) -> Result<Vec<News>, Error> {
        let mut ready: Vec<News> = Vec::new();
        let (mut blocks, mut bytes) = (0, 0);
        let clock = self.primary.clock().clone();
        let part = if self.is_following_in_parts { self.limits.part() } else { u64::MAX };
        for (key, following) in &mut self.following {
            if following.stuck.is_some() {
                continue;
            }
            // What one commit has no room for comes with the next.
            if blocks >= MERGE_BLOCKS_MAX || bytes >= MERGE_BYTES_MAX {
                break;
            }
            let follower = &mut following.follower;
            let cut =
                self.membership.devices.iter().find(|one| one.key == *key).and_then(|one| one.cut);
            let head = follower.bee().log().len();
            let cut = cut.filter(|_| !BrokenRule::TakeBeyondCut.is_broken());
            let head = cut.map_or(head, |cut| head.min(cut.length));
            let named = self.branches.get(key).and_then(|branches| branches.first());
            let head = named.map_or(head, |branch| head.min(branch.from));
            let step = follower.next(clock.length(follower.device()), head, part);
            match step.and_then(checked) {
                Ok(Step::Idle) => {}
                Ok(Step::Ready(news)) => {
                    blocks += news.block_count();
                    bytes += news.byte_count();
                    ready.push(news);
                }
                Ok(Step::Need(ranges)) => {
                    if following.is_new_want(&ranges) {
                        advance.wants.push((*key, ranges));
                    }
                }
                Err(FollowError::Here(error)) => return Err(error),
                Err(FollowError::Author(bad)) => {
                    let why = bad.to_string();
                    advance.events.push(Event::Stuck { device: *key, why: why.clone() });
                    following.stuck = Some(why);
                }
            }
        }
        Ok(ready)
    }

    /// Learns statements that a peer handed over. Bad ones are left out, and said to be so.
    pub(crate) fn learn(&mut self, statements: Vec<Statement>) -> Result<Advance, Error> {
        let mut advance = Advance::default();
        if self.is_disproved() {
            self.become_outdated(self.primary.log().len(), &mut advance)?;
        }
        if self.outdated.is_some() {
            self.hear(statements, &mut advance);
            return Ok(advance);
        }
        let new: Vec<_> = statements
            .into_iter()
            .filter(|statement| !self.statements.contains_key(&statement.hash()))
            .collect();
        if !new.is_empty() && self.primary.learn(&new, self.now_ms())? {
            advance.committed = true;
            self.reread_statements(&mut advance)?;
        }
        Ok(advance)
    }

    fn say(&mut self, claims: Vec<Claim>) -> Result<Advance, Error> {
        let mut statements = Vec::new();
        for claim in claims {
            let time = self.primary.stamp(self.now_ms());
            statements.extend(Statement::sign(self.primary.log(), time, claim));
        }
        self.state(&statements)
    }

    /// Writes statements as an own commit.
    fn state(&mut self, statements: &[Statement]) -> Result<Advance, Error> {
        self.refusal().map_or(Ok(()), Err)?;
        let mut advance = Advance { committed: true, ..Advance::default() };
        self.primary.state(statements, self.now_ms())?;
        self.reread_statements(&mut advance)?;
        Ok(advance)
    }

    fn reread_statements(&mut self, advance: &mut Advance) -> Result<(), Error> {
        let statements = self.primary.statements()?;
        self.statements = statements.into_iter().map(|one| (one.hash(), one)).collect();
        advance.events.push(Event::DevicesChanged);
        let removed_by =
            |core: &Self| core.member(&core.key()).and_then(|member| member.removed_by);
        let before = removed_by(self);
        self.refresh_members(advance)?;
        if let (None, Some(by)) = (before, removed_by(self)) {
            advance.events.push(Event::Removed { by });
        }
        Ok(())
    }

    /// Opens the logs of new members, and says how far those of removed ones are applied.
    fn refresh_members(&mut self, advance: &mut Advance) -> Result<(), Error> {
        self.membership = Membership::of(self.key(), self.statements.values());
        self.refresh_branches();
        let me = self.key();
        let keys: Vec<_> = self.membership.devices.iter().map(|member| member.key).collect();
        for key in keys.into_iter().filter(|key| *key != me) {
            if self.is_done_with(&key) {
                self.part_with(key, advance)?;
            } else if !self.following.contains_key(&key) && !self.is_leaving(&key) {
                let log = self.open_replica(key)?;
                advance.new_logs.push(log);
            }
        }
        for (key, following) in &mut self.following {
            let member = self.membership.devices.iter().find(|member| member.key == *key);
            let is_read_only = member.is_some_and(|member| member.role == DeviceRole::ReadOnly)
                && !BrokenRule::IgnoreRole.is_broken();
            if following.follower.is_read_only && !is_read_only {
                following.stuck = None;
            }
            following.follower.is_read_only = is_read_only;
        }
        let mut claims = Vec::new();
        let stated = self.stated();
        for member in &self.membership.devices {
            let Some(cut) = member.cut else { continue };
            // A removal that did not count in the end may have come before: more is applied since.
            let is_news = !stated.contains(&member.key) || self.applied(member.device) > cut.length;
            if self.is_active(&me) && member.key != me && is_news {
                let key = member.key;
                claims.push(Claim::Applied { key, applied: self.extent(&key)? });
            }
        }
        self.refresh_sources(advance)?;
        if !claims.is_empty() {
            let said = self.say(claims)?;
            advance.new_logs.extend(said.new_logs);
            advance.old_logs.extend(said.old_logs);
            advance.committed = true;
        }
        Ok(())
    }

    fn open_log(&self, key: LogKey) -> Result<Log, Error> {
        let options = LogOptions {
            durability: Durability::Buffered,
            block_len_max: BLOCK_LEN_MAX,
            ..LogOptions::default()
        };
        self.place.home.replica(key, options)
    }

    fn open_replica(&mut self, key: LogKey) -> Result<Log, Error> {
        let log = self.open_log(key)?;
        let options = BeeOptions { cache_bytes: FOLLOWED_CACHE_BYTES, ..BeeOptions::default() };
        let bee = Bee::open(log.clone(), options)?;
        let follower = Follower::new(bee);
        let opened_at = log.len();
        let (stuck, said) = (None, None);
        let following = Following {
            follower,
            stuck,
            said,
            opened_at,
            covered: opened_at,
            absorbed: 0,
            waits: false,
        };
        self.following.insert(key, following);
        Ok(log)
    }

    /// The logs of removed devices of which we have said how far they are applied here.
    fn stated(&self) -> BTreeSet<LogKey> {
        let me = self.key();
        let own = self.statements.values().filter(|statement| statement.author == me);
        let removed = |statement: &Statement| match statement.claim {
            Claim::Remove { key, .. } | Claim::Applied { key, .. } => Some(key),
            _ => None,
        };
        own.filter_map(removed).collect()
    }

    /// How far a log is applied, and which history of it.
    fn extent(&self, key: &LogKey) -> Result<Extent, Error> {
        let length = self.applied(DeviceId::of_key(key.as_bytes()));
        let tag = match self.following.get(key) {
            Some(following) if length > 0 => tag_at(following.follower.bee().log(), length)?,
            _ => None,
        };
        Ok(Extent { length, tag })
    }
}

fn checked(step: Step) -> Result<Step, FollowError> {
    if let Step::Ready(news) = &step {
        check(news)?;
    }
    Ok(step)
}

fn events(merged: &Merged) -> Vec<Event> {
    let mut events = vec![Event::Merged { blocks: merged.blocks, keys: merged.keys }];
    let conflicts = merged.conflicts.iter().cloned();
    events.extend(conflicts.map(|key| Event::Conflict { key }));
    let settled = merged.settled.iter().cloned();
    events.extend(settled.map(|key| Event::ConflictResolved { key }));
    let ahead = merged.ahead.iter();
    events.extend(ahead.map(|(&device, &by_ms)| Event::ClockAhead { device, by_ms }));
    events
}
