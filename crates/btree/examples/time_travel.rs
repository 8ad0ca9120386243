//! Reads a tree as it was, and what has changed since.
//!
//!     cargo run -p multibee-btree --example time_travel

use std::error::Error;

use multibee_btree::{Action, Bee, BeeOptions, HistoryOptions, RangeOptions, Tree};
use multibee_log::{KeyPair, Log, LogOptions, MemoryStorage};

fn print(title: &str, tree: &Tree) -> Result<(), Box<dyn Error>> {
    println!("{title} (version {}):", tree.version());
    for entry in tree.range(RangeOptions::default()) {
        let entry = entry?;
        println!("    {:?} = {:?}", entry.key, entry.value.unwrap_or_default());
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let log = Log::create(MemoryStorage::new(), KeyPair::generate(), LogOptions::default())?;
    let bee = Bee::open(log, BeeOptions::default())?;

    let mut batch = bee.batch()?;
    for (key, value) in [("bread", "rye"), ("milk", "two"), ("tea", "green")] {
        batch.put(key.as_bytes(), Some(value), "")?;
    }
    let monday = batch.flush()?;
    bee.del(b"milk")?;
    bee.put(b"tea", Some("black"))?;
    bee.put(b"salt", Some("sea"))?;

    let (then, now) = (bee.checkout(monday)?, bee.snapshot()?);
    print("monday", &then)?;
    print("now", &now)?;

    println!("what has changed:");
    for change in now.diff(&then, RangeOptions::default())? {
        let change = change?;
        let key = change.key().clone();
        match (change.left, change.right) {
            (Some(_), None) => println!("    {key:?} is new"),
            (None, Some(_)) => println!("    {key:?} was deleted"),
            _ => println!("    {key:?} is another one"),
        }
    }

    println!("how it came to be, newest first:");
    let options =
        HistoryOptions { gte: Some(monday.try_into()?), reverse: true, ..Default::default() };
    for record in bee.history(options) {
        let record = record?;
        let word = if record.action == Action::Put { "put" } else { "deleted" };
        println!("    block {}: {word} {:?}", record.entry.seq, record.entry.key);
    }
    Ok(())
}
