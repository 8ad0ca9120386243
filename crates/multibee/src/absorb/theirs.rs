//! What the other side holds of a key at the version that is absorbed.

use bytes::Bytes;
use multibee_btree::{Change, Entry as Block, Header, Tree};
use multibee_merge::{Applied, Clock, Content, DeviceId, Dot, State, Time, Version};
use prost::DecodeError;

use super::landmark::{Hindrance, SparseLog};
use super::{Batch, Origin};
use crate::aside::Outline;
use crate::broken::BrokenRule;
use crate::format::Meta;
use crate::keyspace::{self, Place};
use crate::merging::device_of;
use crate::primary::tag_at;
use crate::statement::Statement;
use crate::{FORMAT, MAX_KEY_LEN, MAX_VALUE_LEN};

type Outlined = Result<Outline, DecodeError>;

/// The other side's state.
#[derive(Clone, Debug)]
pub(crate) struct Theirs {
    pub(crate) log: SparseLog,
    pub(crate) tree: Tree,
    pub(crate) origin: Origin,
    /// What it had seen: the context of every key.
    pub(crate) clock: Clock,
}

/// A key of which is to be found out what the other side holds.
#[derive(Debug)]
pub(crate) struct Lookup {
    pub(crate) key: Bytes,
    known: Known,
}

#[derive(Debug)]
enum Known {
    /// It is not among the live keys.
    NotLive,
    /// It is live, and some of its versions stand aside.
    Partial,
    /// As `Partial`, of a record that all devices share. The key is the stored one.
    PartialShared,
    /// It has a tombstone, which counts if it is not live.
    Tombstone(Outline),
    /// We hold it; what they have of it was joined already, if they have it.
    Ours,
    /// As `Ours`, of a record that all devices share. The key is the stored one.
    OurShared,
}

impl Lookup {
    /// A key of ours that they may lack.
    pub(crate) const fn rest(key: Bytes) -> Self {
        Self { key, known: Known::Ours }
    }

    /// A shared record of ours that they may lack, by its stored key.
    pub(crate) const fn rest_shared(stored: Bytes) -> Self {
        Self { key: stored, known: Known::OurShared }
    }

    pub(crate) const fn is_shared(&self) -> bool {
        matches!(self.known, Known::OurShared | Known::PartialShared)
    }
}

impl Theirs {
    /// Takes a difference between their trees: what it says goes into the batch, what is still to be
    /// found out to the lookups.
    pub(crate) fn take(
        &self,
        change: &Change,
        batch: &mut Batch,
        lookups: &mut Vec<Lookup>,
    ) -> Result<(), Hindrance> {
        if self.origin == Origin::Plain {
            let key = change.key().clone();
            let state = self.plain(&key, change.left.as_ref())?;
            batch.push(key, state);
            return Ok(());
        }
        match (keyspace::place(change.key()), &change.left) {
            (Place::User(key), Some(block)) => {
                let outline = self.outline(block, Outline::live(block, self.device()))?;
                if outline.is_partial() {
                    lookups.push(Lookup { key, known: Known::Partial });
                } else {
                    batch.push(key, self.state(outline)?);
                }
            }
            (Place::User(key), None) => lookups.push(Lookup { key, known: Known::NotLive }),
            (Place::Tombstone(key), Some(block)) => {
                let outline = self.outline(block, Outline::tombstone(block))?;
                lookups.push(Lookup { key, known: Known::Tombstone(outline) });
            }
            // Where a tombstone is gone, the key is live again, or is as if it had never been.
            (Place::Tombstone(key), None) => lookups.push(Lookup { key, known: Known::Ours }),
            (Place::Statement, Some(block)) => batch.statements.push(self.statement(block)?),
            (Place::Shared(stored), Some(block)) => {
                let outline = self.outline(block, Outline::shared(block, self.device()))?;
                if outline.is_partial() {
                    lookups.push(Lookup { key: stored, known: Known::PartialShared });
                } else {
                    batch.push_shared(stored, self.state(outline)?);
                }
            }
            (Place::Shared(stored), None) => {
                batch.push_shared(stored, State::unwritten(self.clock.clone()));
            }
            // Statements are never taken back. Their own bookkeeping follows from the versions.
            (Place::Statement, None)
            | (
                Place::Aside
                | Place::Conflict(_)
                | Place::Opaque(_)
                | Place::ShownBy
                | Place::Unknown,
                _,
            ) => {}
        }
        Ok(())
    }

    /// The state of a key that they hold nothing of: if they knew it, they have superseded it.
    fn absent(&self) -> State {
        let is_broken = BrokenRule::AbsentWithoutContext.is_broken();
        State::unwritten(if is_broken { Clock::new() } else { self.clock.clone() })
    }

    /// What they hold of a key; `None` if that is among what the diff tells.
    pub(crate) fn resolve(&self, lookup: &Lookup) -> Result<Option<State>, Hindrance> {
        let get = |key: &Bytes| self.tree.get(key).map_err(|error| self.log.hindrance(error));
        let of_block = |block: Option<Block>, outline: &dyn Fn(&Block) -> Outlined| match block {
            Some(block) => self.state(self.outline(&block, outline(&block))?),
            None => Ok(self.absent()),
        };
        match &lookup.known {
            Known::NotLive => {
                let block = get(&keyspace::tombstone(&lookup.key))?;
                return of_block(block, &Outline::tombstone).map(Some);
            }
            Known::Partial => {
                let block = get(&keyspace::user(&lookup.key))?;
                return of_block(block, &|block| Outline::live(block, self.device())).map(Some);
            }
            Known::PartialShared => {
                let block = get(&lookup.key)?;
                return of_block(block, &|block| Outline::shared(block, self.device())).map(Some);
            }
            Known::OurShared => {
                let is_known = get(&lookup.key)?.is_some();
                return Ok((!is_known).then(|| self.absent()));
            }
            Known::Tombstone(_) | Known::Ours => {}
        }
        if get(&keyspace::user(&lookup.key))?.is_some() {
            return Ok(None);
        }
        if let Known::Tombstone(outline) = &lookup.known {
            return self.state(outline.clone()).map(Some);
        }
        let is_known = get(&keyspace::tombstone(&lookup.key))?.is_some();
        Ok((!is_known).then(|| self.absent()))
    }

    fn device(&self) -> DeviceId {
        device_of(&self.log.author)
    }

    fn outline(&self, block: &Block, outline: Outlined) -> Result<Outline, Hindrance> {
        outline.map_err(|error| self.log.bad(block.seq, &error.to_string()))
    }

    /// The state that a record holds, with what stands aside.
    fn state(&self, outline: Outline) -> Result<State, Hindrance> {
        let get = |key: &[u8]| self.tree.get(key).map_err(|error| self.log.hindrance(error));
        let held = outline.complete(get, |seq, what| self.log.bad(seq, what))?;
        Ok(held.state(&self.clock))
    }

    /// A key of a plain Hyperbee: written by it, at no time that is known, or deleted.
    fn plain(&self, key: &Bytes, block: Option<&Block>) -> Result<State, Hindrance> {
        let Some(block) = block else { return Ok(State::unwritten(self.clock.clone())) };
        let value = block.value.clone().unwrap_or_default();
        if key.len() > MAX_KEY_LEN || value.len() > MAX_VALUE_LEN {
            let (key, value) = (key.len(), value.len());
            let what = format!("a key of {key} bytes with a value of {value} bytes is too long");
            return Err(self.log.bad(block.seq, &what));
        }
        let dot = Dot { device: device_of(&self.log.author), seq: block.seq };
        let version = Version::plain(dot, Time::default(), Content::Value(value));
        Ok(State::written(version, self.clock.clone()))
    }

    fn statement(&self, block: &Block) -> Result<Statement, Hindrance> {
        let bad = |what: String| self.log.bad(block.seq, &what);
        let meta = Meta::decode_extra(&block.extra).map_err(|error| bad(error.to_string()))?;
        let statement = Statement::verify(meta.state.unwrap_or_default());
        statement.map_err(|error| bad(error.to_string()))
    }
}

impl SparseLog {
    /// The clock of a plain Hyperbee at one version: its length.
    pub(crate) fn plain_clock(&self, version: u64) -> Result<Clock, Hindrance> {
        let header: Option<Header> = self.bee.header().map_err(|error| self.hindrance(error))?;
        let Some(header) = header.filter(Header::is_hyperbee) else {
            return Err(self.bad(0, "it is no Hyperbee"));
        };
        let user_data = header.metadata.and_then(|metadata| metadata.user_data);
        let ours = FORMAT.split_once('/').map_or(FORMAT, |(name, _)| name);
        if user_data.is_some_and(|data| data.starts_with(ours.as_bytes())) {
            return Err(self.bad(0, "it is a database of devices, no plain Hyperbee"));
        }
        let tag = tag_at(self.bee.log(), version).map_err(Hindrance::Here)?;
        let at = Applied { length: version, tag };
        Ok([(device_of(&self.author), at)].into_iter().collect())
    }
}
