//! Runs a plan: one thread, virtual time, one event after another.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::io;
use std::time::{Duration, Instant};

use multibee::{Digest, Role};
use multibee_replica::CloseReason;
use rustc_hash::FxHasher;

use crate::device::{Device, Running};
use crate::model::{Lengths, Model};
use crate::plan::{Action, Flaw, FlawKind, Plan, Stop};
use crate::report::{Report, Rule, Violation};
use crate::wire::{Cargo, End, Wire};

/// Events in one run: far more than any plan needs.
const EVENTS_MAX: u64 = 200_000;
const SECOND: u64 = 1_000_000;
/// Devices that nobody uses for longer go to sleep, and their connections end.
const AWAKE_US: u64 = 60 * SECOND;
/// Until then all must have converged, once nothing fails any more.
const CALM_US: u64 = 600 * SECOND;

/// Something that is going to happen.
#[derive(Debug)]
enum Event {
    Arrive { wire: usize, to: End, cargo: Cargo },
    Alarm { device: usize },
    Start { device: usize, how: Stop },
}

/// A group of devices, and everything around them.
pub(crate) struct World<'p> {
    plan: &'p Plan,
    pub(crate) now: u64,
    base: Instant,
    queue: BTreeMap<(u64, u64), Event>,
    queued: u64,
    pub(crate) devices: Vec<Device>,
    pub(crate) wires: Vec<Wire>,
    pub(crate) model: Model,
    /// The digest that belongs to a clock, whoever said so first.
    pub(crate) evidence: BTreeMap<Lengths, (usize, Digest)>,
    /// How much of each device's log anybody else has ever known.
    pub(crate) shared: Vec<u64>,
    pub(crate) random: fastrand::Rng,
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
        world.act(&step.action)?;
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
            shared: vec![0; plan.devices.len()],
            random: fastrand::Rng::with_seed(plan.seed ^ 0x5eed),
            step: 0,
            values: 0,
            report: Report { runs: 1, ..Report::default() },
            trace: FxHasher::default(),
            events: 0,
        };
        for (number, character) in (0_u8..).zip(&plan.devices) {
            let device = Device::new(plan.seed, number, *character);
            world.devices.push(device.map_err(|error| world.broken(Rule::S10, error))?);
        }
        world.admit_all()?;
        Ok(world)
    }

    /// Every device admits every other.
    fn admit_all(&mut self) -> Result<(), Violation> {
        let keys: Vec<_> = self.devices.iter().map(|device| device.key).collect();
        for number in 0..self.devices.len() {
            for key in keys.iter().filter(|key| **key != keys[number]) {
                let added = self.running(number).map(|running| running.db.add_replica(*key));
                added.unwrap_or(Ok(())).map_err(|error| self.broken(Rule::S10, error))?;
            }
            self.settle(number)?;
            self.devices[number].own_end = self.clock(number)?[number];
        }
        Ok(())
    }

    pub(crate) fn broken(&self, rule: Rule, what: impl ToString) -> Violation {
        Violation { rule, step: self.step, what: what.to_string() }
    }

    pub(crate) fn met(&mut self, situation: &'static str) {
        debug_assert!(crate::situations::ALL.contains(&situation), "{situation} is listed");
        *self.report.situations.entry(situation).or_default() += 1;
    }

    pub(crate) fn running(&self, device: usize) -> Option<&Running> {
        self.devices.get(device)?.running.as_ref()
    }

    fn running_mut(&mut self, device: usize) -> Option<&mut Running> {
        self.devices.get_mut(device)?.running.as_mut()
    }

    fn instant(&self) -> Instant {
        self.base + Duration::from_micros(self.now)
    }

    fn note(&mut self, what: impl Hash) {
        (self.now, what).hash(&mut self.trace);
    }

    fn queue(&mut self, at: u64, event: Event) {
        self.queued += 1;
        self.queue.insert((at.max(self.now), self.queued), event);
    }

    /// Lets time pass. Much of it is passed asleep.
    fn pause(&mut self, us: u64) -> Result<(), Violation> {
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
            self.happen(event)?;
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
            Action::Write { device, changes } => self.write((*device).into(), changes),
            Action::Look { device } => self.look((*device).into()),
            Action::Meet { a, b, latency_us, flaws } => {
                self.meet((*a).into(), (*b).into(), *latency_us, flaws)
            }
            Action::Part { a, b } => self.part((*a).into(), (*b).into()),
            Action::Stop { device, how, down_us } => self.stop((*device).into(), *how, *down_us),
            Action::StopWithin { device, changes, how, down_us } => {
                let full = *how == Stop::DiskFull;
                let kind = if full { io::ErrorKind::StorageFull } else { io::ErrorKind::Other };
                if let Some(device) = self.devices.get_mut(usize::from(*device))
                    && device.running.is_some()
                    && device.doom.is_none()
                {
                    device.doom = Some((*how, *down_us));
                    device.disk.fail_after(*changes, kind);
                }
                Ok(())
            }
            Action::SetClock { device, skew_ms } => self.set_clock((*device).into(), *skew_ms),
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

    pub(crate) fn meet(
        &mut self,
        a: usize,
        b: usize,
        latency_us: u64,
        flaws: &[Flaw],
    ) -> Result<(), Violation> {
        let instant = self.instant();
        let is_wired = self.wire_between(a, b).is_some();
        let (Some(one), Some(other)) = (self.running(a), self.running(b)) else { return Ok(()) };
        if is_wired {
            return Ok(());
        }
        let ids = [
            one.hand.connect(Role::Initiator, instant),
            other.hand.connect(Role::Responder, instant),
        ];
        let number = self.wires.len();
        for (device, id) in [a, b].into_iter().zip(ids) {
            if let Some(running) = self.running_mut(device) {
                running.ends.insert(id, number);
            }
        }
        self.wires.push(Wire::new([a, b], ids, latency_us, flaws));
        self.settle(a)?;
        self.settle(b)
    }

    pub(crate) fn wire_between(&self, a: usize, b: usize) -> Option<usize> {
        let is_it =
            |wire: &Wire| !wire.is_over && (wire.devices == [a, b] || wire.devices == [b, a]);
        self.wires.iter().rposition(is_it)
    }

    /// A connection breaks, for both to see.
    pub(crate) fn part(&mut self, a: usize, b: usize) -> Result<(), Violation> {
        let Some(number) = self.wire_between(a, b) else { return Ok(()) };
        let is_moving = self.queue.values().any(|event| {
            matches!(event, Event::Arrive { wire, cargo: Cargo::Bytes(_), .. } if *wire == number)
        });
        if is_moving {
            self.met("devices part while bytes are under way");
        }
        self.report.faults += 1;
        let instant = self.instant();
        for end in [End::A, End::B] {
            let (device, id) = (self.wires[number].device(end), self.wires[number].id(end));
            self.wires[number].mute(end);
            if let Some(running) = self.running(device).filter(|one| one.ends.contains_key(&id)) {
                running.hand.end(id, CloseReason::Io(io::ErrorKind::ConnectionReset), instant);
                self.settle(device)?;
            }
        }
        self.wires[number].is_over = true;
        Ok(())
    }

    /// Lets a device act on what it was told, sends what it has to say, and looks at it.
    pub(crate) fn settle(&mut self, device: usize) -> Result<(), Violation> {
        loop {
            self.devices[device].tick(self.now);
            let Some(running) = self.running_mut(device) else { return Ok(()) };
            let events = running.hand.take_in();
            let failed = running.hand.failed();
            if self.devices[device].disk.is_failing() {
                return self.fail(device, false);
            }
            if let Some(why) = failed {
                return Err(self.broken(Rule::S10, format!("device {device} failed: {why}")));
            }
            self.transmit(device)?;
            if events == 0 {
                break;
            }
        }
        self.set_alarm(device);
        self.observe(device)
    }

    fn transmit(&mut self, device: usize) -> Result<(), Violation> {
        let Some(running) = self.running(device) else { return Ok(()) };
        let ends: Vec<_> = running.ends.iter().map(|(&id, &wire)| (id, wire)).collect();
        for (id, wire) in ends {
            let from = self.wires[wire].end_of(device);
            while let Some(bytes) = self.running(device).and_then(|one| one.hand.transmit(id)) {
                self.check_secrecy(&bytes)?;
                self.report.wire_bytes += bytes.len() as u64;
                let is_early = self.wires[wire].sent() < 400;
                let (arrivals, flaws) = self.wires[wire].send(from, &bytes, self.now);
                for (at, cargo) in arrivals {
                    self.queue(at, Event::Arrive { wire, to: from.other(), cargo });
                }
                for flaw in flaws {
                    self.meet_flaw(flaw, is_early);
                }
            }
            let Some(running) = self.running_mut(device) else { return Ok(()) };
            if running.hand.is_closed(id) {
                running.ends.remove(&id);
                self.hang_up(device, wire);
            }
        }
        Ok(())
    }

    fn hang_up(&mut self, device: usize, wire: usize) {
        let from = self.wires[wire].end_of(device);
        if let Some((at, cargo)) = self.wires[wire].close(from, false, self.now) {
            self.queue(at, Event::Arrive { wire, to: from.other(), cargo });
        }
        let (other, id) =
            (self.wires[wire].device(from.other()), self.wires[wire].id(from.other()));
        let still = self.running(other).is_some_and(|one| one.ends.contains_key(&id));
        self.wires[wire].is_over |= !still;
    }

    fn meet_flaw(&mut self, flaw: FlawKind, is_early: bool) {
        self.report.faults += 1;
        if is_early {
            self.met("a connection breaks during the handshake");
        }
        self.met(match flaw {
            FlawKind::Cut => "a connection breaks",
            FlawKind::Flip => "bytes are flipped",
            FlawKind::Drop => "bytes are lost",
            FlawKind::Double => "bytes come twice",
            FlawKind::Swap => "bytes overtake each other",
            FlawKind::Stall(_) => "a connection stalls",
            FlawKind::Mute => "a connection falls mute",
        });
    }

    fn set_alarm(&mut self, device: usize) {
        let (now, base) = (self.now, self.base);
        let Some(running) = self.running_mut(device) else { return };
        let Some(at) = running.hand.timeout() else { return };
        let at = at.saturating_duration_since(base).as_nanos().div_ceil(1_000);
        let at = u64::try_from(at).unwrap_or(u64::MAX).max(now + 1);
        if running.alarm.is_none_or(|alarm| at < alarm) {
            running.alarm = Some(at);
            self.queue(at, Event::Alarm { device });
        }
    }

    /// The disk stopped in the midst of something: the process ends as was planned.
    pub(crate) fn fail(&mut self, device: usize, writing: bool) -> Result<(), Violation> {
        let (how, down_us) = self.devices[device].doom.take().unwrap_or((Stop::Kill, 0));
        self.met(match (how, writing) {
            (Stop::PowerCut, true) => "the power fails within a write",
            (Stop::PowerCut, false) => "the power fails while taking in what came",
            (Stop::DiskFull, _) => "a disk is full",
            (_, true) => "a process is killed within a write",
            (_, false) => "a process is killed while taking in what came",
        });
        self.stop(device, how, down_us)
    }

    fn stop(&mut self, device: usize, how: Stop, down_us: u64) -> Result<(), Violation> {
        if self.running(device).is_none() {
            return Ok(());
        }
        if how == Stop::Clean {
            return self.close(device, down_us);
        }
        self.report.faults += 1;
        self.devices[device].disk.unplug();
        self.devices[device].doom = None;
        let Some(running) = self.devices[device].running.take() else { return Ok(()) };
        for &wire in running.ends.values() {
            let from = self.wires[wire].end_of(device);
            if how == Stop::PowerCut {
                self.wires[wire].mute(from);
            } else if let Some((at, cargo)) = self.wires[wire].close(from, true, self.now) {
                self.queue(at, Event::Arrive { wire, to: from.other(), cargo });
            }
            // The other end may not know for long; a new connection stands beside the old one.
            self.wires[wire].is_over = true;
        }
        drop(running);
        self.queue(self.now + down_us, Event::Start { device, how });
        Ok(())
    }

    fn close(&mut self, device: usize, down_us: u64) -> Result<(), Violation> {
        self.devices[device].disk.disarm();
        self.devices[device].doom = None;
        if let Some(running) = self.running(device) {
            running.ends.keys().for_each(|&id| running.hand.close(id));
        }
        self.settle(device)?;
        let Some(running) = self.devices[device].running.take() else { return Ok(()) };
        let synced = running.db.sync_to_disk();
        synced.map_err(|error| self.broken(Rule::S10, error))?;
        for &wire in running.ends.values() {
            let from = self.wires[wire].end_of(device);
            if let Some((at, cargo)) = self.wires[wire].close(from, false, self.now) {
                self.queue(at, Event::Arrive { wire, to: from.other(), cargo });
            }
            self.wires[wire].is_over = true;
        }
        drop(running);
        self.met("a process is closed and comes back");
        self.queue(self.now + down_us, Event::Start { device, how: Stop::Clean });
        Ok(())
    }

    /// A device's process starts again.
    fn start(&mut self, device: usize, how: Stop) -> Result<(), Violation> {
        if self.running(device).is_some() {
            return Ok(());
        }
        self.report.operations += 1;
        if how == Stop::PowerCut {
            self.met("the power fails");
            let lost = self.devices[device].disk.cut_power(&mut self.random);
            if lost {
                self.met("a power cut takes something");
            }
        } else {
            if how == Stop::Kill {
                self.met("a process is killed");
            }
            self.devices[device].disk.heal();
        }
        self.devices[device].tick(self.now);
        let started = self.devices[device].start();
        started.map_err(|error| self.broken(Rule::S10, format!("device {device}: {error}")))?;
        self.note(("start", device));
        self.check_restart(device)?;
        self.settle(device)
    }

    /// Nothing fails any more, everybody meets everybody: all must converge, and then be silent.
    fn calm_down(&mut self) -> Result<(), Violation> {
        let count = self.devices.len();
        for device in 0..count {
            self.devices[device].disk.disarm();
            self.devices[device].doom = None;
            if self.devices[device].running.is_none() {
                let how = self.planned_start(device);
                self.start(device, how)?;
            }
        }
        self.part_all()?;
        self.meet_all()?;
        let end = self.now + CALM_US;
        while !self.is_converged()? {
            if self.now >= end {
                let what = self.describe_difference();
                return Err(self.broken(Rule::S13, what));
            }
            self.advance(self.now + SECOND)?;
            self.meet_all()?;
        }
        self.check_end()?;
        // What was asked for before may still come.
        self.advance(self.now + 60 * SECOND)?;
        let before = self.footprint();
        self.part_all()?;
        self.meet_all()?;
        self.advance(self.now + 60 * SECOND)?;
        if self.footprint() != before {
            let what = format!("{before:?} became {:?}", self.footprint());
            return Err(self.broken(Rule::S8, what));
        }
        Ok(())
    }

    fn planned_start(&self, device: usize) -> Stop {
        let planned = self.queue.values().find_map(|event| match event {
            Event::Start { device: one, how } if *one == device => Some(*how),
            _ => None,
        });
        planned.unwrap_or(Stop::Kill)
    }

    fn part_all(&mut self) -> Result<(), Violation> {
        let faults = self.report.faults;
        for a in 0..self.devices.len() {
            for b in 0..a {
                self.part(a, b)?;
            }
        }
        self.report.faults = faults;
        Ok(())
    }

    fn meet_all(&mut self) -> Result<(), Violation> {
        for a in 0..self.devices.len() {
            for b in 0..a {
                self.meet(a, b, 1_000, &[])?;
            }
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
        self.plan.devices.get(device).is_some_and(|character| character.waits_for_disk)
    }
}
