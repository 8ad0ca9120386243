//! The project's sample data, and entries as the Node programs print them.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::root;

pub(super) type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// `data/iso3166.jsonl`: key and JSON text of the value.
pub(super) fn entries() -> Result<Entries> {
    let path = root().join("data/iso3166.jsonl");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    text.lines().map(parse).collect()
}

fn parse(line: &str) -> Result<(Vec<u8>, Vec<u8>)> {
    let record: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
    let key = record["key"].as_str().with_context(|| line.to_owned())?;
    Ok((key.into(), record["value"].to_string().into_bytes()))
}

/// Entries that a Node program printed, in ascending order.
pub(super) fn from_lines(lines: &[Value]) -> Result<Entries> {
    let mut entries = Entries::new();
    for line in lines {
        let field = |name: &str| {
            let text = line[name].as_str().with_context(|| format!("no {name} in {line}"))?;
            hex::decode(text).with_context(|| format!("{name} in {line}"))
        };
        let key = field("key")?;
        let last = entries.last_key_value().map(|(last, _)| last);
        ensure!(last.is_none_or(|last| *last < key), "out of order: {line}");
        entries.insert(key, field("value")?);
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_sample_is_what_its_page_says() {
        let entries = entries().unwrap();
        assert_eq!(entries.len(), 5295);
        assert!(entries.contains_key(&b"country/FR"[..]));
    }

    #[test]
    fn printed_entries_are_read_in_order_only() {
        let (a, b) = (json!({"key": "61", "value": ""}), json!({"key": "62", "value": "00"}));
        assert_eq!(from_lines(&[a.clone(), b.clone()]).unwrap().len(), 2);
        assert!(from_lines(&[b, a]).is_err());
        assert!(from_lines(&[json!({"key": "61", "missing": true})]).is_err());
    }
}
