//! Keys, values and logs that are the same each time.

use anyhow::Result;
use multibee_log::{Durability, KeyPair, Log, LogOptions, MemoryStorage};

/// A value of the length that the benchmarks' entries have.
pub(crate) const VALUE: &[u8] = &[0x5a; 100];

/// Nothing waits for a disk, and no thread is started.
pub(crate) fn options() -> LogOptions {
    LogOptions { durability: Durability::Buffered, ..LogOptions::default() }
}

/// An empty log, and where it is kept.
pub(crate) fn log() -> Result<(Log, MemoryStorage)> {
    let storage = MemoryStorage::default();
    Ok((Log::create(storage.clone(), KeyPair::from_seed([7; 32]), options())?, storage))
}

/// Keys in an order that is not that of their numbers.
pub(crate) fn key(number: u64) -> [u8; 16] {
    let scattered = u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    scattered.to_be_bytes()
}
