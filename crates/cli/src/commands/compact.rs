//! `compact`.

use indicatif::{ProgressBar, ProgressStyle};
use multibee::{Multibee, Weight};
use serde_json::{Map, json};

use super::reclaim;
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

/// What a compaction would do.
pub(super) fn estimate(db: &Multibee, output: &mut Output) -> anyhow::Result<Exit> {
    let estimate = db.compact_dry_run()?;
    let devices = db.devices()?;
    let kinds = [
        ("entries", "live", estimate.live),
        ("versions not shown", "conflicts", estimate.conflicts),
        ("deleted keys", "tombstones", estimate.tombstones),
        ("statements", "statements", estimate.statements),
        ("rules", "rules", estimate.rules),
    ];
    let weight = |weight: &Weight| json!({ "count": weight.count, "bytes": weight.bytes });
    let weights: Map<_, _> =
        kinds.iter().map(|(_, field, one)| ((*field).to_owned(), weight(one))).collect();
    let json = json!({
        "dryRun": true,
        "bytesBefore": estimate.bytes_before,
        "bytesAfter": estimate.bytes_after,
        "kinds": weights,
        "historyBytes": estimate.history_bytes(),
        "forgettable": reclaim::to_json(&estimate.forgettable),
        "oldBlocks": reclaim::to_json(&estimate.old_blocks),
    });
    let mut lines = Vec::new();
    for (name, _, Weight { count, bytes, .. }) in kinds {
        lines.push(format!("{name}\t{count}\t{bytes} bytes\ttaken over"));
    }
    lines.push(format!("history\t\t{} bytes\tleft behind", estimate.history_bytes()));
    let (before, after) = (estimate.bytes_before, estimate.bytes_after);
    lines.push(format!("all\t\t{after} bytes, about\t{before} before"));
    lines.push(format!("deleted keys\t{}\treclaim could forget", estimate.forgettable.count));
    let staying = |held| reclaim::staying(held, &devices);
    lines.extend(estimate.forgettable.held_back.iter().map(staying));
    let old = &estimate.old_blocks;
    lines.push(format!("old blocks\t{}\t{} bytes\tcan go afterwards", old.count, old.bytes));
    lines.extend(old.held_back.iter().map(staying));
    output.print(&json, &lines.join("\n"))?;
    Ok(Exit::Ok)
}
