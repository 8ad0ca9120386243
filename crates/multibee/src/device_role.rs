//! What a device may and does do in the database.

use std::fmt;

/// What a device may and does do in the database. Ordered by how much that is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DeviceRole {
    /// It reads and passes on. It refuses writes, and others take none from it.
    ReadOnly,
    /// It reads and writes.
    #[default]
    Full,
    /// It reads and writes, and downloads and keeps the others' logs whole, with all their history: what
    /// any of them ever wrote can be had from it, as long as it met it or somebody who had it.
    Mirror,
}

impl DeviceRole {
    /// Its number in a statement; a role that is not named is [`Full`](Self::Full).
    pub(crate) const fn number(self) -> Option<u32> {
        match self {
            Self::Full => None,
            Self::ReadOnly => Some(READ_ONLY),
            Self::Mirror => Some(MIRROR),
        }
    }

    /// The role with this number. What only newer programs know may at least read and write.
    pub(crate) const fn of_number(number: Option<u32>) -> Self {
        match number {
            Some(READ_ONLY) => Self::ReadOnly,
            Some(MIRROR) => Self::Mirror,
            _ => Self::Full,
        }
    }
}

impl fmt::Display for DeviceRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadOnly => "read-only",
            Self::Full => "full",
            Self::Mirror => "mirror",
        })
    }
}

const READ_ONLY: u32 = 1;
const MIRROR: u32 = 2;
