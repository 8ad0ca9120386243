//! The oplog as a part of storage: two header slots, then entries.
//!
//! Each new header goes to the other slot with its bit flipped. Entries carry the bit of the header
//! they follow, so writing a header outdates all entries at once, before they are cut off.

use std::mem;

use zeroize::Zeroizing;

use crate::barrier::Barrier;
use crate::disk::Disk;
use crate::error::{DecodeError, Error, Result};
use crate::limits::{ENTRY_LEN_MAX, EXTERNAL_HEADER_LEN_MAX, SCRATCH_BYTES_MAX};
use crate::oplog_codec::{
    Entry, FRAME_HEAD_LEN, HEADER_VERSION, Header, Slot, frame_payload_len, parse_frame, put_frame,
    put_frame_with,
};
use crate::storage::{Part, Storage};

const SLOT_LEN: u64 = 4096;

/// Where entries begin.
const ENTRIES_AT: u64 = 2 * SLOT_LEN;

/// Most bytes of a header in its slot.
const SLOT_PAYLOAD_MAX: usize = SLOT_LEN as usize - FRAME_HEAD_LEN;

/// How much of the oplog is read at once.
const READ_AHEAD: u64 = 64 * 1024;

/// Where the next write goes.
#[derive(Debug, Clone)]
pub(crate) struct Oplog {
    /// The header bits of the two slots.
    bits: [bool; 2],
    /// Where the next entry goes.
    end: u64,
    /// Start and length of the current header in the part `Header`. Once there, always there.
    external: Option<(u64, u64)>,
    /// Memory for the next entries.
    frames: Vec<u8>,
}

/// An entry and the offset behind it.
pub(crate) struct StoredEntry {
    pub(crate) entry: Entry,
    pub(crate) end: u64,
    /// Number of the first entry that belongs to it: there are all or none of them.
    pub(crate) batch_start: usize,
}

/// What an oplog was found to hold.
pub(crate) struct Opened {
    pub(crate) oplog: Oplog,
    pub(crate) header: Header,
    pub(crate) entries: Vec<StoredEntry>,
}

impl Oplog {
    /// Writes the first header of a new log and syncs it. That the part is as long as a part with
    /// both slots need not last: the header shows that there is a log.
    pub(crate) fn create(disk: &Disk, header: &Header) -> Result<Self> {
        // These bits make the first header go to slot 0 with bit 0, as Hypercore does.
        let mut oplog =
            Self { bits: [true, false], end: ENTRIES_AT, external: None, frames: Vec::new() };
        oplog.write_header(disk, header)?;
        Ok(oplog)
    }

    /// Returns whether there is a log, sound or not.
    pub(crate) fn exists(storage: &impl Storage) -> Result<bool> {
        if storage.len(Part::Oplog)? >= ENTRIES_AT {
            return Ok(true);
        }
        let mut bytes = Zeroizing::new(vec![0; SLOT_LEN as usize]);
        let count = storage.read_at(Part::Oplog, 0, &mut bytes)?;
        Ok(bytes.get(..count).and_then(parse_frame).is_some())
    }

    /// Reads the beginnings of both header slots, checksums and all: as long as they are the same, no
    /// header was written.
    pub(crate) fn slot_heads(disk: &Disk) -> Result<[[u8; FRAME_HEAD_LEN]; 2]> {
        let mut heads = [[0; FRAME_HEAD_LEN]; 2];
        for (head, at) in heads.iter_mut().zip([0, SLOT_LEN]) {
            disk.read_at(Part::Oplog, at, head)?;
        }
        Ok(heads)
    }

    /// Reads the current header and the entries that follow it, or returns `None` if there is no
    /// log here, or one whose creation was cut short.
    pub(crate) fn open(disk: &Disk) -> Result<Option<Opened>> {
        let slots = [read_slot(disk, 0)?, read_slot(disk, SLOT_LEN)?];
        let (bits, slot) = match slots {
            [Some((h0, slot)), Some((h1, _))] if h0 == h1 => ([h0, h1], slot),
            [Some((h0, _)), Some((h1, slot))] => ([h0, h1], slot),
            [Some((h0, slot)), None] => ([h0, h0], slot),
            [None, Some((h1, slot))] => ([!h1, h1], slot),
            [None, None] if disk.len(Part::Oplog)? < ENTRIES_AT => return Ok(None),
            [None, None] => return Err(corrupt(0, "neither header is sound")),
        };
        let (header, external) = match slot {
            Slot::Inline(header) => (*header, None),
            Slot::External { start, length } => {
                (read_external(disk, start, length)?, Some((start, length)))
            }
        };
        let entries = read_entries(disk, bits[0] != bits[1])?;
        let end = entries.last().map_or(ENTRIES_AT, |entry| entry.end);
        Ok(Some(Opened {
            oplog: Self { bits, end, external, frames: Vec::new() },
            header,
            entries,
        }))
    }

    /// Bytes of entries since the last header.
    pub(crate) fn entry_bytes(&self) -> u64 {
        self.end - ENTRIES_AT
    }

    /// Writes entries in one write. Nothing is synced. After a crash there are all or none of them
    /// if they are `atomic`, and any number of the first ones otherwise.
    ///
    /// `hastily`: entries before them may not be on disk yet. An entry that says nothing goes ahead
    /// to tell that, since recovery must look for the blocks of all entries that nobody waited for,
    /// and of no others: those whose blocks are gone have been shared, perhaps.
    pub(crate) fn append(
        &mut self,
        disk: &Disk,
        entries: &[Entry],
        atomic: bool,
        hastily: bool,
    ) -> Result<()> {
        let header_bit = self.bits[0] != self.bits[1];
        let mut frames = mem::take(&mut self.frames);
        frames.clear();
        frames.reserve(entries.iter().map(Entry::len_max).sum());
        if hastily {
            put_frame_with(&mut frames, header_bit, true, |out| Entry::default().put(out));
        }
        for (number, entry) in entries.iter().enumerate() {
            let start = frames.len() + FRAME_HEAD_LEN;
            let partial = atomic && number + 1 < entries.len();
            put_frame_with(&mut frames, header_bit, partial, |out| entry.put(out));
            let len = (frames.len() - start) as u64;
            if len > ENTRY_LEN_MAX {
                let limit = ENTRY_LEN_MAX;
                return Err(Error::BatchTooLarge { len, limit, unit: "entry bytes" });
            }
        }
        if let Err(error) = disk.write_at(Part::Oplog, self.end, &frames) {
            // Half an entry is dropped by any reader; without it the file is tidy as well.
            let _ = disk.truncate(Part::Oplog, self.end);
            return Err(error);
        }
        self.end += frames.len() as u64;
        if frames.capacity() <= SCRATCH_BYTES_MAX {
            self.frames = frames;
        }
        Ok(())
    }

    /// Forgets the entries from offset `end` on, and whatever else lies there, durably.
    ///
    /// Durably, because an entry written over forgotten ones must not make those behind it follow
    /// it.
    pub(crate) fn cut(&mut self, disk: &Disk, end: Option<u64>) -> Result<()> {
        self.end = end.unwrap_or(ENTRIES_AT);
        if disk.len(Part::Oplog)? > self.end {
            // A program that was killed may have left a header that is not on disk yet. The entries
            // that it outdated must not go before it is.
            disk.sync(Barrier::Recovery, &[Part::Oplog])?;
            disk.truncate(Part::Oplog, self.end)?;
            disk.sync(Barrier::Recovery, &[Part::Oplog])?;
        }
        Ok(())
    }

    /// Writes a header into the other slot, syncs it, and cuts off all entries.
    ///
    /// All that the header tells of must be synced before. The cut is synced with the next change.
    pub(crate) fn write_header(&mut self, disk: &Disk, header: &Header) -> Result<()> {
        let payload = header.encode();
        let mut external = None;
        let payload = if self.external.is_some() || payload.len() > SLOT_PAYLOAD_MAX {
            let length = payload.len() as u64;
            if length > EXTERNAL_HEADER_LEN_MAX {
                let limit = EXTERNAL_HEADER_LEN_MAX;
                return Err(Error::BatchTooLarge { len: length, limit, unit: "header bytes" });
            }
            let start = external_start(self.external, length);
            disk.write_at(Part::Header, start, &payload)?;
            disk.sync(Barrier::Header, &[Part::Header])?;
            external = Some((start, length));
            Slot::External { start, length }.encode()
        } else {
            payload
        };
        let slot = usize::from(self.bits[0] == self.bits[1]);
        let mut bits = self.bits;
        let [bit0, bit1] = &mut bits;
        let bit = if slot == 0 { bit0 } else { bit1 };
        *bit = !*bit;
        // As large as it gets, so that it is not moved while it holds a secret.
        let mut frame = Zeroizing::new(Vec::with_capacity(SLOT_LEN as usize));
        put_frame(&mut frame, &payload, *bit);
        let at = slot as u64 * SLOT_LEN;
        if let Err(error) = disk.write_now(Part::Oplog, at, &frame) {
            // It may be there all the same, and would outdate the entries that are written next.
            if disk.write_now(Part::Oplog, at, &[0; FRAME_HEAD_LEN]).is_err() {
                disk.give_up();
            }
            return Err(error);
        }
        disk.sync(Barrier::Header, &[Part::Oplog])?;
        // An idle log keeps no memory for entries.
        *self = Self { bits, end: ENTRIES_AT, external, frames: Vec::new() };
        disk.truncate(Part::Oplog, ENTRIES_AT)
    }
}

/// Returns where a header of `length` bytes goes, so that it does not touch the current one.
fn external_start(current: Option<(u64, u64)>, length: u64) -> u64 {
    match current {
        Some((start, _)) if length <= start => 0,
        Some((start, current)) => start.saturating_add(current).next_multiple_of(SLOT_LEN),
        None => 0,
    }
}

/// Reads the header bit and content of a slot, or `None` if it is not sound.
fn read_slot(disk: &Disk, at: u64) -> Result<Option<(bool, Slot)>> {
    // May hold a secret key.
    let mut bytes = Zeroizing::new(vec![0; SLOT_LEN as usize]);
    let count = disk.read_at(Part::Oplog, at, &mut bytes)?;
    let Some(frame) = bytes.get(..count).and_then(parse_frame) else {
        return Ok(None);
    };
    match Slot::decode(frame.payload) {
        Ok(slot) => Ok(Some((frame.header_bit, slot))),
        Err(error) => newer_format(error, Part::Oplog).map_or(Ok(None), Err),
    }
}

fn read_external(disk: &Disk, start: u64, length: u64) -> Result<Header> {
    let part_len = disk.len(Part::Header)?;
    let corrupt = Error::Corrupt { part: Part::Header, offset: start, what: "unreadable header" };
    // What is not there must not decide how much memory is asked for.
    let is_there = start.checked_add(length).is_some_and(|end| part_len >= end);
    let len = usize::try_from(length).ok().filter(|_| length <= EXTERNAL_HEADER_LEN_MAX);
    let Some(len) = len.filter(|_| is_there) else {
        return Err(corrupt);
    };
    let bytes = Zeroizing::new(disk.read_exact(Part::Header, start, len)?);
    Header::decode(&bytes).map_err(|error| newer_format(error, Part::Header).unwrap_or(corrupt))
}

fn newer_format(error: DecodeError, part: Part) -> Option<Error> {
    match error {
        DecodeError::UnsupportedVersion { version } => {
            Some(Error::NewerFormat { part, version, known: HEADER_VERSION })
        }
        _ => None,
    }
}

/// Reads entries until the first that is damaged, cut short, or of another header.
fn read_entries(disk: &Disk, bit: bool) -> Result<Vec<StoredEntry>> {
    let file_end = disk.len(Part::Oplog)?;
    let (mut entries, mut whole) = (Vec::new(), 0);
    let (mut buffer, mut buffer_at, mut at) = (Vec::new(), ENTRIES_AT, ENTRIES_AT);
    loop {
        let front = buffer.get((at - buffer_at) as usize..).unwrap_or(&[]);
        let wanted = match front.first_chunk() {
            Some(&head) => FRAME_HEAD_LEN as u64 + frame_payload_len(head),
            None => FRAME_HEAD_LEN as u64,
        };
        if wanted > file_end.saturating_sub(at) || wanted > ENTRY_LEN_MAX {
            break;
        }
        if (front.len() as u64) < wanted {
            let len = wanted.max(READ_AHEAD).min(file_end - at);
            buffer.resize(len as usize, 0);
            if disk.read_at(Part::Oplog, at, &mut buffer)? < buffer.len() {
                break;
            }
            buffer_at = at;
            continue;
        }
        let Some(frame) = parse_frame(front).filter(|frame| frame.header_bit == bit) else {
            break;
        };
        let Ok(entry) = Entry::decode(frame.payload) else {
            break;
        };
        at += wanted;
        entries.push(StoredEntry { entry, end: at, batch_start: whole });
        if !frame.partial {
            whole = entries.len();
        }
    }
    // A batch is whole only with its last entry, which is not marked as partial.
    entries.truncate(whole);
    Ok(entries)
}

fn corrupt(offset: u64, what: &'static str) -> Error {
    Error::Corrupt { part: Part::Oplog, offset, what }
}
