//! Drawing plans: what happens in a run, by chance.

use crate::focus::Focus;
use crate::keys;
use crate::plan::{
    Action, Change, Character, Flaw, FlawKind, Lie, LieKind, Place, Plan, Role, Scope, Settling,
    Step, Stop, What, Within,
};

const SECOND: u64 = 1_000_000;
const HOUR: u64 = 3_600 * SECOND;
const DAY: u64 = 24 * HOUR;

impl Plan {
    /// The plan that a seed stands for.
    pub fn random(seed: u64, scope: Scope) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let count = random.u8(2..=scope.devices.max(2));
        let mut character = |number: u8| Character {
            waits_for_disk: random.bool(),
            skew_ms: skew(&mut random),
            is_late: number >= 2 && random.u8(..5) == 0,
            is_lost: number >= 1 && random.u8(..24) == 0,
            role: Role::Full,
        };
        let devices: Vec<_> = (0..count).map(&mut character).collect();
        let news_min = random.choice([0, 0, 2, 5, 20, 60]).unwrap_or_default();
        let absorb_keys = random.choice([0, 1, 2, 7]).unwrap_or_default();
        let is_line = random.u8(..5) == 0;
        let mut draw = Draw::new(&devices, is_line, &mut random);
        let has_fork = draw.has_fork;
        let count = if draw.is_stormy { scope.steps.saturating_mul(2) } else { scope.steps };
        let steps = (0..count).map(|at| draw.step(at, count)).collect();
        let news_min = if has_fork { 0 } else { news_min };
        let (forget_deletes, tidy_blocks) = (false, 0);
        let plan = Self {
            seed,
            devices,
            news_min,
            absorb_keys,
            is_line,
            forget_deletes,
            tidy_blocks,
            steps,
        };
        match Focus::of(seed) {
            Some(focus) => plan.focused(focus),
            None => plan,
        }
    }
}

/// A clock's error, as reliability wants them tried: none, small, hours, years.
fn skew(random: &mut fastrand::Rng) -> i64 {
    let year: i64 = 365 * 24 * 3_600_000;
    let choices = [0, 0, 0, 1_000, -1_000, 600_000, -600_000, 86_400_000, -86_400_000, year * 74];
    let chosen = random.choice(choices).unwrap_or_default();
    if random.u8(..) < 4 { -56 * year } else { chosen }
}

/// Draws steps for a number of devices. Each run has its own mix.
struct Draw<'r> {
    count: u8,
    is_line: bool,
    /// Devices that have not joined yet.
    late: Vec<u8>,
    /// A device that is away in the middle of the run.
    dormant: Option<u8>,
    is_away: bool,
    keys: u16,
    deletes: u8,
    faults: u8,
    /// Much goes wrong, and everything may.
    is_stormy: bool,
    /// Faults of each kind happen in this run or not at all.
    kinds: [bool; 6],
    latency_us: u64,
    has_types: bool,
    has_rules: bool,
    has_liars: bool,
    has_rot: bool,
    has_fork: bool,
    has_compactions: bool,
    /// A device to which old states are put back.
    put_back: Option<u8>,
    /// So many copies are made yet.
    copies: u8,
    /// Where somebody exists twice, states are not absorbed: that is still to come.
    never_forgets: bool,
    random: &'r mut fastrand::Rng,
}

impl<'r> Draw<'r> {
    fn new(devices: &[Character], is_line: bool, random: &'r mut fastrand::Rng) -> Self {
        let numbered = (0..).zip(devices);
        let late = numbered.filter(|(_, one)| one.is_late).map(|(number, _)| number).collect();
        let count = u8::try_from(devices.len()).unwrap_or(u8::MAX);
        let is_stormy = random.u8(..5) < 3;
        let has_fork = count > 2 && random.u8(..10) == 0;
        let has_compactions = !has_fork && random.u8(..3) == 0;
        let put_back = (!has_fork && random.u8(..6) == 0).then(|| random.u8(..count));
        let copies = if !has_fork && random.u8(..8) == 0 { random.u8(1..3) } else { 0 };
        let dormant = (count > 2 && random.bool()).then(|| random.u8(..count));
        Self {
            count,
            is_line,
            late,
            dormant,
            is_away: false,
            keys: random.choice([1, 2, 4, 16, 64, 400]).unwrap_or(4),
            deletes: random.choice([0, 20, 90]).unwrap_or(20),
            faults: if is_stormy { 230 } else { random.choice([20, 90, 200]).unwrap_or(90) },
            is_stormy,
            kinds: std::array::from_fn(|_| is_stormy || random.bool()),
            latency_us: random.choice([100, 5_000, 80_000, 2 * SECOND]).unwrap_or(100),
            has_types: random.u8(..4) > 0,
            has_rules: random.bool(),
            has_liars: random.u8(..6) == 0,
            has_rot: !has_fork && copies == 0 && put_back.is_none() && random.u8(..6) == 0,
            has_fork,
            has_compactions,
            put_back,
            copies,
            never_forgets: has_fork || put_back.is_some(),
            random,
        }
    }

    fn step(&mut self, at: u16, count: u16) -> Step {
        self.is_away = (count / 4..count - count / 4).contains(&at);
        let after_us = match self.random.u8(..) {
            0..150 => self.random.u64(0..200_000),
            150..230 => self.random.u64(0..30 * SECOND),
            230..245 => self.random.u64(0..HOUR),
            245..252 => self.random.u64(0..2 * DAY),
            _ => self.random.u64(0..14 * DAY),
        };
        Step { after_us, action: self.action() }
    }

    fn action(&mut self) -> Action {
        if let Some(action) = self.action_of_moves() {
            return action;
        }
        match self.random.u8(..) {
            0..6 if !self.late.is_empty() => {
                let device = self.late.swap_remove(self.random.usize(..self.late.len()));
                // Somebody who is there: the last one may come later.
                let by = if self.is_line { device - 1 } else { self.random.u8(..device.min(2)) };
                Action::Join { device, by }
            }
            6 if self.has_rot => {
                // Of one device at most: the others have what is lost.
                self.has_rot = false;
                let places = (0..self.random.u8(1..20)).map(|_| Place {
                    log: self.random.choice([0, 0, 1, 2, 3]).unwrap_or(0),
                    part: self.random.choice([0, 1, 2, 2, 2, 3]).unwrap_or(2),
                    bit: self.random.u64(..),
                });
                let places = places.collect();
                Action::Rot { device: self.device(), places, down_us: SECOND }
            }
            6 if self.has_fork => {
                self.has_fork = false;
                Action::Clone { device: self.device() }
            }
            6..10 if !self.never_forgets => {
                let down_us = self.random.choice([0, SECOND, HOUR]).unwrap_or_default();
                Action::Forget { device: self.device(), is_whole: self.random.bool(), down_us }
            }
            0..60 => self.write(),
            60..125 if self.is_stormy => self.trouble(),
            60..110 => self.write(),
            110..185 => self.meet(),
            185..205 => {
                let (a, b) = self.pair();
                Action::Part { a, b }
            }
            205..215 => Action::Look { device: self.device() },
            _ => self.trouble(),
        }
    }

    /// What makes devices move to fresh logs.
    fn action_of_moves(&mut self) -> Option<Action> {
        match self.random.u8(..) {
            0..5 if self.has_compactions => {
                let device = self.device();
                let is_broken = self.random.u8(..3) == 0;
                let how = [Stop::Kill, Stop::PowerCut, Stop::DiskFull];
                let most = self.random.choice([8, 40, 200]).unwrap_or(40);
                let within = is_broken.then(|| Within {
                    changes: self.random.u64(0..most),
                    how: self.random.choice(how).unwrap_or(Stop::Kill),
                    down_us: self.random.choice([0, SECOND, HOUR]).unwrap_or_default(),
                });
                Some(Action::Compact { device, within })
            }
            5..8 => self.put_back.map(|device| Action::BackUp { device }),
            8..11 => self.put_back.map(|device| {
                let down_us = self.random.choice([0, SECOND, HOUR]).unwrap_or_default();
                Action::PutBack { device, down_us }
            }),
            11..14 if self.copies > 0 => {
                self.copies -= 1;
                Some(Action::Copy { device: self.device() })
            }
            _ => None,
        }
    }

    fn write(&mut self) -> Action {
        let device = self.device();
        match self.random.u8(..) {
            0..12 if self.has_rules => {
                let (prefixes, rules) = keys::COUNTS;
                let prefix = self.random.u8(..prefixes);
                let is_set = self.random.u8(..4) > 0;
                let rule = is_set.then(|| self.random.u8(..rules));
                return Action::Rule { device, prefix, rule };
            }
            12..30 => {
                let how = match self.random.u8(..8) {
                    0 => Settling::Delete,
                    1 => Settling::Value(20),
                    which => Settling::Pick(which),
                };
                return Action::Resolve { device, key: self.random.u16(..self.keys), how };
            }
            _ => {}
        }
        let count = if self.random.u8(..) < 200 { 1 } else { self.random.usize(1..12) };
        let mut changes: Vec<Change> = (0..count).map(|_| self.change()).collect();
        changes.sort_by_key(|change| change.key);
        changes.dedup_by_key(|change| change.key);
        Action::Write { device, changes }
    }

    fn change(&mut self) -> Change {
        let key = self.random.u16(..self.keys);
        let len = self.random.choice([0, 1, 20, 20, 100, 700, 9_000]).unwrap_or(20);
        if self.random.u8(..) < self.deletes {
            return Change { key, what: What::Delete };
        }
        // Most keys are of one type; now and then somebody takes one for another.
        let is_strange = self.random.u8(..) < 8;
        let kind = if is_strange { self.random.u16(..8) } else { key % 8 };
        let what = match kind {
            1 | 5 if self.has_types => What::Add(match self.random.u8(..) {
                0 => 0,
                1 => i64::from(i32::MAX) << 30,
                _ => self.random.i64(-9..10),
            }),
            2 if self.has_types => {
                let element = self.random.u8(..6);
                if self.random.u8(..3) > 0 { What::Insert(element) } else { What::Remove(element) }
            }
            3 | 7 if self.has_types => {
                let value = self.random.u8(..);
                What::Patch { field: value % 3, value: (value > 60).then_some(value) }
            }
            _ if self.random.u8(..) < 12 => What::Number(self.random.i32(-50..50)),
            _ if self.random.u8(..) < 12 => What::Swap { len, is_right: self.random.u8(..4) > 0 },
            _ => What::Put(len),
        };
        Change { key, what }
    }

    fn meet(&mut self) -> Action {
        let (a, b) = self.pair();
        let mut flaws = Vec::new();
        let most = if self.is_stormy { 9 } else { 4 };
        while flaws.len() < most && self.random.u8(..) < self.faults {
            let at = self.random.choice([200, 1_000, 5_000, 50_000]).unwrap_or(1_000);
            let at = if self.is_stormy { at.min(4_000) } else { at };
            let (at, to_b) = (self.random.u64(..at), self.random.bool());
            let kind = match self.random.u8(..8) {
                0 => FlawKind::Flip,
                1 => FlawKind::Drop,
                2 => FlawKind::Double,
                3 => FlawKind::Swap,
                4 => FlawKind::Stall(self.random.u64(..60 * SECOND)),
                5 => FlawKind::Mute,
                _ => FlawKind::Cut,
            };
            flaws.push(Flaw { to_b, at, kind });
        }
        let latency_us = self.random.u64(self.latency_us / 2..=self.latency_us);
        let mut lies = Vec::new();
        while self.has_liars && lies.len() < 12 && self.random.u8(..) < 200 {
            lies.push(self.lie());
        }
        Action::Meet { a, b, latency_us, flaws, lies }
    }

    fn lie(&mut self) -> Lie {
        let at = self.random.choice([3, 12, 60]).unwrap_or(12);
        let (at, to_b) = (self.random.u32(..at), self.random.u8(..4) > 0);
        let place = self.random.choice([4, 40, 400]).unwrap_or(40);
        let kind = match self.random.u8(..12) {
            0..3 => LieKind::Flip(self.random.u32(..8 * place)),
            3..6 => LieKind::Number { at: self.random.u32(..place), number: self.random.u8(..) },
            6 => LieKind::Cut(self.random.u32(..place)),
            7 => LieKind::Garbage {
                channel: self.random.u8(..9),
                ty: self.random.u8(..14),
                len: self.random.u16(..300),
            },
            8 => LieKind::Withhold,
            9 => LieKind::Again(self.random.choice([1, 1, 5, 400]).unwrap_or(1)),
            10 if self.random.bool() => LieKind::Digest,
            10 => LieKind::Replay(self.random.u8(..)),
            _ => LieKind::Late,
        };
        Lie { to_b, at, kind }
    }

    fn trouble(&mut self) -> Action {
        let device = self.device();
        let kind = self.random.usize(..self.kinds.len());
        let is_on = self.kinds.get(kind).copied().unwrap_or_default();
        if !is_on || self.random.u8(..) > self.faults {
            return self.meet();
        }
        let long = if self.is_stormy { 10 * SECOND } else { 3 * DAY };
        let down_us = self.random.choice([0, SECOND, HOUR, long]).unwrap_or_default();
        let how = self.random.choice([Stop::Kill, Stop::PowerCut]).unwrap_or(Stop::Kill);
        match kind {
            0 => Action::Stop { device, how: Stop::Clean, down_us },
            1 => Action::Stop { device, how, down_us },
            2 | 3 => {
                let changes = self.random.u64(0..30);
                Action::StopWithin { device, changes, how, down_us }
            }
            4 => {
                let changes = self.random.u64(0..30);
                Action::StopWithin { device, changes, how: Stop::DiskFull, down_us }
            }
            _ => Action::SetClock { device, skew_ms: skew(self.random) },
        }
    }

    fn device(&mut self) -> u8 {
        loop {
            let device = self.random.u8(..self.count);
            if !(self.is_away && self.dormant == Some(device)) {
                return device;
            }
        }
    }

    fn pair(&mut self) -> (u8, u8) {
        loop {
            let a = self.device();
            let b = (a + self.random.u8(1..self.count)) % self.count;
            let is_away = self.is_away && self.dormant == Some(b);
            if !is_away && (!self.is_line || a.abs_diff(b) == 1) {
                return (a, b);
            }
            // Whoever is away may stand between all others.
            if is_away && self.is_line {
                return (a, b);
            }
        }
    }
}
