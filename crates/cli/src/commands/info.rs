//! `status`, `conflicts`, `verify`.

use multibee::{Conflict, Multibee, Source, SyncStatus, Version};
use serde_json::{Map, Value, json};

use crate::exit::Exit;
use crate::output::Output;
use crate::text;

pub(super) fn status(db: &Multibee, output: &mut Output) -> anyhow::Result<Exit> {
    let status = db.status()?;
    let conflicts = db.conflicts()?.len();
    let stuck: Vec<_> = status.devices.iter().filter(|device| device.stuck.is_some()).collect();
    let sources: Vec<Value> = status.sources.iter().map(source_json).collect();
    let clock: Map<String, Value> =
        status.clock.iter().map(|(device, at)| (device.to_string(), at.length.into())).collect();
    let json = json!({
        "key": status.key.to_string(), "device": status.device.to_string(),
        "blocks": status.length, "bytes": status.bytes, "conflicts": conflicts,
        "devices": status.devices.iter().filter(|device| !device.removed).count(),
        "clock": clock, "digest": status.digest.to_string(),
        "behind": status.sync.remaining,
        "sources": sources,
        "stuck": stuck.iter().map(|device| device.key.to_string()).collect::<Vec<_>>(),
    });
    let mut lines = vec![
        format!("key        {}", status.key),
        format!("device     {}", status.device),
        format!("log        {} blocks, {} bytes", status.length, status.bytes),
        format!("conflicts  {conflicts}"),
        format!("digest     {}", status.digest),
    ];
    for (device, at) in status.clock.iter() {
        let own = if device == status.device { "  (this device)" } else { "" };
        lines.push(format!("applied    {device}  {} blocks{own}", at.length));
    }
    if status.sync.remaining > 0 {
        let SyncStatus { remaining, total, .. } = status.sync;
        lines.push(format!("behind     {remaining} of {total} blocks of news"));
    }
    lines.extend(status.sources.iter().map(source_text));
    for device in stuck {
        let why = device.stuck.as_deref().unwrap_or_default();
        lines.push(format!("stuck      {}  {why}", device.id));
    }
    output.print(&json, &lines.join("\n"))?;
    Ok(Exit::Ok)
}

fn source_json(source: &Source) -> Value {
    json!({
        "key": source.key.to_string(), "name": source.name, "removed": source.removed,
        "applied": source.applied, "known": source.known, "stuck": source.stuck,
    })
}

fn source_text(source: &Source) -> String {
    let name = source.name.as_deref().unwrap_or_default();
    let state = match (&source.stuck, source.removed) {
        (Some(why), _) => format!("stuck: {why}"),
        (None, true) => "removed".to_owned(),
        (None, false) => format!("{} of {} blocks", source.applied, source.known),
    };
    format!("source     {}  {name}  {state}", source.id)
}

pub(super) fn conflicts(db: &Multibee, output: &mut Output) -> anyhow::Result<Exit> {
    let conflicts = db.conflicts()?;
    for conflict in &conflicts {
        output.print(&conflict_json(conflict), &conflict_text(conflict))?;
    }
    if conflicts.is_empty() {
        return Ok(Exit::Ok);
    }
    eprintln!("{} keys are in conflict. To resolve one, put or del its key.", conflicts.len());
    Ok(Exit::Conflict)
}

fn conflict_json(conflict: &Conflict) -> Value {
    let versions = conflict.versions.iter().enumerate().map(|(at, version)| {
        let mut object = Map::new();
        if let Some(value) = version.value() {
            text::insert(&mut object, "value", value);
        }
        object.insert("deleted".into(), (!version.is_live()).into());
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
        format!("\n  {mark} {}  {when}  {what}", version.dot.device)
    };
    let versions: String = conflict.versions.iter().enumerate().map(line).collect();
    format!("{}{versions}", text::shown(&conflict.key))
}

pub(super) fn verify(db: &Multibee, output: &mut Output) -> anyhow::Result<Exit> {
    let scan = db.verify()?;
    let json = json!({
        "keys": scan.keys, "conflicts": scan.conflicts, "bytes": scan.bytes,
        "digest": scan.digest.to_string(),
    });
    let text = format!(
        "{} keys, {} in conflict, {} bytes, digest {}: as committed",
        scan.keys, scan.conflicts, scan.bytes, scan.digest
    );
    output.print(&json, &text)?;
    Ok(Exit::Ok)
}
