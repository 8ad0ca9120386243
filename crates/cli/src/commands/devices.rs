//! `init`, `adopt`, `devices`, `add`, `remove`.

use std::path::Path;

use comfy_table::Table;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use multibee::{Home, LogKey, Multibee, Options};
use serde_json::json;

use crate::exit::{Exit, fail};
use crate::output::Output;

pub(super) fn init(dir: &Path, output: &mut Output) -> anyhow::Result<Exit> {
    let db = Multibee::create(Home::dir(dir), Options::default())?;
    let key = db.key().to_string();
    let json = json!({ "key": key, "device": db.device().to_string() });
    output.print(&json, &key)?;
    eprintln!(
        "Created a database in {}. Its key is above: add it on your other devices.",
        dir.display()
    );
    Ok(Exit::Ok)
}

pub(super) fn adopt(dir: &Path, output: &mut Output) -> anyhow::Result<Exit> {
    let db = Multibee::adopt(Home::dir(dir), Options::default())?;
    let key = db.key().to_string();
    output.print(&json!({ "key": key, "device": db.device().to_string() }), &key)?;
    eprintln!("{} is the original now. Never use the other one again.", dir.display());
    Ok(Exit::Ok)
}

pub(super) fn list(db: &Multibee, output: &mut Output) -> anyhow::Result<Exit> {
    let devices = db.devices()?;
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY);
    table.set_header(["device", "name", "key", "address", "applied", "known", "state"]);
    for device in devices {
        let state = match (&device.stuck, device.is_self, device.removed) {
            (Some(why), ..) => format!("stuck: {why}"),
            (None, true, false) => "this device".into(),
            (None, true, true) => "this device, removed".into(),
            (None, false, true) => "removed".into(),
            (None, false, false) => "member".into(),
        };
        if output.is_json() {
            let json = json!({
                "device": device.id.to_string(), "key": device.key.to_string(),
                "name": device.name, "address": device.address, "applied": device.applied,
                "known": device.known, "self": device.is_self, "removed": device.removed,
                "stuck": device.stuck,
            });
            output.print(&json, "")?;
        }
        table.add_row([
            device.id.to_string(),
            device.name.unwrap_or_default(),
            device.key.to_string(),
            device.address.unwrap_or_default(),
            device.applied.to_string(),
            device.known.to_string(),
            state,
        ]);
    }
    if !output.is_json() {
        output.print(&json!(null), &table.to_string())?;
    }
    Ok(Exit::Ok)
}

pub(super) fn add(
    db: &Multibee,
    device: &str,
    name: Option<String>,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let (key, address) = match device.split_once('@') {
        Some((key, address)) => (key, Some(checked_address(address)?)),
        None => (device, None),
    };
    let key = parse_key(key)?;
    db.add_named(key, name)?;
    if address.is_some() {
        db.set_address(&key, address)?;
    }
    if output.is_json() {
        output.print(&json!({ "key": key.to_string() }), "")?;
    }
    eprintln!("Added. That device has to add this one, too: {}", db.key());
    Ok(Exit::Ok)
}

pub(super) fn remove(db: &Multibee, key: &str, output: &mut Output) -> anyhow::Result<Exit> {
    let key = parse_key(key)?;
    db.remove_replica(&key)?;
    db.set_address(&key, None)?;
    if output.is_json() {
        output.print(&json!({ "key": key.to_string(), "removed": true }), "")?;
    }
    Ok(Exit::Ok)
}

pub(super) fn parse_key(text: &str) -> anyhow::Result<LogKey> {
    text.parse().map_err(|_| {
        fail(
            Exit::Usage,
            format!("{text:?} is no key: a key has 52 characters, as `init` prints it"),
        )
    })
}

fn checked_address(address: &str) -> anyhow::Result<String> {
    let port = address.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    if matches!(port, Some(Ok(_))) {
        return Ok(address.to_owned());
    }
    Err(fail(Exit::Usage, format!("{address:?} is no address: it has to be HOST:PORT")))
}
