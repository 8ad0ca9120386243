//! Devices on storage that remembers every write, and what a crash may leave of them.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use multibee::{Durability, Home, KeyPair, Multibee, Options, Places, Storage};
use multibee_log::testing::{Image, RecordingStorage};
use multibee_log::{FileStorage, LogKey, Part};

use crate::devices::{Kind, TestClock};

/// The storage of a database's logs, by name.
#[derive(Debug, Default)]
pub(crate) struct Disks {
    disks: Mutex<BTreeMap<String, RecordingStorage>>,
}

/// What the disks held at one moment.
pub(crate) type Images = BTreeMap<String, Image>;

const PRIMARY: &str = "primary";

impl Disks {
    pub(crate) fn over(images: &Images) -> Arc<Self> {
        let disks = images.iter().map(|(name, image)| (name.clone(), image.to_storage()));
        Arc::new(Self { disks: Mutex::new(disks.collect()) })
    }

    pub(crate) fn images(&self) -> Images {
        let disks = self.disks.lock().unwrap();
        disks.iter().map(|(name, disk)| (name.clone(), disk.image())).collect()
    }

    /// The disk of the device's own log.
    pub(crate) fn primary(&self) -> RecordingStorage {
        self.disks.lock().unwrap()[PRIMARY].clone()
    }
}

impl Places for Disks {
    fn open(&self, name: &str) -> io::Result<Option<Arc<dyn Storage>>> {
        let disk = self.disks.lock().unwrap().get(name).cloned();
        Ok(disk.map(|disk| Arc::new(disk) as Arc<dyn Storage>))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn Storage>> {
        let disk = RecordingStorage::new();
        self.disks.lock().unwrap().insert(name.to_owned(), disk.clone());
        Ok(Arc::new(disk))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.disks.lock().unwrap().keys().cloned().collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disks = self.disks.lock().unwrap();
        if let Some(disk) = disks.remove(from) {
            disks.insert(to.to_owned(), disk);
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disks.lock().unwrap().remove(name);
        Ok(())
    }
}

/// These images as a home: in memory, or as the files of a directory.
pub(crate) fn home(kind: Kind, images: &Images, dir: &Path) -> Home {
    if kind == Kind::Memory {
        return Home::own(Disks::over(images));
    }
    for (name, image) in images {
        let files = FileStorage::create(dir.join(name)).unwrap();
        for part in Part::ALL {
            files.write_at(part, 0, &image.bytes(part)).unwrap();
        }
        files.publish().unwrap();
    }
    Home::dir(dir)
}

/// The images of two devices that have admitted each other, with what `write` has put into the
/// first.
pub(crate) fn pair(clock: &Arc<TestClock>, write: impl FnOnce(&Multibee)) -> [Images; 2] {
    let disks = [Arc::new(Disks::default()), Arc::new(Disks::default())];
    let devices = [0, 1].map(|number: u8| {
        let keys = Some(KeyPair::from_seed([number + 1; 32]));
        let home = Home::own(disks[usize::from(number)].clone());
        Multibee::create(home, Options { keys, ..durable(clock) }).unwrap()
    });
    let keys: [LogKey; 2] = devices.each_ref().map(Multibee::key);
    devices[0].add_replica(keys[1]).unwrap();
    devices[1].add_replica(keys[0]).unwrap();
    write(&devices[0]);
    drop(devices);
    disks.map(|disks| disks.images())
}

/// A write that has returned is on the disk.
pub(crate) fn durable(clock: &Arc<TestClock>) -> Options {
    Options { durability: Durability::Immediate, clock: clock.clone(), ..Options::default() }
}
