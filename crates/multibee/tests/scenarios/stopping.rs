//! A device's disk that stops working after so many changes, and what it may hold then.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use multibee::{Places, Storage};
use multibee_log::Part;
use multibee_log::testing::{Effort, Event, Image, RecordingStorage};

use crate::crashes::Images;

/// The storage of all logs of one device. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoppingDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    logs: BTreeMap<String, Kept>,
    /// Changes so far, those that failed included.
    changes: u64,
    /// All changes from this one on fail.
    stop: Option<u64>,
    /// Logs that were copied from another disk.
    copied: BTreeSet<String>,
}

/// One log's storage.
#[derive(Clone, Debug)]
struct Kept {
    storage: RecordingStorage,
    start: Image,
    /// Whether the log is in its place. Before, a crash leaves nothing of it.
    is_there: bool,
}

/// What is left when a disk has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// All that was given to it: only the process has died.
    Everything,
    /// What was waited for, and nothing else.
    Synced,
    /// What was waited for, and by chance some of the rest.
    Some { seed: u64 },
}

impl StoppingDisk {
    pub(crate) fn over(images: &Images) -> Self {
        let disk = Self::default();
        let kept = |image: &Image| Kept {
            storage: image.to_storage(),
            start: image.clone(),
            is_there: true,
        };
        let logs = images.iter().map(|(name, image)| (name.clone(), kept(image)));
        disk.state().logs.extend(logs);
        disk
    }

    /// Logs with these names tell that they are copies.
    pub(crate) fn mark_as_copies<'a>(&self, names: impl Iterator<Item = &'a String>) {
        self.state().copied.extend(names.cloned());
    }

    /// Lets so many changes pass from now on, and all others fail.
    pub(crate) fn stop_after(&self, changes: u64) {
        let mut state = self.state();
        state.stop = Some(state.changes + changes);
    }

    /// Whether a change has failed.
    pub(crate) fn has_stopped(&self) -> bool {
        let state = self.state();
        state.stop.is_some_and(|stop| state.changes > stop)
    }

    /// What a crash may leave of it.
    pub(crate) fn left(&self, left: Left) -> Images {
        let state = self.state();
        let there = state.logs.iter().filter(|(_, kept)| kept.is_there);
        there
            .zip(0..)
            .map(|((name, kept), number)| (name.clone(), kept.left(left, number)))
            .collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn change(&self) -> io::Result<()> {
        let mut state = self.state();
        if state.stop.is_some_and(|stop| state.changes >= stop) {
            state.changes = state.stop.unwrap_or_default() + 1;
            return Err(io::Error::other("the disk has stopped"));
        }
        state.changes += 1;
        Ok(())
    }

    fn part(&self, name: &str, storage: RecordingStorage) -> Arc<dyn Storage> {
        Arc::new(Drawer { name: name.to_owned(), storage, disk: self.clone() })
    }
}

impl Kept {
    fn left(&self, left: Left, number: u64) -> Image {
        match left {
            Left::Everything => self.storage.image(),
            Left::Synced => self.synced(),
            Left::Some { seed } => {
                let seed = seed.wrapping_mul(31).wrapping_add(number);
                let effort = Effort { exhaustive: 0, samples: 2, seed };
                let recording = self.storage.recording();
                let mut crashes: Vec<_> =
                    recording.crash(self.storage.event_count(), effort).collect();
                let count = crashes.len() as u64;
                match count {
                    0 => self.storage.image(),
                    _ => crashes.swap_remove((seed % count) as usize).image().clone(),
                }
            }
        }
    }

    /// What was waited for.
    fn synced(&self) -> Image {
        let recording = self.storage.recording();
        let events = recording.events();
        let disk = self.start.to_storage();
        for part in Part::ALL {
            let is_sync = |event: &Event| *event == Event::Sync { part };
            let Some(last) = events.iter().rposition(is_sync) else { continue };
            for event in &events[..last] {
                match event {
                    Event::Write { part: of, offset, bytes } if *of == part => {
                        disk.write_at(part, *offset, bytes).unwrap();
                    }
                    Event::Truncate { part: of, len } if *of == part => {
                        disk.truncate(part, *len).unwrap();
                    }
                    Event::Discard { part: of, offset, len, .. } if *of == part => {
                        disk.discard(part, *offset, *len).unwrap();
                    }
                    _ => {}
                }
            }
        }
        disk.image()
    }
}

impl Places for StoppingDisk {
    fn open(&self, name: &str) -> io::Result<Option<Arc<dyn Storage>>> {
        let storage = self.state().logs.get(name).map(|kept| kept.storage.clone());
        Ok(storage.map(|storage| self.part(name, storage)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn Storage>> {
        self.change()?;
        let storage = RecordingStorage::new();
        let kept = Kept { storage: storage.clone(), start: Image::default(), is_there: false };
        self.state().logs.insert(name.to_owned(), kept);
        Ok(self.part(name, storage))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.state().logs.keys().cloned().collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change()?;
        let mut state = self.state();
        if let Some(kept) = state.logs.remove(from) {
            state.logs.insert(to.to_owned(), kept);
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.change()?;
        self.state().logs.remove(name);
        Ok(())
    }
}

/// One log's storage, as the log sees it.
#[derive(Debug)]
struct Drawer {
    name: String,
    storage: RecordingStorage,
    disk: StoppingDisk,
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

    fn is_copy(&self) -> io::Result<bool> {
        Ok(self.disk.state().copied.contains(&self.name))
    }

    fn claim(&self) -> io::Result<()> {
        self.disk.change()?;
        self.disk.state().copied.remove(&self.name);
        Ok(())
    }

    fn publish(&self) -> io::Result<()> {
        self.disk.change()?;
        self.storage.publish()?;
        if let Some(kept) = self.disk.state().logs.get_mut(&self.name) {
            kept.is_there = true;
        }
        Ok(())
    }
}
