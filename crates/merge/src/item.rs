//! Names of list items, whose order is the order of the list.

use std::sync::Arc;

use crate::codec::{Reader, Writer};
use crate::limits::MAX_ITEM_STEPS;
use crate::{Dot, Renaming, StateError, WriteError};

/// One step of an item's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Step {
    /// Decides first, and leaves room on both sides.
    digit: i32,
    /// The write that inserted the item.
    dot: Dot,
    /// Number within a run that was inserted by one write, from 0.
    number: u32,
}

/// A list item's name. Names are ordered step by step, the shorter one first: an item comes
/// before those that were named after it. Between two names there is always room for another.
///
/// A name is never given twice, since it ends in the write that gave it; so nothing has to be
/// kept of an item that was removed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ItemId(Arc<[Step]>);

impl ItemId {
    /// Names for `count` items side by side, between two neighbours.
    ///
    /// The items of one run stay together: a run that another device inserts at the same place
    /// comes before or after it as a whole.
    ///
    /// # Errors
    ///
    /// The names would get too long.
    pub(crate) fn run(
        left: Option<&Self>,
        right: Option<&Self>,
        count: usize,
        dot: Dot,
    ) -> Result<Vec<Self>, WriteError> {
        let too_large = || WriteError::TooLarge { what: "steps", limit: MAX_ITEM_STEPS };
        let left = left.map_or(&[][..], |id| &id.0);
        let right = right.map_or(&[][..], |id| &id.0);
        let (stem, digit) = place(left, right).ok_or_else(too_large)?;
        if stem.len() >= MAX_ITEM_STEPS {
            return Err(too_large());
        }
        let count = u32::try_from(count).map_err(|_| too_large())?;
        let name = |number| {
            let last = Step { digit, dot, number };
            Self(stem.iter().copied().chain([last]).collect())
        };
        Ok((0..count).map(name).collect())
    }

    /// The name with other names for the writes in it.
    pub(crate) fn rename(&self, renaming: &Renaming) -> Self {
        Self(self.0.iter().map(|step| Step { dot: renaming.dot(step.dot), ..*step }).collect())
    }

    pub(crate) fn encode(&self, out: &mut Writer) {
        out.count(self.0.len());
        for step in &*self.0 {
            out.varint(u64::from(zigzag(step.digit)));
            out.device(step.dot.device);
            out.varint(step.dot.seq);
            out.varint(u64::from(step.number));
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, StateError> {
        let count = reader.varint()?;
        if count == 0 || count > MAX_ITEM_STEPS as u64 {
            return Err(StateError::TooMany { what: "steps", limit: MAX_ITEM_STEPS });
        }
        let mut steps = Vec::new();
        for _ in 0..count {
            let bad = |_| StateError::Malformed { what: "a step of an item" };
            let digit = unzigzag(u32::try_from(reader.varint()?).map_err(bad)?);
            let dot = Dot { device: reader.device()?, seq: reader.varint()? };
            let number = u32::try_from(reader.varint()?).map_err(bad)?;
            steps.push(Step { digit, dot, number });
        }
        Ok(Self(steps.into()))
    }
}

/// Where to name new items: the steps before the last one, and the digit of the last one.
///
/// An empty `left` is the list's beginning, an empty `right` its end.
fn place<'a>(left: &'a [Step], right: &[Step]) -> Option<(&'a [Step], i32)> {
    // Beside the left neighbour, if the right one leaves room there: names stay short.
    if let Some((last, stem)) = left.split_last() {
        let next = right.strip_prefix(stem).and_then(<[Step]>::first);
        let digit = last.digit.checked_add(1)?;
        if next.is_none_or(|next| digit < next.digit) {
            return Some((stem, digit));
        }
    }
    // Else below it: before the right neighbour, should that be below it, too.
    match right.strip_prefix(left).and_then(<[Step]>::first) {
        Some(next) => Some((left, next.digit.checked_sub(1)?)),
        None => Some((left, 0)),
    }
}

const fn zigzag(digit: i32) -> u32 {
    ((digit << 1) ^ (digit >> 31)).cast_unsigned()
}

const fn unzigzag(bits: u32) -> i32 {
    (bits >> 1).cast_signed() ^ -((bits & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DeviceId;

    /// Wherever items are inserted, also all at one place, the names are new and in order.
    #[test]
    fn there_is_always_room() {
        let mut names: Vec<ItemId> = Vec::new();
        for seq in 0..400_u64 {
            let at = match seq % 5 {
                0 => 0,
                1 => names.len(),
                2 => names.len() / 2,
                3 => 1.min(names.len()),
                _ => seq as usize * 7919 % (names.len() + 1),
            };
            let dot = Dot { device: DeviceId::from_u64(seq % 3), seq };
            let left = at.checked_sub(1).map(|left| &names[left]);
            let run = ItemId::run(left, names.get(at), 2, dot).unwrap();
            names.splice(at..at, run);
        }
        assert!(names.is_sorted_by(|a, b| a < b));
        for digit in [0, 1, -1, i32::MAX, i32::MIN] {
            assert_eq!(unzigzag(zigzag(digit)), digit);
        }
    }
}
