//! The part `Conflict`: what is known of a writer who signed two histories, kept through crashes.
//!
//! ```text
//! slot     u32 crc, u32 payload length, u64 number, payload; crc = CRC-32 (IEEE) over all behind it
//! payload  uint common length, conflict (see `Conflict::encode`)
//! ```
//!
//! Two slots, at 0 and at 1 MiB; the record with the higher number counts. The next one goes to the
//! other slot: its first 16 bytes are made zero, then the payload is written, then those 16 bytes,
//! each synced before the next. So a slot that does not begin with zeros is whole, or was damaged.

use crate::barrier::Barrier;
use crate::compact::{self, Reader};
use crate::conflict::{self, Conflict};
use crate::disk::Disk;
use crate::error::{DecodeError, Error, Result};
use crate::keys::LogKey;
use crate::limits::{CONFLICT_LEN_MAX, READ_ATTEMPTS};
use crate::storage::Part;

const SLOT_LEN: u64 = 1024 * 1024;

const HEAD_LEN: usize = 16;

const PAYLOAD_LEN_MAX: usize = SLOT_LEN as usize - HEAD_LEN;

// The common length takes nine bytes at most.
const _: () = assert!(CONFLICT_LEN_MAX + 9 <= PAYLOAD_LEN_MAX);

/// A conflict that is known here, and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KnownConflict {
    pub(crate) conflict: Conflict,
    /// Blocks known to be the same in both histories, always fewer than the conflict's length.
    pub(crate) common_len: u64,
    /// Of the record: the first is 1.
    number: u64,
}

impl KnownConflict {
    /// Writes what is to be known from now on, in place of `before`. Durable when it returns.
    pub(crate) fn write(
        disk: &Disk,
        before: Option<&Self>,
        conflict: Conflict,
        common_len: u64,
    ) -> Result<Self> {
        let number = before.map_or(1, |before| before.number.saturating_add(1));
        let mut payload = Vec::new();
        compact::put_uint(&mut payload, common_len);
        payload.extend_from_slice(&conflict.encode());
        let offset = (number - 1) % 2 * SLOT_LEN;
        let put = |offset, bytes: &[u8]| {
            disk.write_at(Part::Conflict, offset, bytes)?;
            disk.sync(Barrier::Conflict, &[Part::Conflict])
        };
        let head_end = offset + HEAD_LEN as u64;
        if disk.len(Part::Conflict)? < head_end {
            // Bytes that are written behind the end may be anything after a power cut.
            disk.truncate(Part::Conflict, head_end)?;
        } else {
            disk.write_at(Part::Conflict, offset, &[0; HEAD_LEN])?;
        }
        disk.sync(Barrier::Conflict, &[Part::Conflict])?;
        put(head_end, &payload)?;
        put(offset, &head(number, &payload))?;
        Ok(Self { conflict, common_len, number })
    }

    fn decode(number: u64, payload: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let common_len = reader.uint()?;
        let conflict = Conflict::decode(reader.rest())?;
        if common_len >= conflict.length() {
            return Err(DecodeError::Invalid { what: "common length" });
        }
        Ok(Self { conflict, common_len, number })
    }
}

/// Reads what is known about the log with this key.
///
/// # Errors
///
/// [`Error::Corrupt`], [`Error::NewerFormat`] and [`Error::Io`].
pub(crate) fn read(disk: &Disk, key: &LogKey) -> Result<Option<KnownConflict>> {
    if disk.len(Part::Conflict)? == 0 {
        return Ok(None);
    }
    let slots = [read_slot(disk, 0)?, read_slot(disk, SLOT_LEN)?];
    let newest = slots.into_iter().flatten().max_by_key(|known| known.number);
    if newest.as_ref().is_some_and(|known| known.conflict.key() != key) {
        return Err(corrupt(0, "the conflict of another log"));
    }
    Ok(newest)
}

fn read_slot(disk: &Disk, offset: u64) -> Result<Option<KnownConflict>> {
    for _ in 0..READ_ATTEMPTS {
        let Some(stored) = read_head(disk, offset)? else {
            return Ok(None);
        };
        let [_, _, _, _, a, b, c, d, number @ ..] = stored;
        let (len, number) = (u32::from_le_bytes([a, b, c, d]), u64::from_le_bytes(number));
        let start = offset + HEAD_LEN as u64;
        let len = u64::from(len).min(disk.len(Part::Conflict)?.saturating_sub(start));
        let mut payload = vec![0; PAYLOAD_LEN_MAX.min(len as usize)];
        let count = disk.read_at(Part::Conflict, start, &mut payload)?;
        payload.truncate(count);
        if head(number, &payload) == stored {
            let known = KnownConflict::decode(number, &payload);
            return known.map(Some).map_err(|error| unreadable(offset, error));
        }
        // Another process may be about to write it.
        if read_head(disk, offset)? == Some(stored) {
            break;
        }
    }
    Err(corrupt(offset, "a conflict with a wrong checksum"))
}

/// The beginning of a slot, unless there is nothing.
fn read_head(disk: &Disk, offset: u64) -> Result<Option<[u8; HEAD_LEN]>> {
    let mut head = [0; HEAD_LEN];
    disk.read_at(Part::Conflict, offset, &mut head)?;
    Ok((head != [0; HEAD_LEN]).then_some(head))
}

fn head(number: u64, payload: &[u8]) -> [u8; HEAD_LEN] {
    let len = u32::try_from(payload.len()).expect("a payload fits its slot").to_le_bytes();
    let number = number.to_le_bytes();
    let mut crc = crc32fast::Hasher::new();
    crc.update(&len);
    crc.update(&number);
    crc.update(payload);
    let mut head = [0; HEAD_LEN];
    let bytes = crc.finalize().to_le_bytes().into_iter().chain(len).chain(number);
    head.iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte);
    head
}

fn unreadable(offset: u64, error: DecodeError) -> Error {
    match error {
        DecodeError::UnsupportedVersion { version } => {
            let known = conflict::VERSION.into();
            Error::NewerFormat { part: Part::Conflict, version, known }
        }
        _ => corrupt(offset, "an unreadable conflict"),
    }
}

fn corrupt(offset: u64, what: &'static str) -> Error {
    Error::Corrupt { part: Part::Conflict, offset, what }
}
