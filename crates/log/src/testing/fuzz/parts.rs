//! A whole log from arbitrary bytes of its parts.

use std::ops::Range;
use std::sync::Arc;

use crate::cache::Cache;
use crate::commit::UserData;
use crate::compact::{Reader, put_buffer};
use crate::error::{Error, Result};
use crate::hash;
use crate::head::Head;
use crate::log::{Log, LogOptions};
use crate::memory::MemoryStorage;
use crate::merkle::NodeSource;
use crate::oplog_codec::{FRAME_HEAD_LEN, frame_payload_len};
use crate::storage::{Part, Storage};

/// The parts of a log as one input: what a fuzzer changes is then rarely padding.
///
/// One byte, 1 if checksums are to be left as they are and else 0, followed by the fields below in
/// their order, each preceded by its length. What is missing at the end is empty. A length that is
/// too large takes what is left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts {
    /// Whether wrong checksums are left as they are. They are mended otherwise: a fuzzer cannot
    /// guess them, and the bytes they cover would never be looked at.
    pub keeps_checksums: bool,
    /// The frame in each header slot of the oplog.
    pub slots: [Vec<u8>; 2],
    /// The oplog behind its slots.
    pub entries: Vec<u8>,
    /// The other parts, from [`Part::Tree`] on in the order of [`Part::ALL`].
    pub others: [Vec<u8>; OTHERS.len()],
}

impl Parts {
    /// Takes the parts out of `storage`, without what lies behind the headers in their slots.
    ///
    /// # Panics
    ///
    /// If reading fails.
    pub fn of(storage: &impl Storage) -> Self {
        let read = |part| {
            let len = storage.len(part).expect("the length can be read");
            let mut bytes = vec![0; usize::try_from(len).expect("a part fits into memory")];
            storage.read_at(part, 0, &mut bytes).expect("the part can be read");
            bytes
        };
        let oplog = read(Part::Oplog);
        let slot = |from: usize| {
            let bytes = oplog.get(from..).unwrap_or(&[]);
            let frame = bytes.get(..frame_len(bytes)).unwrap_or(&[]);
            frame.get(..frame.len().min(SLOT_LEN)).unwrap_or(&[]).to_vec()
        };
        Self {
            keeps_checksums: false,
            slots: [slot(0), slot(SLOT_LEN)],
            entries: oplog.get(2 * SLOT_LEN..).unwrap_or(&[]).to_vec(),
            others: OTHERS.map(read),
        }
    }

    /// The input that stands for these parts.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![u8::from(self.keeps_checksums)];
        let fields = self.slots.iter().chain([&self.entries]).chain(&self.others);
        fields.for_each(|field| put_buffer(&mut out, field));
        out
    }

    /// The parts that an input stands for; every input stands for some.
    #[must_use]
    pub fn decode(data: &[u8]) -> Self {
        let (first, mut rest) = data.split_first().unwrap_or((&0, &[]));
        let mut take = || {
            let mut reader = Reader::new(rest);
            let len = reader.uint().ok().and_then(|len| usize::try_from(len).ok()).unwrap_or(0);
            let (field, after) = reader.rest().split_at(len.min(reader.remaining()));
            rest = after;
            field.to_vec()
        };
        Self {
            keeps_checksums: *first == 1,
            slots: std::array::from_fn(|_| take()),
            entries: take(),
            others: std::array::from_fn(|_| take()),
        }
    }

    /// Storage with these parts.
    ///
    /// # Panics
    ///
    /// If there is not enough memory.
    #[must_use]
    pub fn storage(&self) -> MemoryStorage {
        let storage = MemoryStorage::new();
        let write = |part, offset, bytes: &[u8]| {
            storage.write_at(part, offset, bytes).expect("memory can be written");
        };
        let mended = |frames: &Vec<u8>| {
            let mut frames = frames.clone();
            if !self.keeps_checksums {
                mend_checksums(&mut frames);
            }
            frames
        };
        for (slot, at) in self.slots.iter().zip([0, SLOT_LEN]) {
            let mut frame = mended(slot);
            frame.truncate(SLOT_LEN);
            write(Part::Oplog, at as u64, &frame);
        }
        if !self.entries.is_empty() {
            write(Part::Oplog, 2 * SLOT_LEN as u64, &mended(&self.entries));
        }
        for (part, bytes) in OTHERS.into_iter().zip(&self.others) {
            let mut bytes = bytes.clone();
            if part == Part::Conflict && !self.keeps_checksums {
                mend_record(&mut bytes);
            }
            write(part, 0, &bytes);
        }
        storage
    }
}

/// All parts but the oplog.
const OTHERS: [Part; 6] =
    [Part::Tree, Part::Data, Part::Bitfield, Part::Header, Part::Key, Part::Conflict];

/// Bytes for each header in the oplog.
const SLOT_LEN: usize = 4096;

/// Length of the frame that `bytes` begin with, or of all of them if there is no whole one.
fn frame_len(bytes: &[u8]) -> usize {
    let payload = bytes.first_chunk().map(|head| frame_payload_len(*head));
    let len = payload.and_then(|len| usize::try_from(len).ok()).unwrap_or(usize::MAX);
    len.saturating_add(FRAME_HEAD_LEN).min(bytes.len())
}

/// Gives each frame the checksum that fits it, up to the first that is not whole.
pub(super) fn mend_checksums(frames: &mut [u8]) {
    let mut rest = frames;
    loop {
        let len = frame_len(rest);
        let (frame, after) = rest.split_at_mut(len);
        let Some((checksum, covered)) = frame.split_first_chunk_mut() else { return };
        if covered.len() < FRAME_HEAD_LEN - size_of_val(checksum) {
            return;
        }
        *checksum = crc32fast::hash(covered).to_le_bytes();
        rest = after;
    }
}

/// Gives a record of the part `Conflict` the length and the checksum that fit it.
fn mend_record(record: &mut [u8]) {
    let payload_len = record.len().saturating_sub(16) as u64;
    let Some((head, _)) = record.split_first_chunk_mut::<8>() else { return };
    let [_, _, _, _, len @ ..] = head;
    len.iter_mut().zip(payload_len.to_le_bytes()).for_each(|(to, byte)| *to = byte);
    let Some((checksum, covered)) = record.split_first_chunk_mut::<4>() else { return };
    *checksum = crc32fast::hash(covered).to_le_bytes();
}

/// A log that opens gives each block it holds as its leaf says, or an error. It opens a second time
/// as it did the first. If it is ours to write, each change is there when it is opened again, and one
/// that fails changes nothing.
///
/// Input: [`Parts`].
pub fn open(data: &[u8]) {
    let storage = Parts::decode(data).storage();
    let Ok(log) = reopen(&storage) else { return };
    check_blocks(&log);
    let seen = Seen::of(&log);
    drop(log);
    let mut log = reopen(&storage).expect("what opened once opens again");
    assert_eq!(Seen::of(&log), seen, "opening changes nothing that shows");
    for change in CHANGES {
        // Nodes lie where their number says: those of a log that claims to be long lie far away.
        let is_small = log.len() <= LEN_CHANGED_MAX && log.byte_len() <= BYTES_CHANGED_MAX;
        if !log.is_writable() || !is_small {
            return;
        }
        let before = Seen::of(&log);
        let result = change(&log);
        let after = Seen::of(&log);
        assert!(result.is_ok() || before == after, "a change failed and left something");
        drop(log);
        log = reopen(&storage).expect("what was changed opens again");
        assert_eq!(Seen::of(&log), after, "what was changed is there");
        check_blocks(&log);
    }
}

/// Opens a log, and no more.
pub(super) fn only_open(data: &[u8]) {
    drop(reopen(&Parts::decode(data).storage()));
}

/// What is done to a log, in turn.
const CHANGES: [fn(&Log) -> Result<()>; 6] = [
    |log| log.append(&["more", ""]).map(drop),
    |log| {
        log.set_user_data("key", b"value")?;
        log.flush()
    },
    |log| {
        let mut batch = log.batch();
        batch.append("and more").set_user_data("other key", "value");
        batch.commit().map(drop)
    },
    |log| log.clear(log.len() / 2..log.len() - log.len() / 4),
    |log| log.truncate(log.len() - log.len() / 3).map(drop),
    |log| log.append(&["instead"]).map(drop),
];

const LEN_CHANGED_MAX: u64 = 4096;
const BYTES_CHANGED_MAX: u64 = 1 << 20;

/// More blocks of one log are not looked at.
const BLOCKS_READ_MAX: usize = 300;

/// Opens what lies in `storage`, which keeps what opening writes.
fn reopen(storage: &MemoryStorage) -> Result<Log> {
    // A cache of its own, so that each run is like the first.
    let options = LogOptions { cache: Cache::new(64 * 1024), ..LogOptions::default() };
    Log::open(storage.clone(), options)
}

/// What a reader sees of a log.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    len: u64,
    fork: u64,
    head: Option<Head>,
    held: Vec<Range<u64>>,
    contiguous_len: u64,
    user_data: Arc<UserData>,
}

impl Seen {
    fn of(log: &Log) -> Self {
        Self {
            len: log.len(),
            fork: log.fork(),
            head: log.head(),
            held: log.held(0..u64::MAX),
            contiguous_len: log.contiguous_len(),
            user_data: log.shared.state().user_data.clone(),
        }
    }
}

fn check_blocks(log: &Log) {
    let nodes = log.shared.tree.at(log.len());
    for number in log.held(0..u64::MAX).into_iter().flatten().take(BLOCKS_READ_MAX) {
        assert!(number < log.len(), "block {number} is beyond the end");
        match log.get(number) {
            Ok(Some(block)) => {
                let leaf = nodes.node(2 * number).expect("a leaf was read just now");
                let leaf = leaf.expect("a block was checked against its leaf");
                assert_eq!((leaf.size, leaf.hash), (block.len() as u64, hash::leaf(&block)));
            }
            Ok(None) => panic!("block {number} is held and is not there"),
            Err(error) => assert!(matches!(error, Error::Corrupt { .. }), "{error}"),
        }
    }
}
