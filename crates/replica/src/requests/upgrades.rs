//! Asking one remote for a longer head of one log.

use std::time::Instant;

use multibee_log::{Error, Proof, Request, RequestUpgrade};

use super::Requests;
use super::asked::{Patience, Terms};
use super::in_flight::{InFlight, Load};
use crate::channel::{Cx, Remote};
use crate::event::{Event, Fault};
use crate::limits::REQUEST_AGE_MAX;
use crate::log_state::{Blame, Effect, LogState};
use crate::message::Message;
use crate::options::ReplicatorOptions;

/// What is remembered of one remote's heads.
#[derive(Debug, Default)]
pub(super) struct Upgrades {
    /// What was tried for nothing, so that it is not tried again before something changes.
    tried: Option<Tried>,
    /// The remote has let a request run out of time: others may be asked until then.
    rests_until: Option<Instant>,
    /// Our length, the remote's fork and length, when it was told last that they are out of reach.
    told: Option<(u64, u64, u64)>,
}

/// A length that was asked for. Of all remotes of a log one at a time is.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(test, derive(Default))]
pub(super) struct Upgrade {
    /// The length that the proof is to start from.
    from: u64,
    /// Our length, and the remote's fork and length, at that time.
    ours: u64,
    fork: u64,
    theirs: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tried {
    ours: u64,
    /// The remote's fork and length.
    fork: u64,
    theirs: u64,
    /// Whether an older length than ours was tried too.
    older: bool,
}

impl Upgrades {
    /// When the remote may be asked again that has let a request run out of time.
    pub(super) fn rests_until(&self) -> Option<Instant> {
        self.rests_until
    }

    /// A rest is over, if there was one.
    pub(super) fn end_rest(&mut self, now: Instant) {
        self.rests_until = self.rests_until.filter(|&until| now < until);
    }

    /// Asks for a new length if the remote has one to give and nobody else is asked.
    pub(super) fn ask(&mut self, in_flight: &mut InFlight, remote: &Remote, cx: &mut Cx<'_>) {
        let (ours, theirs) = (cx.state.log.len(), remote.sync.length);
        let from = match self.lead(remote, cx.state, cx.now) {
            Lead::From(from) => from,
            Lead::Later => return,
            Lead::Never => {
                let heads = (ours, remote.sync.fork, theirs);
                if self.told.replace(heads) != Some(heads) {
                    let (id, key) = (cx.connection, cx.key());
                    cx.effect(Event::HeadOutOfReach { id, key, ours, theirs });
                }
                return;
            }
        };
        let fork = remote.sync.fork;
        let lacks_manifest = cx.state.log.manifest().is_none();
        let request = Request {
            upgrade: Some(RequestUpgrade { start: from, length: theirs - from }),
            manifest: lacks_manifest && remote.sync.has_manifest,
            ..Request::default()
        };
        cx.state.upgrade_asked_of = Some(cx.connection);
        in_flight.send(Upgrade { from, ours, fork, theirs }, Load::default(), cx, |id| {
            Message::Request { id, fork, priority: 0, request }
        });
    }

    /// Whether the remote has a longer head, and no way is left in which it could lead to it from
    /// ours.
    pub(super) fn is_out_of_reach(&self, remote: &Remote, state: &LogState, now: Instant) -> bool {
        matches!(self.lead(remote, state, now), Lead::Never)
    }

    fn lead(&self, remote: &Remote, state: &LogState, now: Instant) -> Lead {
        let (ours, theirs) = (state.log.len(), remote.sync.length);
        let rests = self.rests_until.is_some_and(|until| now < until);
        let is_asked = state.upgrade_asked_of.is_some();
        if !state.follows() || state.is_disputed || theirs <= ours || is_asked || rests {
            return Lead::Later;
        }
        // What it says of our length must be about the length that we have now. (An empty log
        // has no fork yet; it takes that of its first head.)
        let knows_us = remote.sync.fork == state.log.fork() && remote.sync.remote_length == ours;
        if !knows_us && ours > 0 {
            return Lead::Later;
        }
        let fork = remote.sync.fork;
        let is_still =
            |tried: &Tried| (tried.ours, tried.fork, tried.theirs) == (ours, fork, theirs);
        match self.tried.filter(is_still) {
            // From nothing everybody can.
            None if remote.sync.can_upgrade || ours == 0 => Lead::From(ours),
            // Only a Multibee peer says no where a Hypercore 11 would hang up.
            None | Some(Tried { older: false, .. }) if remote.is_kin => {
                older_end(state).map_or(Lead::Never, Lead::From)
            }
            _ => Lead::Never,
        }
    }
}

/// Whether a remote can lead to its head.
enum Lead {
    /// It may be asked to, from this length on.
    From(u64),
    /// It is not the time to ask, or there is nothing to ask for.
    Later,
    /// It can't.
    Never,
}

impl Upgrade {
    /// It was for nothing: others may be asked.
    fn fail(self, requests: &mut Requests, cx: &mut Cx<'_>) {
        let Self { from, ours, fork, theirs } = self;
        requests.upgrades.tried = Some(Tried { ours, fork, theirs, older: from != ours });
        free(cx);
    }
}

impl Terms for Upgrade {
    type Answer = Proof;

    fn patience(options: &ReplicatorOptions) -> Patience {
        Patience { timeout: options.upgrade_timeout, extended_to: Some(REQUEST_AGE_MAX) }
    }

    fn answered(
        self,
        _: u64,
        proof: Proof,
        requests: &mut Requests,
        remote: &mut Remote,
        cx: &mut Cx<'_>,
    ) -> Result<(), Fault> {
        if proof.upgrade.is_none() {
            self.fail(requests, cx);
            return Ok(());
        }
        let error = match cx.state.log.apply(&proof) {
            Ok(applied) => {
                cx.state.upgrade_asked_of = None;
                if let Some((old, new)) = applied.upgraded {
                    requests.upgrades.tried = None;
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
        self.fail(requests, cx);
        match Blame::of(&error) {
            // The remote could only guess that we hold the roots of that older length.
            Blame::Peer if self.from != self.ours && matches!(error, Error::BadProof { .. }) => {
                Ok(())
            }
            Blame::Peer | Blame::Writer => requests.doubt(error, remote, cx),
            Blame::Nobody => Ok(()),
            Blame::Machine => {
                cx.effects.push(Effect::Failed(error));
                Ok(())
            }
        }
    }

    fn refused(
        self,
        _: u64,
        requests: &mut Requests,
        _: &mut Remote,
        cx: &mut Cx<'_>,
    ) -> Result<(), Fault> {
        self.fail(requests, cx);
        Ok(())
    }

    fn given_up(self, _: u64, requests: &mut Requests, cx: &mut Cx<'_>) -> Result<(), Fault> {
        // It has not said no, so it is asked again; others come first.
        requests.upgrades.rests_until = Some(cx.now + cx.options.upgrade_timeout);
        free(cx);
        Ok(())
    }
}

/// Others may be asked.
fn free(cx: &mut Cx<'_>) {
    cx.state.upgrade_asked_of = None;
    cx.effects.push(Effect::Freed);
}

/// The end of the last block that we hold below our length, if that is an older length.
///
/// Whoever signed up to there may have been met by a sparse remote at just that length.
fn older_end(state: &LogState) -> Option<u64> {
    let len = state.log.len();
    let near = state.log.held(len.saturating_sub(NEAR_BLOCKS)..len);
    let held = if near.is_empty() { state.log.held(0..len) } else { near };
    held.last().map(|last| last.end).filter(|&end| end > 0 && end < len)
}

/// How far back an older length is looked for first.
const NEAR_BLOCKS: u64 = 1 << 16;
