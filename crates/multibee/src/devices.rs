//! The devices of a database: who belongs to it, under which name, and as what.

use std::collections::BTreeMap;

use multibee_log::LogKey;
use multibee_merge::DeviceId;

use crate::core::{Advance, Core};
use crate::members::Member;
use crate::{DeviceRole, Error, Multibee};

/// A device of the database, this one included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The key of its log: give it to others to be added.
    pub key: LogKey,
    /// Its short id, as in [`Entry::device`](crate::Entry::device).
    pub id: DeviceId,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// What it may and does do.
    pub role: DeviceRole,
    /// Where it was reached last, or is to be reached.
    pub address: Option<String>,
    /// Whether it is this device.
    pub is_self: bool,
    /// Whether it was thrown out.
    pub removed: bool,
    /// Who threw it out: a device, or a recovery secret.
    pub removed_by: Option<LogKey>,
    /// Whether its log is finished, though it was not thrown out: another log goes on for it, it left, or
    /// it stayed away too long.
    pub retired: bool,
    /// The log that goes on for it, if one does: the same device, under another key.
    pub successor: Option<LogKey>,
    /// Whether it is connected now.
    pub connected: bool,
    /// When it wrote last, by its own clock, as far as is known here: milliseconds since 1970.
    pub wrote_ms: Option<u64>,
    /// Blocks of its log that are applied here.
    pub applied: u64,
    /// Blocks of its log up to which there may be news, as far as is known here: equal to
    /// `applied` when nothing is left to merge.
    pub known: u64,
    /// Why its log can't be followed further, if it can't.
    pub stuck: Option<String>,
}

impl Device {
    /// Whether it takes part: it was neither thrown out, nor is its log finished.
    pub const fn is_active(&self) -> bool {
        !self.removed && !self.retired
    }
}

/// How a device is admitted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddOptions {
    /// A name for people to read.
    pub name: Option<String>,
    /// What it may do.
    pub role: DeviceRole,
}

impl Multibee {
    /// Admits a device to the database, for good: its writes are merged from now on.
    ///
    /// It has to admit this device, too, before the two connect. Adding it again is no error.
    ///
    /// # Errors
    ///
    /// [`Error::OwnKey`], [`Error::Removed`] and [`Error::IdTaken`] blame the caller.
    #[doc(alias = "addHyperbee")]
    pub fn add_replica(&self, key: LogKey) -> Result<(), Error> {
        self.add_with(key, AddOptions::default())
    }

    /// As [`add_replica`](Self::add_replica), with a name for people to read.
    ///
    /// # Errors
    ///
    /// As [`add_replica`](Self::add_replica).
    pub fn add_named(&self, key: LogKey, name: Option<String>) -> Result<(), Error> {
        self.add_with(key, AddOptions { name, ..AddOptions::default() })
    }

    /// As [`add_replica`](Self::add_replica), with a name, and in a role.
    ///
    /// A device that is admitted already may be given a role that allows more, but none that allows
    /// less: what it wrote meanwhile counts on some devices. Remove it, and admit it with another key.
    /// Whoever admitted a device first founded the database, and may always write.
    ///
    /// # Errors
    ///
    /// As [`add_replica`](Self::add_replica), and [`Error::NameTooLong`].
    pub fn add_with(&self, key: LogKey, options: AddOptions) -> Result<(), Error> {
        self.change_devices(|core| core.add(key, options))
    }

    /// Gives a device another name, on all devices. Of two that are given at once the later one counts.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownDevice`] and [`Error::NameTooLong`] blame the caller.
    pub fn rename(&self, key: &LogKey, name: impl Into<String>) -> Result<(), Error> {
        self.change_devices(|core| core.rename(*key, name.into()))
    }

    /// Removes a device, for good: what is applied of its log stays, what comes later is not
    /// taken, and nothing is offered to it any more but the news of its removal.
    ///
    /// What the device has already it keeps; and whoever knows the key of a log, as it does, can
    /// still read that log from any device that serves it.
    ///
    /// # Errors
    ///
    /// [`Error::OwnKey`], [`Error::UnknownDevice`] and [`Error::Removed`] blame the caller.
    #[doc(alias = "removeHyperbee")]
    pub fn remove_replica(&self, key: &LogKey) -> Result<(), Error> {
        self.change_devices(|core| core.remove(*key))
    }

    /// Waits no longer for a device that has stayed away: its log is finished. What it wrote and nobody has
    /// had is not taken under this key; when it returns, it goes on with another one.
    ///
    /// # Errors
    ///
    /// As [`remove_replica`](Self::remove_replica).
    pub fn retire(&self, key: &LogKey) -> Result<(), Error> {
        self.change_devices(|core| core.retire(*key))
    }

    pub(crate) fn change_devices(
        &self,
        change: impl FnOnce(&mut Core) -> Result<Advance, Error>,
    ) -> Result<(), Error> {
        let session = self.network().session();
        let mut state = session.lock();
        let advance = change(&mut state.core)?;
        session.settle(&mut state, Ok(advance));
        drop(state);
        self.network().own_log_changed();
        Ok(())
    }

    /// Remembers where a device is reached; `None` forgets. Other devices are not told.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownDevice`] blames the caller, others the disk.
    pub fn set_address(&self, key: &LogKey, address: Option<String>) -> Result<(), Error> {
        if self.network().session().lock().core.member(key).is_none() {
            return Err(Error::UnknownDevice { key: *key });
        }
        let mut addresses = self.home().addresses()?;
        match address {
            Some(address) => addresses.insert(*key, address),
            None => addresses.remove(key),
        };
        self.home().set_addresses(&addresses)
    }

    /// All devices that were ever admitted, by seniority, this one included.
    ///
    /// # Errors
    ///
    /// The file with addresses can't be read.
    pub fn devices(&self) -> Result<Vec<Device>, Error> {
        let addresses = self.home().addresses()?;
        let state = self.network().session().lock();
        let core = &state.core;
        let own = core.primary.log().len();
        let devices = core.members().iter().map(|member| {
            let is_self = member.key == core.key();
            let following = core.following().get(&member.key);
            let applied = if is_self { own } else { core.applied(member.device) };
            let known = following.map_or(own, |one| one.follower.known(applied));
            Device {
                key: member.key,
                id: member.device,
                name: member.name.clone(),
                role: member.role,
                address: address(core, &addresses, member),
                is_self,
                removed: member.removed_by.is_some(),
                removed_by: member.removed_by,
                retired: member.is_retired,
                successor: member.successors.first().copied(),
                connected: state.peers.devices().any(|peer| peer.key == member.key),
                wrote_ms: match following {
                    Some(following) => following.follower.committed_ms(applied),
                    None => core.primary.committed_ms(),
                },
                applied,
                known,
                stuck: following.and_then(|one| one.stuck.clone()),
            }
        });
        Ok(devices.collect())
    }
}

/// Where a device is reached: under its key, or one that it had before.
fn address(core: &Core, addresses: &BTreeMap<LogKey, String>, member: &Member) -> Option<String> {
    let before = |member: &&Member| core.member(&member.predecessor?);
    // Who succeeds whom goes no longer way round than there are devices.
    let line = std::iter::successors(Some(member), before).take(core.members().len());
    line.filter_map(|member| addresses.get(&member.key)).next().cloned()
}
