//! What we ask one remote about one log.

mod arrivals;
mod asked;
mod blocks;
mod disputes;
mod download;
mod forecast;
mod in_flight;
mod reorgs;
mod runs;
mod seeks;
mod upgrades;

use std::ops::Range;
use std::time::Instant;

use multibee_log::{Error, Proof};

pub(crate) use self::asked::Answer;
use self::asked::Kind;
use self::disputes::Disputes;
use self::download::Download;
use self::in_flight::InFlight;
use self::reorgs::Reorgs;
use self::seeks::Seeks;
pub(crate) use self::seeks::Sought;
use self::upgrades::Upgrades;
use crate::channel::{Cx, Remote};
use crate::event::Fault;
use crate::log_state::Effect;
use crate::message::Message;
use crate::meter::Meter;
use crate::options::ReplicatorOptions;

/// The requests under way to one remote about one log, and what is remembered of earlier ones.
///
/// What may be asked is of several kinds, each in a file of its own. There is what one request has
/// asked for: it is kept [in flight](InFlight) until the request ends, and says
/// [what follows then](asked::Terms). And there is what the kind remembers from one request to the
/// next, which decides what to [ask](Self::ask).
#[derive(Debug, Default)]
pub(crate) struct Requests {
    in_flight: InFlight,
    standing: Standing,
    disputes: Disputes,
    reorgs: Reorgs,
    upgrades: Upgrades,
    seeks: Seeks,
    download: Download,
}

/// Whether anything is asked of a remote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standing {
    #[default]
    Good,
    /// Not before it has another fork: it took back a length.
    WentBack,
    /// No: it has contradicted what we hold.
    Suspect,
}

impl Requests {
    /// Asks for what there is to ask for.
    pub(crate) fn ask(&mut self, remote: &Remote, cx: &mut Cx<'_>) {
        self.disputes.ask(&mut self.in_flight, remote, cx);
        if remote.is_synced
            && self.is_in_good_standing()
            && let Err(error) = self.ask_for_more(remote, cx)
        {
            cx.effects.push(Effect::Failed(error));
        }
    }

    fn ask_for_more(&mut self, remote: &Remote, cx: &mut Cx<'_>) -> Result<(), Error> {
        let in_flight = &mut self.in_flight;
        self.reorgs.ask(in_flight, remote, cx);
        self.upgrades.ask(in_flight, remote, cx);
        self.seeks.ask(in_flight, remote, cx)?;
        self.download.ask(in_flight, remote, cx)
    }

    /// Whether the remote has a longer head that it can't lead to from ours.
    pub(crate) fn is_head_out_of_reach(
        &self,
        remote: &Remote,
        state: &crate::log_state::LogState,
        now: Instant,
    ) -> bool {
        self.upgrades.is_out_of_reach(remote, state, now)
    }

    /// The length up to which the remote can prove blocks to us; none on another fork.
    pub(crate) fn provable_len(
        remote: &Remote,
        state: &crate::log_state::LogState,
    ) -> Result<u64, Error> {
        if remote.sync.fork != state.log.fork() {
            return Ok(0);
        }
        download::provable_len(remote, state)
    }

    /// Takes an answer. One to no request, or in another form than was asked for, is ignored: it may
    /// be late.
    ///
    /// # Errors
    ///
    /// What the remote did wrong: hang up.
    pub(crate) fn take_answer(
        &mut self,
        id: u64,
        answer: Answer,
        remote: &mut Remote,
        cx: &mut Cx<'_>,
    ) -> Result<(), Fault> {
        if !self.in_flight.get(id).is_some_and(|asked| asked.is_answered_by(&answer)) {
            return Ok(());
        }
        self.in_flight.note_answer(cx.now);
        if !answer.brings_blocks() {
            // Answers that came before it are right or wrong for themselves.
            self.store(remote, cx)?;
        }
        let Some(sent) = self.in_flight.remove(id, cx.pace) else { return Ok(()) };
        sent.note_answer(cx);
        sent.asked.answered(id, answer, self, remote, cx)
    }

    /// Takes a head that starts from nothing, by the number 0: the answer to a question about our
    /// common history, or evidence that we have not asked for.
    ///
    /// # Errors
    ///
    /// What the remote did wrong: hang up.
    pub(crate) fn take_head(
        &mut self,
        proof: Proof,
        remote: &mut Remote,
        cx: &mut Cx<'_>,
    ) -> Result<(), Fault> {
        self.store(remote, cx)?;
        if self.in_flight.contains(0) {
            self.take_answer(0, Answer::Data(proof), remote, cx)
        } else {
            self.disputes.take_unasked(&proof, &mut self.in_flight, remote, cx)
        }
    }

    /// The remote has no answer to a request.
    ///
    /// # Errors
    ///
    /// What the remote did wrong before: hang up.
    pub(crate) fn take_refusal(
        &mut self,
        id: u64,
        remote: &mut Remote,
        cx: &mut Cx<'_>,
    ) -> Result<(), Fault> {
        let Some(sent) = self.in_flight.remove(id, cx.pace) else { return Ok(()) };
        self.in_flight.note_answer(cx.now);
        sent.asked.refused(id, self, remote, cx)
    }

    /// Stores what has arrived.
    ///
    /// # Errors
    ///
    /// What the remote did wrong: hang up.
    pub(crate) fn store(&mut self, remote: &Remote, cx: &mut Cx<'_>) -> Result<(), Fault> {
        match self.download.store(cx) {
            Err(Fault::BadData(error)) => self.doubt(error, remote, cx),
            outcome => outcome,
        }
    }

    /// The remote has sent data that does not verify. That may be the writer's fault: the remote's
    /// head tells, and it is asked for nothing else.
    ///
    /// # Errors
    ///
    /// The remote is to blame, whatever it holds: hang up.
    pub(crate) fn doubt(
        &mut self,
        error: Error,
        remote: &Remote,
        cx: &mut Cx<'_>,
    ) -> Result<(), Fault> {
        self.standing = Standing::Suspect;
        self.abandon(cx);
        disputes::begin(error, &mut self.in_flight, remote, cx)
    }

    /// The remote has taken back a length. Returns whether that is news: it is asked for nothing
    /// then until it [has another fork](Self::remote_forked).
    pub(crate) fn remote_went_back(&mut self, cx: &mut Cx<'_>) -> bool {
        if !self.is_in_good_standing() {
            return false;
        }
        self.standing = Standing::WentBack;
        self.abandon(cx);
        true
    }

    /// The remote has another fork than before.
    pub(crate) fn remote_forked(&mut self) {
        if self.standing == Standing::WentBack {
            self.standing = Standing::Good;
        }
    }

    /// Whether anything may be asked of the remote.
    pub(crate) fn is_in_good_standing(&self) -> bool {
        self.standing == Standing::Good
    }

    /// Our log was cut: what was asked for is of a history that it has left.
    pub(crate) fn handle_cut(&mut self, cx: &mut Cx<'_>) {
        self.reorgs.give_up(&mut self.in_flight, cx);
        self.abandon(cx);
    }

    /// A block need not come any more.
    pub(crate) fn cancel(&mut self, block: u64, cx: &mut Cx<'_>) {
        self.download.cancel(block, &mut self.in_flight, cx);
    }

    /// Gives up what ran out of time.
    ///
    /// # Errors
    ///
    /// What the remote did wrong before, or that it answers nothing: hang up.
    pub(crate) fn handle_timeout(&mut self, cx: &mut Cx<'_>) -> Result<(), Fault> {
        if self.download.look_again().is_some_and(|at| at <= cx.now) {
            self.download.wake();
        }
        self.upgrades.end_rest(cx.now);
        let late = self.in_flight.late(cx.now, cx.options);
        if late.is_empty() {
            return Ok(());
        }
        for id in late {
            let Some(sent) = self.in_flight.remove(id, cx.pace) else { continue };
            if id > 0 {
                cx.out.push(Message::Cancel { request: id });
            }
            sent.asked.given_up(id, self, cx)?;
        }
        self.download.wake();
        cx.effects.push(Effect::Freed);
        self.in_flight.note_silence()
    }

    /// When there is something to do for the time alone.
    pub(crate) fn deadline(&self, options: &ReplicatorOptions) -> Option<Instant> {
        let own = [self.download.look_again(), self.upgrades.rests_until()];
        self.in_flight.deadline(options).into_iter().chain(own.into_iter().flatten()).min()
    }

    /// Ends all requests: what was asked of this remote may be asked of others.
    pub(crate) fn end(&mut self, cx: &mut Cx<'_>) {
        self.abandon(cx);
        self.give_up(|_| true, cx);
    }

    /// The blocks of which the remote must have one before the search on its fork goes on, if it has
    /// none.
    pub(crate) fn lacked(&self) -> Option<Range<u64>> {
        self.reorgs.lacked().filter(|_| self.is_in_good_standing())
    }

    /// Whether there may be something to ask of this remote, or blocks are under way.
    pub(crate) fn is_hungry(&self) -> bool {
        !self.download.is_idle() || self.in_flight.block_count() > 0
    }

    /// Blocks that are asked of this remote.
    pub(crate) fn block_count(&self) -> usize {
        self.in_flight.block_count()
    }

    /// What has come of it.
    pub(crate) fn meter(&self) -> &Meter {
        &self.download.meter
    }

    /// Asks for nothing more of the history that we and the remote share, and forgets how it has
    /// answered. What is under way may be asked of others. A search for where two histories part
    /// goes on.
    fn abandon(&mut self, cx: &mut Cx<'_>) {
        self.download.reset(cx);
        self.give_up(|kind| !kind.is_search(), cx);
        self.upgrades = Upgrades::default();
        self.seeks = Seeks::default();
        self.in_flight.forget_silence();
        cx.effects.push(Effect::Freed);
    }

    /// Gives up the requests of some kinds, without a word to the remote.
    fn give_up(&mut self, is_of_them: impl Fn(Kind) -> bool, cx: &mut Cx<'_>) {
        for id in self.in_flight.ids_of(is_of_them) {
            if let Some(sent) = self.in_flight.remove(id, cx.pace) {
                // Nothing is left to ask of who is accused so.
                let _ = sent.asked.given_up(id, self, cx);
            }
        }
    }
}
