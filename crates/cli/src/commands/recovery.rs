//! `recovery`, `recover`.

use std::path::Path;
use std::time::Duration;

use multibee::{AddOptions, Error, Home, Multibee, Options, RecoverySecret};
use serde_json::json;

use super::devices::find;
use super::online::runtime;
use crate::args::{Recover, Recovery};
use crate::ask::{confirm, words};
use crate::exit::{Exit, fail};
use crate::output::Output;

pub(super) fn run(db: &Multibee, what: &Recovery, output: &mut Output) -> anyhow::Result<Exit> {
    match what {
        Recovery::Create { yes } => create(db, *yes, output),
        Recovery::Check => check(db, output),
    }
}

fn create(db: &Multibee, yes: bool, output: &mut Output) -> anyhow::Result<Exit> {
    if db.has_recovery() {
        confirm("The database has a recovery secret, which will not count any more.", yes)?;
    }
    let secret = db.create_recovery()?;
    let words = secret.words();
    let numbered: Vec<String> = words
        .split(' ')
        .enumerate()
        .map(|(index, word)| format!("{:2} {word}", index.saturating_add(1)))
        .collect();
    output.print(&json!({ "words": &*words }), &numbered.join("\n"))?;
    eprintln!(
        "Write these words down, in this order, and keep the paper. No device keeps them. Whoever has \
         them can add a device to this database, and remove others."
    );
    Ok(Exit::Ok)
}

fn check(db: &Multibee, output: &mut Output) -> anyhow::Result<Exit> {
    let secret = RecoverySecret::from_words(&words()?)?;
    let is_right = db.check_recovery(&secret);
    let text = if is_right {
        "these words open this database"
    } else {
        "these words are a recovery secret, but not the one of this database"
    };
    output.print(&json!({ "right": is_right }), text)?;
    Ok(if is_right { Exit::Ok } else { Exit::NotFound })
}

/// A new device, with nothing but the words and an address.
pub(super) fn recover(dir: &Path, what: Recover, output: &mut Output) -> anyhow::Result<Exit> {
    let Recover { address, name, lost, timeout } = what;
    let secret = RecoverySecret::from_words(&words()?)?;
    let home = Home::dir(dir);
    // One that was begun and did not reach anybody goes on.
    let db = if home.exists() {
        let path = dir.to_owned();
        let db = Multibee::open(home, Options::default())?;
        if !db.check_recovery(&secret) {
            return Err(Error::AlreadyExists { path }.into());
        }
        if let Some(name) = name {
            db.rename(&db.key(), name)?;
        }
        db
    } else {
        let device = AddOptions { name, ..AddOptions::default() };
        Multibee::recover(home, &secret, Options::default(), device)?
    };
    runtime()?.block_on(async {
        let recovered = async {
            let peer = db.connect(address.as_str()).await?;
            db.set_address(&peer, Some(address.clone()))?;
            let timeout = Duration::from_secs(timeout);
            db.wait_synced(timeout).await?;
            for device in &lost {
                db.remove_with(&secret, &find(&db, device)?)?;
            }
            db.wait_synced(timeout).await?;
            anyhow::Ok(db.status()?)
        };
        let recovered = recovered.await;
        let key = db.key().to_string();
        db.close().await?;
        let status = recovered.map_err(|error| {
            error.context("the new device has begun: run `recover` again to go on with it")
        })?;
        let json = json!({
            "key": key, "digest": status.digest.to_string(), "devices": status.devices.len(),
        });
        output.print(&json, &key)?;
        eprintln!("This is a device of the database now, and has all that {address} has.");
        Ok(Exit::Ok)
    })
}

/// What a removed device wrote and nobody took.
pub(super) fn unmerged(db: &Multibee, output: &mut Output) -> anyhow::Result<Exit> {
    for one in db.unmerged()? {
        let key = std::str::from_utf8(&one.key)
            .map_err(|_| fail(Exit::Usage, "a key is no text: read it from a program"))?;
        let value = one.value.as_deref().map(String::from_utf8_lossy);
        let json = json!({ "key": key, "value": value });
        let text =
            value.map_or_else(|| format!("{key}\t(deleted)"), |value| format!("{key}\t{value}"));
        output.print(&json, &text)?;
    }
    Ok(Exit::Ok)
}
