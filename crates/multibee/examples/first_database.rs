//! A database on this machine: writing, reading, many changes at once.
//!
//!     cargo run -p multibee --example first_database

use std::error::Error;

use multibee::{Home, Multibee, Options, RangeSpec};

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;

    let home = Home::dir(dir.path().join("a"));
    let db = Multibee::create(home.clone(), Options::default())?;
    db.put("milk", "two")?;
    db.put("bread", "rye")?;
    if let Some(entry) = db.get("milk")? {
        println!("milk: {}", String::from_utf8_lossy(&entry.value));
    }

    for entry in db.range(RangeSpec::prefix(b"b"))? {
        let entry = entry?;
        println!("{:?} = {:?}", entry.key, entry.value);
    }

    let mut batch = db.batch();
    batch.put("apples", "four").put("plums", "many").del("bread");
    batch.commit()?;
    assert_eq!(db.get("bread")?, None);

    drop(db);
    let db = Multibee::open(home, Options::default())?;
    let scan = db.verify()?;
    println!("{} keys, digest {}", scan.keys, scan.digest);
    Ok(())
}
