//! The bytes of a block where they lie.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use bytes::Bytes;

use crate::block_places::Group;

/// The bytes of a block, checked, where they lie: a block that was read with its neighbours is not
/// copied out of them.
///
/// For a look. As long as it lives, up to 40 KiB of other blocks may stay in memory with it, past
/// what the cache is given; to keep a block, turn it into [`Bytes`].
#[derive(Clone)]
pub struct BlockBytes(Place);

#[derive(Clone)]
enum Place {
    Alone(Bytes),
    Among(Arc<Group>, Range<usize>),
}

impl BlockBytes {
    /// Bytes in the data of a group.
    pub(crate) fn among(group: Arc<Group>, range: Range<usize>) -> Self {
        Self(Place::Among(group, range))
    }
}

impl Deref for BlockBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Place::Alone(bytes) => bytes,
            Place::Among(group, range) => group.data().get(range.clone()).unwrap_or_default(),
        }
    }
}

impl AsRef<[u8]> for BlockBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Bytes> for BlockBytes {
    fn from(bytes: Bytes) -> Self {
        Self(Place::Alone(bytes))
    }
}

impl From<BlockBytes> for Bytes {
    /// Copies them if they lie among others.
    fn from(block: BlockBytes) -> Self {
        match block.0 {
            Place::Alone(bytes) => bytes,
            Place::Among(..) => Self::copy_from_slice(&block),
        }
    }
}

impl fmt::Debug for BlockBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BlockBytes").field(&&**self).finish()
    }
}
