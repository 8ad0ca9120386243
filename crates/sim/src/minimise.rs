//! Cutting a plan down to what breaks the rule.

use crate::plan::{Action, Plan, Step};
use crate::report::Rule;
use crate::world;

/// The least plan that is found to break the same rule. At most `tries` runs are spent on it.
pub fn minimise(plan: &Plan, rule: Rule, tries: u32) -> Plan {
    let mut search = Search { best: plan.clone(), rule, tries };
    let mut before = usize::MAX;
    while search.size() < before && search.tries > 0 {
        before = search.size();
        search.cut_steps();
        search.cut_flaws();
        search.cut_lies();
        search.cut_changes();
        search.cut_breaks();
        search.cut_pauses();
    }
    search.best
}

struct Search {
    best: Plan,
    rule: Rule,
    tries: u32,
}

impl Search {
    /// What is made smaller.
    fn size(&self) -> usize {
        let weight = |step: &Step| match &step.action {
            Action::Write { changes, .. } => 1 + changes.len(),
            Action::Meet { flaws, lies, .. } => 1 + flaws.len() + lies.len(),
            Action::Compact { within, .. } => 1 + usize::from(within.is_some()),
            _ => 1,
        };
        self.best.steps.iter().map(weight).sum()
    }

    /// Takes a plan if it breaks the rule as well.
    fn take(&mut self, plan: Plan) -> bool {
        if self.tries == 0 {
            return false;
        }
        self.tries -= 1;
        let is_bad = world::run(&plan).is_err_and(|violation| violation.rule == self.rule);
        if is_bad {
            self.best = plan;
        }
        is_bad
    }

    /// Leaves out steps, many at a time at first. What comes later stays as late as it was.
    fn cut_steps(&mut self) {
        let mut len = self.best.steps.len().div_ceil(2);
        while len > 0 {
            let mut at = self.best.steps.len();
            while at > 0 {
                let start = at.saturating_sub(len);
                let mut plan = self.best.clone();
                let gone: Vec<Step> = plan.steps.drain(start..at.min(plan.steps.len())).collect();
                if let Some(next) = plan.steps.get_mut(start) {
                    next.after_us += gone.iter().map(|step| step.after_us).sum::<u64>();
                }
                self.take(plan);
                at = start;
            }
            len /= 2;
        }
    }

    fn cut_flaws(&mut self) {
        for at in 0..self.best.steps.len() {
            let mut plan = self.best.clone();
            if let Some(Action::Meet { flaws, .. }) =
                plan.steps.get_mut(at).map(|step| &mut step.action)
                && flaws.pop().is_some()
            {
                self.take(plan);
            }
        }
    }

    fn cut_lies(&mut self) {
        for at in 0..self.best.steps.len() {
            loop {
                let mut plan = self.best.clone();
                let action = plan.steps.get_mut(at).map(|step| &mut step.action);
                let Some(Action::Meet { lies, .. }) = action else { break };
                // With none at all it would be another connection.
                if lies.len() < 2 || lies.pop().is_none() || !self.take(plan) {
                    break;
                }
            }
        }
    }

    fn cut_changes(&mut self) {
        for at in 0..self.best.steps.len() {
            let mut plan = self.best.clone();
            if let Some(Action::Write { changes, .. }) =
                plan.steps.get_mut(at).map(|step| &mut step.action)
                && changes.len() > 1
            {
                changes.pop();
                self.take(plan);
            }
        }
    }

    /// Compactions that come to their end.
    fn cut_breaks(&mut self) {
        for at in 0..self.best.steps.len() {
            let mut plan = self.best.clone();
            if let Some(Action::Compact { within, .. }) =
                plan.steps.get_mut(at).map(|step| &mut step.action)
                && within.take().is_some()
            {
                self.take(plan);
            }
        }
    }

    fn cut_pauses(&mut self) {
        for at in 0..self.best.steps.len() {
            let mut plan = self.best.clone();
            if let Some(step) = plan.steps.get_mut(at)
                && step.after_us > 1_000_000
            {
                step.after_us = 1_000_000;
                self.take(plan);
            }
        }
    }
}
