//! What follows when a remote contradicts what we hold (docs/spec/wire.md section 8.6).
//!
//! Either it lies, or the log's writer has signed two histories. The remote's head at a length that
//! both have tells which: a signed one that differs is a [`Conflict`], which nobody can make but the
//! writer.

use multibee_log::{Conflict, Divergence, Error, Proof, Request, RequestUpgrade};

use super::Requests;
use super::asked::{Kind, Patience, Terms};
use super::in_flight::{InFlight, Load};
use crate::channel::{Cx, Remote};
use crate::event::{Event, Fault};
use crate::limits::UNASKED_HEADS_MAX;
use crate::log_state::{Blame, Effect};
use crate::message::Message;
use crate::options::ReplicatorOptions;

/// What is remembered of one remote's evidence about one log.
#[derive(Debug, Default)]
pub(super) struct Disputes {
    /// Heads that came unasked and were checked.
    unasked_count: u32,
    /// Our evidence was sent.
    is_shown: bool,
}

/// The remote has sent what does not fit, and was asked for its head.
#[derive(Debug)]
pub(super) struct Doubt {
    error: Error,
    fork: u64,
}

/// The conflict is proven; the last block that both histories share is looked for.
#[derive(Debug)]
pub(super) struct Parting {
    search: Box<Divergence>,
    /// The remote has contradicted us, and not only shown evidence.
    is_suspect: bool,
}

impl Disputes {
    /// Takes a head that was not asked for.
    pub(super) fn take_unasked(
        &mut self,
        proof: &Proof,
        in_flight: &mut InFlight,
        remote: &Remote,
        cx: &mut Cx<'_>,
    ) -> Result<(), Fault> {
        // Each costs the check of a signature.
        if cx.state.is_disputed || self.unasked_count >= UNASKED_HEADS_MAX {
            return Ok(());
        }
        self.unasked_count += 1;
        check_head(proof, None, in_flight, remote, cx)
    }

    /// Shows a remote the evidence that there is, once, and looks whether it has the other history.
    pub(super) fn ask(&mut self, in_flight: &mut InFlight, remote: &Remote, cx: &mut Cx<'_>) {
        if self.is_shown || !cx.state.is_disputed {
            return;
        }
        let Some(conflict) = cx.state.log.conflict() else { return };
        if remote.sync.fork != conflict.fork() || remote.sync.length < conflict.length() {
            return;
        }
        self.is_shown = true;
        let theirs = remote.is_kin.then(|| conflict.theirs().clone());
        for proof in [conflict.ours().clone()].into_iter().chain(theirs) {
            cx.out.push(Message::Data { request: 0, proof });
        }
        // Who has our history answers with what does not fit, which does no harm.
        if remote.is_kin && !is_open(in_flight) {
            search(false, in_flight, remote, cx);
        }
    }
}

/// The remote has sent what `error` says, and is asked for nothing else from now on: asks for its
/// head.
///
/// # Errors
///
/// The remote is to blame, whatever it holds.
pub(super) fn begin(
    error: Error,
    in_flight: &mut InFlight,
    remote: &Remote,
    cx: &mut Cx<'_>,
) -> Result<(), Fault> {
    let length = cx.state.announced_len().min(remote.sync.length);
    let fork = cx.state.log.fork();
    let is_comparable = length > 0 && remote.sync.fork == fork;
    if cx.state.is_disputed || is_open(in_flight) {
        // Who follows the other history cannot but contradict us.
        return Ok(());
    }
    if !is_comparable {
        return accuse(error);
    }
    let upgrade = Some(RequestUpgrade { start: 0, length });
    let request = Request { upgrade, ..Request::default() };
    in_flight.send_unnumbered(Doubt { error, fork }, cx, |id| Message::Request {
        id,
        fork,
        priority: 0,
        request,
    });
    Ok(())
}

impl Terms for Doubt {
    type Answer = Proof;

    const IS_SEARCH: bool = true;

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
        if self.fork != proof.fork {
            return Ok(());
        }
        check_head(&proof, Some(self.error), &mut requests.in_flight, remote, cx)
    }

    fn refused(
        self,
        id: u64,
        requests: &mut Requests,
        _: &mut Remote,
        cx: &mut Cx<'_>,
    ) -> Result<(), Fault> {
        self.given_up(id, requests, cx)
    }

    fn given_up(self, _: u64, _: &mut Requests, _: &mut Cx<'_>) -> Result<(), Fault> {
        accuse(self.error)
    }
}

impl Terms for Parting {
    type Answer = Proof;

    const IS_SEARCH: bool = true;

    fn patience(options: &ReplicatorOptions) -> Patience {
        Patience { timeout: options.upgrade_timeout, extended_to: None }
    }

    fn answered(
        mut self,
        _: u64,
        proof: Proof,
        requests: &mut Requests,
        remote: &mut Remote,
        cx: &mut Cx<'_>,
    ) -> Result<(), Fault> {
        if self.search.add(&proof).is_ok() {
            self.go_on(&mut requests.in_flight, remote, cx);
        } else {
            // Whatever is wrong with the answer: it is known how far the search has come.
            self.finish(cx);
        }
        Ok(())
    }

    fn refused(
        self,
        _: u64,
        _: &mut Requests,
        _: &mut Remote,
        cx: &mut Cx<'_>,
    ) -> Result<(), Fault> {
        self.finish(cx);
        Ok(())
    }

    fn given_up(self, _: u64, _: &mut Requests, cx: &mut Cx<'_>) -> Result<(), Fault> {
        self.finish(cx);
        Ok(())
    }
}

impl Parting {
    fn go_on(self, in_flight: &mut InFlight, remote: &Remote, cx: &mut Cx<'_>) {
        let request = self.search.request().filter(|request| remote.may_be_asked_for(request));
        let Some(request) = request else { return self.finish(cx) };
        let fork = cx.state.log.fork();
        in_flight.send(self, Load::default(), cx, |id| Message::Request {
            id,
            fork,
            priority: 0,
            request,
        });
    }

    /// Takes over what the search has found. The log's channel to one who has contradicted us is not
    /// needed any more.
    fn finish(self, cx: &mut Cx<'_>) {
        match cx.state.log.apply_divergence(*self.search) {
            Ok(_) => {}
            Err(error) if Blame::of(&error) == Blame::Machine => {
                cx.effects.push(Effect::Failed(error));
            }
            // Another search was first.
            Err(_) => {}
        }
        // More may be trusted now.
        cx.effects.push(Effect::Upgraded);
        if self.is_suspect {
            cx.effects.push(Effect::CloseLog(cx.connection));
        }
    }
}

/// Whether the remote is being asked about its history.
fn is_open(in_flight: &InFlight) -> bool {
    [Kind::Doubt, Kind::Parting].iter().any(|kind| in_flight.tally(*kind).requests > 0)
}

/// Checks a head, asked for because of an `error` or not.
///
/// # Errors
///
/// The remote is to blame: it has our history, or none.
fn check_head(
    proof: &Proof,
    error: Option<Error>,
    in_flight: &mut InFlight,
    remote: &Remote,
    cx: &mut Cx<'_>,
) -> Result<(), Fault> {
    match cx.state.log.check_conflict(proof) {
        Ok(Some(conflict)) => {
            note(&conflict, cx);
            search(error.is_some(), in_flight, remote, cx);
            Ok(())
        }
        Ok(None) => error.map_or(Ok(()), accuse),
        // A sparse copy holds too little to tell, so it may be the writer as well. Nothing more is
        // asked of the remote.
        Err(Error::NotAvailable { .. }) => Ok(()),
        // A copy that is only read keeps no evidence.
        Err(Error::ReadOnly | Error::BatchTooLarge { .. }) => Ok(()),
        Err(found) => match Blame::of(&found) {
            Blame::Peer if error.is_some() => Err(Fault::BadData(found)),
            Blame::Peer | Blame::Nobody | Blame::Writer => Ok(()),
            Blame::Machine => {
                cx.effects.push(Effect::Failed(found));
                Ok(())
            }
        },
    }
}

/// Looks for the last common block.
fn search(is_suspect: bool, in_flight: &mut InFlight, remote: &Remote, cx: &mut Cx<'_>) {
    match cx.state.log.start_divergence() {
        Ok(Some(search)) => {
            Parting { search: Box::new(search), is_suspect }.go_on(in_flight, remote, cx);
        }
        Ok(None) => {}
        Err(error) => cx.effects.push(Effect::Failed(error)),
    }
}

/// Keeps in mind that there are two histories, and tells it the first time.
fn note(conflict: &Conflict, cx: &mut Cx<'_>) {
    if std::mem::replace(&mut cx.state.is_disputed, true) {
        return;
    }
    let (key, from) = (cx.key(), cx.connection);
    cx.effect(Event::Conflict { key, fork: conflict.fork(), length: conflict.length(), from });
    // The others are shown the evidence.
    cx.effects.push(Effect::Upgraded);
}

fn accuse(error: Error) -> Result<(), Fault> {
    match Blame::of(&error) {
        Blame::Peer => Err(Fault::BadData(error)),
        Blame::Nobody | Blame::Writer | Blame::Machine => Ok(()),
    }
}
