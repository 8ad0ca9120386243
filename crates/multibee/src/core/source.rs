//! Taking in plain Hyperbees.

use std::collections::BTreeMap;

use multibee_btree::{Bee, BeeOptions, Error as TreeError};
use multibee_log::{Log, LogKey};
use multibee_merge::DeviceId;

use super::{Advance, Core, FOLLOWED_CACHE_BYTES};
use crate::Error;
use crate::absorb::{Absorb, AbsorbStep, Origin, Ours};
use crate::event::Event;
use crate::follow::FollowError;
use crate::merging::device_of;
use crate::primary::tag_at;
use crate::sources::sources;
use crate::statement::Claim;

/// A plain Hyperbee that is or was taken in.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: Option<String>,
    pub(crate) is_ended: bool,
    pub(crate) log: Log,
    pub(crate) stuck: Option<String>,
    /// `None` if the log holds no tree.
    bee: Option<Bee>,
    absorb: Option<Absorb>,
}

impl Core {
    /// All sources, those that have ended included.
    pub(crate) const fn sources(&self) -> &BTreeMap<LogKey, Source> {
        &self.sources
    }

    /// The logs of the sources that are taken in.
    pub(crate) fn source_logs(&self) -> impl Iterator<Item = &Log> {
        self.sources.values().filter(|source| !source.is_ended).map(|source| &source.log)
    }

    /// Has a plain Hyperbee taken in, on all devices.
    pub(crate) fn add_source(
        &mut self,
        key: LogKey,
        name: Option<String>,
    ) -> Result<Advance, Error> {
        let device = device_of(&key);
        if key == self.key() || self.member(&key).is_some() {
            return Err(Error::IsDevice { key });
        }
        let is_taken = self.membership.devices.iter().any(|member| member.device == device);
        let other = self.sources.keys().any(|known| *known != key && device_of(known) == device);
        if is_taken || other {
            return Err(Error::IdTaken { key });
        }
        match self.sources.get(&key) {
            Some(known) if !known.is_ended && (name.is_none() || name == known.name) => {
                Ok(Advance::default())
            }
            _ => self.say([Claim::Source { key, name }].into()),
        }
    }

    /// Has a plain Hyperbee taken in no longer. What was read of it stays.
    pub(crate) fn end_source(&mut self, key: LogKey) -> Result<Advance, Error> {
        match self.sources.get(&key) {
            None => Err(Error::UnknownSource { key }),
            Some(source) if source.is_ended => Ok(Advance::default()),
            Some(_) => self.say([Claim::SourceEnd { key }].into()),
        }
    }

    /// A source's log was cut by its writer: what was read of it can't be taken back, so nothing
    /// more is read.
    pub(crate) fn source_was_cut(&mut self, key: &LogKey) -> Option<Event> {
        let source = self.sources.get_mut(key).filter(|source| source.stuck.is_none())?;
        let why = "its writer has taken back what it had written";
        source.stuck = Some(why.into());
        source.absorb = None;
        Some(Event::Stuck { device: *key, why: why.into() })
    }

    /// Opens the logs of new sources, and closes those of sources that have ended.
    pub(super) fn refresh_sources(&mut self, advance: &mut Advance) -> Result<(), Error> {
        for (key, claim) in sources(&self.membership.devices, self.statements.values()) {
            if let Some(source) = self.sources.get_mut(&key) {
                if claim.is_ended && !source.is_ended {
                    source.absorb = None;
                    advance.old_logs.push(key);
                } else if source.is_ended && !claim.is_ended {
                    advance.new_logs.push(source.log.clone());
                }
                (source.name, source.is_ended) = (claim.name, claim.is_ended);
                continue;
            }
            let log = self.open_log(key)?;
            let options = BeeOptions { cache_bytes: FOLLOWED_CACHE_BYTES, ..BeeOptions::default() };
            let (bee, stuck) = match Bee::open(log.clone(), options) {
                Ok(bee) => (Some(bee), None),
                Err(TreeError::Log(error)) => return Err(error.into()),
                Err(error) => (None, Some(error.to_string())),
            };
            if !claim.is_ended {
                advance.new_logs.push(log.clone());
            }
            let (name, is_ended) = (claim.name, claim.is_ended);
            self.sources.insert(key, Source { name, is_ended, log, stuck, bee, absorb: None });
        }
        Ok(())
    }

    /// Takes in what is new of the sources, one commit at most. Returns whether there may be more.
    pub(super) fn step_sources(&mut self, advance: &mut Advance) -> Result<bool, Error> {
        let keys: Vec<LogKey> = self.sources.keys().copied().collect();
        for key in keys {
            if self.step_source(key, advance)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn step_source(&mut self, key: LogKey, advance: &mut Advance) -> Result<bool, Error> {
        loop {
            let Some(mut absorb) = self.source_news(&key, advance)? else { return Ok(false) };
            let clock = self.primary.whole_clock()?;
            let ours =
                Ours { clock: &clock, bee: self.primary.bee(), device: self.primary.device() };
            let step = absorb.next(&ours);
            let keep = |core: &mut Self| {
                if let Some(source) = core.sources.get_mut(&key) {
                    source.absorb = Some(absorb);
                }
            };
            match step {
                Ok(AbsorbStep::Target(_)) => keep(self),
                Ok(AbsorbStep::Need(ranges)) => {
                    keep(self);
                    if !ranges.is_empty() {
                        advance.wants.push((key, ranges));
                    }
                    return Ok(false);
                }
                Ok(AbsorbStep::Ready(batch)) => {
                    keep(self);
                    self.join(&batch, advance)?;
                    return Ok(true);
                }
                Ok(AbsorbStep::Done | AbsorbStep::TooFar) => return Ok(true),
                Err(FollowError::Here(error)) => return Err(error),
                Err(FollowError::Author(bad)) => {
                    let why = bad.to_string();
                    if let Some(source) = self.sources.get_mut(&key) {
                        source.stuck = Some(why.clone());
                    }
                    advance.events.push(Event::Stuck { device: key, why });
                    return Ok(false);
                }
            }
        }
    }

    /// What is being taken in of a source, or is to be from now on.
    fn source_news(
        &mut self,
        key: &LogKey,
        advance: &mut Advance,
    ) -> Result<Option<Absorb>, Error> {
        let applied = self.primary.clock().get(device_of(key)).unwrap_or_default();
        let begun = self.primary.ahead().length(device_of(key));
        let Some(source) = self.sources.get_mut(key) else { return Ok(None) };
        let Some(bee) = source.bee.as_ref().filter(|_| source.stuck.is_none() && !source.is_ended)
        else {
            return Ok(None);
        };
        if let Some(absorb) = source.absorb.take() {
            return Ok(Some(absorb));
        }
        // What was begun is ended first: a key that was joined from it and deleted since would be
        // overlooked.
        let version = if begun > applied.length { begun } else { source.log.len() };
        if version < 2 || version <= applied.length || version > source.log.len() {
            return Ok(None);
        }
        let tag = tag_at(&source.log, applied.length)?;
        if applied.length > 0 && tag.is_some() && applied.tag.is_some() && tag != applied.tag {
            // Another device has read another history of it.
            let why = "it has another history than what was read of it before";
            source.stuck = Some(why.into());
            advance.events.push(Event::Stuck { device: *key, why: why.into() });
            return Ok(None);
        }
        Ok(Some(Absorb::new(bee.clone(), Origin::Plain, version, Vec::new(), None)))
    }

    /// The source with this short id.
    pub(super) fn source_of(&self, device: DeviceId) -> Option<&LogKey> {
        self.sources.keys().find(|key| device_of(key) == device)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use multibee_log::{
        Durability, KeyPair, LogOptions, MemoryStorage, Request, RequestBlock, RequestUpgrade,
    };

    use super::*;
    use crate::catch_up::Surroundings;
    use crate::core::Place;
    use crate::devices::AddOptions;
    use crate::home::Home;
    use crate::primary::Primary;
    use crate::setup::{Current, Setup};
    use crate::{RangeSpec, View};

    fn plain() -> Bee {
        let keys = KeyPair::from_seed([9; 32]);
        let log = Log::create(MemoryStorage::default(), keys, LogOptions::default()).unwrap();
        Bee::open(log, BeeOptions::default()).unwrap()
    }

    fn open(home: &Home) -> Core {
        let options = || LogOptions { durability: Durability::Buffered, ..LogOptions::default() };
        let log = match home.open_primary(options()) {
            Ok(log) => log,
            Err(_) => home.create_primary(KeyPair::from_seed([1; 32]), options()).unwrap(),
        };
        let bee = Bee::open(log, BeeOptions::default()).unwrap();
        bee.create_header().unwrap();
        let primary = Primary::open(bee, std::sync::Arc::default(), 0).unwrap();
        let limits = crate::catch_up::Limits::default();
        let setup = Setup::new(&crate::Options::default());
        let current = Current::new(primary.bee().clone(), primary.device());
        let statements = primary.statements().unwrap();
        Core::open(primary, statements, Place { home: home.clone(), setup, current }, limits)
            .unwrap()
    }

    /// Hands over everything that the source has and the replica lacks.
    fn give(from: &Log, to: &Log) {
        let (start, length) = (to.len(), from.len() - to.len());
        let upgrade = (length > 0).then_some(RequestUpgrade { start, length });
        let request = Request { upgrade, manifest: start == 0, ..Request::default() };
        to.apply(&from.prove(&request).unwrap()).unwrap();
        for index in (0..from.len()).filter(|&seq| !to.has(seq)) {
            let nodes = to.missing_nodes(2 * index).unwrap();
            let block = Some(RequestBlock { index, nodes });
            to.apply(&from.prove(&Request { block, ..Request::default() }).unwrap()).unwrap();
        }
    }

    fn contents(core: &Core) -> Vec<(Bytes, Bytes)> {
        let view = View::new(
            core.primary.bee().snapshot().unwrap(),
            core.primary.device(),
            std::sync::Arc::default(),
        );
        assert_eq!(view.scan().unwrap().digest, core.primary.digest());
        let entries = view.range(RangeSpec::default());
        entries.map(|entry| entry.unwrap()).map(|entry| (entry.key, entry.value)).collect()
    }

    fn advance(core: &mut Core) -> bool {
        core.advance(&Surroundings::default()).unwrap().is_unfinished
    }

    /// A key that was taken in from a version, and deleted before all of that version was, is gone
    /// in the end: whatever else happens in between, a restart among it.
    #[test]
    fn a_version_that_was_begun_is_ended_first() {
        for restart in [false, true] {
            let (bee, home) = (plain(), Home::memory());
            let put_all = |keys: std::ops::Range<u32>| {
                let mut batch = bee.batch().unwrap();
                for key in keys {
                    batch.put(&key.to_be_bytes(), Some("1"), Bytes::new()).unwrap();
                }
                batch.flush().unwrap();
            };
            put_all(0..5000);
            let mut core = open(&home);
            core.add_source(bee.log().key(), None).unwrap();
            give(bee.log(), &core.sources[&bee.log().key()].log);
            assert!(advance(&mut core));
            assert!((1..5000).contains(&contents(&core).len()), "some of it is here");
            assert!(core.primary.clock().is_empty() && !core.primary.ahead().is_empty());

            assert!(bee.del(&7_u32.to_be_bytes()).unwrap());
            put_all(6000..6001);
            if restart {
                drop(core);
                core = open(&home);
            }
            give(bee.log(), &core.sources[&bee.log().key()].log);
            while advance(&mut core) {}
            let entries = contents(&core);
            assert_eq!(entries.len(), 5000);
            assert!(!entries.iter().any(|(key, _)| **key == 7_u32.to_be_bytes()));
            let bee_id = device_of(&bee.log().key());
            assert_eq!(core.primary.clock().length(bee_id), bee.log().len());
            assert!(core.primary.ahead().is_empty());
            let length = core.primary.log().len();
            while advance(&mut core) {}
            assert_eq!(core.primary.log().len(), length, "then all is quiet");
        }
    }

    /// What is no plain Hyperbee is not taken in, and that is said.
    #[test]
    fn other_logs_are_not_taken_in() {
        let home = Home::memory();
        let mut core = open(&home);
        let keys = KeyPair::from_seed([9; 32]);
        let log = Log::create(MemoryStorage::default(), keys, LogOptions::default()).unwrap();
        log.append(&["no header", "no entry"]).unwrap();
        core.add_source(log.key(), None).unwrap();
        give(&log, &core.sources[&log.key()].log);
        let advance = core.advance(&Surroundings::default()).unwrap();
        assert!(
            matches!(&advance.events[..], [Event::Stuck { device, .. }] if *device == log.key())
        );
        assert!(matches!(core.add_source(core.key(), None), Err(Error::IsDevice { .. })));
        assert!(matches!(core.add(log.key(), AddOptions::default()), Err(Error::IdTaken { .. })));
        assert!(matches!(core.end_source(core.key()), Err(Error::UnknownSource { .. })));
        // It is stuck after a restart, too, and the database opens all the same.
        let mut core = open(&home);
        while core.advance(&Surroundings::default()).unwrap().is_unfinished {}
        assert!(core.sources[&log.key()].stuck.is_some());
    }
}
