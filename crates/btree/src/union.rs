use bytes::Bytes;

use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::range::{Range, RangeOptions};
use crate::tree::Tree;

/// Several trees read as one, in order and without copying. They may be of different logs, local or
/// sparse.
///
/// Where more than one tree has a key, a chooser decides what is shown: a function that sees all
/// entries under that key, in the order of their trees, and returns the one to show, or `None` to
/// leave the key out. [`first_tree`] is the simplest.
///
/// ```
/// # use multibee_btree::{Bee, BeeOptions, RangeOptions, Union, first_tree};
/// # use multibee_log::{KeyPair, Log, LogOptions, MemoryStorage};
/// # let new = || {
/// #     let log = Log::create(MemoryStorage::new(), KeyPair::generate(), LogOptions::default())?;
/// #     Bee::open(log, BeeOptions::default())
/// # };
/// let (phone, laptop) = (new()?, new()?);
/// phone.put(b"milk", Some("two"))?;
/// laptop.put(b"bread", Some("rye"))?;
/// laptop.put(b"milk", Some("three"))?;
///
/// let union = Union::new(vec![phone.snapshot()?, laptop.snapshot()?]);
/// let mut shown = union.range(RangeOptions::default(), first_tree);
/// let bread = shown.next()?.ok_or("bread")?;
/// assert_eq!((bread.tree, &bread.entry.key[..]), (1, &b"bread"[..]));
/// assert_eq!(shown.next()?.and_then(|milk| milk.entry.value).as_deref(), Some(&b"two"[..]));
///
/// // The last tree's entry, unless it has no value.
/// let milk = union.get(b"milk", |found| found.last().filter(|last| last.entry.value.is_some()))?;
/// assert_eq!(milk.and_then(|milk| milk.entry.value).as_deref(), Some(&b"three"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Union {
    trees: Vec<Tree>,
}

/// An entry of one of several trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnionEntry {
    /// The number of the tree in the union, from 0.
    pub tree: usize,
    /// What that tree has.
    pub entry: Entry,
}

/// Shows, of all trees that have a key, the first one's entry.
pub fn first_tree(found: &[UnionEntry]) -> Option<&UnionEntry> {
    found.first()
}

/// Why a union could not be read. Nothing has moved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnionError {
    /// Blocks that are not on this machine, of one tree or more, in the order of the trees. Fetch
    /// all of them, each from the log of its tree, and call again.
    #[error("blocks of {} trees are not on this machine, the first is tree {}", .0.len(), .0.first().map(|missing| missing.tree).unwrap_or_default())]
    Missing(Vec<MissingBlocks>),
    /// One of the trees could not be read for another reason than [`Error::Missing`].
    #[error("tree {tree} of the union cannot be read")]
    Tree {
        /// The number of the tree in the union, from 0.
        tree: usize,
        /// What it said.
        source: Error,
    },
}

/// Blocks that are not on this machine, of one of several trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingBlocks {
    /// The number of the tree in the union, from 0.
    pub tree: usize,
    /// The blocks, as in [`Error::Missing`].
    pub seqs: Vec<u64>,
}

impl Union {
    /// Makes one of these trees. Their numbers in it are their places here.
    pub fn new(trees: Vec<Tree>) -> Self {
        Self { trees }
    }

    /// The trees, in the order of their numbers.
    pub fn trees(&self) -> &[Tree] {
        &self.trees
    }

    /// The entry under `key` that `choose` picks. It is not asked if no tree has the key.
    ///
    /// # Errors
    ///
    /// [`UnionError::Missing`] with what all trees lack for their next step, or what one says.
    pub fn get(
        &self,
        key: &[u8],
        choose: impl FnOnce(&[UnionEntry]) -> Option<&UnionEntry>,
    ) -> Result<Option<UnionEntry>, UnionError> {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for (tree, result) in self.trees.iter().map(|tree| tree.get(key)).enumerate() {
            let entry = set_aside(tree, result, &mut missing)?.flatten();
            found.extend(entry.map(|entry| UnionEntry { tree, entry }));
        }
        if !missing.is_empty() {
            return Err(UnionError::Missing(missing));
        }
        Ok(if found.is_empty() { None } else { choose(&found).cloned() })
    }

    /// The entries with keys in a range that `choose` picks, in order. A limit counts those.
    pub fn range<C>(&self, options: RangeOptions, choose: C) -> UnionRange<C>
    where
        C: FnMut(&[UnionEntry]) -> Option<&UnionEntry>,
    {
        let sources = self.trees.iter().map(|tree| Source::new(tree, &options)).collect();
        let left = options.limit.unwrap_or(u64::MAX);
        UnionRange { sources, choose, reverse: options.reverse, left, failed: false }
    }

    /// The first entry of a range.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn peek<C>(
        &self,
        options: RangeOptions,
        choose: C,
    ) -> Result<Option<UnionEntry>, UnionError>
    where
        C: FnMut(&[UnionEntry]) -> Option<&UnionEntry>,
    {
        let limit = Some(options.limit.unwrap_or(1).min(1));
        self.range(RangeOptions { limit, ..options }, choose).next()
    }
}

/// The entries of a [`Union`] in a range of keys, one after the other.
///
/// Reads of each tree one entry further than what was given, and no more.
///
/// [`next`](Self::next) suits any log. The iterator suits logs that are all here, and ends after an
/// error.
#[derive(Clone)]
pub struct UnionRange<C> {
    sources: Vec<Source>,
    choose: C,
    reverse: bool,
    /// How many more entries to show.
    left: u64,
    /// A tree failed, or the iterator has reported an error.
    failed: bool,
}

impl<C> UnionRange<C>
where
    C: FnMut(&[UnionEntry]) -> Option<&UnionEntry>,
{
    /// The next entry, or `None` at the end.
    ///
    /// # Errors
    ///
    /// After [`UnionError::Missing`] nothing has moved: fetch the blocks of all trees that it names
    /// and call again. After any other error there is nothing more.
    #[expect(clippy::should_implement_trait, reason = "the trait's `next` cannot be retried")]
    pub fn next(&mut self) -> Result<Option<UnionEntry>, UnionError> {
        while self.left > 0 && !self.failed {
            self.fill()?;
            let heads = self.sources.iter().filter_map(|source| source.head.as_ref());
            let keys = heads.map(|entry| &entry.key);
            let Some(key) = (if self.reverse { keys.max() } else { keys.min() }).cloned() else {
                break;
            };
            let found: Vec<UnionEntry> = (0..)
                .zip(&mut self.sources)
                .filter_map(|(tree, source)| {
                    let entry = source.head.take_if(|entry| entry.key == key)?;
                    Some(UnionEntry { tree, entry })
                })
                .collect();
            if let Some(shown) = (self.choose)(&found) {
                self.left -= 1;
                return Ok(Some(shown.clone()));
            }
        }
        Ok(None)
    }

    /// Sees to it that what comes next of each tree is known.
    fn fill(&mut self) -> Result<(), UnionError> {
        let mut missing = Vec::new();
        for (tree, source) in self.sources.iter_mut().enumerate() {
            let result = source.fill(self.left);
            if let Err(error) = set_aside(tree, result, &mut missing) {
                self.failed = true;
                return Err(error);
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(UnionError::Missing(missing)) }
    }
}

impl<C> Iterator for UnionRange<C>
where
    C: FnMut(&[UnionEntry]) -> Option<&UnionEntry>,
{
    type Item = Result<UnionEntry, UnionError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let entry = Self::next(self);
        self.failed = entry.is_err();
        entry.transpose()
    }
}

impl<C> std::fmt::Debug for UnionRange<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UnionRange").field("trees", &self.sources.len()).finish_non_exhaustive()
    }
}

/// One tree of a union as it is being read.
#[derive(Clone)]
struct Source {
    tree: Tree,
    /// What is left of the range from where `range` began.
    options: RangeOptions,
    range: Range,
    /// How many entries `range` has given.
    given: u64,
    /// The key of the last of them.
    last: Option<Bytes>,
    /// What comes next.
    head: Option<Entry>,
    is_over: bool,
}

impl Source {
    fn new(tree: &Tree, options: &RangeOptions) -> Self {
        Self {
            tree: tree.clone(),
            options: options.clone(),
            range: tree.range(options.clone()),
            given: 0,
            last: None,
            head: None,
            is_over: false,
        }
    }

    /// Reads what comes next, unless it is known.
    ///
    /// The limit of the union is one of this tree too, so that no blocks beyond it are asked for.
    /// But entries may be hidden, by other trees' or by the chooser: then this one goes on, with
    /// room for as many as are wanted, and for more each time, so that it does not begin anew too
    /// often.
    fn fill(&mut self, wanted: u64) -> Result<()> {
        while self.head.is_none() && !self.is_over {
            let entry = self.range.next()?;
            match (entry, self.options.limit) {
                (Some(entry), _) => {
                    self.given += 1;
                    self.last = Some(entry.key.clone());
                    self.head = Some(entry);
                }
                (None, Some(limit)) if self.given >= limit => {
                    let last = self.last.take();
                    let options = &mut self.options;
                    let (exclusive, inclusive) = if options.reverse {
                        (&mut options.lt, &mut options.lte)
                    } else {
                        (&mut options.gt, &mut options.gte)
                    };
                    if last.is_some() {
                        (*exclusive, *inclusive) = (last, None);
                    }
                    options.limit = Some(wanted.max(limit.saturating_mul(2)));
                    self.range = self.tree.range(self.options.clone());
                    self.given = 0;
                }
                (None, _) => self.is_over = true,
            }
        }
        Ok(())
    }
}

/// Puts what a tree lacks beside what others do, and tells whose any other error is.
fn set_aside<T>(
    tree: usize,
    result: Result<T>,
    missing: &mut Vec<MissingBlocks>,
) -> Result<Option<T>, UnionError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(Error::Missing(seqs)) => {
            missing.push(MissingBlocks { tree, seqs });
            Ok(None)
        }
        Err(source) => Err(UnionError::Tree { tree, source }),
    }
}
