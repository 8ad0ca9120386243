//! The user's own writes, as one commit.

use bytes::Bytes;
use multibee_merge::limits::MAX_WRITTEN_STATE_LEN;
use multibee_merge::{Content, Dot, PLAIN, StateError, Version, WriteError};

use crate::broken::BrokenRule;
use crate::edit::Edit;
use crate::op::{Expectation, Expected, Op, Outcome, Written};
use crate::primary::Primary;
use crate::record::Held;
use crate::rules::Rule;
use crate::staging::Staging;
use crate::{Error, MAX_RULES, MAX_VALUE_LEN, keyspace};

impl Primary {
    /// Writes the user's changes as one own commit, if everything is as expected.
    ///
    /// # Errors
    ///
    /// [`Error::NotAsExpected`], or what is wrong with one of the changes. Nothing is written then.
    pub(crate) fn write(
        &mut self,
        ops: &[Op],
        expectations: &[Expectation],
        wall_ms: u64,
    ) -> Result<Written, Error> {
        let mut staging = self.stage(true)?;
        for expectation in expectations {
            check(&mut staging, expectation)?;
        }
        let mut outcomes = Vec::with_capacity(ops.len());
        for op in ops {
            outcomes.push(self.stage_op(&mut staging, op, wall_ms)?);
            if BrokenRule::SplitBatch.is_broken() {
                self.finish_own(staging, wall_ms)?;
                staging = self.stage(true)?;
            }
        }
        let settled = std::mem::take(&mut staging.told.settled);
        self.finish_own(staging, wall_ms)?;
        Ok(Written { outcomes, settled })
    }

    /// Adds one change to a commit in the making.
    pub(crate) fn stage_op(
        &mut self,
        staging: &mut Staging,
        op: &Op,
        wall_ms: u64,
    ) -> Result<Outcome, Error> {
        if let Op::Rule { prefix, rule } = op {
            return self.stage_rule(staging, prefix, rule.as_ref(), wall_ms);
        }
        let key = op.key();
        let held = staging.held(key)?;
        match op {
            Op::Put { kind, value, .. } => {
                let kind = kind.unwrap_or_else(|| ruled_kind(staging, key));
                self.stage_put(staging, key, &held, kind, value, wall_ms)
            }
            Op::Edit { edit, .. } => self.stage_edit(staging, key, &held, edit, wall_ms),
            Op::Pick { dot, .. } => self.stage_pick(staging, key, &held, *dot, wall_ms),
            Op::Delete { .. } | Op::Rule { .. } => self.stage_delete(staging, key, &held, wall_ms),
        }
    }

    fn stage_put(
        &mut self,
        staging: &mut Staging,
        key: &[u8],
        held: &Held,
        kind: u32,
        value: &Bytes,
        wall_ms: u64,
    ) -> Result<Outcome, Error> {
        let version = self.version(staging, held, kind, value, wall_ms)?;
        staging.put(key, held, &version)?;
        Ok(Outcome { changed: true, value: version.value().cloned() })
    }

    fn stage_edit(
        &mut self,
        staging: &mut Staging,
        key: &[u8],
        held: &Held,
        edit: &Edit,
        wall_ms: u64,
    ) -> Result<Outcome, Error> {
        let kind = edit.kind();
        let showing = held.showing.as_ref();
        let current = if has_live(held, kind) {
            staging.resolver().types.value(kind, &held.versions).map_err(WriteError::State)?
        } else {
            showing.map(|showing| showing.value.clone())
        };
        let value = edit.apply(current.as_deref())?;
        let version = self.version(staging, held, kind, &value, wall_ms)?;
        let shown = version.value().cloned();
        let same =
            showing.is_some_and(|now| now.kind == kind && Some(&now.value) == shown.as_ref());
        let changed = !same || !held.is_settled();
        if changed {
            staging.put(key, held, &version)?;
        }
        Ok(Outcome { changed, value: shown })
    }

    /// Writes what a version says, or, if it is of a type, what all of that type say together.
    fn stage_pick(
        &mut self,
        staging: &mut Staging,
        key: &[u8],
        held: &Held,
        dot: Dot,
        wall_ms: u64,
    ) -> Result<Outcome, Error> {
        let picked = held.versions.iter().find(|version| version.dot == dot);
        let picked =
            picked.ok_or_else(|| Error::NoSuchVersion { key: key.to_vec().into(), dot })?;
        let value = match &picked.content {
            Content::Deleted => return self.stage_delete(staging, key, held, wall_ms),
            Content::Value(value) if picked.kind == PLAIN => value.clone(),
            Content::Value(_) => {
                let types = &staging.resolver().types;
                if types.get(picked.kind).is_none() {
                    return Err(WriteError::UnknownKind { kind: picked.kind }.into());
                }
                let one = std::slice::from_ref(picked);
                let readable = types.value(picked.kind, one).ok().flatten();
                let joined = types.value(picked.kind, &held.versions).ok().flatten();
                let unreadable = WriteError::State(StateError::Malformed { what: "unreadable" });
                readable.and(joined).ok_or(unreadable)?
            }
        };
        self.stage_put(staging, key, held, picked.kind, &value, wall_ms)
    }

    fn stage_delete(
        &mut self,
        staging: &mut Staging,
        key: &[u8],
        held: &Held,
        wall_ms: u64,
    ) -> Result<Outcome, Error> {
        if !held.versions.iter().any(Version::is_live) {
            return Ok(Outcome::default());
        }
        let time = self.stamp_after(wall_ms, held.latest());
        staging.delete(key, held, time)?;
        Ok(Outcome { changed: true, value: None })
    }

    fn stage_rule(
        &mut self,
        staging: &mut Staging,
        prefix: &Bytes,
        rule: Option<&Rule>,
        wall_ms: u64,
    ) -> Result<Outcome, Error> {
        let is_new = !staging.rules.contains(prefix);
        match rule {
            None if is_new => return Ok(Outcome::default()),
            Some(_) if is_new && staging.rules.count() >= MAX_RULES => {
                return Err(Error::TooManyRules);
            }
            _ => {}
        }
        let held = staging.held_shared(&keyspace::rule(prefix))?;
        let time = self.stamp_after(wall_ms, held.latest());
        staging.put_rule(prefix, rule, &held, time)?;
        Ok(Outcome { changed: true, value: None })
    }

    /// The version that a put of this value makes.
    fn version(
        &mut self,
        staging: &Staging,
        held: &Held,
        kind: u32,
        value: &Bytes,
        wall_ms: u64,
    ) -> Result<Version, Error> {
        let time = self.stamp_after(wall_ms, held.latest());
        let (types, dot) = (&staging.resolver().types, staging.next_dot());
        if kind == PLAIN {
            return Ok(types.plain(&held.versions, value.clone(), dot, time));
        }
        let version = types.write(kind, &held.versions, value, dot, time)?;
        let len = version.value().map_or(0, Bytes::len);
        if len > MAX_VALUE_LEN {
            return Err(Error::ValueTooLong { len });
        }
        if version.state.as_ref().is_some_and(|state| state.len() > MAX_WRITTEN_STATE_LEN) {
            let (what, limit) = ("a state", MAX_WRITTEN_STATE_LEN);
            return Err(WriteError::TooLarge { what, limit }.into());
        }
        Ok(version)
    }
}

fn check(staging: &mut Staging, expectation: &Expectation) -> Result<(), Error> {
    let key = &expectation.key;
    let showing = staging.held(key)?.showing;
    let met = match &expectation.found {
        Expected::Value(value) => *value == showing.map(|showing| showing.value),
        Expected::Block(seq) => *seq == showing.map(|showing| showing.seq),
    };
    if met { Ok(()) } else { Err(Error::NotAsExpected { key: key.clone() }) }
}

fn ruled_kind(staging: &Staging, key: &[u8]) -> u32 {
    staging.rules.of(key).map_or(PLAIN, |rule| rule.kind)
}

fn has_live(held: &Held, kind: u32) -> bool {
    held.versions.iter().any(|version| version.is_live() && version.kind == kind)
}
