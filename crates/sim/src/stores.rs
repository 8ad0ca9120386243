//! What lies on disks in the end: of others' logs nothing but what their authors wrote.

use std::sync::Arc;

use multibee::{Home, Log, LogOptions};

use crate::disk::Disk;
use crate::report::{Rule, Violation};
use crate::world::World;

impl World<'_> {
    /// Every block that a device holds of another's log is the author's, whoever it came from.
    pub(crate) fn check_stores(&self) -> Result<(), Violation> {
        let alive = self.alive();
        let disks: Vec<(usize, Disk)> =
            alive.iter().map(|&device| (device, self.devices[device].disk.copy())).collect();
        for (author, disk) in &disks {
            let log = Home::own(Arc::new(disk.clone())).open_primary(LogOptions::default());
            let log = log.map_err(|error| self.unsound(*author, &error))?;
            for (device, disk) in disks.iter().filter(|(device, _)| device != author) {
                let home = Home::own(Arc::new(disk.clone()));
                let copy = home.replica(log.key(), LogOptions::default());
                let copy = copy.map_err(|error| self.unsound(*device, &error))?;
                self.compare(*device, &copy, *author, &log)?;
            }
        }
        Ok(())
    }

    fn compare(
        &self,
        device: usize,
        copy: &Log,
        author: usize,
        log: &Log,
    ) -> Result<(), Violation> {
        for seq in copy.held(0..copy.len()).into_iter().flatten() {
            let block = copy.get(seq).map_err(|error| self.unsound(device, &error))?;
            let original = log.get(seq).map_err(|error| self.unsound(author, &error))?;
            if block != original {
                let what = format!("device {device} holds another block {seq} of {author}");
                return Err(self.broken(Rule::S10, what));
            }
        }
        Ok(())
    }
}
