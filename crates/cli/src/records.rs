//! Files of records: JSON lines and tab-separated values.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::Context as _;
use bytes::Bytes;
use serde_json::Value;

use crate::exit::{Exit, fail};

/// One record of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) key: Bytes,
    pub(crate) value: Bytes,
}

/// How the lines of a file are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    JsonLines,
    TabSeparated,
}

impl Format {
    /// The format that a file's name tells.
    pub(crate) fn of(path: &Path) -> anyhow::Result<Self> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("jsonl" | "ndjson") => Ok(Self::JsonLines),
            Some("tsv") => Ok(Self::TabSeparated),
            _ => Err(fail(
                Exit::Usage,
                format!("{}: the name has to end in .jsonl or .tsv", path.display()),
            )),
        }
    }

    /// Reads one line.
    pub(crate) fn parse(self, line: &str) -> Result<Record, String> {
        match self {
            Self::JsonLines => parse_json(line),
            Self::TabSeparated => {
                let (key, value) = line.split_once('\t').ok_or("no tab between key and value")?;
                Ok(Record { key: key.to_owned().into(), value: value.to_owned().into() })
            }
        }
    }
}

/// The records of a file with their line numbers, from 1. Empty lines are passed over.
pub(crate) struct Records<R> {
    lines: std::io::Lines<R>,
    format: Format,
    line: u64,
}

/// Opens a file of records.
pub(crate) fn open(path: &Path) -> anyhow::Result<Records<BufReader<File>>> {
    let format = Format::of(path)?;
    let file = File::open(path).with_context(|| path.display().to_string())?;
    Ok(Records::new(BufReader::new(file), format))
}

impl<R: BufRead> Records<R> {
    pub(crate) fn new(reader: R, format: Format) -> Self {
        Self { lines: reader.lines(), format, line: 0 }
    }
}

impl<R: BufRead> Iterator for Records<R> {
    /// A line's number with its record, or with what is wrong with it.
    type Item = (u64, Result<Record, String>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let line = self.lines.next()?;
            self.line += 1;
            match line {
                Ok(line) if line.trim().is_empty() => {}
                Ok(line) => return Some((self.line, self.format.parse(&line))),
                Err(error) => return Some((self.line, Err(error.to_string()))),
            }
        }
    }
}

fn parse_json(line: &str) -> Result<Record, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let Value::Object(object) = value else { return Err("not a JSON object".into()) };
    let key = bytes_of(object.get("key"), object.get("keyHex"))?.ok_or("no \"key\"")?;
    let value = bytes_of(object.get("value"), object.get("valueHex"))?.ok_or("no \"value\"")?;
    Ok(Record { key, value })
}

/// The bytes of a field: a string's own, anything else's JSON text, or what its hex form says.
fn bytes_of(plain: Option<&Value>, hex: Option<&Value>) -> Result<Option<Bytes>, String> {
    match (plain, hex) {
        (Some(Value::String(text)), _) => Ok(Some(text.clone().into())),
        (Some(other), _) => Ok(Some(other.to_string().into())),
        (None, Some(Value::String(digits))) => {
            let bytes = hex::decode(digits).map_err(|error| format!("bad hex digits: {error}"))?;
            Ok(Some(bytes.into()))
        }
        (None, Some(_)) => Err("hex digits have to stand in a string".into()),
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text;

    fn json(text: &str) -> Vec<(u64, Result<Record, String>)> {
        Records::new(text.as_bytes(), Format::JsonLines).collect()
    }

    /// Strings are taken as they are, other values as their JSON text.
    #[test]
    fn values_are_text_or_json() {
        let read = json("{\"key\":\"a\",\"value\":\"x\"}\n\n{\"key\":\"b\",\"value\":{\"n\":1}}\n");
        let [(1, Ok(a)), (3, Ok(b))] = &read[..] else { panic!("{read:?}") };
        assert_eq!((&a.value[..], &b.value[..]), (&b"x"[..], &b"{\"n\":1}"[..]));
    }

    /// A bad line is named by its number, and says what is wrong.
    #[test]
    fn bad_lines_are_named() {
        for bad in
            ["{\"key\":\"a\"}", "[]", "{", "{\"value\":1}", "{\"key\":\"a\",\"valueHex\":\"x\"}"]
        {
            let read = json(&format!("{{\"key\":\"a\",\"value\":1}}\n{bad}\n"));
            assert!(matches!(&read[..], [(1, Ok(_)), (2, Err(_))]), "{bad}: {read:?}");
        }
        let tsv: Vec<_> = Records::new(&b"a\tb\nc\n"[..], Format::TabSeparated).collect();
        assert!(matches!(&tsv[..], [(1, Ok(_)), (2, Err(_))]));
    }

    /// Bytes that are no text survive the way out and in again.
    #[test]
    fn records_round_trip() {
        for (key, value) in [(&b"k"[..], &b"v"[..]), (b"\xff\x00", b""), (b"", b"\xfe")] {
            let line = Value::Object(text::record(key, value)).to_string();
            let record = Format::JsonLines.parse(&line).unwrap();
            assert_eq!((&record.key[..], &record.value[..]), (key, value));
        }
    }
}
