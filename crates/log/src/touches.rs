//! How often something was read lately.

use std::array;
use std::sync::atomic::{AtomicU32, Ordering};

/// A small memory of what was read, and how often: of `SLOTS` numbers at once, about. It forgets:
/// two numbers that share a slot push each other out, so where more is read than there is room for,
/// nothing seems to be read often.
pub(crate) struct Touches<const SLOTS: usize> {
    /// The number, without its highest bits, and how often it was read.
    slots: Box<[AtomicU32; SLOTS]>,
    /// Reads that are not yet often.
    few: u32,
}

/// Bits of a slot that count.
const COUNT_BITS: u32 = 4;

impl<const SLOTS: usize> Touches<SLOTS> {
    /// What is read more than `few` times is read often.
    pub(crate) fn new(few: u32) -> Self {
        let few = few.min((1 << COUNT_BITS) - 1);
        Self { slots: Box::new(array::from_fn(|_| AtomicU32::new(0))), few }
    }

    /// Notes a read. Returns whether this is read often.
    ///
    /// Threads that do this at the same time may lose a count.
    pub(crate) fn touch(&self, number: u64) -> bool {
        let Some(slot) = self.slots.get(number as usize % SLOTS) else {
            return true;
        };
        let counted = (1 << COUNT_BITS) - 1;
        let (tag, seen) = ((number as u32) << COUNT_BITS, slot.load(Ordering::Relaxed));
        let count = if seen & !counted == tag { seen & counted } else { 0 };
        let is_often = count >= self.few;
        // Should what is kept for it be pushed out of the cache, it begins anew.
        slot.store(if is_often { 0 } else { tag | (count + 1) }, Ordering::Relaxed);
        is_often
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The read after the few ones is the first that is often; then it begins anew, and another
    /// number in the same slot does so at once.
    #[test]
    fn reads_are_often_after_a_few() {
        for few in [0, 2, 7] {
            let touches = Touches::<2048>::new(few);
            for number in [0, 5, 2047, 7 * 2048 + 5, u64::MAX] {
                for _ in 0..2 {
                    let often: Vec<bool> = (0..=few).map(|_| touches.touch(number)).collect();
                    let expected: Vec<bool> = (0..=few).map(|count| count == few).collect();
                    assert_eq!(often, expected, "{number}");
                }
            }
        }
        let touches = Touches::<2048>::new(2);
        assert!(!touches.touch(5) && !touches.touch(5));
        assert!(!touches.touch(5 + 2048) && !touches.touch(5));
    }
}
