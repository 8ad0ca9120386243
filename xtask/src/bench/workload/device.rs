//! A device of a group: a process of its own that does what whoever started it says, line by line.

use std::io::{self, BufRead as _};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use multibee::{Connection, DeviceId, Durability, Home, LogKey, Multibee, Options, Role};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::Workload;
use super::group::now_us;
use crate::bench::data;
use crate::bench::disk::DiskUse;
use crate::bench::job::Kind;
use crate::bench::peer::Peer;
use crate::bench::record::Record;
use crate::bench::server::{PATIENCE, tell};
use crate::bench::task::Task;
use crate::bench::usage::{Meter, WakeUps, peak_rss_kib};
use crate::bench::work::Work;

/// One device of a group of so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::bench) struct GroupDevice {
    pub(in crate::bench) number: u8,
    /// In the group.
    pub(in crate::bench) devices: u8,
    /// Changes in a commit.
    pub(in crate::bench) batch: u32,
    /// Changes that all devices together make.
    pub(in crate::bench) n: u32,
}

impl Kind for GroupDevice {
    fn workload(&self) -> Workload {
        Workload::W10
    }

    fn name(&self) -> String {
        format!("device-{}-of-{}-batch{}-{}", self.number, self.devices, self.batch, self.n)
    }

    fn full_n(&self) -> u32 {
        self.n
    }

    fn at_peer(&self, peer: Peer) -> Option<Work> {
        (peer == Peer::Autobase).then_some(Work::new("device", self.batch))
    }

    fn run(&self, task: &Task) -> Result<Vec<Record>> {
        obey(*self, task).map(|()| Vec::new())
    }
}

/// Where a device of the group is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) port: u16,
    pub(super) key: String,
    /// Of a peer; ours is known.
    #[serde(default)]
    pub(super) version: Option<String>,
}

/// What a device is told to do. It answers each with one line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// Admit all of these, the device itself among them. Answer: `true`.
    Admit(Vec<Place>),
    /// Connect to those before it, once all have admitted each other, and wait until all are there
    /// and hold the same. Answer: `true`.
    Join,
    /// Write what its number says. Answer: [`Wrote`].
    Write,
    /// Write what another device is to miss. Answer: [`Wrote`].
    WriteMissed,
    /// Wait until so much of each device's log is applied. Answer: microseconds since 1970.
    Await(Vec<u64>),
    /// Connect once more to those before it, and wait as with `Await`. Answer: microseconds that it
    /// took.
    Return(Vec<u64>),
    /// End all connections, from this side. Answer: `true`.
    Leave,
    /// Read everything. Answer: [`Content`].
    Read,
    /// Do nothing for so many milliseconds. Answer: [`Rest`].
    Rest(u64),
}

/// What a device has written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Wrote {
    /// When it began and ended, in microseconds since 1970.
    pub(super) begun_us: u64,
    pub(super) ended_us: u64,
    /// Of its log, behind its last own commit.
    pub(super) length: u64,
    pub(super) cpu_ms: Option<f64>,
}

/// What a device holds, and has sent so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Content {
    pub(super) digest: String,
    pub(super) entries: u64,
    pub(super) bytes_sent: u64,
}

/// What a device did while there was nothing to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Rest {
    pub(super) appended: u64,
    pub(super) downloaded: u64,
    pub(super) bytes_sent: u64,
    pub(super) cpu_ms: Option<f64>,
    pub(super) wake_ups: Option<u64>,
}

/// What a device tells at the end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Closed {
    pub(super) disk_bytes: u64,
    pub(super) disk_allocated: Option<u64>,
    pub(super) rss_kib: Option<u64>,
    /// Since it was told to join.
    pub(super) cpu_ms: Option<f64>,
}

struct Device {
    kind: GroupDevice,
    db: Multibee,
    runtime: Runtime,
    /// Of the whole group.
    places: Vec<Place>,
    /// To those that this one has dialled.
    dialled: Vec<Connection>,
}

/// Does what it is told until the input ends.
fn obey(kind: GroupDevice, task: &Task) -> Result<()> {
    let options = Options { durability: Durability::Buffered, ..Options::default() };
    let db = Multibee::create(Home::dir(task.folder()), options)?;
    let runtime = Runtime::new().context("tokio")?;
    let address = runtime.block_on(db.listen("127.0.0.1:0"))?;
    tell(&Place { port: address.port(), key: db.key().to_string(), version: None })?;
    let mut device = Device { kind, db, runtime, places: Vec::new(), dialled: Vec::new() };
    let meter = Meter::start();
    for line in io::stdin().lock().lines() {
        device.follow(serde_json::from_str(&line?)?, task)?;
    }
    let cpu_ms = meter.stop().cpu.map(millis);
    let Device { db, runtime, .. } = device;
    runtime.block_on(db.close())?;
    let disk = DiskUse::of(&task.folder())?;
    let (disk_bytes, disk_allocated) = (disk.bytes, disk.allocated);
    tell(&Closed { disk_bytes, disk_allocated, rss_kib: peak_rss_kib(), cpu_ms })
}

impl Device {
    fn follow(&mut self, order: Order, task: &Task) -> Result<()> {
        match order {
            Order::Admit(places) => {
                self.places = places;
                self.admit()?;
                tell(&true)
            }
            Order::Join => {
                self.join()?;
                tell(&true)
            }
            Order::Write => {
                let each = task.n() / u32::from(self.kind.devices);
                let writes = data::device_writes(self.kind.number, each);
                tell(&self.write(&writes)?)
            }
            Order::WriteMissed => tell(&self.write(&data::missed_writes(task.n()))?),
            Order::Await(lengths) => {
                self.wait_for(&lengths)?;
                tell(&now_us()?)
            }
            Order::Return(lengths) => {
                let begun = Instant::now();
                self.connect()?;
                self.wait_for(&lengths)?;
                tell(&begun.elapsed().as_micros())
            }
            Order::Leave => {
                self.leave()?;
                tell(&true)
            }
            Order::Read => {
                let scan = self.db.verify()?;
                let (digest, entries) = (scan.digest.to_string(), scan.keys);
                tell(&Content { digest, entries, bytes_sent: self.db.status()?.bytes_sent })
            }
            Order::Rest(ms) => tell(&self.rest(Duration::from_millis(ms))?),
        }
    }

    fn admit(&self) -> Result<()> {
        for place in &self.places {
            let key: LogKey = place.key.parse().context("a device's key")?;
            if key != self.db.key() {
                self.db.add_replica(key)?;
            }
        }
        Ok(())
    }

    fn join(&mut self) -> Result<()> {
        self.connect()?;
        let others = self.places.len() - 1;
        self.until("all are connected and in sync", |db| {
            let devices = db.devices()?;
            Ok(devices.iter().filter(|device| device.connected).count() == others)
        })?;
        Ok(self.runtime.block_on(self.db.wait_synced(PATIENCE))?)
    }

    /// Dials those before this one.
    fn connect(&mut self) -> Result<()> {
        let before = self.places.iter().take(usize::from(self.kind.number));
        for place in before {
            let dialled: Result<_> = self.runtime.block_on(async {
                let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, place.port)).await?;
                stream.set_nodelay(true)?;
                Ok(self.db.attach(stream, Role::Initiator))
            });
            self.dialled.push(dialled?);
        }
        for connection in &self.dialled {
            self.runtime.block_on(self.db.wait_introduced(*connection))?;
        }
        Ok(())
    }

    fn leave(&mut self) -> Result<()> {
        for connection in std::mem::take(&mut self.dialled) {
            self.db.disconnect(connection);
            self.until("a connection is over", |db| Ok(!db.is_connected(connection)))?;
        }
        Ok(())
    }

    fn write(&self, writes: &[(Bytes, Bytes)]) -> Result<Wrote> {
        let meter = Meter::start();
        let begun_us = now_us()?;
        for writes in writes.chunks(usize::try_from(self.kind.batch)?) {
            match writes {
                [(key, value)] => self.db.put(key, value.clone())?,
                writes => {
                    let mut batch = self.db.batch();
                    for (key, value) in writes {
                        batch.put(key, value.clone());
                    }
                    batch.commit()?;
                }
            }
        }
        let ended_us = now_us()?;
        let length = self.db.status()?.clock.length(self.db.device());
        Ok(Wrote { begun_us, ended_us, length, cpu_ms: meter.stop().cpu.map(millis) })
    }

    /// Waits until so much of each device's log is applied.
    fn wait_for(&self, lengths: &[u64]) -> Result<()> {
        let wanted = self.places.iter().zip(lengths).map(|(place, length)| {
            let key: LogKey = place.key.parse().context("a device's key")?;
            Ok((DeviceId::of_key(key.as_bytes()), *length))
        });
        let wanted = wanted.collect::<Result<Vec<_>>>()?;
        self.until("everything has come", |db| {
            let clock = db.status()?.clock;
            Ok(wanted.iter().all(|&(device, length)| clock.length(device) >= length))
        })
    }

    fn until(&self, what: &str, seen: impl Fn(&Multibee) -> Result<bool>) -> Result<()> {
        let mut changes = self.db.changes();
        let waiting = async {
            while !seen(&self.db)? {
                changes.changed().await?;
            }
            Ok(())
        };
        let waited = self.runtime.block_on(async { timeout(PATIENCE, waiting).await });
        waited.with_context(|| format!("never: {what}"))?
    }

    fn rest(&self, time: Duration) -> Result<Rest> {
        let (before, wakes) = (self.db.status()?, WakeUps::now());
        let meter = Meter::start();
        std::thread::sleep(time);
        let cpu_ms = meter.stop().cpu.map(millis);
        let (after, wakes_after) = (self.db.status()?, WakeUps::now());
        Ok(Rest {
            appended: after.length - before.length,
            downloaded: after.blocks_downloaded - before.blocks_downloaded,
            bytes_sent: after.bytes_sent - before.bytes_sent,
            cpu_ms,
            wake_ups: wakes.zip(wakes_after).map(|(before, after)| after.since(&before)),
        })
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
