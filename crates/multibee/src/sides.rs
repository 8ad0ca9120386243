//! Two trees of different logs, read side by side.

use multibee_btree::{Change, Entry as Block, Range};

use crate::Error;

/// Entries of two trees under the same keys, in their order, each key once.
#[derive(Clone, Debug)]
pub(crate) struct Sides {
    left: Side,
    right: Side,
}

#[derive(Clone, Debug)]
struct Side {
    range: Range,
    /// The entry that comes next, once it was read.
    next: Option<Option<Block>>,
}

impl Sides {
    /// Both ranges are of the same keys, ascending.
    pub(crate) const fn new(left: Range, right: Range) -> Self {
        Self { left: Side { range: left, next: None }, right: Side { range: right, next: None } }
    }

    /// The next key, with what either side has under it.
    pub(crate) fn next(&mut self) -> Result<Option<Change>, Error> {
        let key = match (self.left.peek()?, self.right.peek()?) {
            (None, None) => return Ok(None),
            (Some(one), None) | (None, Some(one)) => one.key.clone(),
            (Some(left), Some(right)) => left.key.clone().min(right.key.clone()),
        };
        let left = self.left.take_if(&key);
        let right = self.right.take_if(&key);
        Ok(Some(Change { left, right }))
    }
}

impl Side {
    fn peek(&mut self) -> Result<Option<&Block>, Error> {
        if self.next.is_none() {
            self.next = Some(self.range.next()?);
        }
        Ok(self.next.as_ref().and_then(Option::as_ref))
    }

    fn take_if(&mut self, key: &[u8]) -> Option<Block> {
        let next = self.next.as_mut()?.take_if(|block| block.key == key);
        if next.is_some() {
            self.next = None;
        }
        next
    }
}
