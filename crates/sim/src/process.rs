//! How processes of devices end, and start again.

use crate::device::Absorbing;
use crate::plan::Stop;
use crate::report::Violation;
use crate::world::{Event, World};

impl World<'_> {
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

    pub(crate) fn stop(&mut self, device: usize, how: Stop, down_us: u64) -> Result<(), Violation> {
        if self.running(device).is_none() {
            return Ok(());
        }
        if how == Stop::Clean {
            return self.close(device, down_us);
        }
        self.report.faults += 1;
        if running_absorbs(self, device) {
            self.met("a crash interrupts absorbing");
        }
        self.devices[device].absorbing = Absorbing::default();
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

    pub(crate) fn close(&mut self, device: usize, down_us: u64) -> Result<(), Violation> {
        self.devices[device].disk.disarm();
        self.devices[device].doom = None;
        if let Some(running) = self.running(device) {
            running.ends.keys().for_each(|&id| running.hand.close(id));
        }
        self.settle(device)?;
        let Some(running) = self.devices[device].running.take() else { return Ok(()) };
        let synced = running.db.sync_to_disk();
        synced.map_err(|error| self.unsound(device, &error))?;
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
    pub(crate) fn start(&mut self, device: usize, how: Stop) -> Result<(), Violation> {
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
        started.map_err(|error| self.unsound(device, &error))?;
        self.note(("start", device));
        self.is_starting = Some(device);
        self.check_restart(device)?;
        self.is_starting = None;
        self.settle(device)
    }
}

fn running_absorbs(world: &World<'_>, device: usize) -> bool {
    world.running(device).is_some_and(|running| running.hand.absorbing().is_some())
}
