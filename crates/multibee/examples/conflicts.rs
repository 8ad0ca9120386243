//! Two devices write one key while apart: both versions are kept, until somebody settles it.
//!
//!     cargo run -p multibee --example conflicts

use std::error::Error;
use std::time::Duration;

use multibee::{Choice, Home, Map, Multibee, Options, Role, Rule};

/// Two devices that have admitted each other, and are apart.
fn devices() -> Result<[Multibee; 2], multibee::Error> {
    let phone = Multibee::create(Home::memory(), Options::default())?;
    let laptop = Multibee::create(Home::memory(), Options::default())?;
    phone.add_replica(laptop.key())?;
    laptop.add_replica(phone.key())?;
    Ok([phone, laptop])
}

async fn meet(phone: &Multibee, laptop: &Multibee) -> Result<(), multibee::Error> {
    let (one_end, other_end) = tokio::io::duplex(64 * 1024);
    phone.attach(one_end, Role::Initiator);
    laptop.attach(other_end, Role::Responder);
    phone.wait_synced(Duration::from_secs(10)).await
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let [phone, laptop] = devices()?;
    phone.put("milk", "three")?;
    laptop.put("milk", "none")?;

    phone.put_map("note", r#"{"title":"Milk","done":false}"#)?; // a JSON object
    phone.increment("visits", 1)?;
    laptop.increment("visits", 2)?;
    phone.set_insert("tags", r#""shop""#)?;
    laptop.set_insert("tags", r#""list""#)?;

    phone.set_rule("note/", Rule::kind(Map::KIND))?; // plain puts write JSON objects
    phone.set_rule("lock/", Rule::strategy("delete-wins"))?; // a delete beats a concurrent edit
    phone.set_rule("draft/", Rule::strategy("keep-all"))?; // `get_all` gives every value
    phone.put("draft/1", "mine")?;
    laptop.put("draft/1", "yours")?;

    meet(&phone, &laptop).await?;
    for db in [&phone, &laptop] {
        let visits = db.get("visits")?.map(|entry| entry.value);
        let tags = db.get("tags")?.map(|entry| entry.value);
        println!("visits {visits:?}, tags {tags:?}, drafts {}", db.get_all("draft/1")?.len());
    }

    for conflict in phone.conflicts()? {
        println!("{:?}", conflict.key);
        for (number, version) in conflict.versions.iter().enumerate() {
            let is_shown = conflict.shown == Some(number);
            println!("  {} {:?} {is_shown}", version.dot.device, version.value());
        }
    }

    if let Some(conflict) = laptop.conflict("milk")? {
        let theirs = conflict.versions.iter().find(|one| one.dot.device == phone.device());
        if let Some(version) = theirs {
            laptop.resolve("milk", Choice::Version(version.dot))?;
        }
    }
    laptop.patch("note", r#"{"done":true}"#)?; // changes this field only
    laptop.wait_synced(Duration::from_secs(10)).await?;

    for key in ["milk", "note"] {
        println!("{key}: {:?}", phone.get(key)?.map(|entry| entry.value));
    }
    println!("settled: {}", phone.conflict("milk")?.is_none());
    Ok(())
}
