//! The one place that reads the time of day.

use std::fmt::Debug;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where stamps get the time of day from. It may be wrong, stand still, or run backwards: that
/// changes which of two concurrent writes is shown, and nothing else.
pub trait WallClock: Send + Sync + Debug + 'static {
    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64;
}

/// The clock of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl WallClock for SystemClock {
    fn now_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}
