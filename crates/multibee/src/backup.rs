//! Backups of a database that is open, and putting one back.

mod catalog;
mod copying;
mod folder;
mod restoring;

use std::path::Path;

use multibee_log::{Log, LogKey};

use crate::core::Core;
use crate::home::Home;
use crate::{Error, Multibee};
use catalog::{Catalog, without};
use copying::{Copied, Copying};
use folder::Folder;

/// What goes into a backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupOptions {
    /// The logs of other devices, too, as far as they are here. All that was merged of them is in
    /// the database's own log; with them, what was not merged yet is not lost, either, and they need
    /// not be downloaded again.
    pub replicas: bool,
}

impl BackupOptions {
    /// With the logs of other devices.
    pub const fn with_replicas() -> Self {
        Self { replicas: true }
    }
}

/// How far a backup has come, or putting it back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupProgress {
    /// Blocks that are copied.
    pub blocks: u64,
    /// Blocks that are to be copied, as far as it is known.
    pub total: u64,
}

/// What a backup has done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackedUp {
    /// The version of the data that the backup holds now.
    pub version: u64,
    /// Logs that it holds.
    pub logs: usize,
    /// Bytes of them.
    pub bytes: u64,
    /// Bytes of them that were written this time: the rest was there already.
    pub bytes_written: u64,
}

impl Multibee {
    /// Copies the database to a folder, while it is in use. A second time only what is new is copied.
    ///
    /// The backup is the database as of a commit, which is on the disk. A backup that is cut short
    /// leaves the one before as it was, and is done again by the next call.
    ///
    /// **The backup holds the key of this device's log**, readable by the owner of the files only:
    /// whoever has it can write as this device until it has moved to another log, and can read
    /// everything. Keep it as you keep the database.
    ///
    /// ```
    /// # use multibee::{BackupOptions, Home, Multibee, Options};
    /// # let dir = std::env::temp_dir().join(format!("multibee-backup-doc-{}", std::process::id()));
    /// let db = Multibee::create(Home::memory(), Options::default())?;
    /// db.put("capital/IS", "Reykjavik")?;
    /// db.backup(&dir, &BackupOptions::default(), |_| {})?;
    ///
    /// let home = Home::memory();
    /// Multibee::restore(&dir, &home, |_| {})?;
    /// let restored = Multibee::open(home, Options::default())?;
    /// assert_eq!(restored.digest(), db.digest());
    /// # std::fs::remove_dir_all(&dir).unwrap();
    /// # Ok::<(), multibee::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::BadBackup`] if the folder has something else in it, or another database's backup,
    /// and [`Error::Locked`] if somebody else is at it. Otherwise a disk is at fault, or its content.
    pub fn backup(
        &self,
        path: impl AsRef<Path>,
        options: &BackupOptions,
        told: impl FnMut(BackupProgress),
    ) -> Result<BackedUp, Error> {
        let folder = Folder::open(path.as_ref())?;
        let before = folder.catalog()?;
        let Sources { primary, seed, replicas, former } = self.backup_sources(options)?;
        if let Some(before) = &before
            && before.primary != primary.key()
            && !former.contains(&before.primary)
        {
            let what = format!("it is another database's, with the log {}", before.primary);
            return Err(folder.bad(what));
        }
        let addresses = self.home().addresses()?;
        let mut logs = Vec::new();
        let mut bytes_written = 0;
        let known = |log: &Log| before.as_ref().and_then(|before| before.log(&log.key()));
        let mut progress = Telling::new(told);
        for log in replicas.iter().chain([&primary]) {
            let known = known(log).map(|known| &known.held[..]).unwrap_or_default();
            progress.expect(&without(&log.held(0..log.len()), known));
        }
        // The own log last: it knows of all that is in the others.
        for log in replicas.iter().chain([&primary]) {
            let copying = Copying {
                folder: &folder,
                log,
                is_whole: log.key() == primary.key(),
                told: &mut |blocks| progress.done(blocks),
            };
            let Copied { entry, written } = copying.run(known(log))?;
            bytes_written += written;
            logs.push(entry);
        }
        folder.write_key(&primary.key(), &seed)?;
        let version = logs.last().map_or(0, |own| own.length);
        let catalog = Catalog { primary: primary.key(), logs, addresses };
        folder.publish(&catalog)?;
        folder.tidy(&catalog)?;
        let bytes = catalog.logs.iter().map(|log| log.bytes).sum();
        Ok(BackedUp { version, logs: catalog.logs.len(), bytes, bytes_written })
    }

    /// Puts a backup into a home in which no database is. The backup stays as it is.
    ///
    /// The database that is [opened](Self::open) there then is a device of its own: it goes on in a
    /// fresh log, and the others learn so when they meet it. What was written after the backup was
    /// made it gets from them.
    ///
    /// If this is cut short, no database is there; call it again.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyExists`]; [`Error::BadBackup`] if there is no backup, or it is damaged: all of
    /// it is checked against what was signed. Otherwise a disk is at fault.
    pub fn restore(
        backup: impl AsRef<Path>,
        home: &Home,
        told: impl FnMut(BackupProgress),
    ) -> Result<(), Error> {
        let (folder, catalog) = Folder::open_existing(backup.as_ref())?;
        let seed = folder.key(&catalog.primary)?;
        home.make_room()?;
        let mut progress = Telling::new(told);
        catalog.logs.iter().for_each(|log| progress.expect(&log.held));
        let mut own = None;
        for entry in &catalog.logs {
            if entry.key == catalog.primary {
                own = Some(entry);
                continue;
            }
            let told = &mut |blocks| progress.done(blocks);
            home.restore_replica(entry.key, |log| restoring::fill(&folder, entry, log, told))?;
        }
        home.set_addresses(&catalog.addresses)?;
        if let Some(entry) = own {
            let told = &mut |blocks| progress.done(blocks);
            let fill = |log: &Log| restoring::fill(&folder, entry, log, told);
            home.restore_primary(entry.key, &seed, fill)?;
        }
        Ok(())
    }

    fn backup_sources(&self, options: &BackupOptions) -> Result<Sources, Error> {
        let state = self.network().session().lock();
        let core = &state.core;
        let primary = core.primary.log().clone();
        // Nobody but who moves away gives it up.
        let seed = primary.seed().ok_or(Error::Moving)?;
        let followed = core.following().values().map(|one| one.follower.bee().log().clone());
        let replicas = match options.replicas {
            true => followed.chain(core.source_logs().cloned()).collect(),
            false => Vec::new(),
        };
        let former = former(core);
        Ok(Sources { primary, seed, replicas, former })
    }
}

/// What is copied, and what goes with it.
struct Sources {
    primary: Log,
    seed: [u8; 32],
    replicas: Vec<Log>,
    /// The logs that the database had before.
    former: Vec<LogKey>,
}

/// The logs that the database's own one goes on for, the latest first.
fn former(core: &Core) -> Vec<LogKey> {
    let mut former = Vec::new();
    let mut key = core.key();
    while let Some(before) = core.member(&key).and_then(|member| member.predecessor)
        && !former.contains(&before)
    {
        former.push(before);
        key = before;
    }
    former
}

/// Tells of progress.
struct Telling<F> {
    told: F,
    now: BackupProgress,
}

impl<F: FnMut(BackupProgress)> Telling<F> {
    fn new(told: F) -> Self {
        Self { told, now: BackupProgress::default() }
    }

    fn expect(&mut self, blocks: &[std::ops::Range<u64>]) {
        self.now.total += blocks.iter().map(|blocks| blocks.end - blocks.start).sum::<u64>();
    }

    fn done(&mut self, blocks: u64) {
        self.now.blocks += blocks;
        self.now.total = self.now.total.max(self.now.blocks);
        (self.told)(self.now);
    }
}

#[cfg(test)]
mod tests;
