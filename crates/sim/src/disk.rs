//! A device's disk: it remembers what was not synced, and fails when told to.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use multibee::{Places, Storage};
use multibee_log::Part;
use multibee_log::testing::{Effort, RecordingStorage};

use crate::plan::Place;

/// Storage of all logs of one device.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    logs: Arc<Mutex<BTreeMap<String, RecordingStorage>>>,
    plug: Arc<Mutex<Plug>>,
    /// Logs that are being made: they are there only once they are whole.
    unborn: Arc<Mutex<BTreeSet<String>>>,
    /// Logs that were copied from elsewhere.
    copied: Arc<Mutex<BTreeSet<String>>>,
}

/// When the disk stops to work.
#[derive(Clone, Copy, Debug, Default)]
enum Plug {
    #[default]
    In,
    /// After so many more changes all others fail.
    Loose { left: u64, kind: io::ErrorKind },
    /// Changes fail.
    Out { kind: io::ErrorKind },
}

/// One log's storage, as its log sees it.
#[derive(Debug)]
struct Drawer {
    name: String,
    storage: RecordingStorage,
    disk: Disk,
}

impl Disk {
    /// Lets so many more changes pass, and all others fail with `kind`.
    pub(crate) fn fail_after(&self, left: u64, kind: io::ErrorKind) {
        *lock(&self.plug) = Plug::Loose { left, kind };
    }

    /// Takes back a failure that has not come yet.
    pub(crate) fn disarm(&self) {
        let mut plug = lock(&self.plug);
        if matches!(*plug, Plug::Loose { .. }) {
            *plug = Plug::In;
        }
    }

    /// Whether changes fail by now.
    pub(crate) fn is_failing(&self) -> bool {
        matches!(*lock(&self.plug), Plug::Out { .. })
    }

    /// From here on nothing reaches the disk: the process is gone.
    pub(crate) fn unplug(&self) {
        *lock(&self.plug) = Plug::Out { kind: io::ErrorKind::Other };
    }

    /// The disk works again, with all that was given to it.
    pub(crate) fn heal(&self) {
        let logs = lock(&self.logs).clone();
        let whole: Vec<_> =
            logs.into_iter().map(|(name, storage)| (name, storage.image())).collect();
        self.replace(whole.into_iter());
    }

    /// What is on it can tell that it was copied.
    pub(crate) fn mark_as_copy(&self) {
        *lock(&self.copied) = lock(&self.logs).keys().cloned().collect();
    }

    /// All is as it was on another disk.
    pub(crate) fn put_back(&self, earlier: &Self) {
        let logs = lock(&earlier.logs).clone();
        let images = logs.into_iter().map(|(name, storage)| (name, storage.image()));
        lock(&self.unborn).clear();
        self.replace(images);
    }

    /// Whether a log is there that was begun to take over, and is whole.
    pub(crate) fn has_successor(&self) -> bool {
        let unborn = lock(&self.unborn);
        lock(&self.logs).keys().any(|name| name.starts_with("primaries/") && !unborn.contains(name))
    }

    /// Another disk with the same on it.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self::default();
        let logs = lock(&self.logs);
        let unborn = lock(&self.unborn);
        let born = logs.iter().filter(|(name, _)| !unborn.contains(*name));
        copy.replace(born.map(|(name, storage)| (name.clone(), storage.image())));
        *lock(&copy.copied) = lock(&self.copied).clone();
        copy
    }

    /// The copies of others' logs are gone.
    pub(crate) fn drop_replicas(&self) {
        lock(&self.logs).retain(|name, _| !name.starts_with("replicas/"));
    }

    /// Changes a bit. Says whether there was one.
    pub(crate) fn rot(&self, place: Place) -> io::Result<bool> {
        let logs = lock(&self.logs);
        let mut names: Vec<_> = logs.keys().collect();
        // The own log first.
        names.sort_by_key(|name| (name.contains('/'), name.as_str()));
        let name = names.get(usize::from(place.log) % names.len().max(1));
        let Some(storage) = name.and_then(|name| logs.get(*name)) else { return Ok(false) };
        let parts = [Part::Oplog, Part::Tree, Part::Data, Part::Bitfield];
        let part = parts[usize::from(place.part) % parts.len()];
        let bits = storage.len(part)?.saturating_mul(8);
        if bits == 0 {
            return Ok(false);
        }
        let (bit, mut byte) = (place.bit % bits, [0]);
        storage.read_at(part, bit / 8, &mut byte)?;
        storage.write_at(part, bit / 8, &[byte[0] ^ (1 << (bit % 8))])?;
        Ok(true)
    }

    /// The power fails: of what was not synced, any part may be gone. Says whether some is.
    pub(crate) fn cut_power(&self, random: &mut fastrand::Rng) -> bool {
        let mut lost = false;
        let mut images = Vec::new();
        for (name, storage) in &*lock(&self.logs) {
            let effort = Effort { exhaustive: 0, samples: 2, seed: random.u64(..) };
            let recording = storage.recording();
            let crashes: Vec<_> = recording.crash(storage.event_count(), effort).collect();
            // There is one at least: that in which nothing is missing.
            let chosen = crashes.get(random.usize(..crashes.len().max(1)));
            lost |= chosen.is_some_and(|crash| !crash.is_whole());
            let image = chosen.map_or_else(|| storage.image(), |crash| crash.image().clone());
            images.push((name.clone(), image));
        }
        self.replace(images.into_iter());
        lost
    }

    fn replace(&self, images: impl Iterator<Item = (String, multibee_log::testing::Image)>) {
        let mut logs = lock(&self.logs);
        let unborn = std::mem::take(&mut *lock(&self.unborn));
        let images = images.filter(|(name, _)| !unborn.contains(name));
        logs.clear();
        logs.extend(images.map(|(name, image)| (name, RecordingStorage::over(image))));
        *lock(&self.plug) = Plug::In;
    }

    fn drawer(&self, name: &str, storage: RecordingStorage) -> Arc<dyn Storage> {
        Arc::new(Drawer { name: name.to_owned(), storage, disk: self.clone() })
    }
}

impl Places for Disk {
    fn open(&self, name: &str) -> io::Result<Option<Arc<dyn Storage>>> {
        Ok(lock(&self.logs).get(name).map(|storage| self.drawer(name, storage.clone())))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn Storage>> {
        let storage = RecordingStorage::new();
        lock(&self.logs).insert(name.to_owned(), storage.clone());
        lock(&self.unborn).insert(name.to_owned());
        Ok(self.drawer(name, storage))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(lock(&self.logs).keys().cloned().collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change()?;
        let mut logs = lock(&self.logs);
        if let Some(storage) = logs.remove(from) {
            logs.insert(to.to_owned(), storage);
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.change()?;
        lock(&self.logs).remove(name);
        Ok(())
    }
}

impl Disk {
    /// Counts a change. Fails if the disk no longer takes any.
    fn change(&self) -> io::Result<()> {
        let mut plug = lock(&self.plug);
        match &mut *plug {
            Plug::In => Ok(()),
            Plug::Loose { left, .. } if *left > 0 => {
                *left -= 1;
                Ok(())
            }
            &mut (Plug::Loose { kind, .. } | Plug::Out { kind }) => {
                *plug = Plug::Out { kind };
                Err(kind.into())
            }
        }
    }
}

impl Storage for Drawer {
    fn read_at(&self, part: Part, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.storage.read_at(part, offset, buf)
    }

    fn write_at(&self, part: Part, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.change()?;
        self.storage.write_at(part, offset, bytes)
    }

    fn len(&self, part: Part) -> io::Result<u64> {
        self.storage.len(part)
    }

    fn truncate(&self, part: Part, len: u64) -> io::Result<()> {
        self.disk.change()?;
        self.storage.truncate(part, len)
    }

    fn sync(&self, part: Part) -> io::Result<()> {
        self.disk.change()?;
        self.storage.sync(part)
    }

    fn discard(&self, part: Part, offset: u64, len: u64) -> io::Result<()> {
        self.disk.change()?;
        self.storage.discard(part, offset, len)
    }

    fn publish(&self) -> io::Result<()> {
        self.disk.change()?;
        self.storage.publish()?;
        lock(&self.disk.unborn).remove(&self.name);
        Ok(())
    }

    fn is_copy(&self) -> io::Result<bool> {
        Ok(lock(&self.disk.copied).contains(&self.name))
    }

    fn claim(&self) -> io::Result<()> {
        self.disk.change()?;
        lock(&self.disk.copied).remove(&self.name);
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change is a single assignment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
