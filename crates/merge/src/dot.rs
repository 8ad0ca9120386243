//! Names of devices and of writes.

use std::fmt;

use blake2b_simd::{Hash, Params};

/// A device, named by the first 8 bytes of BLAKE2b-256 of its log's key.
///
/// Read as a little-endian number, so that a protobuf `fixed64` carries the hash's own bytes.
/// Eight bytes can be made to collide by someone who makes both keys (about 2^32 work):
/// admission therefore refuses a device whose id another member already has.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(u64);

impl DeviceId {
    /// The id of the device whose log has this 32-byte key.
    pub fn of_key(log_key: &[u8; 32]) -> Self {
        Self::of_hash(&Params::new().hash_length(32).hash(log_key))
    }

    /// The id of one of the histories of a log that was written twice: the first 8 bytes of
    /// BLAKE2b-256 of the log's key and the hash of the last block of that history's first own
    /// commit.
    pub fn of_branch(log_key: &[u8; 32], block_hash: &[u8; 32]) -> Self {
        let mut hash = Params::new().hash_length(32).to_state();
        Self::of_hash(&hash.update(log_key).update(block_hash).finalize())
    }

    fn of_hash(hash: &Hash) -> Self {
        let mut first = [0; 8];
        first.iter_mut().zip(hash.as_bytes()).for_each(|(to, from)| *to = *from);
        Self(u64::from_le_bytes(first))
    }

    /// The id as it stands in a record.
    pub const fn from_u64(id: u64) -> Self {
        Self(id)
    }

    /// The id as it is stored in a record.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for DeviceId {
    /// Sixteen hex digits, in the order of the hash's bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.to_le_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceId({self})")
    }
}

/// One write: the device that made it and the block of its log that carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot {
    /// Who wrote.
    pub device: DeviceId,
    /// Number of the block in the writer's log, from 0.
    pub seq: u64,
}

impl fmt::Display for Dot {
    /// The device, a colon, the block.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.device, self.seq)
    }
}

#[cfg(test)]
mod tests {
    use blake2::{Blake2b, Digest as _, digest::consts::U32};

    use super::*;

    /// The id is a prefix of the hash, also when printed.
    #[test]
    fn an_id_shows_the_first_bytes_of_the_hash() {
        let hash = Blake2b::<U32>::digest([7; 32]);
        let id = DeviceId::of_key(&[7; 32]);
        let printed: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(id.to_string(), printed);
        assert_eq!(DeviceId::from_u64(id.as_u64()), id);
    }
}
