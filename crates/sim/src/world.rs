//! Runs a plan: one thread, virtual time, one event after another.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::io;
use std::time::{Duration, Instant};

use multibee::Digest;
use multibee_replica::CloseReason;
use rustc_hash::FxHasher;

use crate::device::{Device, Running};
use crate::fork::Fork;
use crate::lives::{Author, Names};
use crate::membership::Membership;
use crate::model::{Lengths, Model};
use crate::plan::{Action, Plan, Stop};
use crate::report::{Report, Rule, Violation};
use crate::wire::{Cargo, End, Wire};

/// Events in one run: far more than any plan needs.
const EVENTS_MAX: u64 = 200_000;
pub(crate) const SECOND: u64 = 1_000_000;
/// Devices that nobody uses for longer go to sleep, and their connections end.
const AWAKE_US: u64 = 60 * SECOND;

/// Something that is going to happen.
#[derive(Debug)]
pub(crate) enum Event {
    Arrive { wire: usize, to: End, cargo: Cargo },
    Alarm { device: usize },
    Start { device: usize, how: Stop },
}

/// A group of devices, and everything around them.
pub(crate) struct World<'p> {
    pub(crate) plan: &'p Plan,
    pub(crate) now: u64,
    pub(crate) base: Instant,
    pub(crate) queue: BTreeMap<(u64, u64), Event>,
    queued: u64,
    pub(crate) devices: Vec<Device>,
    pub(crate) wires: Vec<Wire>,
    pub(crate) model: Model,
    /// The digest that belongs to a clock, whoever said so first.
    pub(crate) evidence: BTreeMap<(Lengths, Names), (usize, Digest)>,
    /// All logs that were ever written.
    pub(crate) authors: Vec<Author>,
    pub(crate) random: fastrand::Rng,
    /// The device on whose disk bits have changed, and that which is just starting.
    pub(crate) rotten: Option<usize>,
    pub(crate) is_starting: Option<usize>,
    pub(crate) fork: Option<Fork>,
    /// Who threw out whom, and how far logs of such devices count; the recovery secret.
    pub(crate) membership: Membership,
    pub(crate) step: usize,
    pub(crate) values: u64,
    pub(crate) report: Report,
    trace: FxHasher,
    events: u64,
}

/// Runs a plan to its end, and until all is calm.
///
/// # Errors
///
/// A rule did not hold.
pub fn run(plan: &Plan) -> Result<Report, Violation> {
    if !plan.is_sound() {
        let what = "it names devices that are not there".into();
        return Err(Violation { rule: Rule::Plan, step: 0, what });
    }
    let mut world = World::new(plan)?;
    for (number, step) in plan.steps.iter().enumerate() {
        world.step = number;
        world.pause(step.after_us)?;
        let done = world.act(&step.action);
        world.forgive(done)?;
    }
    world.calm_down()?;
    Ok(world.finish())
}

impl<'p> World<'p> {
    fn new(plan: &'p Plan) -> Result<Self, Violation> {
        let mut world = Self {
            plan,
            now: 0,
            base: Instant::now(),
            queue: BTreeMap::new(),
            queued: 0,
            devices: Vec::new(),
            wires: Vec::new(),
            model: Model::default(),
            evidence: BTreeMap::new(),
            authors: Vec::new(),
            random: fastrand::Rng::with_seed(plan.seed ^ 0x5eed),
            rotten: None,
            is_starting: None,
            fork: None,
            membership: Membership::new(plan),
            step: 0,
            values: 0,
            report: Report { runs: 1, ..Report::default() },
            trace: FxHasher::default(),
            events: 0,
        };
        for (number, character) in (0_u8..).zip(&plan.devices) {
            let device = Device::new(plan, number, *character, 0, None);
            let device = device.map_err(|error| world.broken(Rule::S10, error))?;
            let id = device.running.as_ref().map(|running| running.db.device());
            world.authors.push(Author::new(number.into(), device.key, id.unwrap_or_default()));
            world.devices.push(device);
        }
        world.admit_all()?;
        Ok(world)
    }

    pub(crate) fn broken(&self, rule: Rule, what: impl ToString) -> Violation {
        Violation { rule, step: self.step, what: what.to_string() }
    }

    /// A device says that something is wrong with it.
    pub(crate) fn unsound(&self, device: usize, error: &dyn std::fmt::Display) -> Violation {
        self.broken(Rule::S10, format!("{}{error}", Self::blaming(device)))
    }

    /// How it begins when a device says that something is wrong with it.
    pub(crate) fn blaming(device: usize) -> String {
        format!("device {device} failed: ")
    }

    pub(crate) fn met(&mut self, situation: &'static str) {
        debug_assert!(crate::situations::ALL.contains(&situation), "{situation} is listed");
        *self.report.situations.entry(situation).or_default() += 1;
    }

    pub(crate) fn running(&self, device: usize) -> Option<&Running> {
        self.devices.get(device)?.running.as_ref()
    }

    pub(crate) fn running_mut(&mut self, device: usize) -> Option<&mut Running> {
        self.devices.get_mut(device)?.running.as_mut()
    }

    pub(crate) fn instant(&self) -> Instant {
        self.base + Duration::from_micros(self.now)
    }

    pub(crate) fn note(&mut self, what: impl Hash) {
        (self.now, what).hash(&mut self.trace);
    }

    pub(crate) fn queue(&mut self, at: u64, event: Event) {
        self.queued += 1;
        self.queue.insert((at.max(self.now), self.queued), event);
    }

    /// Lets time pass. Much of it is passed asleep.
    pub(crate) fn pause(&mut self, us: u64) -> Result<(), Violation> {
        let until = self.now + us;
        if us > 2 * AWAKE_US {
            self.advance(self.now + AWAKE_US)?;
            self.part_all()?;
            if us > 86_400 * SECOND {
                self.met("a device meets another after days");
            }
        }
        self.advance(until)
    }

    /// Lets everything happen that is due until then.
    pub(crate) fn advance(&mut self, until: u64) -> Result<(), Violation> {
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= until) {
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            self.events += 1;
            if self.events > EVENTS_MAX {
                return Err(self.broken(Rule::S11, "it does not come to rest"));
            }
            let done = self.happen(event);
            self.forgive(done)?;
        }
        self.now = until;
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Arrive { wire, to, cargo } => self.arrive(wire, to, cargo),
            Event::Start { device, how } => self.start(device, how),
            Event::Alarm { device } => {
                let (now, instant) = (self.now, self.instant());
                let Some(running) = self.running_mut(device) else { return Ok(()) };
                if running.alarm != Some(now) {
                    return Ok(());
                }
                running.alarm = None;
                let before = running.ends.len();
                running.hand.on_time(instant);
                self.settle(device)?;
                if self.running(device).is_some_and(|running| running.ends.len() < before) {
                    self.met("a connection dies of silence");
                }
                Ok(())
            }
        }
    }

    fn arrive(&mut self, wire: usize, to: End, cargo: Cargo) -> Result<(), Violation> {
        let (device, id) = (self.wires[wire].device(to), self.wires[wire].id(to));
        let instant = self.instant();
        let Some(running) = self.running_mut(device) else { return Ok(()) };
        if running.ends.get(&id) != Some(&wire) {
            return Ok(());
        }
        match &cargo {
            Cargo::Bytes(bytes) => running.hand.receive(id, bytes, instant),
            Cargo::Over { broken } => {
                let reset = CloseReason::Io(io::ErrorKind::ConnectionReset);
                let why = if *broken { reset } else { CloseReason::Remote };
                running.hand.end(id, why, instant);
            }
        }
        if let Cargo::Bytes(bytes) = &cargo {
            self.note((wire, device, bytes.len()));
        }
        self.settle(device)
    }

    fn act(&mut self, action: &Action) -> Result<(), Violation> {
        match action {
            Action::Join { .. }
            | Action::Remove { .. }
            | Action::Retire { .. }
            | Action::Readmit { .. }
            | Action::MakeSecret { .. }
            | Action::Recover { .. }
            | Action::Reclaim { .. } => self.act_on_members(action),
            Action::Write { device, changes } => {
                let device = self.one_of(*device);
                self.write(device, changes)
            }
            Action::Rule { device, prefix, rule } => {
                let device = self.one_of(*device);
                self.set_rule(device, *prefix, *rule)
            }
            Action::Resolve { device, key, how } => {
                let device = self.one_of(*device);
                self.resolve(device, *key, *how)
            }
            Action::Forget { device, is_whole, down_us } => {
                let device = self.one_of(*device);
                self.forget(device, *is_whole, *down_us)
            }
            Action::Rot { device, places, down_us } => {
                let device = self.one_of(*device);
                self.rot(device, places, *down_us)
            }
            Action::Clone { device } => self.clone_device((*device).into()),
            Action::Copy { device } => {
                let device = self.one_of(*device);
                self.copy(device)
            }
            Action::Compact { device, within } => {
                let device = self.one_of(*device);
                self.compact(device, *within)
            }
            Action::BackUp { device } => self.back_up((*device).into()),
            Action::PutBack { device, down_us } => self.put_back((*device).into(), *down_us),
            Action::Look { device } => {
                let device = self.one_of(*device);
                self.look(device)
            }
            Action::Meet { a, b, latency_us, flaws, lies } => {
                let (a, b) = (self.one_of(*a), self.one_of(*b));
                self.meet(a, b, *latency_us, flaws, lies)
            }
            Action::Part { a, b } => self.part((*a).into(), (*b).into()),
            Action::Stop { device, how, down_us } => {
                let device = self.one_of(*device);
                self.stop(device, *how, *down_us)
            }
            Action::StopWithin { device, changes, how, down_us } => {
                let device = self.one_of(*device);
                if let Some(device) = self.devices.get_mut(device)
                    && device.running.is_some()
                    && device.doom.is_none()
                {
                    device.doom = Some((*how, *down_us));
                    device.disk.fail_after(*changes, how.kind());
                }
                Ok(())
            }
            Action::SetClock { device, skew_ms } => {
                let device = self.one_of(*device);
                self.set_clock(device, *skew_ms)
            }
        }
    }

    /// Does what is about members, or gives room back.
    fn act_on_members(&mut self, action: &Action) -> Result<(), Violation> {
        match action {
            Action::Remove { device, by, by_secret } => {
                let by = self.one_of(*by);
                self.remove((*device).into(), by, *by_secret)
            }
            Action::Retire { device, by } => {
                let (device, by) = (self.one_of(*device), self.one_of(*by));
                self.retire(device, by)
            }
            Action::Readmit { device, by } => {
                let by = self.one_of(*by);
                self.readmit((*device).into(), by)
            }
            Action::MakeSecret { device } => {
                let device = self.one_of(*device);
                self.make_secret(device)
            }
            Action::Recover { device } => {
                let device = self.one_of(*device);
                self.recover(device)
            }
            Action::Reclaim { device, even_for_others } => {
                let device = self.one_of(*device);
                self.reclaim(device, *even_for_others)
            }
            Action::Join { device, by } => {
                let device = self.one_of(*device);
                self.join(device, (*by).into())
            }
            _ => Ok(()),
        }
    }

    fn set_clock(&mut self, device: usize, skew_ms: i64) -> Result<(), Violation> {
        const YEAR_MS: i64 = 365 * 86_400_000;
        let Some(one) = self.devices.get_mut(device) else { return Ok(()) };
        let before = std::mem::replace(&mut one.character.skew_ms, skew_ms);
        self.report.faults += u64::from(before != skew_ms);
        if skew_ms < before {
            self.met("a clock is set back");
        }
        if skew_ms > YEAR_MS {
            self.met("a clock is years ahead");
        }
        if skew_ms < -50 * YEAR_MS {
            self.met("a clock is before 1970");
        }
        Ok(())
    }

    fn finish(mut self) -> Report {
        self.report.device_us = self.now * self.devices.len() as u64;
        let digest = self.running(0).map(|running| running.hand.digest().to_bytes());
        self.note(digest);
        self.report.trace = self.trace.finish();
        self.report
    }

    /// What the plan says a device is like.
    pub(crate) fn waits_for_disk(&self, device: usize) -> bool {
        self.devices.get(device).is_some_and(|device| device.character.waits_for_disk)
    }
}
