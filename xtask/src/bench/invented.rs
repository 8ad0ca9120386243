//! Storage of a log whose data takes no room: each block is the same.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use multibee_log::{Part, Storage};

/// Drops the data of a log that consists of one block again and again, and makes it up when it is
/// read. The other parts are kept by another storage.
pub(super) struct Invented<S> {
    inner: S,
    block: Vec<u8>,
    data_len: AtomicU64,
}

impl<S> Invented<S> {
    pub(super) fn new(inner: S, block: Vec<u8>) -> Self {
        Self { inner, block, data_len: AtomicU64::new(0) }
    }

    /// Fills `buf` with what is at `offset` of the data.
    fn fill(&self, offset: u64, buf: &mut [u8]) {
        let start = usize::try_from(offset % self.block.len() as u64).unwrap_or_default();
        let mut piece = self.block.get(start..).unwrap_or_default();
        let mut rest = buf;
        while !rest.is_empty() {
            let len = piece.len().min(rest.len());
            let (now, later) = rest.split_at_mut(len);
            now.copy_from_slice(piece.get(..len).unwrap_or_default());
            (rest, piece) = (later, &self.block);
        }
    }
}

impl<S: Storage> Storage for Invented<S> {
    fn read_at(&self, part: Part, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        if part != Part::Data {
            return self.inner.read_at(part, offset, buf);
        }
        let left = self.len(part)?.saturating_sub(offset);
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        self.fill(offset, buf.get_mut(..len).unwrap_or_default());
        Ok(len)
    }

    fn write_at(&self, part: Part, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if part != Part::Data {
            return self.inner.write_at(part, offset, bytes);
        }
        self.data_len.fetch_max(offset + bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn len(&self, part: Part) -> io::Result<u64> {
        if part == Part::Data {
            Ok(self.data_len.load(Ordering::Relaxed))
        } else {
            self.inner.len(part)
        }
    }

    fn truncate(&self, part: Part, len: u64) -> io::Result<()> {
        if part != Part::Data {
            return self.inner.truncate(part, len);
        }
        self.data_len.store(len, Ordering::Relaxed);
        Ok(())
    }

    fn sync(&self, part: Part) -> io::Result<()> {
        if part == Part::Data { Ok(()) } else { self.inner.sync(part) }
    }

    fn publish(&self) -> io::Result<()> {
        self.inner.publish()
    }
}

#[cfg(test)]
mod tests {
    use multibee_log::MemoryStorage;

    use super::*;

    /// Wherever it is read, the data is the block again and again, up to its end.
    #[test]
    fn data_repeats() {
        let storage = Invented::new(MemoryStorage::new(), b"abcde".to_vec());
        storage.write_at(Part::Data, 0, b"abcdeabcdeabcde").unwrap();
        let mut buf = [b'-'; 9];
        assert_eq!(storage.read_at(Part::Data, 3, &mut buf).unwrap(), 9);
        assert_eq!(&buf, b"deabcdeab");
        let mut buf = [b'-'; 9];
        assert_eq!(storage.read_at(Part::Data, 12, &mut buf).unwrap(), 3);
        assert_eq!(&buf, b"cde------");
        storage.write_at(Part::Tree, 0, b"xyz").unwrap();
        assert_eq!(storage.len(Part::Tree).unwrap(), 3);
    }
}
