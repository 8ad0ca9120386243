//! Why a database refused to do something.

use std::io;
use std::path::PathBuf;

use multibee_log::LogKey;

/// Why a database refused to do something. State is as it was before the call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The directory holds no database.
    #[error("{path} holds no Multibee database: create one there first")]
    NotADatabase {
        /// The directory that was asked for.
        path: PathBuf,
    },
    /// The directory holds a database already.
    #[error("{path} holds a Multibee database already")]
    AlreadyExists {
        /// The directory that was asked for.
        path: PathBuf,
    },
    /// Another process has the database open.
    #[error("{path} is in use by another process")]
    Locked {
        /// The directory that was asked for.
        path: PathBuf,
    },
    /// The folder holds no backup that can be used, or another database's.
    #[error("{path}: no backup that can be used: {what}")]
    BadBackup {
        /// The folder of the backup.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The log holds a tree, but none of ours: a plain Hyperbee, or nothing yet.
    #[error("the log holds no Multibee database: its header says {found:?}")]
    ForeignFormat {
        /// What the header says.
        found: String,
    },
    /// A newer program wrote this database.
    #[error("the database has format {found:?}, this program reads {ours:?}: use a newer program", ours = crate::FORMAT)]
    NewerFormat {
        /// What the database's header says.
        found: String,
    },
    /// The key is longer than [`MAX_KEY_LEN`](crate::MAX_KEY_LEN).
    #[error("a key of {len} bytes is too long: at most {max} bytes", max = crate::MAX_KEY_LEN)]
    KeyTooLong {
        /// Bytes in the key.
        len: usize,
    },
    /// The value is longer than [`MAX_VALUE_LEN`](crate::MAX_VALUE_LEN).
    #[error("a value of {len} bytes is too long: at most {max} bytes", max = crate::MAX_VALUE_LEN)]
    ValueTooLong {
        /// Bytes in the value.
        len: usize,
    },
    /// The batch has more than [`MAX_BATCH_OPS`](crate::MAX_BATCH_OPS) operations.
    #[error("a batch of {count} operations is too large: at most {max}", max = crate::MAX_BATCH_OPS)]
    BatchTooLarge {
        /// Operations in the batch.
        count: usize,
    },
    /// The value can't be written as the type that was named, or that the key's rule names.
    #[error("the value can't be written: {0}")]
    Value(#[from] multibee_merge::WriteError),
    /// A key or a value can't be encoded or decoded by the codec that was chosen for it.
    #[error("a codec failed: {0}")]
    Codec(#[from] multibee_btree::CodecError),
    /// A key is not as the caller expected: nothing was written.
    #[error("the key {} is not as expected", key.escape_ascii())]
    NotAsExpected {
        /// The key.
        key: bytes::Bytes,
    },
    /// The key has no version with this dot, or no longer.
    #[error("the key {} has no version {dot}", key.escape_ascii())]
    NoSuchVersion {
        /// The key.
        key: bytes::Bytes,
        /// The dot that was given.
        dot: multibee_merge::Dot,
    },
    /// No strategy with this name is among [`Options::strategies`](crate::Options::strategies).
    #[error("no strategy {name:?} is known to this program")]
    UnknownStrategy {
        /// The name that was given.
        name: String,
    },
    /// There are [`MAX_RULES`](crate::MAX_RULES) rules already.
    #[error("there are {max} rules already", max = crate::MAX_RULES)]
    TooManyRules,
    /// The key names this device itself.
    #[error("{key} is this device itself")]
    OwnKey {
        /// The key that was given.
        key: LogKey,
    },
    /// The device is not a member.
    #[error("{key} is not a device of this database")]
    UnknownDevice {
        /// The key that was given.
        key: LogKey,
    },
    /// The device was removed, or its log is finished: that is final for its key. If it is this
    /// device's own, nothing is written any more: nobody would take it. See
    /// [`Multibee::unmerged`](crate::Multibee::unmerged).
    #[error("{key} was removed from this database: a device that returns needs a new key")]
    Removed {
        /// The key that was given.
        key: LogKey,
    },
    /// This device was admitted for reading only.
    #[error("{key} is a device that may read only")]
    ReadOnly {
        /// This device's key.
        key: LogKey,
    },
    /// The words are no recovery secret.
    #[error("these words are no recovery secret: {why}")]
    RecoveryWords {
        /// What is wrong with them.
        why: String,
    },
    /// The recovery secret is not that of this database, or another one was made since.
    #[error("the recovery secret {key} is not that of this database")]
    UnknownRecovery {
        /// The secret's key.
        key: LogKey,
    },
    /// The name of a device is too long.
    #[error("a name has {len} bytes: at most {max}", max = crate::MAX_NAME_LEN)]
    NameTooLong {
        /// Bytes of the name.
        len: usize,
    },
    /// The key is that of a device, and a source is a plain Hyperbee.
    #[error("{key} is a device of this database, no plain Hyperbee")]
    IsDevice {
        /// The key that was given.
        key: LogKey,
    },
    /// The key is that of no source.
    #[error("{key} is no source of this database")]
    UnknownSource {
        /// The key that was given.
        key: LogKey,
    },
    /// Another device has the same short id.
    #[error("{key} has the same short id as another device and can't be told from it")]
    IdTaken {
        /// The key that was given.
        key: LogKey,
    },
    /// Others know more of this device's log than is here, or other things: see
    /// [`Event::StaleRestore`](crate::Event::StaleRestore).
    #[error(
        "others know other things of this device's log than what is here: an older state was put back, \
         or it is in use twice. Nothing is written until it is known where they part: connect a device \
         that has its log"
    )]
    StaleRestore {
        /// The log.
        log: LogKey,
    },
    /// The database is moving to another log already.
    #[error("the database is being compacted already")]
    Moving,
    /// No commit of this device ended at that length of its log, or none has yet.
    #[error("{version} is no version of this database")]
    NotAVersion {
        /// The version that was asked for.
        version: u64,
    },
    /// Two views are compared that are not of one open database.
    #[error("the two versions are not of one open database")]
    OtherDatabase,
    /// Two devices that applied the same writes hold different data.
    #[error("this device and {peer} applied the same writes but hold different data")]
    Diverged {
        /// The other device.
        peer: LogKey,
    },
    /// A full scan gave another digest than the commits say.
    #[error("the data has digest {found}, but the last commit says {expected}")]
    DigestMismatch {
        /// The digest of the data as read.
        found: multibee_merge::Digest,
        /// The digest that the last commit carries.
        expected: multibee_merge::Digest,
    },
    /// A record in our own log can't be read: the disk, or a bug.
    #[error("block {seq} of our own log can't be read: {what}")]
    BadRecord {
        /// The block.
        seq: u64,
        /// What is wrong with it.
        what: String,
    },
    /// A block of another device's log can't be read.
    #[error("block {seq} of {device} can't be read: {what}")]
    Unreadable {
        /// Whose log it is.
        device: LogKey,
        /// The block.
        seq: u64,
        /// What is wrong with it.
        what: String,
    },
    /// The commit was made by an early version of this program, which kept no times.
    #[error("the commit that ends with block {seq} does not say when it was made")]
    NoTime {
        /// The commit's last block.
        seq: u64,
    },
    /// No connection came about, or the peer does not take us for a member.
    #[error("{peer} can't be reached: {why}")]
    Unreachable {
        /// Who was dialled.
        peer: String,
        /// What happened.
        why: String,
    },
    /// The deadline passed before all reachable peers held the same data.
    #[error("not in sync within {seconds} s: {what}")]
    NotSynced {
        /// How long was waited.
        seconds: u64,
        /// What was still missing.
        what: String,
    },
    /// The tree failed.
    #[error(transparent)]
    Tree(#[from] multibee_btree::Error),
    /// A log failed.
    #[error(transparent)]
    Log(#[from] multibee_log::Error),
    /// A file of ours could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn bad_record(seq: u64, what: &impl ToString) -> Self {
        Self::BadRecord { seq, what: what.to_string() }
    }

    /// Why a version can't be read.
    pub(crate) fn version(error: multibee_btree::Error) -> Self {
        match error {
            multibee_btree::Error::NotACommitEnd { version }
            | multibee_btree::Error::BeyondLog { version, .. } => Self::NotAVersion { version },
            error => error.into(),
        }
    }

    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
