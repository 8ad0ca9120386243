//! What a disk holds at one moment.

use std::io;
use std::sync::Arc;

use super::pages::Pages;
use super::random::mix2;
use super::recording::RecordingStorage;
use crate::storage::{Part, Storage};

/// All bytes of one log's storage at one moment.
///
/// Copies are cheap: they share their bytes until one of them is written.
#[derive(Debug, Clone, Default)]
pub struct Image {
    parts: PerPart<Arc<Pages>>,
}

impl Image {
    /// Reads all that `storage` holds.
    ///
    /// # Errors
    ///
    /// Those of the storage, and `FileTooLarge` above 1 GiB in one part.
    pub fn of(storage: &impl Storage) -> io::Result<Self> {
        let mut image = Self::default();
        let mut buffer = vec![0; 64 * 1024];
        for part in Part::ALL {
            let len = storage.len(part)?;
            image.set_len(part, len)?;
            let mut at = 0;
            while at < len {
                let count = storage.read_at(part, at, &mut buffer)?;
                let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                };
                image.write(part, at, bytes)?;
                at += count as u64;
            }
        }
        Ok(image)
    }

    /// Returns the length of a part in bytes.
    pub fn len(&self, part: Part) -> u64 {
        self.parts.get(part).len()
    }

    /// Returns the bytes of a part.
    pub fn bytes(&self, part: Part) -> Vec<u8> {
        let mut bytes = vec![0; self.len(part) as usize];
        self.read(part, 0, &mut bytes);
        bytes
    }

    /// Returns storage that begins with a copy of this image, all of it synced.
    pub fn to_storage(&self) -> RecordingStorage {
        RecordingStorage::over(self.clone())
    }

    /// Returns a hash by which images can be told apart; no proof against somebody who looks for
    /// two with the same.
    pub fn hash(&self) -> u64 {
        let parts = Part::ALL.into_iter().zip(0_u64..);
        parts.fold(0, |sum, (part, number)| {
            sum.wrapping_add(mix2(number, self.parts.get(part).hash()))
        })
    }

    /// Fills `buf` from `offset` on, as [`Storage::read_at`].
    pub(super) fn read(&self, part: Part, offset: u64, buf: &mut [u8]) -> usize {
        self.parts.get(part).read(offset, buf)
    }

    pub(super) fn write(&mut self, part: Part, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.part_mut(part).write(offset, bytes)
    }

    pub(super) fn zero(&mut self, part: Part, offset: u64, len: u64) {
        self.part_mut(part).zero(offset, len);
    }

    pub(super) fn set_len(&mut self, part: Part, len: u64) -> io::Result<()> {
        // A part that stays as it is stays shared.
        if self.len(part) == len { Ok(()) } else { self.part_mut(part).set_len(len) }
    }

    /// Whether these bytes stand at `offset`.
    pub(super) fn has(&self, part: Part, offset: u64, bytes: &[u8]) -> bool {
        self.parts.get(part).has(offset, bytes)
    }

    fn part_mut(&mut self, part: Part) -> &mut Pages {
        Arc::make_mut(self.parts.get_mut(part))
    }
}

/// One of each part.
#[derive(Debug, Clone, Default)]
pub(super) struct PerPart<T>([T; Part::ALL.len()]);

impl<T> PerPart<T> {
    pub(super) fn get(&self, part: Part) -> &T {
        let [oplog, tree, data, bitfield, header, key, conflict] = &self.0;
        match part {
            Part::Oplog => oplog,
            Part::Tree => tree,
            Part::Data => data,
            Part::Bitfield => bitfield,
            Part::Header => header,
            Part::Key => key,
            Part::Conflict => conflict,
        }
    }

    pub(super) fn get_mut(&mut self, part: Part) -> &mut T {
        let [oplog, tree, data, bitfield, header, key, conflict] = &mut self.0;
        match part {
            Part::Oplog => oplog,
            Part::Tree => tree,
            Part::Data => data,
            Part::Bitfield => bitfield,
            Part::Header => header,
            Part::Key => key,
            Part::Conflict => conflict,
        }
    }
}
