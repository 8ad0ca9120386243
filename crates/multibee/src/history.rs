//! What was done to the data, commit by commit.

use multibee_btree::Tree;
use multibee_merge::Time;

use crate::at_time::commit_at;
use crate::changes::Changes;
use crate::format;
use crate::view::{RangeSpec, View};
use crate::{Error, Multibee};

/// Which part of the history to give, and in which order. The default is all of it, from the first
/// commit on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryOptions {
    /// Only what came after this version.
    pub since: Option<u64>,
    /// Only what came up to this version.
    pub until: Option<u64>,
    /// Only changes of these keys. `reverse` and `limit` of it are not heeded.
    pub range: RangeSpec,
    /// From the last commit to the first.
    pub reverse: bool,
    /// At most so many commits.
    pub limit: Option<u64>,
}

/// Changes that became visible together: a write of this device, or what it merged at once.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The version that it made, as for [`Multibee::checkout`].
    pub version: u64,
    /// Whether it holds what was merged from others, or is shown by other rules now. If not, this
    /// device wrote it.
    pub is_merge: bool,
    /// When it was made, by this device's hybrid clock: `None` if an early version of this program did.
    pub at: Option<Time>,
    /// The keys in the range that it changed, and who wrote that.
    pub changes: Changes,
}

/// The commits of this device's log, in order, read as they are asked for. Made by
/// [`View::history`].
#[derive(Debug)]
pub struct History {
    /// Every version that is read has its parts from here.
    view: View,
    range: RangeSpec,
    /// Ends of commits: what is left lies between them.
    since: u64,
    until: u64,
    reverse: bool,
    remaining: u64,
    prefix_len: usize,
}

impl Multibee {
    /// What this device wrote and merged, commit by commit, up to now. See [`View::history`].
    ///
    /// # Errors
    ///
    /// As [`View::history`].
    pub fn history(&self, options: HistoryOptions) -> Result<History, Error> {
        self.view()?.history(options)
    }
}

impl View {
    /// What this device wrote and merged, commit by commit, up to this version: which keys each
    /// commit changed, what they showed before and after, and who wrote that.
    ///
    /// A commit that changes nothing in the range is passed over, as are those of bookkeeping only.
    /// What devices wrote in between, and had written over themselves before this device merged it,
    /// was never shown here and is in their own histories only.
    ///
    /// ```
    /// # use multibee::{HistoryOptions, Home, Multibee, Options};
    /// let db = Multibee::create(Home::memory(), Options::default())?;
    /// db.put("bread", "rye")?;
    /// db.put("bread", "none")?;
    /// db.del("bread")?;
    ///
    /// let mut shown = Vec::new();
    /// for commit in db.history(HistoryOptions { reverse: true, ..HistoryOptions::default() })? {
    ///     for changed in commit?.changes {
    ///         shown.push(changed?.now.map(|entry| entry.value));
    ///     }
    /// }
    /// assert_eq!(shown, [None, Some("none".into()), Some("rye".into())]);
    /// # Ok::<(), multibee::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotAVersion`] blames the caller. The iterator's items fail if this machine's disk, or
    /// its content, is at fault.
    pub fn history(&self, options: HistoryOptions) -> Result<History, Error> {
        let HistoryOptions { since, until, range, reverse, limit } = options;
        let end = |version: u64| Ok::<_, Error>(self.at_version(version)?.version());
        let since = since.map_or(Ok(1), end)?;
        let until = until.map_or(Ok(self.version()), end)?.min(self.version());
        let range = RangeSpec { reverse: false, limit: None, ..range };
        let remaining = limit.unwrap_or(u64::MAX);
        Ok(History { view: self.clone(), range, since, until, reverse, remaining, prefix_len: 0 })
    }
}

impl History {
    /// The same with keys that lack their first bytes.
    pub(crate) fn without_prefix(self, prefix_len: usize) -> Self {
        Self { prefix_len, ..self }
    }

    fn advance(&mut self) -> Result<Option<Commit>, Error> {
        while self.remaining > 0 && self.since < self.until {
            let tree = self.view.tree();
            let span = if self.reverse {
                Span::ending(tree, self.until - 1)?
            } else {
                Span::around(tree, self.since)?
            };
            let now = self.view.at_version(span.end)?;
            let before = self.view.at_version(span.first)?;
            let changes = now.changes_since(&before, self.range.clone())?;
            let is_empty = changes.is_empty()?;
            if self.reverse {
                self.until = span.first;
            } else {
                self.since = span.end;
            }
            if !is_empty {
                self.remaining -= 1;
                return Ok(Some(Commit {
                    version: span.end,
                    is_merge: span.is_merge,
                    at: span.at,
                    changes: changes.without_prefix(self.prefix_len),
                }));
            }
        }
        Ok(None)
    }
}

impl Iterator for History {
    type Item = Result<Commit, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance();
        if next.is_err() {
            self.remaining = 0;
        }
        next.transpose()
    }
}

/// The blocks of one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: u64,
    pub(crate) end: u64,
    pub(crate) is_merge: bool,
    pub(crate) at: Option<Time>,
}

impl Span {
    /// The commit that this block is in. Looks at no more blocks than it has.
    pub(crate) fn around(tree: &Tree, seq: u64) -> Result<Self, Error> {
        for last in seq..tree.version() {
            if let Some(commit) = commit_at(tree, last)? {
                return Self::of(tree, last, seq, &commit);
            }
        }
        Err(Error::bad_record(seq, &"no commit ends behind it"))
    }

    /// The commit that ends with this block.
    fn ending(tree: &Tree, last: u64) -> Result<Self, Error> {
        match commit_at(tree, last)? {
            Some(commit) => Self::of(tree, last, last, &commit),
            None => Err(Error::bad_record(last, &"it ends no commit")),
        }
    }

    /// `within` is a block of it that is known.
    fn of(tree: &Tree, last: u64, within: u64, commit: &format::Commit) -> Result<Self, Error> {
        let first = match commit.own_first {
            Some(first) if (1..=within).contains(&first) => first,
            Some(first) => return Err(Error::bad_record(last, &format!("it begins at {first}"))),
            None => {
                let mut first = within;
                // Block 0 is the header.
                while first > 1 && commit_at(tree, first - 1)?.is_none() {
                    first -= 1;
                }
                first
            }
        };
        let at = commit.at.map(Time::from_u64);
        Ok(Self { first, end: last + 1, is_merge: commit.own_first.is_none(), at })
    }
}
