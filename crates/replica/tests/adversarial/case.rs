//! A faulty peer, and what is to become of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use multibee_replica::CloseReason;

use crate::MEMORY;
use crate::referee::Referee;
use crate::stage::{Outcome, Stage, Start};

/// No case may take more memory than this, by far.
pub(crate) const MEMORY_MAX: usize = 64 << 20;

pub(crate) struct Case {
    pub(crate) name: String,
    start: Start,
    verdict: Verdict,
    /// It runs once for each of so many inputs.
    inputs: usize,
    act: Act,
}

/// Instead of a fault's text: there is none, but the log's channel is closed.
pub(crate) const CLOSED: &str = "closed";

/// What a faulty peer does, with the number of the input.
type Act = Box<dyn Fn(&mut Stage, usize)>;

/// What happens to the faulty peer, by docs/spec/wire.md sections 9 and 13.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::large_enum_variant, reason = "there are a few hundred")]
pub(crate) enum Verdict {
    /// A fault with this text names it, and its connection ends.
    HungUpOn(&'static str),
    /// A fault with this text names it, and the connection goes on.
    Named(&'static str),
    /// Its connection goes on, and nobody complains.
    Ignored,
    /// Its connection goes on, but without the log.
    Closed,
    /// What the [`Referee`](crate::referee::Referee) says of what was said, fault by fault.
    Judged,
    /// Its connection ends, since it says nothing at all; or, if that was noticed before, since it
    /// answers nothing.
    Gone,
    /// For each input the text of the fault for which it is hung up on; nothing if it is ignored;
    /// [`CLOSED`] if it goes on without the log.
    Each([&'static str; 14]),
}

impl Case {
    pub(crate) fn new(
        name: impl Into<String>,
        start: Start,
        verdict: Verdict,
        act: impl Fn(&mut Stage) + 'static,
    ) -> Self {
        Self::of_many(name, start, verdict, 1, move |stage, _| act(stage))
    }

    /// A case of many inputs, which the act gets the number of.
    pub(crate) fn of_many(
        name: impl Into<String>,
        start: Start,
        verdict: Verdict,
        inputs: usize,
        act: impl Fn(&mut Stage, usize) + 'static,
    ) -> Self {
        Self { name: name.into(), start, verdict, inputs, act: Box::new(act) }
    }

    fn run(&self) {
        (0..self.inputs).for_each(|input| self.run_one(input));
    }

    fn run_one(&self, input: usize) {
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        let mut stage = Stage::new(self.start);
        (self.act)(&mut stage, input);
        stage.check_honest();
        self.judge(&stage, input);
        let peak_max = stage.peak_max;
        drop(stage);
        let peak = peak_max.max(MEMORY.peak_usage()).saturating_sub(before);
        assert!(peak <= MEMORY_MAX, "{peak} bytes of memory, input {input}");
    }

    fn judge(&self, stage: &Stage, input: usize) {
        let Outcome { faults, log_closed, reason } = stage.outcome();
        let names = |text: &str| faults.iter().any(|fault| fault.contains(text));
        let is_hung_up_on = reason == Some(CloseReason::Fault);
        let is_right = match self.verdict {
            Verdict::HungUpOn(text) => names(text) && is_hung_up_on,
            Verdict::Named(text) => names(text) && reason.is_none(),
            Verdict::Ignored => faults.is_empty() && reason.is_none() && !log_closed,
            Verdict::Closed => faults.is_empty() && reason.is_none(),
            Verdict::Gone => match &faults[..] {
                [] => reason == Some(CloseReason::Silence),
                [fault] => is_hung_up_on && fault.starts_with("no answer to 4 rounds"),
                _ => false,
            },
            Verdict::Each(texts) => match (texts[input], &faults[..]) {
                ("", []) => reason.is_none() && !log_closed,
                (CLOSED, []) => reason.is_none() && log_closed,
                (text, [fault]) => is_hung_up_on && !text.is_empty() && fault.contains(text),
                _ => false,
            },
            Verdict::Judged => is_as_judged(&stage.referee, &faults, reason) && !log_closed,
        };
        let (verdict, referee) = (self.verdict, &stage.referee);
        assert!(is_right, "input {input}: {verdict:?}, but {faults:?} {reason:?}; {referee:?}");
    }
}

/// Whether all that the referee is sure of is told, in order, and nothing else; and whether the
/// connection has ended for that, or goes on.
fn is_as_judged(referee: &Referee, faults: &[String], reason: Option<CloseReason>) -> bool {
    let Some(rest) = faults.strip_prefix(&referee.named[..]) else { return false };
    match (rest, &referee.fatal) {
        ([], None) => reason.is_none(),
        ([fault], Some(words)) => fault.starts_with(words) && reason == Some(CloseReason::Fault),
        ([fault], None) => {
            let is_allowed = fault.starts_with("no answer to") && referee.may_be_silent()
                || fault.starts_with("data that does not verify") && referee.forgivable;
            is_allowed && reason == Some(CloseReason::Fault)
        }
        _ => false,
    }
}

/// Runs all cases, one at a time, since their memory is counted; panics with the names of those that
/// fail.
pub(crate) fn check(cases: fn() -> Vec<Case>) {
    let _alone = alone();
    let cases = cases();
    let failed = one_by_one(cases.iter().map(|case| (case.name.as_str(), || case.run())));
    assert!(failed.is_empty(), "failed of {}: {failed:#?}", cases.len());
}

/// While this is held no other test runs.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs named things in turn. Returns the names of those that panic.
pub(crate) fn one_by_one<'a>(all: impl Iterator<Item = (&'a str, impl Fn())>) -> Vec<&'a str> {
    all.filter_map(|(name, act)| {
        println!("case {name}");
        catch_unwind(AssertUnwindSafe(act)).is_err().then_some(name)
    })
    .collect()
}
