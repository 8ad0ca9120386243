//! Our side of a script: what `bee-script.mjs` does, with our own tree.

use anyhow::{Context, Result};
use multibee_btree::{
    Action, Batch, Bee, Change, Entry, HistoryOptions, RangeOptions, Record, Tree,
};
use serde_json::{Value, json};

use super::script::{Bounds, Cas, HistoryBounds, Operation, Query, Step};

/// Takes all steps. Returns the log's length after each, and what the reads in them gave.
pub(super) fn take(bee: &Bee, steps: &[Step]) -> Result<(Vec<u64>, Vec<Value>)> {
    let (mut lengths, mut reads) = (Vec::new(), Vec::new());
    for step in steps {
        match step {
            Step::Single(Operation::Get { key }) => reads.push(get(&bee.snapshot()?, key)?),
            Step::Single(Operation::Range(bounds)) => reads.push(range(&bee.snapshot()?, bounds)?),
            Step::Single(operation) => {
                let mut batch = bee.batch()?;
                stage(&mut batch, operation)?;
                batch.flush()?;
            }
            Step::Batch { operations, close } => {
                let mut batch = bee.batch()?;
                for operation in operations {
                    reads.extend(stage(&mut batch, operation)?);
                }
                if !close {
                    batch.flush()?;
                }
            }
        }
        lengths.push(bee.log().len());
    }
    Ok((lengths, reads))
}

/// Answers all questions.
pub(super) fn answer(bee: &Bee, queries: &[Query]) -> Result<Vec<Value>> {
    queries.iter().map(|query| answer_one(bee, query)).collect()
}

fn answer_one(bee: &Bee, query: &Query) -> Result<Value> {
    match query {
        Query::Read { version, operation: Operation::Get { key } } => {
            get(&bee.checkout(*version)?, key)
        }
        Query::Read { version, operation: Operation::Range(bounds) } => {
            range(&bee.checkout(*version)?, bounds)
        }
        Query::Read { .. } => unreachable!("a put or a deletion is no question"),
        Query::Diff { left, right, bounds } => {
            let right = bee.checkout(*right)?;
            let changes = bee.checkout(*left)?.diff(&right, options(bounds))?.map(|change| {
                let Change { left, right } = change?;
                Ok(json!([left.as_ref().map(show), right.as_ref().map(show)]))
            });
            changes.collect()
        }
        Query::History { bounds, .. } => {
            let records = bee.history(history_options(bounds)).map(|record| {
                let Record { action, entry } = record?;
                let mut shown = show(&entry);
                let name = match action {
                    Action::Put => "put",
                    Action::Del => "del",
                };
                shown.as_array_mut().context("an entry is a list")?.push(name.into());
                Ok(shown)
            });
            records.collect()
        }
    }
}

/// Whether an answer of Node's to a get is one that it gives now and then for a key that was
/// deleted: an entry that the key once had. (Section 5 of docs/spec/btree.md.)
pub(super) fn is_stale_get(bee: &Bee, ours: &Value, theirs: &Value) -> Result<bool> {
    let Some([Value::Array(found)]) = theirs.as_array().map(Vec::as_slice) else {
        return Ok(false);
    };
    let seq = found.first().and_then(Value::as_u64).context("an entry without a number")?;
    let told = bee.get_by_seq(seq)?.map(|entry| show(&entry));
    Ok(*ours == json!([]) && told.as_ref() == Some(&json!(found)))
}

fn get(tree: &Tree, key: &[u8]) -> Result<Value> {
    Ok(tree.get(key)?.iter().map(show).collect())
}

fn range(tree: &Tree, bounds: &Bounds) -> Result<Value> {
    tree.range(options(bounds)).map(|entry| Ok(show(&entry?))).collect()
}

/// Stages an operation, or reads within the batch.
fn stage(batch: &mut Batch, operation: &Operation) -> Result<Option<Value>> {
    match operation {
        Operation::Put { key, value, cas: None } => drop(batch.put(key, value.clone(), "")?),
        Operation::Put { key, value, cas: Some(cas) } => {
            batch
                .put_if(key, value.clone(), "", |before, after| cas.agrees(before, Some(after)))?;
        }
        Operation::Del { key, cas: None } => drop(batch.del(key, "")?),
        Operation::Del { key, cas: Some(cas) } => {
            batch.del_if(key, "", |before| cas.agrees(before, None))?;
        }
        Operation::Get { key } => return Ok(Some(batch.get(key)?.iter().map(show).collect())),
        Operation::Range(bounds) => {
            let found = batch.range(options(bounds))?.map(|entry| Ok(show(&entry?)));
            return found.collect::<Result<_>>().map(Some);
        }
    }
    Ok(None)
}

impl Cas {
    /// What the condition says of an entry, and of the one that would replace it, if any would.
    fn agrees(self, before: &Entry, after: Option<&Entry>) -> bool {
        match self {
            Self::Yes => true,
            Self::No => false,
            Self::Diff => before.value.as_ref() != after.and_then(|entry| entry.value.as_ref()),
        }
    }
}

fn options(bounds: &Bounds) -> RangeOptions {
    let bound = |key: &Option<Vec<u8>>| key.clone().map(Into::into);
    RangeOptions {
        gt: bound(&bounds.gt),
        gte: bound(&bounds.gte),
        lt: bound(&bounds.lt),
        lte: bound(&bounds.lte),
        reverse: bounds.reverse,
        limit: bounds.limit,
    }
}

fn history_options(bounds: &HistoryBounds) -> HistoryOptions {
    let HistoryBounds { gt, gte, lt, lte, reverse, limit } = *bounds;
    HistoryOptions { gt, gte, lt, lte, reverse, limit, live: false }
}

/// An entry as Node shows it.
fn show(entry: &Entry) -> Value {
    json!([entry.seq, hex::encode(&entry.key), entry.value.as_ref().map(hex::encode)])
}
