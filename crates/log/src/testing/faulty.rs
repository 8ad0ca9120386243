//! Storage that fails when told to.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::storage::{Part, Storage};

/// Storage whose operations fail at chosen moments; between them it does what the storage within
/// does.
///
/// Operations are numbered from 0. Clones are the same disk, with the same faults.
#[derive(Debug, Clone)]
pub struct FaultyStorage<S> {
    inner: S,
    plan: Arc<Mutex<Plan>>,
}

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// What the program is told.
    pub kind: io::ErrorKind,
    /// How many bytes a failing write leaves all the same.
    pub written: usize,
}

impl From<io::ErrorKind> for Fault {
    /// The fault that leaves nothing.
    fn from(kind: io::ErrorKind) -> Self {
        Self { kind, written: 0 }
    }
}

/// What was to be done when a fault came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the methods of `Storage`")]
#[non_exhaustive]
pub enum Operation {
    ReadAt,
    WriteAt,
    Len,
    Truncate,
    Sync,
    Discard,
    Allocated,
    Publish,
}

#[derive(Debug, Default)]
struct Plan {
    /// How many operations there were.
    count: u64,
    single: Vec<(u64, Fault)>,
    /// After so many more operations that change the disk, those fail.
    lasting: Option<(u64, Fault)>,
    met: Vec<(Operation, Part)>,
}

impl<S: Storage> FaultyStorage<S> {
    /// Wraps storage. Nothing fails until that is asked for.
    pub fn new(inner: S) -> Self {
        Self { inner, plan: Arc::default() }
    }

    /// Returns the storage within.
    pub const fn inner(&self) -> &S {
        &self.inner
    }

    /// Lets one operation fail. Called again, lets another fail too.
    pub fn fail_at(&self, operation: u64, fault: impl Into<Fault>) {
        self.plan().single.push((operation, fault.into()));
    }

    /// Lets so many more writes, truncations, discards and syncs pass and all others fail, as on a
    /// disk that is full or was pulled out. Reading goes on.
    pub fn fail_after(&self, changes: u64, fault: impl Into<Fault>) {
        self.plan().lasting = Some((changes, fault.into()));
    }

    /// Takes back all faults that have not come yet.
    pub fn heal(&self) {
        let mut plan = self.plan();
        plan.single.clear();
        plan.lasting = None;
    }

    /// Returns how many operations there were, failed ones too: the number of the next.
    pub fn operation_count(&self) -> u64 {
        self.plan().count
    }

    /// Returns what failed so far, in order. Of an operation on no part, the part is the oplog.
    pub fn failures(&self) -> Vec<(Operation, Part)> {
        self.plan().met.clone()
    }

    // A plan is never left half changed, so a poisoned lock is as good as any.
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an operation. Returns how it fails.
    fn next(&self, operation: Operation, part: Part) -> Option<Fault> {
        let mut plan = self.plan();
        let number = plan.count;
        plan.count += 1;
        let reads = matches!(operation, Operation::ReadAt | Operation::Len | Operation::Allocated);
        let lasting = match &mut plan.lasting {
            Some((0, fault)) if !reads => Some(*fault),
            Some((left, _)) if !reads => {
                *left -= 1;
                None
            }
            _ => None,
        };
        let single = plan.single.iter().find(|(chosen, _)| *chosen == number);
        let fault = single.map(|(_, fault)| *fault).or(lasting)?;
        plan.met.push((operation, part));
        Some(fault)
    }

    fn check(&self, operation: Operation, part: Part) -> io::Result<()> {
        self.next(operation, part).map_or(Ok(()), |fault| Err(fault.kind.into()))
    }
}

impl<S: Storage> Storage for FaultyStorage<S> {
    fn read_at(&self, part: Part, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.check(Operation::ReadAt, part)?;
        self.inner.read_at(part, offset, buf)
    }

    fn write_at(&self, part: Part, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let Some(fault) = self.next(Operation::WriteAt, part) else {
            return self.inner.write_at(part, offset, bytes);
        };
        let written = bytes.get(..fault.written).unwrap_or(bytes);
        if !written.is_empty() {
            self.inner.write_at(part, offset, written)?;
        }
        Err(fault.kind.into())
    }

    fn len(&self, part: Part) -> io::Result<u64> {
        self.check(Operation::Len, part)?;
        self.inner.len(part)
    }

    fn truncate(&self, part: Part, len: u64) -> io::Result<()> {
        self.check(Operation::Truncate, part)?;
        self.inner.truncate(part, len)
    }

    fn sync(&self, part: Part) -> io::Result<()> {
        self.check(Operation::Sync, part)?;
        self.inner.sync(part)
    }

    fn discard(&self, part: Part, offset: u64, len: u64) -> io::Result<()> {
        self.check(Operation::Discard, part)?;
        self.inner.discard(part, offset, len)
    }

    fn allocated(&self, part: Part) -> io::Result<u64> {
        self.check(Operation::Allocated, part)?;
        self.inner.allocated(part)
    }

    fn publish(&self) -> io::Result<()> {
        self.check(Operation::Publish, Part::Oplog)?;
        self.inner.publish()
    }
}

#[cfg(test)]
mod tests {
    use io::ErrorKind::{Other, StorageFull};

    use super::*;
    use crate::memory::MemoryStorage;

    /// Chosen operations fail and leave what was asked for; all others pass.
    #[test]
    fn chosen_operations_fail() {
        let disk = FaultyStorage::new(MemoryStorage::new());
        disk.fail_at(1, Fault { kind: StorageFull, written: 2 });
        disk.fail_at(3, Other);
        disk.write_at(Part::Data, 0, b"abc").unwrap();
        let error = disk.write_at(Part::Data, 3, b"def").unwrap_err();
        assert_eq!(error.kind(), StorageFull);
        assert_eq!(disk.len(Part::Data).unwrap(), 5, "what was written before the fault stays");
        assert_eq!(disk.sync(Part::Data).unwrap_err().kind(), Other);
        disk.sync(Part::Data).unwrap();
        assert_eq!(disk.operation_count(), 5);
        let expected = [(Operation::WriteAt, Part::Data), (Operation::Sync, Part::Data)];
        assert_eq!(disk.failures(), expected);
    }

    /// A full disk can be read, and written again once there is room.
    #[test]
    fn a_lasting_fault_lasts_until_healed() {
        let disk = FaultyStorage::new(MemoryStorage::new());
        disk.fail_after(1, StorageFull);
        disk.write_at(Part::Data, 0, b"abc").unwrap();
        for _ in 0..2 {
            assert!(disk.write_at(Part::Data, 3, b"d").is_err());
            assert!(disk.truncate(Part::Data, 0).is_err());
            assert_eq!(disk.read_at(Part::Data, 0, &mut [0; 8]).unwrap(), 3);
        }
        disk.heal();
        disk.write_at(Part::Data, 3, b"d").unwrap();
        assert_eq!(disk.inner().len(Part::Data).unwrap(), 4);
    }
}
