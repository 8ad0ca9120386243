//! `patch`, `incr`, `set`.

use multibee::Multibee;
use serde_json::json;

use crate::args::SetChange;
use crate::exit::Exit;
use crate::output::Output;
use crate::text;

pub(super) fn patch(
    db: &Multibee,
    key: &str,
    fields: String,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let value = db.patch(key, fields)?;
    let object = text::record(key.as_bytes(), &value);
    output.print(&object.into(), &text::shown(&value))?;
    Ok(Exit::Ok)
}

pub(super) fn increment(
    db: &Multibee,
    key: &str,
    by: i64,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let sum = db.increment(key, by)?.to_string();
    output.print(&json!({ "key": key, "value": sum }), &sum)?;
    Ok(Exit::Ok)
}

pub(super) fn set(db: &Multibee, change: SetChange, output: &mut Output) -> anyhow::Result<Exit> {
    let (key, changed) = match change {
        SetChange::Insert { key, element } => {
            let changed = db.set_insert(&key, element)?;
            (key, changed)
        }
        SetChange::Remove { key, element } => {
            let changed = db.set_remove(&key, element)?;
            (key, changed)
        }
    };
    if output.is_json() {
        output.print(&json!({ "key": key, "changed": changed }), "")?;
    }
    Ok(Exit::Ok)
}
