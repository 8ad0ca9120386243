//! `conflicts`, `resolve`, `not-merged`.

use bytes::Bytes;
use multibee::{Choice, Conflict, Dot, Multibee, NotMerged, Version};
use serde_json::{Map, Value};

use crate::args::{At, Resolve};
use crate::exit::{Exit, fail};
use crate::output::Output;
use crate::text;
use crate::when;

pub(super) fn conflicts(
    db: &Multibee,
    prefix: Option<String>,
    at: &At,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let mut count = 0_u64;
    for conflict in when::view(db, at.when)?.conflicts_under(prefix.unwrap_or_default().as_bytes())
    {
        let conflict = conflict?;
        output.print(&conflict_json(&conflict), &conflict_text(&conflict))?;
        count += 1;
    }
    if count == 0 {
        return Ok(Exit::Ok);
    }
    eprintln!("{count} keys are in conflict. To settle one, put or del its key, or use resolve.");
    Ok(Exit::Conflict)
}

fn conflict_json(conflict: &Conflict) -> Value {
    let versions = conflict.versions.iter().enumerate().map(|(at, version)| {
        let mut object = Map::new();
        if let Some(value) = version.value() {
            text::insert(&mut object, "value", value);
        }
        object.insert("deleted".into(), (!version.is_live()).into());
        object.insert("version".into(), version.dot.to_string().into());
        object.insert("device".into(), version.dot.device.to_string().into());
        object.insert("timeMs".into(), version.time.millis().into());
        object.insert("shown".into(), (conflict.shown == Some(at)).into());
        Value::Object(object)
    });
    let mut object = Map::new();
    text::insert(&mut object, "key", &conflict.key);
    object.insert("versions".into(), versions.collect());
    object.into()
}

fn conflict_text(conflict: &Conflict) -> String {
    let line = |(at, version): (usize, &Version)| {
        let mark = if conflict.shown == Some(at) { '*' } else { ' ' };
        let what = version.value().map_or("(deleted)".into(), |value| text::shown(value));
        let when = text::time(version.time.millis());
        format!("\n  {mark} {}  {when}  {what}", version.dot)
    };
    let versions: String = conflict.versions.iter().enumerate().map(line).collect();
    format!("{}{versions}", text::shown(&conflict.key))
}

pub(super) fn resolve(
    db: &Multibee,
    resolve: Resolve,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let Resolve { key, by } = resolve;
    let Some(conflict) = db.conflict(&key)? else {
        eprintln!("multibee: {key}: not in conflict");
        return Ok(Exit::NotFound);
    };
    let choice = match (by.pick, by.value) {
        (Some(pick), _) => Choice::Version(picked(&conflict, &pick)?),
        (None, Some(value)) => Choice::Value(Bytes::from(value)),
        (None, None) => Choice::Delete,
    };
    db.resolve(&key, choice)?;
    if output.is_json() {
        let mut object = Map::new();
        object.insert("key".into(), key.as_str().into());
        if let Some(entry) = db.get(&key)? {
            text::insert(&mut object, "value", &entry.value);
        }
        output.print(&object.into(), "")?;
    }
    Ok(Exit::Ok)
}

/// The version that is named as `conflicts` prints it.
fn picked(conflict: &Conflict, name: &str) -> anyhow::Result<Dot> {
    let named = conflict.versions.iter().find(|version| version.dot.to_string() == name);
    let none = || fail(Exit::NotFound, format!("{name}: no version of this key: see conflicts"));
    named.map(|version| version.dot).ok_or_else(none)
}

pub(super) fn not_merged(db: &Multibee, output: &mut Output) -> anyhow::Result<Exit> {
    for NotMerged { key, dot, time, kind, reason } in db.not_merged()? {
        let mut object = Map::new();
        text::insert(&mut object, "key", &key);
        object.insert("version".into(), dot.to_string().into());
        object.insert("timeMs".into(), time.millis().into());
        object.insert("type".into(), kind.into());
        object.insert("reason".into(), reason.as_str().into());
        let when = text::time(time.millis());
        output.print(&object.into(), &format!("{}  {dot}  {when}  {reason}", text::shown(&key)))?;
    }
    Ok(Exit::Ok)
}
