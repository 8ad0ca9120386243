//! `status`, `verify`.

use multibee::{Multibee, SyncStatus};
use serde_json::{Map, Value, json};

use super::sources;
use crate::exit::{Exit, fail};
use crate::output::Output;

pub(super) fn status(db: &Multibee, output: &mut Output) -> anyhow::Result<Exit> {
    let status = db.status()?;
    let conflicts = db.conflicts()?.len();
    let stuck: Vec<_> = status.devices.iter().filter(|device| device.stuck.is_some()).collect();
    let sources: Vec<Value> = status.sources.iter().map(sources::to_json).collect();
    let clock: Map<String, Value> =
        status.clock.iter().map(|(device, at)| (device.to_string(), at.length.into())).collect();
    let json = json!({
        "key": status.key.to_string(), "device": status.device.to_string(),
        "blocks": status.length, "bytes": status.bytes, "conflicts": conflicts,
        "devices": status.devices.iter().filter(|device| !device.removed).count(),
        "clock": clock, "digest": status.digest.to_string(),
        "behind": status.sync.remaining, "notMerged": status.not_merged,
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
    if status.not_merged > 0 {
        lines.push(format!("not merged {} versions: see not-merged", status.not_merged));
    }
    for (device, at) in status.clock.iter() {
        let own = if device == status.device { "  (this device)" } else { "" };
        lines.push(format!("applied    {device}  {} blocks{own}", at.length));
    }
    if status.sync.remaining > 0 {
        let SyncStatus { remaining, total, .. } = status.sync;
        lines.push(format!("behind     {remaining} of {total} blocks of news"));
    }
    lines.extend(status.sources.iter().map(sources::to_text));
    for device in stuck {
        let why = device.stuck.as_deref().unwrap_or_default();
        lines.push(format!("stuck      {}  {why}", device.id));
    }
    output.print(&json, &lines.join("\n"))?;
    Ok(Exit::Ok)
}

pub(super) fn verify(db: &Multibee, output: &mut Output) -> anyhow::Result<Exit> {
    let bar = super::backups::bar()?;
    let audited = db.audit(|done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let audited = audited?;
    let faults: Vec<_> = audited
        .iter()
        .flat_map(|audit| audit.findings.iter().map(|found| format!("{}: {found:?}", audit.key)))
        .collect();
    if !faults.is_empty() {
        return Err(fail(Exit::Integrity, format!("damaged: {}", faults.join(", "))));
    }
    let scan = db.verify()?;
    let blocks: u64 = audited.iter().map(|audit| audit.blocks).sum();
    let json = json!({
        "keys": scan.keys, "conflicts": scan.conflicts, "bytes": scan.bytes,
        "digest": scan.digest.to_string(), "logs": audited.len(), "blocks": blocks,
    });
    let text = format!(
        "{} keys, {} in conflict, {} bytes, digest {}: as committed, {blocks} blocks as signed",
        scan.keys, scan.conflicts, scan.bytes, scan.digest
    );
    output.print(&json, &text)?;
    Ok(Exit::Ok)
}
