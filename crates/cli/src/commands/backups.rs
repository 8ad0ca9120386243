//! `backup`, `restore`.

use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use multibee::{BackupOptions, BackupProgress, Home, Multibee};
use serde_json::json;

use crate::exit::Exit;
use crate::output::Output;

pub(super) fn backup(
    db: &Multibee,
    path: &Path,
    replicas: bool,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let options = match replicas {
        true => BackupOptions::with_replicas(),
        false => BackupOptions::default(),
    };
    let bar = bar()?;
    let done = db.backup(path, &options, |progress| tell(&bar, progress));
    bar.finish_and_clear();
    let done = done?;
    let json = json!({
        "version": done.version, "logs": done.logs,
        "bytes": done.bytes, "bytesWritten": done.bytes_written,
    });
    let text = format!(
        "version {} is in {}: {} bytes, {} of them new",
        done.version,
        path.display(),
        done.bytes,
        done.bytes_written
    );
    output.print(&json, &text)?;
    eprintln!("It holds this device's key: keep it as you keep the database.");
    Ok(Exit::Ok)
}

pub(super) fn restore(dir: &Path, path: &Path, output: &mut Output) -> anyhow::Result<Exit> {
    let bar = bar()?;
    let home = Home::dir(dir);
    let done = Multibee::restore(path, &home, |progress| tell(&bar, progress));
    bar.finish_and_clear();
    done?;
    // It goes on in a fresh log from here.
    let db = super::open(dir)?;
    let key = db.key().to_string();
    output.print(&json!({ "key": key, "device": db.device().to_string() }), &key)?;
    eprintln!("{} is a device of its own: the others learn so when they meet it.", dir.display());
    Ok(Exit::Ok)
}

pub(super) fn bar() -> anyhow::Result<ProgressBar> {
    let bar = ProgressBar::new(0);
    bar.set_style(ProgressStyle::with_template("{wide_bar} {pos}/{len} blocks, {eta}")?);
    Ok(bar)
}

fn tell(bar: &ProgressBar, progress: BackupProgress) {
    bar.set_length(progress.total);
    bar.set_position(progress.blocks);
}
