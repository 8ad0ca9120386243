//! `reclaim`.

use multibee::{Device, HeldBack, Multibee, ReclaimOptions, ReclaimReport, Reclaimed};
use serde_json::{Value, json};

use crate::args;
use crate::ask::confirm;
use crate::exit::Exit;
use crate::output::Output;

pub(super) fn reclaim(
    db: &Multibee,
    reclaim: &args::Reclaim,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let mut options = ReclaimOptions::default();
    options.even_for_others = reclaim.even_for_others;
    options.dry_run = reclaim.dry_run || !reclaim.yes;
    let report = db.reclaim(&options)?;
    let devices = db.devices()?;
    if reclaim.dry_run || reclaim.yes {
        return print(&report, &devices, reclaim.dry_run, output);
    }
    for line in lines(&report, &devices, true) {
        eprintln!("{line}");
    }
    confirm("What is listed is gone then.", false)?;
    options.dry_run = false;
    print(&db.reclaim(&options)?, &devices, false, output)
}

fn print(
    report: &ReclaimReport,
    devices: &[Device],
    is_dry_run: bool,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let json = json!({
        "dryRun": is_dry_run,
        "tombstones": to_json(&report.tombstones),
        "replicaBlocks": to_json(&report.replica_blocks),
    });
    output.print(&json, &lines(report, devices, is_dry_run).join("\n"))?;
    Ok(Exit::Ok)
}

pub(super) fn to_json(reclaimed: &Reclaimed) -> Value {
    let held_back = reclaimed.held_back.iter().map(|held| {
        json!({
            "reason": format!("{:?}", held.reason),
            "device": held.device.map(|key| key.to_string()),
            "count": held.count,
            "bytes": held.bytes,
        })
    });
    let held_back: Vec<_> = held_back.collect();
    json!({ "count": reclaimed.count, "bytes": reclaimed.bytes, "heldBack": held_back })
}

fn lines(report: &ReclaimReport, devices: &[Device], is_dry_run: bool) -> Vec<String> {
    let kinds =
        [("deleted keys", &report.tombstones), ("blocks of other devices", &report.replica_blocks)];
    let verb = if is_dry_run { "could go" } else { "given back" };
    let mut lines = Vec::new();
    for (name, reclaimed) in kinds {
        let Reclaimed { count, bytes, held_back, .. } = reclaimed;
        lines.push(format!("{name}\t{count}\t{bytes} bytes\t{verb}"));
        lines.extend(held_back.iter().map(|held| staying(held, devices)));
    }
    lines
}

pub(super) fn staying(held: &HeldBack, devices: &[Device]) -> String {
    let HeldBack { reason, device, count, bytes, .. } = held;
    let who = device.map(|key| {
        let device = devices.iter().find(|device| device.key == key);
        let name = device.and_then(|device| device.name.clone());
        name.unwrap_or_else(|| key.to_string())
    });
    let who = who.map_or_else(String::new, |who| format!("{who}: "));
    format!("\t{count}\t{bytes} bytes\tstay: {who}{reason}")
}
