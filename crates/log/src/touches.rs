//! How often groups of blocks were read lately.

use std::array;
use std::sync::atomic::{AtomicU32, Ordering};

/// Groups that are remembered at once, about.
const SLOTS: usize = 2048;

/// Reads of single blocks of a group after which it is worth reading whole: it takes about as long
/// as four or five of them, and who reads three is likely to read more.
const SINGLE_READS_MAX: u32 = 2;

/// A small memory of which groups were read, and how often. It forgets: two groups that share a
/// slot push each other out.
pub(crate) struct Touches {
    /// The group's number, without its highest bits, and how often it was read.
    slots: Box<[AtomicU32; SLOTS]>,
}

impl Default for Touches {
    fn default() -> Self {
        Self { slots: Box::new(array::from_fn(|_| AtomicU32::new(0))) }
    }
}

impl Touches {
    /// Notes that a block of this group is read. Returns whether the group should be read whole.
    ///
    /// Threads that do this at the same time may lose a count.
    pub(crate) fn touch(&self, group: u64) -> bool {
        let Some(slot) = self.slots.get(group as usize % SLOTS) else {
            return true;
        };
        let (tag, seen) = ((group as u32) << 2, slot.load(Ordering::Relaxed));
        let count = if seen & !3 == tag { seen & 3 } else { 0 };
        let is_busy = count >= SINGLE_READS_MAX;
        // Should it be pushed out of the cache, it begins anew.
        slot.store(if is_busy { 0 } else { tag | (count + 1) }, Ordering::Relaxed);
        is_busy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The third read of a group in a row of its slot is the one that reads it whole; then it
    /// begins anew, and another group in the same slot does so at once.
    #[test]
    fn the_third_read_is_of_the_whole_group() {
        let touches = Touches::default();
        let slots = SLOTS as u64;
        for group in [0, 5, slots - 1, 7 * slots + 5, u64::MAX] {
            for _ in 0..2 {
                assert_eq!([(); 3].map(|()| touches.touch(group)), [false, false, true], "{group}");
            }
        }
        assert!(!touches.touch(5) && !touches.touch(5));
        assert!(!touches.touch(5 + slots) && !touches.touch(5));
    }
}
