//! The entries of a union in the order of their keys.

use bytes::Bytes;
use multibee_btree::{Entry as Block, Range};

use crate::Error;
use crate::union::{Fault, Lack, Source, Union, UnionEntry};
use crate::view::RangeSpec;

/// The entries of a [`Union`] in a range of keys, one after the other. Reads of each device one
/// entry further than what was given, and no more.
#[derive(Debug)]
pub struct UnionRange {
    union: Union,
    cursors: Vec<Cursor>,
    reverse: bool,
    remaining: u64,
}

/// Where one source is being read.
#[derive(Debug)]
struct Cursor {
    /// What is left to read, the next part last.
    parts: Vec<Range>,
    /// What comes next.
    head: Option<(Bytes, Block)>,
}

impl UnionRange {
    pub(crate) fn new(union: Union, spec: RangeSpec) -> Self {
        let cursor = |source: &Source| {
            let mut parts = source.parts(&spec);
            if !spec.reverse {
                parts.reverse();
            }
            Cursor { parts, head: None }
        };
        let cursors = union.sources().iter().map(cursor).collect();
        let remaining = spec.limit.unwrap_or(u64::MAX);
        Self { union, cursors, reverse: spec.reverse, remaining }
    }

    /// The next entry, or `None` at the end. Dropping the future loses nothing: the next call goes
    /// on where this one was.
    ///
    /// # Errors
    ///
    /// As [`Union::get`].
    pub async fn next(&mut self) -> Result<Option<UnionEntry>, Error> {
        let Self { union, cursors, reverse, remaining } = self;
        while *remaining > 0 {
            let next = union.waiting_for(|| {
                fill(union.sources(), cursors)?;
                let keys = cursors.iter().filter_map(|cursor| cursor.head.as_ref());
                let keys = keys.map(|(key, _)| key);
                let key = if *reverse { keys.max() } else { keys.min() };
                let Some(key) = key.cloned() else { return Ok(None) };
                let states = states(union.sources(), cursors, &key)?;
                Ok(Some((key, states)))
            });
            let Some((key, states)) = next.await? else { break };
            for cursor in cursors.iter_mut() {
                cursor.head.take_if(|(at, _)| *at == key);
            }
            if let Some(entry) = union.show(key, states) {
                *remaining -= 1;
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }
}

/// Sees to it that what comes next of each source is known.
fn fill(sources: &[Source], cursors: &mut [Cursor]) -> Result<(), Lack> {
    let mut lack = Lack::default();
    for (number, (source, cursor)) in sources.iter().zip(cursors).enumerate() {
        lack.note(number, cursor.fill(source))?;
    }
    lack.or(())
}

/// What each source knows of a key. Those that do not show it may have deleted it.
fn states(
    sources: &[Source],
    cursors: &[Cursor],
    key: &Bytes,
) -> Result<Vec<multibee_merge::State>, Lack> {
    let (mut states, mut lack) = (Vec::new(), Lack::default());
    for (number, (source, cursor)) in sources.iter().zip(cursors).enumerate() {
        let state = match &cursor.head {
            Some((at, block)) if at == key => source.live(block),
            _ => source.state(key),
        };
        states.extend(lack.note(number, state)?);
    }
    lack.or(states)
}

impl Cursor {
    fn fill(&mut self, source: &Source) -> Result<(), Fault> {
        while self.head.is_none()
            && let Some(part) = self.parts.last_mut()
        {
            match part.next()? {
                None => drop(self.parts.pop()),
                Some(block) => self.head = source.key_of(&block).map(|key| (key, block)),
            }
        }
        Ok(())
    }
}
