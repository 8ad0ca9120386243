//! The lock that keeps a second process out of a log.

use std::fs::File;
use std::io;

/// Takes the lock on `file` until it is closed, or returns `false` if someone else holds it.
///
/// Linux: an open-file-description lock over the whole file, which is what Hypercore takes. A
/// `flock` would not keep it out.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn try_lock(file: &File) -> io::Result<bool> {
    use nix::errno::Errno;
    use nix::fcntl::{FcntlArg, fcntl};
    use nix::libc;

    let whole_file = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    match fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file)) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Takes the lock on `file` until it is closed, or returns `false` if someone else holds it.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(std::fs::TryLockError::WouldBlock) => Ok(false),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}
