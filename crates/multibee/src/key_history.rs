//! What became of one key.

use bytes::Bytes;
use multibee_merge::Time;

use crate::changes::{Changed, changed};
use crate::history::Span;
use crate::record::Held;
use crate::view::View;
use crate::{Error, Multibee, keyspace};

/// A commit that changed a key. Made by [`View::key_history`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyCommit {
    /// The version that the commit made, as for [`Multibee::checkout`].
    pub version: u64,
    /// Whether it holds what was merged from others, or is shown by other rules now. If not, this
    /// device wrote it.
    pub is_merge: bool,
    /// When it was made, by this device's hybrid clock: `None` if an early version of this program did.
    pub at: Option<Time>,
    /// What it made of the key, and who wrote that.
    pub changed: Changed,
}

/// The commits that changed a key, the last first, read as they are asked for. Made by
/// [`View::key_history`].
#[derive(Debug)]
pub struct KeyHistory {
    /// The version that is looked at next; `None` at the end.
    view: Option<View>,
    key: Bytes,
    prefix_len: usize,
}

impl Multibee {
    /// What became of a key on this device up to now, the last change first. See
    /// [`View::key_history`].
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get); the iterator's items, too.
    pub fn key_history(&self, key: impl AsRef<[u8]>) -> Result<KeyHistory, Error> {
        Ok(self.view()?.key_history(key.as_ref()))
    }
}

impl View {
    /// What became of a key on this device up to this version, the last change first.
    ///
    /// Each step reads one key at one version, and the blocks of one commit: the rest of the log is
    /// not looked at, however long it is. It ends where the key was first seen, or where a plain
    /// Hyperbee had dropped it: that leaves no trace.
    ///
    /// ```
    /// # use multibee::{Home, Multibee, Options};
    /// let db = Multibee::create(Home::memory(), Options::default())?;
    /// db.put("milk", "two")?;
    /// db.put("bread", "rye")?;
    /// db.put("milk", "one")?;
    ///
    /// let commits: Vec<_> = db.key_history("milk")?.collect::<Result<_, _>>()?;
    /// let values = commits.into_iter().filter_map(|commit| commit.changed.now);
    /// assert_eq!(values.map(|entry| entry.value).collect::<Vec<_>>(), ["one", "two"]);
    /// # Ok::<(), multibee::Error>(())
    /// ```
    pub fn key_history(&self, key: &[u8]) -> KeyHistory {
        KeyHistory { view: Some(self.clone()), key: Bytes::copy_from_slice(key), prefix_len: 0 }
    }

    /// The block that says what is held of a key.
    fn written_at(&self, key: &[u8]) -> Result<Option<u64>, Error> {
        let block = match self.tree().get(&keyspace::user(key))? {
            Some(block) => Some(block),
            None => self.tree().get(&keyspace::tombstone(key))?,
        };
        Ok(block.map(|block| block.seq))
    }
}

impl KeyHistory {
    /// The same with a key that lacks its first bytes.
    pub(crate) fn without_prefix(self, prefix_len: usize) -> Self {
        Self { prefix_len, ..self }
    }

    fn advance(&mut self) -> Result<Option<KeyCommit>, Error> {
        while let Some(view) = self.view.take() {
            let Some(seq) = view.written_at(&self.key)? else { return Ok(None) };
            let Span { first, end, is_merge, at } = Span::around(view.tree(), seq)?;
            let earlier = view.at_version(first)?;
            let (now, before) = (view.held(&self.key)?, earlier.held(&self.key)?);
            self.view = Some(earlier);
            if is_same(&now, &before) {
                continue;
            }
            let key = keyspace::without(&self.key, self.prefix_len);
            let changed = changed(key, before, now, view.device());
            return Ok(Some(KeyCommit { version: end, is_merge, at, changed }));
        }
        Ok(None)
    }
}

/// Whether readers see no difference: nothing and nothing is none, whatever is hidden.
fn is_same(now: &Held, before: &Held) -> bool {
    (now.showing.is_none() && before.showing.is_none()) || now.shows_as(before)
}

impl Iterator for KeyHistory {
    type Item = Result<KeyCommit, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}
