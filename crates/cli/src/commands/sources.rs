//! `sources`, `add-source`, `remove-source`.

use multibee::{Multibee, Source};
use serde_json::{Value, json};

use super::devices::parse_key;
use crate::exit::Exit;
use crate::output::Output;

pub(super) fn list(db: &Multibee, output: &mut Output) -> anyhow::Result<Exit> {
    for source in db.sources() {
        output.print(&to_json(&source), &to_text(&source))?;
    }
    Ok(Exit::Ok)
}

pub(super) fn add(
    db: &Multibee,
    key: &str,
    name: Option<String>,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let key = parse_key(key)?;
    db.add_source(key, name)?;
    if output.is_json() {
        output.print(&json!({ "key": key.to_string() }), "")?;
    }
    eprintln!("Added. It is read while this or another device runs serve --source ADDR.");
    Ok(Exit::Ok)
}

pub(super) fn remove(db: &Multibee, key: &str, output: &mut Output) -> anyhow::Result<Exit> {
    let key = parse_key(key)?;
    db.remove_source(&key)?;
    if output.is_json() {
        output.print(&json!({ "key": key.to_string(), "removed": true }), "")?;
    }
    Ok(Exit::Ok)
}

pub(super) fn to_json(source: &Source) -> Value {
    json!({
        "key": source.key.to_string(), "name": source.name, "removed": source.removed,
        "applied": source.applied, "known": source.known, "stuck": source.stuck,
    })
}

pub(super) fn to_text(source: &Source) -> String {
    let name = source.name.as_deref().unwrap_or_default();
    let state = match (&source.stuck, source.removed) {
        (Some(why), _) => format!("stuck: {why}"),
        (None, true) => "removed".to_owned(),
        (None, false) => format!("{} of {} blocks", source.applied, source.known),
    };
    format!("source     {}  {name}  {state}", source.id)
}
