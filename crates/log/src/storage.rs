//! Where a log keeps its bytes: seven parts, read and written by position.

use std::fmt;
use std::io;
use std::sync::Arc;

/// One of the byte strings that a log consists of.
///
/// Names and contents are those of a Hypercore 10 directory, plus [`Key`](Self::Key) and
/// [`Conflict`](Self::Conflict).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// Two header slots and the changes since: the truth about everything else.
    Oplog,
    /// Nodes of the Merkle tree, 40 bytes each, by index.
    Tree,
    /// Block data, back to back.
    Data,
    /// One bit for each block: whether its data is held.
    Bitfield,
    /// A header too large for its slot in the oplog.
    Header,
    /// The seed of the key pair, 32 bytes. Not a part of Hypercore's format.
    Key,
    /// The proof that the log's writer signed two histories, if there is one. Not a part of
    /// Hypercore's format.
    Conflict,
}

impl Part {
    /// All parts, in a fixed order.
    pub const ALL: [Self; 7] = [
        Self::Oplog,
        Self::Tree,
        Self::Data,
        Self::Bitfield,
        Self::Header,
        Self::Key,
        Self::Conflict,
    ];

    /// Returns the name of the part, which is its file name in a directory.
    pub fn name(self) -> &'static str {
        match self {
            Self::Oplog => "oplog",
            Self::Tree => "tree",
            Self::Data => "data",
            Self::Bitfield => "bitfield",
            Self::Header => "header",
            Self::Key => "key",
            Self::Conflict => "conflict",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Blocking, positional access to the parts of one log.
///
/// A part that was never written is empty, not missing. Calls may come from several threads at
/// once. A part is changed by one thread at a time, and may be read and synced by others meanwhile.
///
/// What was changed since the last [`sync`](Self::sync) of a part may be lost in a power cut, in
/// pieces and in any order, within a part and among parts; a log gets along with that. It does not
/// get along with a `sync` that returns before the bytes are safe, nor with two logs in one
/// storage: keeping a second process out is the storage's matter, as
/// [`FileStorage`](crate::FileStorage) does.
pub trait Storage: Send + Sync + 'static {
    /// Fills `buf` from `offset` on and returns how many bytes there were.
    ///
    /// Fewer than `buf.len()` only where the part ends.
    fn read_at(&self, part: Part, offset: u64, buf: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`. A gap before it reads as zeros.
    fn write_at(&self, part: Part, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Returns the length of a part in bytes; 0 if it was never written.
    fn len(&self, part: Part) -> io::Result<u64>;

    /// Sets the length of a part. What is added reads as zeros.
    fn truncate(&self, part: Part, len: u64) -> io::Result<()>;

    /// Returns once all that was written to a part before this call survives a power cut.
    fn sync(&self, part: Part) -> io::Result<()>;

    /// Gives back the room of bytes that nobody needs any more. From then on they read as zeros, or
    /// as before where the system knows no way.
    fn discard(&self, _part: Part, _offset: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }

    /// Returns how many bytes of disk a part takes up. Less than its length if it has holes.
    fn allocated(&self, part: Part) -> io::Result<u64> {
        self.len(part)
    }

    /// Returns whether this storage was copied from another one, as by restoring a backup: then the
    /// other one may be in use as well, and a log must not be written in both.
    ///
    /// Asked when a log is opened to be written. Storage that cannot tell says no.
    fn is_copy(&self) -> io::Result<bool> {
        Ok(false)
    }

    /// Makes this storage the original, durably.
    fn claim(&self) -> io::Result<()> {
        Ok(())
    }

    /// Tells that the parts of a new log are complete and synced.
    ///
    /// Storage that builds a new log aside puts it in its place now, durably. Called once, at the
    /// end of creating a log.
    fn publish(&self) -> io::Result<()> {
        Ok(())
    }
}

impl<S: Storage + ?Sized> Storage for Arc<S> {
    fn read_at(&self, part: Part, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        (**self).read_at(part, offset, buf)
    }

    fn write_at(&self, part: Part, offset: u64, bytes: &[u8]) -> io::Result<()> {
        (**self).write_at(part, offset, bytes)
    }

    fn len(&self, part: Part) -> io::Result<u64> {
        (**self).len(part)
    }

    fn truncate(&self, part: Part, len: u64) -> io::Result<()> {
        (**self).truncate(part, len)
    }

    fn sync(&self, part: Part) -> io::Result<()> {
        (**self).sync(part)
    }

    fn discard(&self, part: Part, offset: u64, len: u64) -> io::Result<()> {
        (**self).discard(part, offset, len)
    }

    fn allocated(&self, part: Part) -> io::Result<u64> {
        (**self).allocated(part)
    }

    fn is_copy(&self) -> io::Result<bool> {
        (**self).is_copy()
    }

    fn claim(&self) -> io::Result<()> {
        (**self).claim()
    }

    fn publish(&self) -> io::Result<()> {
        (**self).publish()
    }
}
