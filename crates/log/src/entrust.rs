//! Giving a replica the key of its log: it came out of a backup.

use crate::barrier::Barrier;
use crate::error::{Error, Result};
use crate::key_pair::KeyPair;
use crate::log::Log;
use crate::oplog_codec::HeaderKeyPair;
use crate::storage::Part;

impl Log {
    /// Gives a replica the key pair that signs its log. It counts when the log is opened next.
    ///
    /// The log must be written nowhere else from then on, and nobody may have blocks of it that are
    /// not here: see [`adopt`](Self::adopt).
    ///
    /// # Errors
    ///
    /// [`Error::NotWritable`] if the log is not known to be signed by `keys` alone, or has its key
    /// already; [`Error::ReadOnly`], [`Error::Io`].
    pub fn entrust(&self, keys: &KeyPair) -> Result<()> {
        let (shared, public_key) = (&self.shared, keys.public_key());
        let may_sign = match self.manifest() {
            Some(manifest) => manifest.lets_sign_alone(&public_key),
            None => *self.key().as_bytes() == public_key,
        };
        if shared.held_keys.is_some() || !may_sign {
            return Err(Error::NotWritable);
        }
        self.sync()?;
        let mut writer = shared.writer()?;
        // The key first: a header that names one without it would be damage.
        shared.disk.write_at(Part::Key, 0, keys.seed())?;
        shared.disk.sync(Barrier::Create, &[Part::Key])?;
        writer.header.key_pair = Some(HeaderKeyPair { public_key, secret_key: None });
        shared.flush(&mut writer)
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        Error, KeyPair, Log, LogOptions, MemoryStorage, Request, RequestBlock, RequestUpgrade,
    };

    /// A replica that is given its key is the writer's log when it is opened again, and another key
    /// is refused.
    #[test]
    fn a_replica_with_its_key_can_be_written() {
        let (keys, storage) = (KeyPair::from_seed([5; 32]), MemoryStorage::new());
        let options = LogOptions::default();
        let log = Log::create(MemoryStorage::new(), keys.clone(), options.clone()).unwrap();
        log.append(&["one"]).unwrap();
        let replica = Log::create_replica(storage.clone(), log.key(), options.clone()).unwrap();
        assert!(matches!(replica.entrust(&keys), Err(Error::NotWritable)), "nobody knows yet");
        let request = Request {
            upgrade: Some(RequestUpgrade { start: 0, length: 1 }),
            block: Some(RequestBlock { index: 0, nodes: 0 }),
            manifest: true,
            ..Request::default()
        };
        replica.apply(&log.prove(&request).unwrap()).unwrap();
        let other = KeyPair::from_seed([6; 32]);
        assert!(matches!(replica.entrust(&other), Err(Error::NotWritable)));
        replica.entrust(&keys).unwrap();
        drop(replica);

        let log = Log::open(storage, options).unwrap();
        assert_eq!(log.append(&["two"]).unwrap(), 2);
        assert_eq!(log.get(0).unwrap().unwrap(), "one");
        assert!(matches!(log.entrust(&keys), Err(Error::NotWritable)), "it has it");
    }
}
