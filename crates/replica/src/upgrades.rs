//! Asking one remote for a longer head of one log.

use std::time::Instant;

use multibee_log::{Error, Proof, Request, RequestUpgrade};

use crate::channel::{Cx, Remote};
use crate::event::{Event, Fault};
use crate::log_state::{Blame, Effect};
use crate::message::Message;

/// The request for a new length that is under way, and what was tried before.
#[derive(Debug, Default)]
pub(crate) struct Upgrades {
    asked: Option<UpgradeAsked>,
    /// What was tried for nothing, so that it is not tried again before something changes.
    tried: Option<Tried>,
}

/// A length that was asked for.
#[derive(Clone, Copy, Debug)]
struct UpgradeAsked {
    id: u64,
    /// The length that the proof is to start from.
    from: u64,
    /// Our length and the remote's at that time.
    ours: u64,
    theirs: u64,
    at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tried {
    ours: u64,
    theirs: u64,
    /// Whether an older length than ours was tried too.
    older: bool,
}

impl Upgrades {
    /// When the request under way was sent.
    pub(crate) fn asked_at(&self) -> Option<Instant> {
        self.asked.map(|asked| asked.at)
    }

    /// Whether `id` is the request under way.
    pub(crate) fn is_asked(&self, id: u64) -> bool {
        self.asked.is_some_and(|asked| asked.id == id)
    }

    /// Asks for a new length, by the request number `id`, if the remote has one to give and
    /// nobody else is asked. Returns whether it did.
    pub(crate) fn ask(&mut self, id: u64, remote: &Remote, cx: &mut Cx<'_>) -> bool {
        let (ours, theirs) = (cx.state.log.len(), remote.sync.length);
        if !cx.state.follows()
            || cx.state.is_disputed
            || cx.state.upgrade_asked_of.is_some()
            || theirs <= ours
        {
            return false;
        }
        // What it says of our length must be about the length that we have now. (An empty log
        // has no fork yet; it takes that of its first head.)
        let knows_us = remote.sync.fork == cx.state.log.fork() && remote.sync.remote_length == ours;
        if !knows_us && ours > 0 {
            return false;
        }
        let tried = self.tried.filter(|tried| (tried.ours, tried.theirs) == (ours, theirs));
        let from = match tried {
            // From nothing everybody can.
            None if remote.sync.can_upgrade || ours == 0 => ours,
            // Only a Multibee peer says no where a Hypercore 11 would hang up.
            None | Some(Tried { older: false, .. }) if remote.is_kin => {
                let Some(older) = older_end(cx) else { return false };
                older
            }
            _ => return false,
        };
        let lacks_manifest = cx.state.log.manifest().is_none();
        let request = Request {
            upgrade: Some(RequestUpgrade { start: from, length: theirs - from }),
            manifest: lacks_manifest && remote.sync.has_manifest,
            ..Request::default()
        };
        self.asked = Some(UpgradeAsked { id, from, ours, theirs, at: cx.now });
        cx.state.upgrade_asked_of = Some(cx.connection);
        cx.out.push(Message::Request { id, fork: remote.sync.fork, priority: 0, request });
        true
    }

    /// Takes the answer.
    pub(crate) fn handle_data(&mut self, proof: &Proof, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let Some(asked) = self.asked.filter(|_| proof.upgrade.is_some()) else {
            self.fail(cx);
            return Ok(());
        };
        let error = match cx.state.log.apply(proof) {
            Ok(applied) => {
                self.asked = None;
                cx.state.upgrade_asked_of = None;
                if let Some((old, new)) = applied.upgraded {
                    self.tried = None;
                    let (key, from) = (cx.key(), cx.connection);
                    cx.effect(Event::Upgraded { key, old, new, from });
                    cx.effects.push(Effect::Upgraded);
                } else {
                    // Our log has grown by other means in the meantime.
                    cx.effects.push(Effect::Freed);
                }
                return Ok(());
            }
            Err(error) => error,
        };
        self.fail(cx);
        match Blame::of(&error) {
            // The remote could only guess that we hold the roots of that older length.
            Blame::Peer if asked.from != asked.ours && matches!(error, Error::BadProof { .. }) => {
                Ok(())
            }
            Blame::Peer | Blame::Writer => Err(Fault::BadData(error)),
            Blame::Nobody => Ok(()),
            Blame::Machine => {
                cx.effects.push(Effect::Failed(error));
                Ok(())
            }
        }
    }

    /// The remote refused, or let the time run out: others may be asked.
    pub(crate) fn fail(&mut self, cx: &mut Cx<'_>) {
        if let Some(UpgradeAsked { from, ours, theirs, .. }) = self.asked.take() {
            self.tried = Some(Tried { ours, theirs, older: from != ours });
            cx.state.upgrade_asked_of = None;
            cx.effects.push(Effect::Freed);
        }
    }

    /// As [`fail`](Self::fail). Returns the number of the request.
    pub(crate) fn give_up(&mut self, cx: &mut Cx<'_>) -> Option<u64> {
        let id = self.asked.map(|asked| asked.id);
        self.fail(cx);
        id
    }
}

/// The end of the last block that we hold below our length, if that is an older length.
///
/// Whoever signed up to there may have been met by a sparse remote at just that length.
fn older_end(cx: &Cx<'_>) -> Option<u64> {
    let len = cx.state.log.len();
    let near = cx.state.log.held(len.saturating_sub(NEAR_BLOCKS)..len);
    let held = if near.is_empty() { cx.state.log.held(0..len) } else { near };
    held.last().map(|last| last.end).filter(|&end| end > 0 && end < len)
}

/// How far back an older length is looked for first.
const NEAR_BLOCKS: u64 = 1 << 16;
