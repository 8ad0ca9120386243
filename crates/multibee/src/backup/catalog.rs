//! What a backup holds: the one file of it that ever changes.

use std::collections::BTreeMap;
use std::ops::Range;

use multibee_log::LogKey;
use serde::{Deserialize, Serialize};

/// Name of the format.
const FORMAT: &str = "multibee-backup/1";

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Catalog {
    /// The database's own log.
    pub(super) primary: LogKey,
    /// The copied logs, each once.
    pub(super) logs: Vec<LogEntry>,
    /// Where devices are reached.
    pub(super) addresses: BTreeMap<LogKey, String>,
}

/// The copy of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogEntry {
    pub(super) key: LogKey,
    /// The name of its file.
    pub(super) file: String,
    /// So many bytes of the file count.
    pub(super) bytes: u64,
    pub(super) fork: u64,
    /// The log's length.
    pub(super) length: u64,
    /// The blocks that are there, in order.
    pub(super) held: Vec<Range<u64>>,
}

#[derive(Serialize, Deserialize)]
struct Record {
    format: String,
    primary: String,
    logs: Vec<LogRecord>,
    addresses: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct LogRecord {
    key: String,
    file: String,
    bytes: u64,
    fork: u64,
    length: u64,
    held: Vec<(u64, u64)>,
}

impl Catalog {
    pub(super) fn log(&self, key: &LogKey) -> Option<&LogEntry> {
        self.logs.iter().find(|log| log.key == *key)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let log = |log: &LogEntry| LogRecord {
            key: log.key.to_string(),
            file: log.file.clone(),
            bytes: log.bytes,
            fork: log.fork,
            length: log.length,
            held: log.held.iter().map(|held| (held.start, held.end)).collect(),
        };
        let address = |(key, address): (&LogKey, &String)| (key.to_string(), address.clone());
        let record = Record {
            format: FORMAT.into(),
            primary: self.primary.to_string(),
            logs: self.logs.iter().map(log).collect(),
            addresses: self.addresses.iter().map(address).collect(),
        };
        serde_json::to_vec(&record).expect("numbers and texts are always written")
    }

    /// # Errors
    ///
    /// What is wrong with it.
    pub(super) fn decode(text: &[u8]) -> Result<Self, String> {
        let record: Record = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if record.format != FORMAT {
            return Err(format!("its format is {:?}, this program reads {FORMAT}", record.format));
        }
        let logs = record.logs.into_iter().map(LogEntry::read).collect::<Result<Vec<_>, _>>()?;
        let addresses = record.addresses.into_iter();
        let addresses = addresses.map(|(key, address)| Ok((parse(&key)?, address)));
        let catalog = Self {
            primary: parse(&record.primary)?,
            logs,
            addresses: addresses.collect::<Result<_, String>>()?,
        };
        match catalog.log(&catalog.primary) {
            Some(_) => Ok(catalog),
            None => Err("the database's own log is not in it".into()),
        }
    }
}

impl LogEntry {
    /// Nothing yet of a log.
    pub(super) fn empty(key: LogKey, file: String, fork: u64) -> Self {
        Self { key, file, bytes: 0, fork, length: 0, held: Vec::new() }
    }

    fn read(record: LogRecord) -> Result<Self, String> {
        let LogRecord { key, file, bytes, fork, length, held } = record;
        // A name leads nowhere else.
        if file.is_empty() || !file.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        {
            return Err(format!("{file:?} is no file of a backup"));
        }
        let held: Vec<_> = held.into_iter().map(|(start, end)| start..end).collect();
        let mut end = 0;
        for blocks in &held {
            if blocks.start < end || blocks.end <= blocks.start || blocks.end > length {
                return Err(format!("blocks {blocks:?} of {key} can't be"));
            }
            end = blocks.end;
        }
        Ok(Self { key: parse(&key)?, file, bytes, fork, length, held })
    }
}

fn parse(key: &str) -> Result<LogKey, String> {
    key.parse().map_err(|_| format!("{key:?} is no key"))
}

/// What the first list of ranges has and the second one lacks. Both are in order.
pub(super) fn without(blocks: &[Range<u64>], known: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut left = Vec::new();
    let mut known = known.iter().peekable();
    for blocks in blocks {
        let mut at = blocks.start;
        while at < blocks.end {
            while known.next_if(|known| known.end <= at).is_some() {}
            match known.peek() {
                Some(known) if known.start <= at => at = known.end,
                Some(known) if known.start < blocks.end => {
                    left.push(at..known.start);
                    at = known.end;
                }
                _ => {
                    left.push(at..blocks.end);
                    at = blocks.end;
                }
            }
        }
    }
    left
}

/// Both lists of ranges as one, in order.
pub(super) fn union(mut blocks: Vec<Range<u64>>, more: Vec<Range<u64>>) -> Vec<Range<u64>> {
    blocks.extend(more);
    blocks.sort_by_key(|blocks| blocks.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for blocks in blocks {
        match joined.last_mut().filter(|last| blocks.start <= last.end) {
            Some(last) => last.end = last.end.max(blocks.end),
            None => joined.push(blocks),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn blocks() -> impl Strategy<Value = Vec<Range<u64>>> {
        vec((0..40_u64, 1..6_u64).prop_map(|(start, len)| start..start + len), 0..6)
            .prop_map(|blocks| union(Vec::new(), blocks))
    }

    fn set(blocks: &[Range<u64>]) -> BTreeSet<u64> {
        blocks.iter().cloned().flatten().collect()
    }

    proptest! {
        /// Lists of ranges are sets of blocks.
        #[test]
        fn ranges_are_sets(one in blocks(), other in blocks()) {
            let (a, b) = (set(&one), set(&other));
            prop_assert_eq!(set(&without(&one, &other)), &a - &b);
            let both = union(one, other);
            prop_assert_eq!(set(&both), &a | &b);
            prop_assert!(both.windows(2).all(|pair| pair[0].end < pair[1].start));
        }
    }

    /// A catalog comes back as it was written; one that names what can't be is refused.
    #[test]
    fn a_catalog_comes_back() {
        let key = LogKey::from_bytes([7; 32]);
        let log = LogEntry {
            key,
            file: "abc-1".into(),
            bytes: 99,
            fork: 0,
            length: 9,
            held: vec![0..3, 5..9],
        };
        let addresses = [(key, "host:1".to_owned())].into_iter().collect();
        let catalog = Catalog { primary: key, logs: vec![log], addresses };
        let text = String::from_utf8(catalog.encode()).unwrap();
        assert_eq!(Catalog::decode(text.as_bytes()), Ok(catalog));
        for (old, new) in
            [("abc-1", "../abc"), ("[5,9]", "[2,9]"), ("[5,9]", "[5,10]"), ("backup/1", "backup/2")]
        {
            assert!(Catalog::decode(text.replace(old, new).as_bytes()).is_err(), "{new}");
        }
    }
}
