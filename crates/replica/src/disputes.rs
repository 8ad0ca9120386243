//! What follows when a remote contradicts what we hold (docs/spec/wire.md section 8.6).
//!
//! Either it lies, or the log's writer has signed two histories. The remote's head at a length that
//! both have tells which: a signed one that differs is a [`Conflict`], which nobody can make but the
//! writer.

use std::time::Instant;

use multibee_log::{Conflict, Divergence, Error, Proof, Request, RequestUpgrade};

use crate::channel::{Cx, Remote};
use crate::event::{Event, Fault};
use crate::limits::UNASKED_HEADS_MAX;
use crate::log_state::{Blame, Effect};
use crate::message::Message;

/// A doubt about one remote's history of one log, until it is cleared up.
#[derive(Debug, Default)]
pub(crate) struct Dispute {
    step: Step,
    /// Heads that came unasked and were checked.
    unasked_count: u32,
    /// Our evidence was sent.
    is_shown: bool,
}

#[derive(Debug, Default)]
enum Step {
    #[default]
    None,
    /// The remote was asked for its head.
    Head { error: Error, fork: u64, at: Instant },
    /// The conflict is proven; the last block that both histories share is looked for.
    Parting { id: u64, at: Instant, search: Box<Divergence>, is_suspect: bool },
}

impl Dispute {
    /// When the question under way was asked.
    pub(crate) fn asked_at(&self) -> Option<Instant> {
        match self.step {
            Step::None => None,
            Step::Head { at, .. } | Step::Parting { at, .. } => Some(at),
        }
    }

    /// Whether the remote was asked for its head.
    pub(crate) fn awaits_head(&self) -> bool {
        matches!(self.step, Step::Head { .. })
    }

    /// Whether `id` is the request under way.
    pub(crate) fn is_asked(&self, id: u64) -> bool {
        matches!(self.step, Step::Parting { id: asked, .. } if asked == id)
    }

    /// The remote has sent what `error` says, and is asked nothing else from now on: asks for its
    /// head.
    ///
    /// # Errors
    ///
    /// The remote is to blame, whatever it holds.
    pub(crate) fn begin(
        &mut self,
        error: Error,
        remote: &Remote,
        cx: &mut Cx<'_>,
    ) -> Result<(), Fault> {
        let length = cx.state.announced_len().min(remote.sync.length);
        let fork = cx.state.log.fork();
        let is_comparable = length > 0 && remote.sync.fork == fork;
        if cx.state.is_disputed || !matches!(self.step, Step::None) {
            // Who follows the other history cannot but contradict us.
            return Ok(());
        }
        if !is_comparable {
            return accuse(error);
        }
        self.step = Step::Head { error, fork, at: cx.now };
        let upgrade = Some(RequestUpgrade { start: 0, length });
        let request = Request { upgrade, ..Request::default() };
        cx.out.push(Message::Request { id: 0, fork, priority: 0, request });
        Ok(())
    }

    /// Takes a head, asked for or not. A further request gets the number `next_id`; returns whether
    /// there is one.
    ///
    /// # Errors
    ///
    /// The remote is to blame: it has our history, or none.
    pub(crate) fn handle_head(
        &mut self,
        proof: &Proof,
        next_id: u64,
        remote: &Remote,
        cx: &mut Cx<'_>,
    ) -> Result<bool, Fault> {
        let asked = match std::mem::take(&mut self.step) {
            Step::Head { error, fork, .. } if fork == proof.fork => Some(error),
            Step::Head { .. } => return Ok(false),
            step => {
                self.step = step;
                // Each costs the check of a signature.
                if cx.state.is_disputed || self.unasked_count >= UNASKED_HEADS_MAX {
                    return Ok(false);
                }
                self.unasked_count += 1;
                None
            }
        };
        match cx.state.log.check_conflict(proof) {
            Ok(Some(conflict)) => {
                note(&conflict, cx);
                Ok(self.search(asked.is_some(), next_id, remote, cx))
            }
            Ok(None) | Err(Error::NotAvailable { .. }) => {
                asked.map_or(Ok(false), |error| accuse(error).map(|()| false))
            }
            // A copy that is only read keeps no evidence.
            Err(Error::ReadOnly | Error::BatchTooLarge { .. }) => Ok(false),
            Err(error) => match Blame::of(&error) {
                Blame::Peer if asked.is_some() => Err(Fault::BadData(error)),
                Blame::Peer | Blame::Nobody | Blame::Writer => Ok(false),
                Blame::Machine => {
                    cx.effects.push(Effect::Failed(error));
                    Ok(false)
                }
            },
        }
    }

    /// Takes the answer to a request of the search. The next one gets the number `next_id`; returns
    /// whether there is one.
    pub(crate) fn handle_data(
        &mut self,
        proof: &Proof,
        next_id: u64,
        remote: &Remote,
        cx: &mut Cx<'_>,
    ) -> bool {
        let Step::Parting { mut search, is_suspect, .. } = std::mem::take(&mut self.step) else {
            return false;
        };
        if search.add(proof).is_ok() {
            return self.go_on(search, is_suspect, next_id, remote, cx);
        }
        // Whatever is wrong with the answer: it is known how far the search has come.
        finish(*search, is_suspect, cx);
        false
    }

    /// The remote does not answer.
    ///
    /// # Errors
    ///
    /// The remote is to blame for what it sent before.
    pub(crate) fn fail(&mut self, cx: &mut Cx<'_>) -> Result<(), Fault> {
        match std::mem::take(&mut self.step) {
            Step::None => Ok(()),
            Step::Head { error, .. } => accuse(error),
            Step::Parting { search, is_suspect, .. } => {
                finish(*search, is_suspect, cx);
                Ok(())
            }
        }
    }

    /// Shows a remote the evidence that there is, once, and looks whether it has the other history.
    /// A request gets the number `next_id`; returns whether there is one.
    pub(crate) fn show(&mut self, next_id: u64, remote: &Remote, cx: &mut Cx<'_>) -> bool {
        if self.is_shown || !cx.state.is_disputed {
            return false;
        }
        let Some(conflict) = cx.state.log.conflict() else { return false };
        if remote.sync.fork != conflict.fork() || remote.sync.length < conflict.length() {
            return false;
        }
        self.is_shown = true;
        let theirs = remote.is_kin.then(|| conflict.theirs().clone());
        for proof in [conflict.ours().clone()].into_iter().chain(theirs) {
            cx.out.push(Message::Data { request: 0, proof });
        }
        // Who has our history answers with what does not fit, which does no harm.
        remote.is_kin && matches!(self.step, Step::None) && self.search(false, next_id, remote, cx)
    }

    /// Looks for the last common block.
    fn search(&mut self, is_suspect: bool, next_id: u64, remote: &Remote, cx: &mut Cx<'_>) -> bool {
        match cx.state.log.start_divergence() {
            Ok(Some(search)) => self.go_on(Box::new(search), is_suspect, next_id, remote, cx),
            Ok(None) => false,
            Err(error) => {
                cx.effects.push(Effect::Failed(error));
                false
            }
        }
    }

    fn go_on(
        &mut self,
        search: Box<Divergence>,
        is_suspect: bool,
        id: u64,
        remote: &Remote,
        cx: &mut Cx<'_>,
    ) -> bool {
        let request = search.request().filter(|request| remote.may_be_asked_for(request));
        let Some(request) = request else {
            finish(*search, is_suspect, cx);
            return false;
        };
        let fork = cx.state.log.fork();
        cx.out.push(Message::Request { id, fork, priority: 0, request });
        self.step = Step::Parting { id, at: cx.now, search, is_suspect };
        true
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

/// Takes over what a search has found. The log's channel to one who has contradicted us is not
/// needed any more.
fn finish(search: Divergence, is_suspect: bool, cx: &mut Cx<'_>) {
    match cx.state.log.apply_divergence(search) {
        Ok(_) => {}
        Err(error) if Blame::of(&error) == Blame::Machine => {
            cx.effects.push(Effect::Failed(error));
        }
        // Another search was first.
        Err(_) => {}
    }
    // More may be trusted now.
    cx.effects.push(Effect::Upgraded);
    if is_suspect {
        cx.effects.push(Effect::CloseLog(cx.connection));
    }
}

fn accuse(error: Error) -> Result<(), Fault> {
    match Blame::of(&error) {
        Blame::Peer => Err(Fault::BadData(error)),
        Blame::Nobody | Blame::Writer | Blame::Machine => Ok(()),
    }
}
