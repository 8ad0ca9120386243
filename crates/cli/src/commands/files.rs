//! `import`, `export`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use multibee::{Multibee, RangeSpec};
use serde_json::{Value, json};

use crate::args::At;
use crate::exit::{Exit, fail};
use crate::output::Output;
use crate::records::{self, Format};
use crate::text;
use crate::when;

/// Records in one commit.
pub(crate) const RECORDS_PER_COMMIT: usize = 1000;

pub(super) fn import(db: &Multibee, file: &Path, output: &mut Output) -> anyhow::Result<Exit> {
    let progress = ProgressBar::new_spinner();
    progress.set_style(ProgressStyle::with_template("{spinner} {pos} records, {per_sec}")?);
    let mut done = Done::default();
    let result = import_records(db, file, &mut done, |records| progress.set_position(records));
    progress.finish_and_clear();
    let summary = format!(
        "{} records went in{}",
        done.records,
        if done.line > 0 { format!(", lines 1 to {}", done.line) } else { String::new() }
    );
    match result {
        Ok(()) => {
            let json = json!({ "records": done.records, "lines": done.line });
            output.print(&json, &summary)?;
            Ok(Exit::Ok)
        }
        // The cause tells the exit code; the message begins with what is wrong.
        Err(error) => {
            let what = crate::output::chain(&error);
            Err(error.context(format!("{}: {what}; {summary}, nothing after that", file.display())))
        }
    }
}

/// How far an import has come: what is committed.
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    records: u64,
    /// The last line whose record went in.
    line: u64,
}

fn import_records(
    db: &Multibee,
    file: &Path,
    done: &mut Done,
    progress: impl Fn(u64),
) -> anyhow::Result<()> {
    let mut records = records::open(file)?.peekable();
    while records.peek().is_some() {
        let mut batch = db.batch();
        let mut last_line = done.line;
        let mut bad = None;
        for (line, record) in records.by_ref().take(RECORDS_PER_COMMIT) {
            match record {
                Ok(record) => batch.put(&record.key, record.value),
                Err(what) => {
                    bad = Some((line, what));
                    break;
                }
            };
            last_line = line;
        }
        // What stands before a bad line is good, and goes in.
        let count = batch.len() as u64;
        batch.commit().with_context(|| format!("lines {} to {last_line}", done.line + 1))?;
        *done = Done { records: done.records + count, line: last_line };
        progress(done.records);
        if let Some((line, what)) = bad {
            return Err(fail(Exit::Usage, format!("line {line}: {what}")));
        }
    }
    Ok(())
}

pub(super) fn export(
    db: &Multibee,
    file: Option<&Path>,
    at: &At,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let view = when::view(db, at.when)?;
    let Some(path) = file else {
        for entry in view.range(RangeSpec::default()) {
            let entry = entry?;
            let record = Value::Object(text::record(&entry.key, &entry.value));
            output.print(&record, &record.to_string())?;
        }
        return Ok(Exit::Ok);
    };
    let format = Format::of(path)?;
    let new = path.with_extension("new");
    let mut writer = BufWriter::new(File::create(&new).with_context(|| new.display().to_string())?);
    let mut count = 0_u64;
    for entry in view.range(RangeSpec::default()) {
        let entry = entry?;
        write_record(&mut writer, format, &entry.key, &entry.value)?;
        count += 1;
    }
    writer.flush().with_context(|| new.display().to_string())?;
    // The file is whole, or the one that was there before.
    std::fs::rename(&new, path).with_context(|| path.display().to_string())?;
    output.print(&json!({ "records": count }), &format!("{count} records"))?;
    Ok(Exit::Ok)
}

fn write_record(
    writer: &mut impl Write,
    format: Format,
    key: &[u8],
    value: &[u8],
) -> anyhow::Result<()> {
    match format {
        Format::JsonLines => {
            writeln!(writer, "{}", Value::Object(text::record(key, value)))?;
        }
        Format::TabSeparated => {
            let fits = |bytes: &[u8]| {
                std::str::from_utf8(bytes).is_ok() && !bytes.iter().any(|b| b"\t\n\r".contains(b))
            };
            if !fits(key) || !fits(value) {
                let what = format!(
                    "{}: no text without tabs and line ends; export it as .jsonl",
                    text::shown(key)
                );
                return Err(fail(Exit::Usage, what));
            }
            writer.write_all(&[key, b"\t", value, b"\n"].concat())?;
        }
    }
    Ok(())
}
