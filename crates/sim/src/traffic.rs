//! Connections: how they begin and end, and what moves over them.

use std::io;

use multibee::Role;
use multibee_replica::{CloseReason, Handshake, Link};

use crate::device::Running;
use crate::plan::{Flaw, FlawKind, Lie, LieKind};
use crate::report::Violation;
use crate::wire::{Cargo, End, Wire};
use crate::world::{Event, World};

impl World<'_> {
    pub(crate) fn meet(
        &mut self,
        a: usize,
        b: usize,
        latency_us: u64,
        flaws: &[Flaw],
        lies: &[Lie],
    ) -> Result<(), Violation> {
        let instant = self.instant();
        let is_wired = self.wire_between(a, b).is_some() || !self.may_meet(a, b);
        let (Some(one), Some(other)) = (self.running(a), self.running(b)) else { return Ok(()) };
        if is_wired {
            return Ok(());
        }
        let number = self.wires.len();
        let connect = |running: &Running, role| {
            if lies.is_empty() {
                return running.hand.connect(role, instant);
            }
            let mut hash = [0x11; 64];
            hash.iter_mut().zip(number.to_le_bytes()).for_each(|(to, from)| *to ^= from);
            let handshake = Handshake { hash, remote_static: [0; 32] };
            running.hand.connect_link(Link::framed(role, handshake), instant)
        };
        let ids = [connect(one, Role::Initiator), connect(other, Role::Responder)];
        for (device, id) in [a, b].into_iter().zip(ids) {
            if let Some(running) = self.running_mut(device) {
                running.ends.insert(id, number);
            }
        }
        self.wires.push(Wire::new([a, b], ids, latency_us, flaws, lies));
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
                return Err(self.unsound(device, &why));
            }
            if self.note_move(device, false)? {
                self.met("a device moves from an old state");
            }
            self.transmit(device)?;
            if events == 0 {
                break;
            }
        }
        self.set_alarm(device);
        self.observe(device)
    }

    pub(crate) fn transmit(&mut self, device: usize) -> Result<(), Violation> {
        let Some(running) = self.running(device) else { return Ok(()) };
        let ends: Vec<_> = running.ends.iter().map(|(&id, &wire)| (id, wire)).collect();
        for (id, wire) in ends {
            let from = self.wires[wire].end_of(device);
            while let Some(bytes) = self.running(device).and_then(|one| one.hand.transmit(id)) {
                if !self.wires[wire].is_crooked {
                    self.check_secrecy(&bytes)?;
                }
                let digest = self.running(device).map(|one| one.hand.digest().to_bytes());
                let digest = digest.unwrap_or_default();
                let (messages, lies) = self.wires[wire].tell(from, &bytes, &digest);
                for lie in lies {
                    self.meet_lie(wire, lie);
                }
                for message in messages {
                    self.send(wire, from, &message);
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

    fn send(&mut self, wire: usize, from: End, bytes: &[u8]) {
        self.report.wire_bytes += bytes.len() as u64;
        let is_early = self.wires[wire].sent() < 400;
        let (arrivals, flaws) = self.wires[wire].send(from, bytes, self.now);
        for (at, cargo) in arrivals {
            self.queue(at, Event::Arrive { wire, to: from.other(), cargo });
        }
        for flaw in flaws {
            self.meet_flaw(flaw, is_early);
        }
    }

    /// A lie leaves a device; whoever hears it may tell so, and may be held up for as long as it
    /// runs.
    fn meet_lie(&mut self, wire: usize, lie: LieKind) {
        self.report.faults += 1;
        for device in self.wires[wire].devices {
            self.devices[device].is_deceived = true;
        }
        self.met(match lie {
            LieKind::Flip(_) => "a peer changes a message",
            LieKind::Number { .. } => "a peer says a strange number",
            LieKind::Cut(_) => "a peer cuts a message short",
            LieKind::Garbage { .. } => "a peer talks nonsense",
            LieKind::Withhold => "a peer withholds a message",
            LieKind::Again(times) if times > 100 => "a peer floods",
            LieKind::Again(_) | LieKind::Replay(_) => "a peer repeats a message",
            LieKind::Late => "a peer says things out of order",
            LieKind::Digest => "a peer says another digest",
        });
    }

    pub(crate) fn hang_up(&mut self, device: usize, wire: usize) {
        let from = self.wires[wire].end_of(device);
        if let Some((at, cargo)) = self.wires[wire].close(from, false, self.now) {
            self.queue(at, Event::Arrive { wire, to: from.other(), cargo });
        }
        let (other, id) =
            (self.wires[wire].device(from.other()), self.wires[wire].id(from.other()));
        let still = self.running(other).is_some_and(|one| one.ends.contains_key(&id));
        self.wires[wire].is_over |= !still;
    }

    pub(crate) fn meet_flaw(&mut self, flaw: FlawKind, is_early: bool) {
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

    pub(crate) fn set_alarm(&mut self, device: usize) {
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
}
