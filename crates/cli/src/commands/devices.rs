//! `init`, `adopt`, `devices`, `add`, `rename`, `remove`, `retire`.

use std::path::Path;

use comfy_table::Table;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use multibee::{AddOptions, Device, Error, Home, LogKey, Multibee, Options};
use serde_json::json;

use crate::ask::confirm;
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
    table.set_header(["device", "name", "key", "address", "role", "applied", "known", "state"]);
    for device in devices {
        let state = state(&device);
        if output.is_json() {
            let json = json!({
                "device": device.id.to_string(), "key": device.key.to_string(),
                "name": device.name, "address": device.address, "applied": device.applied,
                "known": device.known, "self": device.is_self, "removed": device.removed,
                "stuck": device.stuck, "role": device.role.to_string(), "retired": device.retired,
                "removedBy": device.removed_by.map(|key| key.to_string()),
                "successor": device.successor.map(|key| key.to_string()),
                "connected": device.connected, "wroteMs": device.wrote_ms,
            });
            output.print(&json, "")?;
        }
        table.add_row([
            device.id.to_string(),
            device.name.unwrap_or_default(),
            device.key.to_string(),
            device.address.unwrap_or_default(),
            device.role.to_string(),
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

fn state(device: &Device) -> String {
    if let Some(why) = &device.stuck {
        return format!("stuck: {why}");
    }
    let is = if device.removed {
        "removed"
    } else if device.successor.is_some() {
        "goes on under another key"
    } else if device.retired {
        "retired"
    } else {
        "member"
    };
    match (device.is_self, device.is_active()) {
        (true, true) => "this device".into(),
        (true, false) => format!("this device, {is}"),
        (false, _) => is.into(),
    }
}

pub(super) fn add(
    db: &Multibee,
    device: &str,
    options: AddOptions,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let (key, address) = match device.split_once('@') {
        Some((key, address)) => (key, Some(checked_address(address)?)),
        None => (device, None),
    };
    let key = parse_key(key)?;
    db.add_with(key, options)?;
    if address.is_some() {
        db.set_address(&key, address)?;
    }
    if output.is_json() {
        output.print(&json!({ "key": key.to_string() }), "")?;
    }
    eprintln!("Added. That device has to add this one, too: {}", db.key());
    Ok(Exit::Ok)
}

pub(super) fn rename(
    db: &Multibee,
    device: &str,
    name: String,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let key = find(db, device)?;
    db.rename(&key, name)?;
    if output.is_json() {
        output.print(&json!({ "key": key.to_string() }), "")?;
    }
    Ok(Exit::Ok)
}

pub(super) fn remove(
    db: &Multibee,
    device: &str,
    yes: bool,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let key = find(db, device)?;
    let what = "Nothing that it writes and this database does not have yet will be taken.";
    confirm(&format!("{} will be removed. {what}", called(db, &key)?), yes)?;
    db.remove_replica(&key)?;
    db.set_address(&key, None)?;
    if output.is_json() {
        output.print(&json!({ "key": key.to_string(), "removed": true }), "")?;
    }
    eprintln!("Removed. It keeps what it has. The others learn of it when they meet this device.");
    Ok(Exit::Ok)
}

pub(super) fn retire(
    db: &Multibee,
    device: &str,
    yes: bool,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let key = find(db, device)?;
    confirm(&format!("{} will not be waited for any more.", called(db, &key)?), yes)?;
    db.retire(&key)?;
    if output.is_json() {
        output.print(&json!({ "key": key.to_string(), "retired": true }), "")?;
    }
    Ok(Exit::Ok)
}

/// What a device is called, for people.
fn called(db: &Multibee, key: &LogKey) -> anyhow::Result<String> {
    let device = db.devices()?.into_iter().find(|device| device.key == *key);
    let name = device.and_then(|device| device.name);
    Ok(name.map_or_else(|| key.to_string(), |name| format!("{name} ({key})")))
}

/// The device with this name, short id or key. One that takes part goes before one that did.
pub(super) fn find(db: &Multibee, text: &str) -> anyhow::Result<LogKey> {
    let devices = db.devices()?;
    let is_meant =
        |device: &&Device| device.name.as_deref() == Some(text) || device.id.to_string() == text;
    let found: Vec<&Device> = devices.iter().filter(is_meant).collect();
    let active: Vec<&Device> = found.iter().copied().filter(|one| one.is_active()).collect();
    match (&active[..], &found[..]) {
        ([one], _) | ([], [one]) => Ok(one.key),
        ([], []) => {
            let unknown = format!("{text:?} is neither a device nor a key: see `devices`");
            let key = parse_key(text).map_err(|_| fail(Exit::NotFound, unknown))?;
            let is_known = devices.iter().any(|device| device.key == key);
            if is_known { Ok(key) } else { Err(Error::UnknownDevice { key }.into()) }
        }
        _ => Err(fail(Exit::Usage, format!("several devices are called {text:?}: say the key"))),
    }
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
