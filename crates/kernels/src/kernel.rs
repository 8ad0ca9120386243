//! What a kernel is.

use anyhow::Result;

/// A thing that is done over and over.
pub(crate) struct Kernel {
    /// What it is called on the command line and in the baseline.
    pub(crate) name: &'static str,
    /// What one operation is.
    pub(crate) what: &'static str,
    /// How many are counted: some ten million instructions, for which callgrind takes a second.
    pub(crate) operations: u64,
    /// Makes what is needed for so many operations in all.
    pub(crate) prepare: fn(u64) -> Result<Box<dyn Work>>,
}

/// What a kernel does, with all that it needs.
pub(crate) trait Work {
    /// Does what belongs to the next operations and is not to be counted.
    ///
    /// # Errors
    ///
    /// Whatever goes wrong; nothing should.
    fn make_ready(&mut self, _operations: u64) -> Result<()> {
        Ok(())
    }

    /// Does the next operations.
    ///
    /// # Errors
    ///
    /// As for [`make_ready`](Self::make_ready).
    fn run(&mut self, operations: u64) -> Result<()>;
}

/// Work that has nothing to make ready.
impl<F: FnMut(u64) -> Result<()>> Work for F {
    fn run(&mut self, operations: u64) -> Result<()> {
        self(operations)
    }
}
