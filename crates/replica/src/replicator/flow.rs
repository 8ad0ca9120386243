//! How downloads get on, and how fast they may.

use std::collections::BTreeMap;
use std::time::Instant;

use multibee_log::LogKey;

use super::Replicator;
use crate::bucket::Bucket;
use crate::event::{ConnectionId, Event};
use crate::stats::{Progress, RemoteProgress};

impl Replicator {
    /// How far the download of a log has come, as of the latest time that was told.
    #[must_use]
    pub fn progress(&self, key: &LogKey) -> Progress {
        let Some(state) = self.shared.logs.get(key) else { return Progress::default() };
        let length = state.log.len();
        let channels = self.connections.values().filter_map(|connection| connection.channel(key));
        let under_way = state.runs.block_count();
        let remaining = state.wants.count_below(length) + under_way;
        let rates = self.shared.now.map(|now| state.meter.rates(now)).unwrap_or_default();
        Progress {
            length,
            wanted: state.meter.blocks + remaining,
            received: state.meter.blocks,
            received_bytes: state.meter.bytes,
            remaining,
            in_flight: state.wants.asked_count() + under_way,
            blocks_per_s: rates.blocks,
            bytes_per_s: rates.bytes,
            remote_length: channels.filter_map(|c| c.remote_len()).max().unwrap_or(0),
        }
    }

    /// What each remote with which a log is open does for its download, likewise.
    #[must_use]
    pub fn remote_progress(&self, key: &LogKey) -> BTreeMap<ConnectionId, RemoteProgress> {
        let Some(now) = self.shared.now else { return BTreeMap::new() };
        let open = self.connections.iter().filter_map(|(&id, connection)| {
            let channel = connection.channel(key)?;
            Some((id, channel.progress(connection.round_trip(), now)))
        });
        open.collect()
    }

    /// Changes the limits of [`ReplicatorOptions`](crate::ReplicatorOptions), from now on: bytes per
    /// second up and down.
    pub fn set_limits(&mut self, upload: Option<u64>, download: Option<u64>) {
        let options = &mut self.shared.options;
        (options.upload_limit, options.download_limit) = (upload, download);
        self.shared.upload = Bucket::new(upload);
        self.shared.download = Bucket::new(download);
        for (&id, connection) in &mut self.connections {
            connection.mark_dirty();
            self.wake.insert(id);
        }
    }

    /// Notes that progress may have changed.
    pub(super) fn touch_progress(&mut self) {
        if let Some(now) = self.shared.now {
            self.feed.touch(self.shared.options.progress_interval, now);
        }
    }

    /// Tells what has changed, if it is time.
    pub(super) fn tell_progress(&mut self) {
        let (Some(every), Some(now)) = (self.shared.options.progress_interval, self.shared.now)
        else {
            return;
        };
        if self.feed.due().is_none_or(|due| due > now) {
            return;
        }
        let keys: Vec<LogKey> = self.shared.logs.keys().copied().collect();
        let present: Vec<_> = keys.into_iter().map(|key| (key, self.progress(&key))).collect();
        for (key, progress) in self.feed.take(present.into_iter(), every, now) {
            let remotes = self.remote_progress(&key);
            self.shared.events.push_back(Event::Progress {
                key,
                progress: Box::new(progress),
                remotes,
            });
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do for all connections alike.
    pub(super) fn flow_deadline(&self) -> Option<Instant> {
        let held_up = self.shared.now.and_then(|now| self.shared.download.ready_at(now));
        self.feed.due().into_iter().chain(held_up).min()
    }
}
