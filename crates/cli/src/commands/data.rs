//! `put`, `get`, `del`, `ls`.

use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use bytes::Bytes;
use multibee::{Entry, MAX_VALUE_LEN, Multibee, PLAIN, RangeSpec};
use serde_json::{Value, json};

use crate::args::{self, At};
use crate::exit::Exit;
use crate::output::Output;
use crate::text;
use crate::when;

pub(super) fn put(db: &Multibee, put: args::Put, output: &mut Output) -> anyhow::Result<Exit> {
    let value = match (put.value, put.file) {
        (Some(value), _) => Bytes::from(value),
        (None, Some(file)) => read_value(&file)?,
        (None, None) => Bytes::new(),
    };
    let mut batch = db.batch();
    if put.if_absent || put.if_value.is_some() {
        batch.expect(&put.key, put.if_value.as_deref().map(str::as_bytes));
    }
    match put.kind {
        Some(kind) => batch.put_typed(&put.key, kind, value),
        None => batch.put(&put.key, value),
    };
    batch.commit()?;
    if output.is_json() {
        output.print(&json!({ "key": put.key }), "")?;
    }
    Ok(Exit::Ok)
}

/// Reads a value, but no more of it than can be stored.
fn read_value(file: &Path) -> anyhow::Result<Bytes> {
    let mut value = Vec::new();
    let most = MAX_VALUE_LEN as u64 + 1;
    if file == Path::new("-") {
        std::io::stdin().lock().take(most).read_to_end(&mut value).context("standard input")?;
    } else {
        let opened = std::fs::File::open(file).with_context(|| file.display().to_string())?;
        opened.take(most).read_to_end(&mut value).with_context(|| file.display().to_string())?;
    }
    Ok(value.into())
}

pub(super) fn get(
    db: &Multibee,
    key: &str,
    (raw, all): (bool, bool),
    at: &At,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let view = when::view(db, at.when)?;
    let entries = if all {
        view.get_all(key.as_bytes())?
    } else {
        view.get(key.as_bytes())?.into_iter().collect()
    };
    let Some(first) = entries.first() else {
        eprintln!("multibee: {key}: not found");
        return Ok(Exit::NotFound);
    };
    if first.conflicts > 0 {
        eprintln!("multibee: {key}: in conflict, see `multibee conflicts`");
    }
    for entry in &entries {
        if output.is_json() {
            output.print(&entry_json(entry), "")?;
        } else {
            output.raw(&entry.value)?;
            if !raw {
                output.raw(b"\n")?;
            }
        }
    }
    Ok(Exit::Ok)
}

fn entry_json(entry: &Entry) -> Value {
    let mut object = text::record(&entry.key, &entry.value);
    object.insert("seq".into(), entry.seq.into());
    object.insert("device".into(), entry.device.to_string().into());
    object.insert("timeMs".into(), entry.time.millis().into());
    object.insert("conflicts".into(), entry.conflicts.into());
    if entry.kind != PLAIN {
        object.insert("type".into(), entry.kind.into());
    }
    object.into()
}

pub(super) fn del(db: &Multibee, keys: &[String], output: &mut Output) -> anyhow::Result<Exit> {
    let mut batch = db.batch();
    keys.iter().for_each(|key| {
        batch.del(key);
    });
    let mut exit = Exit::Ok;
    for (key, there) in keys.iter().zip(batch.commit()?) {
        if !there {
            eprintln!("multibee: {key}: not found");
            exit = Exit::NotFound;
        }
        if output.is_json() {
            output.print(&json!({ "key": key, "deleted": there }), "")?;
        }
    }
    Ok(exit)
}

pub(super) fn ls(db: &Multibee, ls: args::Ls, output: &mut Output) -> anyhow::Result<Exit> {
    let mut spec = RangeSpec::prefix(ls.prefix.unwrap_or_default().as_bytes());
    if let Some(from) = ls.from.map(Bytes::from) {
        spec.gte = Some(spec.gte.map_or(from.clone(), |gte| gte.max(from)));
    }
    if let Some(to) = ls.to.map(Bytes::from) {
        spec.lt = Some(spec.lt.map_or(to.clone(), |lt| lt.min(to)));
    }
    spec.reverse = ls.reverse;
    spec.limit = ls.limit;
    let view = when::view(db, ls.at.when)?;
    if ls.count {
        let count = view.count(spec)?;
        output.print(&json!({ "count": count }), &count.to_string())?;
        return Ok(Exit::Ok);
    }
    for entry in view.range(spec) {
        let entry = entry?;
        let line = format!("{}\t{}", text::shown(&entry.key), text::shown(&entry.value));
        output.print(&entry_json(&entry), &line)?;
    }
    Ok(Exit::Ok)
}
