//! How far this device is behind those that it can reach, for people to watch.

use multibee_log::LogKey;

use crate::Multibee;

/// How far a catch-up has come. Until it ends, `total`, `done` and `fraction` only grow.
#[derive(Clone, Debug, PartialEq)]
pub struct SyncStatus {
    /// What is being done.
    pub activity: SyncActivity,
    /// Blocks of news in this catch-up, as far as they are known: connected devices tell of more as
    /// they write more.
    pub total: u64,
    /// Blocks of news that are merged, or need not be any more.
    pub done: u64,
    /// Blocks of news that are left.
    pub remaining: u64,
    /// The part that is done, from 0 to 1. It is 1 when everything is merged that connected
    /// devices have told of, and not before.
    pub fraction: f64,
    /// The devices, this one left out.
    pub devices: Vec<DeviceProgress>,
}

/// What a device does to catch up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncActivity {
    /// Nothing: everything is merged that connected devices have told of.
    Idle,
    /// It merges the writes of other devices one by one.
    Following,
    /// It joins what differs from another device's whole state.
    Absorbing {
        /// The device.
        from: LogKey,
    },
}

/// How far the log of one device is merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceProgress {
    /// The device.
    pub key: LogKey,
    /// Blocks of its log that are merged.
    pub applied: u64,
    /// Blocks of its log that are merged here or by a connected device: equal to `applied` when
    /// nothing is left.
    pub known: u64,
}

impl Multibee {
    /// How far this device is behind those that it can reach.
    pub fn sync_status(&self) -> SyncStatus {
        let state = self.network().session().lock();
        let core = &state.core;
        let progress = core.progress();
        let activity = match core.absorbing_from() {
            Some(from) => SyncActivity::Absorbing { from },
            None if progress.remaining() > 0 => SyncActivity::Following,
            None => SyncActivity::Idle,
        };
        let devices = core.following().iter().map(|(key, following)| {
            let device = following.follower.device();
            let applied = core.applied(device);
            let told = state.peers.devices().filter(|peer| !peer.removed);
            let told = told.filter_map(|peer| peer.status.as_ref());
            let known = told.map(|status| status.clock.length(device)).max().unwrap_or_default();
            DeviceProgress { key: *key, applied, known: known.max(applied) }
        });
        SyncStatus {
            activity,
            total: progress.total,
            done: progress.done,
            remaining: progress.remaining(),
            fraction: progress.fraction,
            devices: devices.collect(),
        }
    }
}
