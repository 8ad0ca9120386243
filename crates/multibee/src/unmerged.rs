//! What a removed device wrote, and the others did not take.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use multibee_btree::RangeOptions;
use multibee_merge::{DeviceId, Version};

use crate::core::Core;
use crate::keyspace::{Place, place};
use crate::members::Member;
use crate::statement::Claim;
use crate::{Error, Multibee};

/// A key whose value, or delete, this device wrote after the point up to which the others take its log.
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
        let (view, tree, cuts) = {
            let state = self.network().session().lock();
            let cuts = own_cuts(&state.core);
            if cuts.is_empty() {
                return Ok(Vec::new());
            }
            (self.view()?, state.core.primary.bee().snapshot()?, cuts)
        };
        let is_beyond = |version: &Version| {
            cuts.get(&version.dot.device).is_some_and(|&cut| version.dot.seq >= cut)
        };
        let mut keys = BTreeSet::new();
        let mut blocks = tree.range(RangeOptions::default());
        while let Some(block) = blocks.next()? {
            if let Place::User(key) | Place::Tombstone(key) = place(&block.key)
                && view.held(&key)?.versions.iter().any(is_beyond)
            {
                keys.insert(key);
            }
        }
        let unmerged = keys.into_iter().map(|key| {
            let entry = view.get(&key)?;
            let kind = entry.as_ref().map_or(crate::PLAIN, |entry| entry.kind);
            Ok(Unmerged { key, value: entry.map(|entry| entry.value), kind })
        });
        unmerged.collect()
    }
}

/// How far the others take this device's log, and those that it went on for: what it wrote last it may
/// have written before it was compacted.
///
/// What only a device has that was removed as well, the others don't have.
fn own_cuts(core: &Core) -> BTreeMap<DeviceId, u64> {
    let before = |member: &&Member| core.member(&member.predecessor?);
    // Who succeeds whom goes no longer way round than there are devices.
    let line = std::iter::successors(core.member(&core.key()), before).take(core.members().len());
    let cut = |member: &Member| {
        let said = core.statements().filter(|one| !core.is_removed(&one.author));
        let applied = said.filter_map(|statement| match &statement.claim {
            Claim::Remove { key, applied, .. } | Claim::Applied { key, applied } => {
                (*key == member.key).then_some(applied.length)
            }
            _ => None,
        });
        applied.max().unwrap_or_default()
    };
    let cut_off = line.filter(|member| member.cut.is_some());
    cut_off.map(|member| (member.device, cut(member))).collect()
}
