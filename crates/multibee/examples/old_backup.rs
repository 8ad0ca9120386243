//! Backs a database up, loses it, and puts the backup back.
//!
//!     cargo run -p multibee --example old_backup

use std::error::Error;

use multibee::{BackupOptions, Home, Multibee, Options};

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let place = tempfile::tempdir()?;
    let backup = place.path().join("backup");

    let db = Multibee::create(Home::dir(place.path().join("db")), Options::default())?;
    db.put("milk", "two litres")?;
    let done = db.backup(&backup, &BackupOptions::default(), |_| {})?;
    println!("version {}: {} bytes", done.version, done.bytes);

    db.put("bread", "one")?;
    let done = db.backup(&backup, &BackupOptions::default(), |progress| {
        println!("{} of {} blocks", progress.blocks, progress.total);
    })?;
    println!("version {}: {} bytes, {} of them new", done.version, done.bytes, done.bytes_written);

    db.put("salt", "after the backup")?;
    let old_key = db.key();
    drop(db);

    let home = Home::dir(place.path().join("new disk"));
    Multibee::restore(&backup, &home, |_| {})?;
    let db = Multibee::open(home, Options::default())?;
    assert_ne!(db.key(), old_key);
    assert_eq!(db.get("bread")?.map(|entry| entry.value), Some("one".into()));
    assert_eq!(db.get("salt")?, None);
    Ok(())
}
