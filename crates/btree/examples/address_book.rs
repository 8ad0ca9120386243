//! An address book: people by name, many changes in one commit, and a look at how it was before.
//!
//! Run with `cargo run -p multibee-btree --example address_book`.

use bytes::Bytes;
use multibee_btree::{Bee, BeeOptions, Error, RangeOptions, Tree};
use multibee_log::{KeyPair, Log, LogOptions, MemoryStorage};

fn main() -> Result<(), Error> {
    // A log in memory; `FileStorage` would keep it in a folder.
    let log = Log::create(MemoryStorage::default(), KeyPair::generate(), LogOptions::default())?;
    let book = Bee::open(log, BeeOptions::default())?;

    // Everything in a batch becomes visible at once, or, if the program stops before, never.
    let mut batch = book.batch()?;
    for (name, city) in
        [("ada", "London"), ("alan", "Manchester"), ("edsger", "Austin"), ("grace", "Arlington")]
    {
        batch.put(name.as_bytes(), Some(city), "")?;
    }
    let first_edition = batch.flush()?;

    // Single changes are commits of their own.
    book.put(b"alan", Some("Bletchley"))?;
    book.del(b"edsger")?;

    println!("now:");
    print(&book.snapshot()?, RangeOptions::default())?;

    // Every version is still there, as long as the log is.
    println!("first edition, names in a:");
    let bounds = RangeOptions {
        gte: Some(Bytes::from_static(b"a")),
        lt: Some(Bytes::from_static(b"b")),
        ..RangeOptions::default()
    };
    print(&book.checkout(first_edition)?, bounds)
}

fn print(tree: &Tree, range: RangeOptions) -> Result<(), Error> {
    for entry in tree.range(range) {
        let entry = entry?;
        let city = entry.value.unwrap_or_default();
        println!(
            "  {} lives in {} (block {})",
            String::from_utf8_lossy(&entry.key),
            String::from_utf8_lossy(&city),
            entry.seq
        );
    }
    Ok(())
}
