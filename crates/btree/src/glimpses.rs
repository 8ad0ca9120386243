use multibee_log::BlockBytes;

use crate::block::Block;
use crate::error::{Error, Result};
use crate::store::Store;

/// Looks at blocks whose content goes into nodes that are cached, so that the blocks need not be. They
/// are kept as long as a few nodes are made that have keys in common.
pub(crate) struct Glimpses<'a> {
    store: &'a Store,
    seen: Vec<(u64, Block<BlockBytes>)>,
}

impl<'a> Glimpses<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        Self { store, seen: Vec::new() }
    }

    /// Block `seq`, if it is on this machine.
    pub(crate) fn look(&mut self, seq: u64) -> Result<Option<Block<BlockBytes>>> {
        if let Some((_, block)) = self.seen.iter().find(|(seen, _)| *seen == seq) {
            return Ok(Some(block.clone()));
        }
        let block = self.store.glimpse(seq)?;
        if let Some(block) = &block {
            self.seen.push((seq, block.clone()));
        }
        Ok(block)
    }

    /// Block `seq`; that it is not on this machine is an error.
    pub(crate) fn expect(&mut self, seq: u64) -> Result<Block<BlockBytes>> {
        self.look(seq)?.ok_or_else(|| Error::Missing(vec![seq]))
    }
}
