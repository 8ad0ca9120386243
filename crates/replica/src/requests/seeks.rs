//! Finding blocks by the place of a byte (docs/spec/wire.md section 8.4).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use multibee_log::{Error, Proof, Request, RequestHash, RequestSeek, Seek};

use super::Requests;
use super::asked::{Kind, Patience, Terms};
use super::in_flight::{InFlight, Load};
use crate::channel::{Cx, Remote};
use crate::event::{ConnectionId, Event, Fault};
use crate::limits::SEEKS_PER_REMOTE_MAX;
use crate::log_state::{Blame, Effect, LogState};
use crate::message::Message;
use crate::options::ReplicatorOptions;

/// The bytes of one log whose blocks are looked for, by offset, and who is asked.
pub(crate) type Sought = BTreeMap<u64, Option<ConnectionId>>;

/// What is remembered of what one remote knows of places.
#[derive(Debug, Default)]
pub(super) struct Seeks {
    /// Offsets about which it could not, or would not, say anything.
    refused: BTreeSet<u64>,
}

/// The way to a byte that was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    offset: u64,
    hash: RequestHash,
}

impl Seeks {
    /// Finds blocks by the bytes they hold, or asks the remote where they are.
    pub(super) fn ask(
        &mut self,
        in_flight: &mut InFlight,
        remote: &Remote,
        cx: &mut Cx<'_>,
    ) -> Result<(), Error> {
        if cx.state.sought.is_empty() {
            return Ok(());
        }
        cx.state.find_sought()?.into_iter().for_each(|event| cx.effect(event));
        while self.ask_one(in_flight, remote, cx)? {}
        Ok(())
    }

    /// Asks about one of the bytes that are looked for. Returns whether there was one.
    fn ask_one(
        &mut self,
        in_flight: &mut InFlight,
        remote: &Remote,
        cx: &mut Cx<'_>,
    ) -> Result<bool, Error> {
        let len = cx.state.log.len();
        let can_prove = remote.sync.fork == cx.state.log.fork() && remote.sync.length >= len;
        let is_full = in_flight.tally(Kind::Place).requests >= SEEKS_PER_REMOTE_MAX;
        if cx.state.sought.is_empty() || is_full || !can_prove {
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
            cx.state.sought.insert(offset, Some(cx.connection));
            let fork = remote.sync.fork;
            in_flight.send(Place { offset, hash }, Load::default(), cx, |id| Message::Request {
                id,
                fork,
                priority: 1,
                request,
            });
            return Ok(true);
        }
        Ok(false)
    }
}

impl Terms for Place {
    type Answer = Proof;

    fn patience(options: &ReplicatorOptions) -> Patience {
        Patience { timeout: options.upgrade_timeout, extended_to: None }
    }

    fn answered(
        self,
        _: u64,
        proof: Proof,
        requests: &mut Requests,
        remote: &mut Remote,
        cx: &mut Cx<'_>,
    ) -> Result<(), Fault> {
        free(self.offset, cx.state);
        let is_it = proof.hash.as_ref().is_some_and(|hash| hash.index == self.hash.index);
        if !is_it || proof.fork != cx.state.log.fork() {
            requests.seeks.refused.insert(self.offset);
            return Ok(());
        }
        if proof.block.is_some() || proof.upgrade.is_some() {
            return Err(Fault::WrongData { what: "seek" });
        }
        match cx.state.log.apply(&proof) {
            Ok(_) => Ok(()),
            Err(error) => match Blame::of(&error) {
                Blame::Peer | Blame::Writer => requests.doubt(error, remote, cx),
                Blame::Nobody => Ok(()),
                Blame::Machine => {
                    cx.effects.push(Effect::Failed(error));
                    Ok(())
                }
            },
        }
    }

    fn refused(
        self,
        _: u64,
        requests: &mut Requests,
        _: &mut Remote,
        cx: &mut Cx<'_>,
    ) -> Result<(), Fault> {
        requests.seeks.refused.insert(self.offset);
        free(self.offset, cx.state);
        cx.effects.push(Effect::Freed);
        Ok(())
    }

    fn given_up(self, _: u64, requests: &mut Requests, cx: &mut Cx<'_>) -> Result<(), Fault> {
        requests.seeks.refused.clear();
        free(self.offset, cx.state);
        cx.effects.push(Effect::Freed);
        Ok(())
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
