//! Plans about members and about giving room back, made of plans about everything else.
//!
//! What is drawn here comes from a random stream of its own: all other seeds stand for the plans that they
//! always stood for.

use crate::plan::{Action, Change, Character, Plan, Role, Step, What};

/// What a plan is about beside everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Focus {
    /// Devices are removed, retired, admitted anew, and recovered.
    Members,
    /// Some devices may only read, or keep everything.
    Roles,
    /// Deletes are forgotten, and blocks given back.
    Collecting,
    /// The same, while devices are removed.
    CollectingApart,
}

impl Focus {
    /// What the plan of a seed is about, if it is about any of this.
    pub(crate) fn of(seed: u64) -> Option<Self> {
        match fastrand::Rng::with_seed(seed ^ 0x6d65_6d62).u8(..12) {
            0..3 => Some(Self::Members),
            3 => Some(Self::Roles),
            4 => Some(Self::Collecting),
            5 => Some(Self::CollectingApart),
            _ => None,
        }
    }
}

impl Plan {
    /// The same plan, but for what is beyond what it is to be about, and with that in it.
    #[must_use]
    pub fn focused(mut self, focus: Focus) -> Self {
        // Whoever exists twice or is put back is somebody else's matter.
        self.steps.retain(|step| {
            !matches!(
                step.action,
                Action::Clone { .. }
                    | Action::Copy { .. }
                    | Action::Rot { .. }
                    | Action::BackUp { .. }
                    | Action::PutBack { .. }
                    | Action::Remove { .. }
                    | Action::Retire { .. }
                    | Action::Readmit { .. }
                    | Action::MakeSecret { .. }
                    | Action::Recover { .. }
                    | Action::Reclaim { .. }
            )
        });
        while self.devices.len() < 3 {
            let character = Character { skew_ms: 0, is_late: false, ..self.devices[0] };
            self.devices.push(character);
        }
        self.devices.iter_mut().for_each(|one| one.role = Role::Full);
        (self.forget_deletes, self.tidy_blocks) = (false, 0);
        let random = fastrand::Rng::with_seed(self.seed ^ 0x666f_6375);
        let mut weave = Weave { plan: self, random };
        match focus {
            Focus::Members => weave.members(),
            Focus::Roles => weave.roles(),
            Focus::Collecting => weave.collecting(),
            Focus::CollectingApart => {
                weave.collecting();
                weave.begin_together();
                weave.removals(1);
                weave.removed_before_a_delete();
            }
        }
        weave.plan
    }
}

/// Puts steps into a plan.
struct Weave {
    plan: Plan,
    random: fastrand::Rng,
}

impl Weave {
    fn members(&mut self) {
        self.begin_together();
        self.plan.tidy_blocks = self.random.choice([0, 0, 1, 8, 40]).unwrap_or_default();
        if self.random.bool() {
            let device = self.device();
            self.put(0..50, [Action::MakeSecret { device }]);
            for _ in 0..self.random.u8(..3) {
                let (device, by) = self.pair();
                let recover = Action::Recover { device };
                match self.random.bool() {
                    true => self.put(30..95, [recover]),
                    false => self.put(30..95, [Action::Remove { device, by, by_secret: true }]),
                }
            }
        }
        if self.random.u8(..4) == 0 {
            let (device, by) = self.pair();
            self.put(40..95, [Action::Retire { device, by }]);
        }
        let count = self.random.u8(1..4);
        self.removals(count);
        for _ in 0..self.random.u8(..3) {
            let (device, by) = self.pair();
            self.put(50..98, [Action::Readmit { device, by }]);
        }
    }

    /// All have met before anything happens. Who is senior to whom is settled then: it follows from who
    /// admitted whom first, and whoever is removed is not asked any more.
    fn begin_together(&mut self) {
        self.plan.devices.iter_mut().for_each(|one| one.is_late = false);
        self.plan.steps.retain(|step| !matches!(step.action, Action::Join { .. }));
        let count = u8::try_from(self.plan.devices.len()).unwrap_or(u8::MAX);
        let pairs = (0..count).flat_map(|a| (0..a).map(move |b| (a, b)));
        let (latency_us, flaws, lies) = (1_000, Vec::new(), Vec::new());
        let meet =
            |(a, b)| Action::Meet { a, b, latency_us, flaws: flaws.clone(), lies: lies.clone() };
        let meetings = pairs.map(|pair| Step { after_us: 0, action: meet(pair) });
        if let Some(first) = self.plan.steps.first_mut() {
            first.after_us += 5_000_000;
        }
        self.plan.steps.splice(0..0, meetings);
    }

    fn removals(&mut self, count: u8) {
        for _ in 0..count {
            let (device, by) = self.pair();
            let remove = |device, by| Action::Remove { device, by, by_secret: false };
            let part = Action::Part { a: device, b: by };
            let news = Action::Write { device, changes: self.changes() };
            match self.random.u8(..6) {
                0 => self.put(15..95, [part, remove(device, by), remove(by, device), news]),
                1 => self.put(15..95, [part, news, remove(by, device), remove(device, by)]),
                2 => {
                    let (_, third) = self.pair();
                    let by = if third == device { by } else { third };
                    self.put(15..95, [remove(device, by), news]);
                }
                _ => self.put(15..95, [part, news, remove(device, by)]),
            }
        }
    }

    fn roles(&mut self) {
        self.plan.is_line = false;
        // What only a reader has nobody else can get.
        self.plan.devices.iter_mut().for_each(|one| one.is_lost = false);
        self.plan.tidy_blocks = self.random.choice([0, 1, 8]).unwrap_or_default();
        let (one, other) = self.pair();
        let roles = match self.random.u8(..4) {
            0 => [Role::Mirror, Role::Full],
            1 => [Role::ReadOnly, Role::Mirror],
            _ => [Role::ReadOnly, Role::Full],
        };
        for (device, role) in [one, other].into_iter().zip(roles) {
            self.plan.devices[usize::from(device)].role = role;
        }
        for _ in 0..self.random.u8(3..9) {
            let changes = self.changes();
            self.put(5..100, [Action::Write { device: one, changes }]);
        }
    }

    fn collecting(&mut self) {
        for one in &mut self.plan.devices {
            // Who comes later may bring along what it wrote without having seen any delete.
            one.is_late = false;
            one.is_lost &= self.random.u8(..4) == 0;
        }
        self.plan.steps.retain(|step| !matches!(step.action, Action::Join { .. }));
        self.plan.forget_deletes = true;
        self.plan.tidy_blocks = self.random.choice([0, 1, 2, 8, 40]).unwrap_or_default();
        for _ in 0..self.random.u8(5..20) {
            let (device, key) = (self.device(), self.random.u16(..4));
            let delete = Change { key, what: What::Delete };
            self.put(5..100, [Action::Write { device, changes: vec![delete] }]);
        }
        for _ in 0..self.random.u8(2..9) {
            let (device, even_for_others) = (self.device(), self.random.u8(..4) == 0);
            self.put(20..100, [Action::Reclaim { device, even_for_others }]);
        }
    }

    /// A device that has not seen a delete is removed by who has; another one has its write.
    fn removed_before_a_delete(&mut self) {
        let count = u8::try_from(self.plan.devices.len()).unwrap_or(u8::MAX);
        let (by, device) = self.pair();
        let others: Vec<u8> = (0..count).filter(|one| ![by, device].contains(one)).collect();
        let key = self.random.u16(..4);
        let change = |what| vec![Change { key, what }];
        let put = |device| Action::Write { device, changes: change(What::Put(9)) };
        let meet = |a, b| {
            let (flaws, lies) = (Vec::new(), Vec::new());
            Action::Meet { a, b, latency_us: 1_000, flaws, lies }
        };
        let part = || (0..count).flat_map(|a| (0..a).map(move |b| Action::Part { a, b }));
        let mut actions: Vec<Action> = part().collect();
        actions.push(put(by));
        actions.extend((0..count).filter(|one| *one != by).map(|one| meet(by, one)));
        actions.extend(part());
        actions.push(Action::Write { device: by, changes: change(What::Delete) });
        actions.push(put(device));
        actions.extend(others.iter().map(|&one| meet(by, one)));
        actions.extend(part());
        actions.extend(others.iter().take(1).map(|&one| meet(one, device)));
        actions.extend(part());
        actions.push(Action::Remove { device, by, by_secret: false });
        actions.push(Action::Reclaim { device: by, even_for_others: false });
        let steps = actions.into_iter().map(|action| Step { after_us: 2_000_000, action });
        let at = self.random.usize(..=self.plan.steps.len());
        self.plan.steps.splice(at..at, steps);
    }

    fn changes(&mut self) -> Vec<Change> {
        let (key, len) = (self.random.u16(..4), self.random.u16(..60));
        let what = if self.random.u8(..4) == 0 { What::Delete } else { What::Put(len) };
        vec![Change { key, what }]
    }

    /// Puts steps one right after the other somewhere between these hundredths of the plan.
    fn put<const N: usize>(&mut self, within: std::ops::Range<usize>, actions: [Action; N]) {
        let len = self.plan.steps.len();
        let at = self.random.usize(len * within.start / 100..=len * within.end / 100);
        let after_us = self.random.u64(..100_000);
        let steps = actions.into_iter().map(|action| Step { after_us, action });
        self.plan.steps.splice(at..at, steps);
    }

    fn device(&mut self) -> u8 {
        let count = u8::try_from(self.plan.devices.len()).unwrap_or(u8::MAX);
        self.random.u8(..count)
    }

    fn pair(&mut self) -> (u8, u8) {
        let count = u8::try_from(self.plan.devices.len()).unwrap_or(u8::MAX);
        let one = self.device();
        (one, (one + self.random.u8(1..count)) % count)
    }
}
