//! How far the devices are, and whether they hold the same.

use std::path::Path;
use std::time::Duration;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, Table};
use multibee::{Digest, RangeSpec};
use serde_json::{Value, json};

use super::Device;

/// How far a device has merged what the others wrote, in blocks.
pub(super) struct Progress {
    pub(super) done: u64,
    pub(super) total: u64,
}

/// Compares what each device has applied with what the others have written.
pub(super) fn progress(devices: &[Device]) -> anyhow::Result<Vec<Progress>> {
    let statuses =
        devices.iter().map(|device| device.db.status()).collect::<Result<Vec<_>, _>>()?;
    let progress = statuses.iter().map(|status| {
        let others = statuses.iter().filter(|other| other.device != status.device);
        others.fold(Progress { done: 0, total: 0 }, |sum, other| Progress {
            done: sum.done + status.clock.length(other.device),
            total: sum.total + other.clock.length(other.device),
        })
    });
    Ok(progress.collect())
}

/// One device's line in the final table.
pub(super) struct Row {
    name: &'static str,
    keys: u64,
    conflicts: usize,
    own_blocks: u64,
    blocks_downloaded: u64,
    bytes_sent: u64,
    bytes_received: u64,
    digest: Digest,
    time: Duration,
}

impl Row {
    /// Reads everything that the device holds, and checks it against its last commit.
    pub(super) fn of(device: &Device) -> anyhow::Result<Self> {
        let scan = device.db.verify()?;
        let status = device.db.status()?;
        Ok(Self {
            name: device.name,
            keys: scan.keys,
            conflicts: device.db.conflicts()?.len(),
            own_blocks: status.length,
            blocks_downloaded: status.blocks_downloaded,
            bytes_sent: status.bytes_sent,
            bytes_received: status.bytes_received,
            digest: scan.digest,
            time: device.caught_up_in,
        })
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "device": self.name, "keys": self.keys, "conflicts": self.conflicts,
            "ownBlocks": self.own_blocks, "blocksDownloaded": self.blocks_downloaded,
            "bytesSent": self.bytes_sent, "bytesReceived": self.bytes_received,
            "digest": self.digest.to_string(), "seconds": self.time.as_secs_f64(),
        })
    }
}

pub(super) fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY);
    table.set_header([
        "device",
        "keys",
        "conflicts",
        "own blocks",
        "downloaded",
        "sent B",
        "received B",
        "digest",
        "time",
    ]);
    for row in rows {
        table.add_row([
            row.name.to_owned(),
            row.keys.to_string(),
            row.conflicts.to_string(),
            row.own_blocks.to_string(),
            row.blocks_downloaded.to_string(),
            row.bytes_sent.to_string(),
            row.bytes_received.to_string(),
            row.digest.to_string(),
            format!("{:.2} s", row.time.as_secs_f64()),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

/// What differs between the devices, by a full scan of each; `None` if nothing does.
pub(super) fn differences(devices: &[Device], rows: &[Row]) -> anyhow::Result<Option<String>> {
    let (Some((first, others)), Some(row)) = (devices.split_first(), rows.first()) else {
        return Ok(None);
    };
    for (other, other_row) in others.iter().zip(rows.iter().skip(1)) {
        let differs =
            |what: &str| Ok(Some(format!("{} and {} differ in {what}", first.name, other.name)));
        if row.digest != other_row.digest {
            return differs("their digests");
        }
        if first.db.conflicts()? != other.db.conflicts()? {
            return differs("their conflicts");
        }
        let mut ours = first.db.range(RangeSpec::default())?;
        let mut theirs = other.db.range(RangeSpec::default())?;
        loop {
            let (our, their) = (ours.next().transpose()?, theirs.next().transpose()?);
            let seen = |entry: &multibee::Entry| {
                (entry.key.clone(), entry.value.clone(), entry.device, entry.time)
            };
            if our.as_ref().map(seen) != their.as_ref().map(seen) {
                let key = our.or(their).map(|entry| entry.key).unwrap_or_default();
                return differs(&format!("key {}", crate::text::shown(&key)));
            }
            if our.is_none() {
                break;
            }
        }
    }
    Ok(None)
}

/// Commands to try on what the demo leaves.
pub(super) fn next_steps(out: &Path, key: &str) -> Vec<String> {
    let program = std::env::args().next().unwrap_or_else(|| "multibee".into());
    let step =
        |name: &str, rest: &str| format!("{program} --dir {} {rest}", out.join(name).display());
    vec![
        step("phone", "ls --limit 5"),
        step("laptop", &format!("get {key}")),
        step("cloud", "conflicts"),
        step("phone", "status"),
    ]
}
