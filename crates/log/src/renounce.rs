//! Giving up the key of a log: nobody writes it here any more.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use crate::barrier::Barrier;
use crate::error::Result;
use crate::log::{Log, Shared};
use crate::storage::Part;

/// What is written over half of a key.
const HALF: [u8; 16] = [0; 16];

/// A handle that does not keep a log open. Made by [`Log::downgrade`].
#[derive(Clone, Debug)]
pub struct WeakLog(Weak<Shared>);

impl Log {
    /// Gives up the log's key, for good: its part is overwritten and cut off, and from then on this
    /// is a replica, for all handles and whenever it is opened again. Does nothing without a key.
    ///
    /// Whoever moves to another log does so with the old one: what is never signed again can't be
    /// signed twice.
    ///
    /// Disks may keep what was overwritten, and backups do.
    ///
    /// # Errors
    ///
    /// [`Error::ReadOnly`](crate::Error::ReadOnly), [`Error::Io`](crate::Error::Io). The key may then
    /// still be there.
    pub fn renounce(&self) -> Result<()> {
        let shared = &self.shared;
        if shared.held_keys.is_none() || shared.is_renounced() {
            return Ok(());
        }
        // All that was signed first: a replica counts as durable what it holds.
        self.sync()?;
        let mut writer = shared.writer()?;
        let in_header = writer.header.key_pair.as_mut();
        if in_header.and_then(|pair| pair.secret_key.take()).is_some() {
            // Both slots of the header had it.
            shared.flush(&mut writer)?;
            shared.flush(&mut writer)?;
        }
        let len = shared.disk.len(Part::Key)?;
        if len > 0 {
            // Cut first: half a key is none, and any 32 bytes are one.
            shared.disk.truncate(Part::Key, HALF.len() as u64)?;
            shared.disk.sync(Barrier::Create, &[Part::Key])?;
            shared.disk.write_at(Part::Key, 0, &HALF)?;
            shared.disk.sync(Barrier::Create, &[Part::Key])?;
            shared.disk.truncate(Part::Key, 0)?;
            shared.disk.sync(Barrier::Create, &[Part::Key])?;
        }
        shared.renounced.store(true, Ordering::Release);
        Ok(())
    }

    /// A handle that does not keep the log open.
    pub fn downgrade(&self) -> WeakLog {
        WeakLog(Arc::downgrade(&self.shared))
    }
}

impl WeakLog {
    /// Whether the last handle has gone, so that the log is closed.
    pub fn is_closed(&self) -> bool {
        self.0.strong_count() == 0
    }
}

#[cfg(test)]
mod tests {
    use crate::{Error, KeyPair, Log, LogOptions, MemoryStorage, Part, Storage as _};

    /// Without its key a log is a replica, for all its handles and when it is opened again: it takes
    /// nothing new of its own, and what somebody else has of it.
    #[test]
    fn a_log_without_its_key_is_a_replica() {
        let keys = KeyPair::from_seed([5; 32]);
        let (here, there) = (MemoryStorage::new(), MemoryStorage::new());
        let log = Log::create(here.clone(), keys.clone(), LogOptions::default()).unwrap();
        let other = Log::create(there, keys, LogOptions::default()).unwrap();
        log.append(&["one"]).unwrap();
        other.append(&["one", "two"]).unwrap();

        let handle = log.clone();
        log.renounce().unwrap();
        for log in [log, handle, Log::open(here.clone(), LogOptions::default()).unwrap()] {
            assert!(!log.is_writable() && log.sign(b"message").is_none());
            assert!(matches!(log.append(&["three"]), Err(Error::NotWritable)));
            assert_eq!(log.get(0).unwrap().unwrap(), "one");
        }
        let mut left = Vec::new();
        for part in Part::ALL {
            let mut bytes = vec![0; usize::try_from(here.len(part).unwrap()).unwrap()];
            here.read_at(part, 0, &mut bytes).unwrap();
            left.extend(bytes);
        }
        assert!(!left.windows(32).any(|bytes| bytes == [5; 32]), "the key is gone");

        let log = Log::open(here, LogOptions::default()).unwrap();
        let request = crate::Request {
            upgrade: Some(crate::RequestUpgrade { start: 1, length: 1 }),
            block: Some(crate::RequestBlock { index: 1, nodes: 0 }),
            ..Default::default()
        };
        let proof = other.prove(&request).unwrap();
        log.apply(&proof).unwrap();
        assert_eq!((log.len(), log.durable_len()), (2, 2));
        assert_eq!(log.get(1).unwrap().unwrap(), "two");
    }

    /// A crash while the key is forgotten leaves a log that opens, as a replica.
    #[test]
    fn a_key_that_is_half_forgotten_is_gone() {
        let storage = MemoryStorage::new();
        let keys = KeyPair::from_seed([5; 32]);
        let log = Log::create(storage.clone(), keys, LogOptions::default()).unwrap();
        log.append(&["one"]).unwrap();
        drop(log);
        storage.truncate(Part::Key, 16).unwrap();
        let log = Log::open(storage, LogOptions::default()).unwrap();
        assert!(!log.is_writable());
        assert_eq!(log.get(0).unwrap().unwrap(), "one");
    }

    /// A handle that keeps nothing open knows when the last other one has gone.
    #[test]
    fn a_closed_log_is_known() {
        let log =
            Log::create(MemoryStorage::new(), KeyPair::from_seed([5; 32]), LogOptions::default());
        let log = log.unwrap();
        let (weak, handle) = (log.downgrade(), log.clone());
        drop(log);
        assert!(!weak.is_closed());
        drop(handle);
        assert!(weak.is_closed());
    }
}
