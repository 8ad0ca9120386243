//! Finding blocks by the place of a byte (docs/spec/wire.md section 8.4).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Instant;

use multibee_log::{Error, Proof, Request, RequestHash, RequestSeek, Seek};

use crate::channel::{Cx, Remote};
use crate::event::{ConnectionId, Event, Fault};
use crate::limits::SEEKS_PER_REMOTE_MAX;
use crate::log_state::{Blame, Effect, LogState};
use crate::message::Message;

/// The bytes of one log whose blocks are looked for, by offset, and who is asked.
pub(crate) type Sought = BTreeMap<u64, Option<ConnectionId>>;

/// What one remote is asked.
#[derive(Debug, Default)]
pub(crate) struct Seeks {
    asked: BTreeMap<u64, Asked>,
    /// Offsets about which it could not, or would not, say anything.
    refused: BTreeSet<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    offset: u64,
    hash: RequestHash,
    at: Instant,
}

impl Seeks {
    /// When the oldest request under way was sent.
    pub(crate) fn asked_at(&self) -> Option<Instant> {
        self.asked.first_key_value().map(|(_, asked)| asked.at)
    }

    /// Whether `id` is a request under way.
    pub(crate) fn is_asked(&self, id: u64) -> bool {
        self.asked.contains_key(&id)
    }

    /// Asks the remote about one of the bytes that are looked for, by the request number `id`.
    /// Returns whether there is something to ask it.
    pub(crate) fn ask(&mut self, id: u64, remote: &Remote, cx: &mut Cx<'_>) -> Result<bool, Error> {
        let len = cx.state.log.len();
        let can_prove = remote.sync.fork == cx.state.log.fork() && remote.sync.length >= len;
        if cx.state.sought.is_empty() || self.asked.len() >= SEEKS_PER_REMOTE_MAX || !can_prove {
            return Ok(false);
        }
        let open = cx.state.sought.iter().filter(|(_, asked)| asked.is_none());
        let open: Vec<u64> = open.map(|(&offset, _)| offset).collect();
        self.refused.retain(|offset| cx.state.sought.contains_key(offset));
        for offset in open.into_iter().filter(|offset| !self.refused.contains(offset)) {
            let Seek::Within(blocks) = cx.state.log.seek(offset)? else { continue };
            let Some(leaf) = leaf_within(&blocks, remote) else { continue };
            let nodes = cx.state.log.missing_nodes(leaf.saturating_mul(2))?;
            if nodes == 0 || blocks.end - blocks.start <= 2 {
                // Only the sum of the two sizes is proven by hashes.
                if !cx.state.wants.is_wanted(leaf) {
                    cx.state.want_once(leaf..leaf + 1, 1);
                }
                continue;
            }
            let hash = RequestHash { index: leaf.saturating_mul(2), nodes };
            let seek = remote.seeks.then_some(RequestSeek { bytes: offset, padding: 0 });
            let request = Request { hash: Some(hash), seek, ..Request::default() };
            self.asked.insert(id, Asked { offset, hash, at: cx.now });
            cx.state.sought.insert(offset, Some(cx.connection));
            cx.out.push(Message::Request { id, fork: remote.sync.fork, priority: 1, request });
            return Ok(true);
        }
        Ok(false)
    }

    /// Takes an answer.
    ///
    /// # Errors
    ///
    /// What the remote did wrong.
    pub(crate) fn handle_data(
        &mut self,
        id: u64,
        proof: &Proof,
        cx: &mut Cx<'_>,
    ) -> Result<(), Fault> {
        let Some(asked) = self.asked.remove(&id) else { return Ok(()) };
        free(asked.offset, cx.state);
        let is_it = proof.hash.as_ref().is_some_and(|hash| hash.index == asked.hash.index);
        if !is_it || proof.fork != cx.state.log.fork() {
            self.refused.insert(asked.offset);
            return Ok(());
        }
        if proof.block.is_some() || proof.upgrade.is_some() {
            return Err(Fault::WrongData { what: "seek" });
        }
        match cx.state.log.apply(proof) {
            Ok(_) => Ok(()),
            Err(error) => match Blame::of(&error) {
                Blame::Peer | Blame::Writer => Err(Fault::BadData(error)),
                Blame::Nobody => Ok(()),
                Blame::Machine => {
                    cx.effects.push(Effect::Failed(error));
                    Ok(())
                }
            },
        }
    }

    /// The remote refused.
    pub(crate) fn fail(&mut self, id: u64, cx: &mut Cx<'_>) {
        if let Some(asked) = self.asked.remove(&id) {
            self.refused.insert(asked.offset);
            free(asked.offset, cx.state);
            cx.effects.push(Effect::Freed);
        }
    }

    /// Asks nothing more: others may be asked. Returns the numbers of the requests under way.
    pub(crate) fn give_up(&mut self, cx: &mut Cx<'_>) -> Vec<u64> {
        self.refused.clear();
        let asked = std::mem::take(&mut self.asked);
        for asked in asked.values() {
            free(asked.offset, cx.state);
        }
        if !asked.is_empty() {
            cx.effects.push(Effect::Freed);
        }
        asked.into_keys().collect()
    }
}

impl LogState {
    /// Finds what can be found with the nodes that are here.
    pub(crate) fn find_sought(&mut self) -> Result<Vec<Event>, Error> {
        let mut found = Vec::new();
        for &offset in self.sought.keys() {
            if let Seek::Block { index, offset: within } = self.log.seek(offset)? {
                let key = self.key;
                found.push((offset, Event::Sought { key, byte: offset, seq: index, within }));
            }
        }
        for (offset, _) in &found {
            self.sought.remove(offset);
        }
        Ok(found.into_iter().map(|(_, event)| event).collect())
    }
}

/// A block of a stretch about which the remote can be asked: one in the middle, so that its path
/// halves the stretch even if the seek is not answered.
fn leaf_within(blocks: &Range<u64>, remote: &Remote) -> Option<u64> {
    let middle = blocks.start + (blocks.end - blocks.start) / 2;
    let held = || remote.holdings.next_within(blocks.clone());
    let upper = remote.holdings.next_within(middle..blocks.end);
    upper.or_else(held).or(remote.is_kin.then_some(middle))
}

fn free(offset: u64, state: &mut LogState) {
    if let Some(asked) = state.sought.get_mut(&offset) {
        *asked = None;
    }
}
