//! The processes of a group of devices, and who tells them what to do.

use std::fs;
use std::io::ErrorKind;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;

use super::device::{Closed, Content, GroupDevice, Order, Place, Rest, Wrote};
use crate::bench::disk::DiskUse;
use crate::bench::job::Job;
use crate::bench::record::Record;
use crate::bench::server::Server;
use crate::bench::task::Task;

/// Devices that have admitted each other, each connected to all others.
pub(super) struct Group {
    devices: Vec<Server>,
    /// Of the peer that they are of, unless they are ours.
    version: Option<String>,
}

/// What the devices told at the end.
pub(super) struct Ended {
    /// All of them together.
    pub(super) disk: DiskUse,
    /// The most that one of them had.
    pub(super) rss_kib: Option<u64>,
    /// Of all, since they joined.
    pub(super) cpu_ms: Option<f64>,
    version: Option<String>,
}

impl Ended {
    /// What these devices have done is theirs, also if one of our processes has measured it.
    pub(super) fn of_its_peer(&self, task: &Task, record: Record) -> Record {
        let Some(version) = self.version.clone() else {
            return record;
        };
        Record { peer: task.peer.to_string(), version, ..record }
    }
}

impl Group {
    /// Starts so many, and waits until all are connected.
    pub(super) fn start(task: &Task, kind: GroupDevice) -> Result<Self> {
        let device = |number| {
            let job = Job::Device(GroupDevice { number, ..kind });
            // An earlier run has left its own there, which nobody reads.
            match fs::remove_dir_all(task.with(job).folder()) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
                _ => Server::start_as(task, job),
            }
        };
        let devices = (0..kind.devices).map(device).collect::<Result<Vec<_>>>()?;
        let mut group = Self { devices, version: None };
        let places: Vec<Place> =
            group.devices.iter_mut().map(Server::hear).collect::<Result<_>>()?;
        group.version = places.first().and_then(|place| place.version.clone());
        // One that is dialled by somebody whom it does not know yet refuses.
        group.all::<bool>(&Order::Admit(places))?;
        group.all::<bool>(&Order::Join)?;
        Ok(group)
    }

    /// Tells all the same at once, then hears them all.
    fn all<T: DeserializeOwned>(&mut self, order: &Order) -> Result<Vec<T>> {
        self.devices.iter_mut().try_for_each(|device| device.say(order))?;
        self.devices.iter_mut().map(Server::hear).collect()
    }

    /// Tells one, and hears it.
    pub(super) fn one<T: DeserializeOwned>(&mut self, number: usize, order: &Order) -> Result<T> {
        let device = self.devices.get_mut(number).context("the group has no such device")?;
        device.say(order)?;
        device.hear()
    }

    /// All write at once.
    pub(super) fn write(&mut self) -> Result<Vec<Wrote>> {
        self.all(&Order::Write)
    }

    /// Waits until each has applied so much of each device's log. Returns when the last one had, in
    /// microseconds since 1970.
    pub(super) fn wait(&mut self, lengths: Vec<u64>) -> Result<u64> {
        let times: Vec<u64> = self.all(&Order::Await(lengths))?;
        times.into_iter().max().context("the group is empty")
    }

    /// Has each one read everything.
    pub(super) fn read(&mut self) -> Result<Vec<Content>> {
        self.all(&Order::Read)
    }

    /// Has each one do nothing for so many milliseconds.
    pub(super) fn rest(&mut self, ms: u64) -> Result<Vec<Rest>> {
        self.all(&Order::Rest(ms))
    }

    /// Closes all.
    pub(super) fn end(self) -> Result<Ended> {
        let none = DiskUse { bytes: 0, allocated: Some(0) };
        let mut ended =
            Ended { disk: none, rss_kib: None, cpu_ms: Some(0.0), version: self.version };
        // All at once would be closer to how they live, but each waits a moment for the others.
        for device in self.devices {
            let closed: Closed = device.stop()?;
            let DiskUse { bytes, allocated } = ended.disk;
            let allocated = allocated.zip(closed.disk_allocated).map(|(sum, part)| sum + part);
            ended.disk = DiskUse { bytes: bytes + closed.disk_bytes, allocated };
            ended.rss_kib = ended.rss_kib.max(closed.rss_kib);
            ended.cpu_ms = ended.cpu_ms.zip(closed.cpu_ms).map(|(sum, part)| sum + part);
        }
        Ok(ended)
    }
}

/// Microseconds since 1970.
pub(super) fn now_us() -> Result<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    Ok(u64::try_from(since.as_micros())?)
}
