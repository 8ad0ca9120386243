//! Automerge documents: JSON of which the whole history is kept, so that texts merge by letters.

mod chunk;
mod edit;
mod shown;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ::automerge::transaction::CommitOptions;
use ::automerge::{ActorId, AutoCommit, Change};
use bytes::Bytes;
use serde_json::Value;

use crate::codec::{Reader, Writer};
use crate::json;
use crate::limits::{MAX_STATE_LEN, MAX_WRITTEN_OPS, MAX_WRITTEN_STATE_LEN};
use crate::{Dot, MergeType, StateError, Time, WriteError};

/// A document of the `automerge` crate: objects, lists and texts that merge in every place.
///
/// Its value is the document as a JSON object; each string in it is a text. A put of JSON becomes
/// one change of the document, of what differs from the JSON that its writer saw. A put of
/// Automerge's own bytes (a saved document, or changes) adds their changes, whoever made them.
///
/// The state is the set of all changes, so documents grow with each put, and join whatever version
/// of the crate wrote them. For values that are changed very often [`Map`](crate::Map) is smaller.
#[derive(Clone, Copy, Debug, Default)]
pub struct Automerge;

/// The changes of a document, each as its own bytes: a join is their union.
#[derive(Debug, Default)]
struct Changes<'a>(BTreeSet<&'a [u8]>);

impl Automerge {
    /// The type's number in records.
    pub const KIND: u32 = 4;

    /// A document of this state, as the `automerge` crate saves it.
    ///
    /// # Errors
    ///
    /// The bytes are no state of this type that this program can read.
    pub fn document(state: &[u8]) -> Result<Bytes, StateError> {
        let changes = Changes::decode(state)?;
        guarded(|| Ok(open(&changes)?.save().into()))
    }
}

impl MergeType for Automerge {
    fn kind(&self) -> u32 {
        Self::KIND
    }

    fn value(&self, state: &[u8]) -> Result<Bytes, StateError> {
        let changes = Changes::decode(state)?;
        guarded(|| {
            let shown = shown::of(&open(&changes)?)?;
            Ok(json::canonical(&shown).into())
        })
    }

    fn join(&self, a: &[u8], b: &[u8]) -> Result<Bytes, StateError> {
        let mut joined = Changes::decode(a)?;
        joined.0.extend(Changes::decode(b)?.0);
        let state = joined.encode();
        if state.len() > MAX_STATE_LEN {
            return Err(StateError::TooLong { len: state.len(), limit: MAX_STATE_LEN });
        }
        Ok(state)
    }

    fn write(
        &self,
        base: Option<&[u8]>,
        value: &[u8],
        dot: Dot,
        time: Time,
    ) -> Result<Bytes, WriteError> {
        let mut changes = base.map_or_else(|| Ok(Changes::default()), Changes::decode)?;
        let new = if value.starts_with(chunk::MAGIC) {
            given(&changes, value)?
        } else {
            let wanted @ Value::Object(_) = json::parse(value)? else {
                return Err(WriteError::WrongShape { expected: "a JSON object" });
            };
            changed(&changes, &wanted, dot, time)?
        };
        changes.0.extend(new.iter().map(Vec::as_slice));
        let state = changes.encode();
        if state.len() > MAX_WRITTEN_STATE_LEN {
            let (what, limit) = ("a document's history", MAX_WRITTEN_STATE_LEN);
            return Err(WriteError::TooLarge { what, limit });
        }
        let mut budget = chunk::Budget::to_write();
        for change in &changes.0 {
            let (what, limit) = ("a document's operations", MAX_WRITTEN_OPS as usize);
            budget.check(change).map_err(|_| WriteError::TooLarge { what, limit })?;
        }
        Ok(state)
    }

    /// Nothing has to be remembered: no two writes have one actor.
    fn delete(&self, base: Option<&[u8]>, _dot: Dot) -> Result<Bytes, StateError> {
        base.map(Changes::decode).transpose()?;
        Ok(Changes::default().encode())
    }
}

impl<'a> Changes<'a> {
    fn decode(state: &'a [u8]) -> Result<Self, StateError> {
        let mut reader = Reader::new(state)?;
        let (mut changes, mut last) = (BTreeSet::new(), None);
        let mut budget = chunk::Budget::to_read();
        for _ in 0..reader.varint()? {
            let len = reader.varint()?;
            let change = reader.take(len)?;
            if last.is_some_and(|last| last >= change) {
                return Err(StateError::NotCanonical);
            }
            budget.check(change)?;
            last = Some(change);
            changes.insert(change);
        }
        reader.end()?;
        let changes = Self(changes);
        // Lengths can be written in several ways.
        if changes.encode() != state {
            return Err(StateError::NotCanonical);
        }
        Ok(changes)
    }

    fn encode(&self) -> Bytes {
        let mut out = Writer::new();
        out.count(self.0.len());
        for change in &self.0 {
            out.count(change.len());
            out.raw(change);
        }
        out.into_bytes().into()
    }
}

/// The document of these changes.
fn open(changes: &Changes<'_>) -> Result<AutoCommit, StateError> {
    let mut document = AutoCommit::new();
    let read: Result<Vec<_>, _> =
        changes.0.iter().map(|change| Change::try_from(*change)).collect();
    let read = read.map_err(|_| StateError::Malformed { what: "a change" })?;
    let refused = StateError::Malformed { what: "changes that contradict each other" };
    document.apply_changes(read).map_err(|_| refused)?;
    if !document.get_missing_deps(&[]).is_empty() {
        return Err(StateError::Malformed { what: "a change without those before it" });
    }
    Ok(document)
}

/// The change that makes a document show `wanted`; none if it does.
fn changed(
    changes: &Changes<'_>,
    wanted: &Value,
    dot: Dot,
    time: Time,
) -> Result<Vec<Vec<u8>>, StateError> {
    guarded(|| {
        let mut document = open(changes)?;
        let before = document.get_heads();
        let shown = shown::of(&document)?;
        // No other write has this actor, nor will have: a sequence of one change each.
        document.set_actor(actor(dot));
        edit::update(&mut document, &shown, wanted)
            .map_err(|_| StateError::Malformed { what: "a document that takes no change" })?;
        let seconds = i64::try_from(time.millis() / 1000).unwrap_or(i64::MAX);
        document.commit_with(CommitOptions::default().with_time(seconds));
        let new = document.get_changes(&before);
        Ok(new.iter().map(|change| change.raw_bytes().to_vec()).collect())
    })
}

/// The changes in bytes of Automerge's own that a document does not have.
fn given(changes: &Changes<'_>, bytes: &[u8]) -> Result<Vec<Vec<u8>>, WriteError> {
    let wrong =
        WriteError::WrongShape { expected: "an Automerge document, or changes of this one" };
    let new = guarded(|| {
        let mut document = open(changes)?;
        let before = document.get_heads();
        let is_read =
            document.load_incremental(bytes).is_ok() && document.get_missing_deps(&[]).is_empty();
        let new = document.get_changes(&before);
        Ok(is_read.then(|| new.iter().map(|change| change.raw_bytes().to_vec()).collect()))
    })?;
    new.ok_or(wrong)
}

fn actor(dot: Dot) -> ActorId {
    let (device, seq) = (dot.device.as_u64().to_le_bytes(), dot.seq.to_be_bytes());
    ActorId::from([device, seq].concat())
}

/// Runs what calls the crate on bytes of others. It checks much, but it may panic on what nobody
/// wrote by it: then they are no document.
fn guarded<T>(run: impl FnOnce() -> Result<T, StateError>) -> Result<T, StateError> {
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or(Err(StateError::Malformed { what: "changes that make no document" }))
}

#[cfg(test)]
mod tests;
