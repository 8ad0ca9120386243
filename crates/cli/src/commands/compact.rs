//! `compact`.

use indicatif::{ProgressBar, ProgressStyle};
use multibee::Multibee;
use serde_json::json;

use crate::ask::confirm;
use crate::exit::Exit;
use crate::output::Output;

/// Parts of the bar: what is told is a fraction.
const STEPS: u64 = 1000;

pub(super) fn compact(db: &Multibee, yes: bool, output: &mut Output) -> anyhow::Result<Exit> {
    confirm("Earlier versions are gone for this device then, and it gets another key.", yes)?;
    let bar = ProgressBar::new(STEPS);
    bar.set_style(ProgressStyle::with_template("{wide_bar} {percent}%, {msg} keys, {eta}")?);
    let done = db.compact(|progress| {
        bar.set_position((progress.fraction * STEPS as f64) as u64);
        bar.set_message(progress.keys.to_string());
    });
    bar.finish_and_clear();
    let done = done?;
    let key = db.key().to_string();
    let json = json!({
        "key": key, "keys": done.keys,
        "bytesBefore": done.bytes_before, "bytesAfter": done.bytes_after,
    });
    let text = format!(
        "{} keys: {} bytes of blocks, {} before\n{key}",
        done.keys, done.bytes_after, done.bytes_before
    );
    output.print(&json, &text)?;
    Ok(Exit::Ok)
}
