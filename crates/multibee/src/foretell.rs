//! What a batch would make of a key, before it is written.

use bytes::Bytes;

use crate::op::Op;
use crate::primary::Primary;
use crate::{Batch, Error};

impl Batch {
    /// What a key would show if the batch were committed now: the batch's own changes of it, made to
    /// what is there. `None` if nothing.
    ///
    /// Nothing is written, and nothing keeps others from writing the key before the commit: see
    /// [`expect`](Self::expect) and [`expect_entry`](Self::expect_entry).
    ///
    /// ```
    /// # use multibee::{Home, Multibee, Options};
    /// let db = Multibee::create(Home::memory(), Options::default())?;
    /// db.increment("visits", 2)?;
    ///
    /// let mut batch = db.batch();
    /// batch.increment("visits", 1).put("milk", "two");
    /// assert_eq!(batch.get("visits")?, Some("3".into()));
    /// assert_eq!(batch.get("milk")?, Some("two".into()));
    /// assert_eq!(db.get("milk")?, None);
    /// # Ok::<(), multibee::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What a [`commit`](Self::commit) of these changes would fail with.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, Error> {
        let key = key.as_ref();
        let (database, ops) = self.parts();
        let mut state = database.network().session().lock();
        let now_ms = state.core.now_ms();
        // Rules say of which type a put is.
        let counts = |op: &&Op| matches!(op, Op::Rule { .. }) || op.key() == key;
        state.core.primary.foretell(key, ops.iter().filter(counts), now_ms)
    }
}

impl Primary {
    /// What a key would show after these changes. Leaves no trace.
    fn foretell<'a>(
        &mut self,
        key: &[u8],
        ops: impl Iterator<Item = &'a Op>,
        wall_ms: u64,
    ) -> Result<Option<Bytes>, Error> {
        let time = self.time().clone();
        let shown = self.stage(true).and_then(|mut staging| {
            for op in ops {
                self.stage_op(&mut staging, op, wall_ms)?;
            }
            Ok(staging.held(key)?.showing.map(|showing| showing.value))
        });
        self.set_time(time);
        shown
    }
}
