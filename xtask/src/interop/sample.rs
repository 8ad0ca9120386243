//! The project's sample data, and entries as the Node programs print them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::root;

pub(super) type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// A line of `data/iso3166.jsonl`.
#[derive(Deserialize)]
struct Record {
    key: String,
    value: Value,
}

/// The file with the sample.
pub(super) fn path() -> PathBuf {
    root().join("data/iso3166.jsonl")
}

/// Its entries: key and JSON text of the value.
pub(super) fn entries() -> Result<Entries> {
    let path = path();
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    text.lines().map(parse).collect()
}

fn parse(line: &str) -> Result<(Vec<u8>, Vec<u8>)> {
    let record: Record = serde_json::from_str(line).with_context(|| line.to_owned())?;
    Ok((record.key.into_bytes(), record.value.to_string().into_bytes()))
}

/// A line that `bee-read.mjs` prints: an entry, or something else.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Line {
    /// In hex, as `value` is.
    pub(super) key: Option<String>,
    pub(super) value: Option<String>,
    /// There is no entry with the key.
    pub(super) missing: bool,
    /// From now on every change is told.
    pub(super) following: bool,
    /// In the last line: of the log, in blocks.
    pub(super) length: Option<u64>,
    /// In the last line: how many were downloaded.
    pub(super) blocks: Option<u64>,
    /// In the last line: how many were named by the server's hints.
    pub(super) hinted: Option<u64>,
}

/// Entries that `bee-read.mjs` printed, in ascending order.
pub(super) fn from_lines(lines: &[Line]) -> Result<Entries> {
    let mut entries = Entries::new();
    for line in lines {
        let (Some(key), Some(value)) = (&line.key, &line.value) else {
            bail!("not an entry: {line:?}");
        };
        let key = hex::decode(key)?;
        let last = entries.last_key_value().map(|(last, _)| last);
        ensure!(last.is_none_or(|last| *last < key), "out of order: {line:?}");
        entries.insert(key, hex::decode(value)?);
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(key: &str, value: Option<&str>) -> Line {
        let (key, value) = (Some(key.to_owned()), value.map(str::to_owned));
        Line { key, value, ..Line::default() }
    }

    #[test]
    fn the_sample_is_what_its_page_says() {
        let entries = entries().unwrap();
        assert_eq!(entries.len(), 5295);
        assert!(entries.contains_key(&b"country/FR"[..]));
    }

    #[test]
    fn printed_entries_are_read_in_order_only() {
        let (a, b) = (|| line("61", Some("")), || line("62", Some("00")));
        assert_eq!(from_lines(&[a(), b()]).unwrap().len(), 2);
        assert!(from_lines(&[b(), a()]).is_err());
        assert!(from_lines(&[line("61", None)]).is_err());
    }
}
