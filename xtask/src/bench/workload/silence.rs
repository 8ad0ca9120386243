//! N4: devices that hold the same and have nothing to do.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::device::{GroupDevice, Wrote};
use super::group::Group;
use super::{Plan, Workload};
use crate::bench::job::{Job, Kind};
use crate::bench::record::{Record, Title};
use crate::bench::task::Task;
use crate::bench::usage::Span;

pub(super) const PLAN: Plan = Plan::of(Workload::N4, jobs);

fn jobs() -> Vec<Job> {
    vec![Job::Silence]
}

/// A group that has written and come to rest.
pub(in crate::bench) struct Silence;

impl Silence {
    const DEVICE: GroupDevice = GroupDevice { number: 0, devices: 3, batch: 10, n: 300 };
}

/// Keepalives and whatever else there is in pauses have passed by then.
const REST: Duration = Duration::from_secs(12);

impl Kind for Silence {
    fn workload(&self) -> Workload {
        Workload::N4
    }

    fn name(&self) -> String {
        "silence".to_owned()
    }

    fn server(&self) -> Option<Job> {
        Some(Job::Device(Self::DEVICE))
    }

    fn full_n(&self) -> u32 {
        Self::DEVICE.n
    }

    fn run(&self, task: &Task) -> Result<Vec<Record>> {
        let mut group = Group::start(task, Self::DEVICE)?;
        let wrote = group.write()?;
        group.wait(wrote.iter().map(|Wrote { length, .. }| *length).collect())?;
        // What is said last is on its way: that everybody has everything.
        let settling = u64::try_from(SETTLING.as_millis())?;
        group.rest(settling)?;
        let rests = group.rest(u64::try_from(REST.as_millis())?)?;
        ensure!(rests.iter().all(|rest| (rest.appended, rest.downloaded) == (0, 0)), "{rests:?}");
        let sum = |of: fn(&_) -> Option<u64>| rests.iter().map(of).sum::<Option<u64>>();
        let (wakes, sent) = (sum(|rest| rest.wake_ups), sum(|rest| Some(rest.bytes_sent)));
        let cpu_ms: Option<f64> = rests.iter().map(|rest| rest.cpu_ms).sum();
        let ended = group.end()?;
        let span = Span { wall: REST, cpu: cpu_ms.map(|ms| Duration::from_secs_f64(ms / 1e3)) };
        let title = Title { variant: "3-devices", durability: "read", unit: "-" };
        let mut record = Record::new(task, &title, span, ended.disk);
        record.peak_rss_kib = ended.rss_kib;
        Ok(vec![
            record
                .and("appends", 0)
                .and("blocks", 0)
                .and("bytesSent", sent)
                .and("wakeUps", wakes)
                .and("bytesSentPerDevice", sent.map(|sent| sent / u64::from(Self::DEVICE.devices))),
        ])
    }
}

const SETTLING: Duration = Duration::from_secs(1);
