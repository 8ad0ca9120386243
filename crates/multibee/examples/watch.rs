//! Watches what two devices write, and asks afterwards who wrote what.
//!
//!     cargo run -p multibee --example watch

use std::error::Error;
use std::time::Duration;

use multibee::{Changed, HistoryOptions, Home, Multibee, Options, Origin, RangeSpec, Role, Watch};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let phone = Multibee::create(Home::memory(), Options::default())?;
    let laptop = Multibee::create(Home::memory(), Options::default())?;
    phone.add_named(laptop.key(), Some("laptop".into()))?;
    laptop.add_replica(phone.key())?;

    let begun = phone.view()?;
    let watching = tokio::spawn(print(phone.clone(), phone.watch(RangeSpec::prefix(b"list/"))?));
    let mut milk = phone.get_and_watch("list/milk")?;
    phone.put("list/milk", "two")?;
    laptop.put("list/bread", "rye")?;
    laptop.put("elsewhere", "not told")?;
    milk.next().await?;

    let (one_end, other_end) = tokio::io::duplex(64 * 1024);
    phone.attach(one_end, Role::Initiator);
    laptop.attach(other_end, Role::Responder);
    laptop.wait_synced(Duration::from_secs(10)).await?;
    laptop.put("list/milk", "none")?;

    // The phone hears of it as soon as it is merged there.
    if let Some(changed) = milk.next().await? {
        println!("milk is now: {}", line(&phone, &changed)?);
    }

    println!("all that has changed:");
    for changed in &phone.view()?.changes_since(&begun, RangeSpec::default())? {
        println!("  {}", line(&phone, &changed?)?);
    }
    println!("what became of the milk, the last first:");
    for commit in phone.key_history("list/milk")? {
        let commit = commit?;
        println!("  version {}: {}", commit.version, line(&phone, &commit.changed)?);
    }
    let commits = phone
        .history(HistoryOptions::default())?
        .filter(|commit| commit.as_ref().is_ok_and(|commit| commit.is_merge));
    println!("{} of the commits are merges", commits.count());

    // The watch ends with the database.
    phone.close().await?;
    watching.await??;
    Ok(())
}

/// Prints changes as they come.
async fn print(db: Multibee, mut watch: Watch) -> Result<(), multibee::Error> {
    while let Some(changes) = watch.next().await? {
        for changed in &changes {
            println!("told: {}", line(&db, &changed?)?);
        }
    }
    Ok(())
}

fn line(db: &Multibee, changed: &Changed) -> Result<String, multibee::Error> {
    let who = match changed.origin {
        Origin::Own => "this device".into(),
        Origin::Device(id) => {
            let name = db.devices()?.into_iter().find(|device| device.id == id);
            name.and_then(|device| device.name).unwrap_or_else(|| id.to_string())
        }
    };
    let key = String::from_utf8_lossy(&changed.key);
    let value = changed.now.as_ref().map(|entry| String::from_utf8_lossy(&entry.value));
    Ok(format!("{key} = {} by {who}", value.as_deref().unwrap_or("(deleted)")))
}
