//! Giving back the room of bytes inside a file.

use std::fs::File;
use std::io;

/// Punches a hole. Where file system or system know none, the bytes stay.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn punch(file: &File, offset: u64, len: u64) -> io::Result<()> {
    use nix::errno::Errno;
    use nix::fcntl::{FallocateFlags, fallocate};

    let too_far = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let offset = offset.try_into().map_err(too_far)?;
    let len = len.try_into().map_err(too_far)?;
    if len == 0 {
        return Ok(());
    }
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    match fallocate(file, flags, offset, len) {
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS) | Ok(()) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Punches a hole. Where file system or system know none, the bytes stay.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn punch(_file: &File, _offset: u64, _len: u64) -> io::Result<()> {
    Ok(())
}

/// Returns the bytes of disk that a file takes up.
#[cfg(unix)]
pub(crate) fn allocated(file: &File) -> io::Result<u64> {
    // Of 512 bytes each, whatever the file system's own blocks are.
    Ok(std::os::unix::fs::MetadataExt::blocks(&file.metadata()?).saturating_mul(512))
}

/// Returns the bytes of disk that a file takes up.
#[cfg(not(unix))]
pub(crate) fn allocated(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.len())
}
