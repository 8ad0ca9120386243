//! What a removed device wrote, and the others did not take.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::keyspace::{Place, place};
use crate::{Error, Multibee};

/// A key that this device wrote after the point up to which the others take its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmerged {
    /// The key.
    pub key: Bytes,
    /// What it shows here; `None` if it was deleted.
    pub value: Option<Bytes>,
    /// The type of the value.
    pub kind: u32,
}

impl Multibee {
    /// What this device wrote and the others did not take, because they removed it, in the order of
    /// keys. Empty unless it was removed, or retired while it was away.
    ///
    /// To keep it, write it on a device that is still there, or admit a new one and write it there.
    ///
    /// # Errors
    ///
    /// This machine's disk, or its content, is at fault.
    pub fn unmerged(&self) -> Result<Vec<Unmerged>, Error> {
        let (view, keys) = {
            let state = self.network().session().lock();
            let core = &state.core;
            let Some(cut) = core.member(&core.key()).and_then(|member| member.cut) else {
                return Ok(Vec::new());
            };
            let mut keys = BTreeSet::new();
            for seq in core.primary.own_ranges(cut.length)?.into_iter().flatten() {
                let block = core.primary.bee().get_by_seq(seq)?;
                match block.map(|block| place(&block.key)) {
                    Some(Place::User(key) | Place::Tombstone(key)) => keys.insert(key),
                    _ => false,
                };
            }
            (self.view()?, keys)
        };
        let unmerged = keys.into_iter().map(|key| {
            let entry = view.get(&key)?;
            let kind = entry.as_ref().map_or(crate::PLAIN, |entry| entry.kind);
            Ok(Unmerged { key, value: entry.map(|entry| entry.value), kind })
        });
        unmerged.collect()
    }
}
