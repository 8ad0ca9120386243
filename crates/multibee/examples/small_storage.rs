//! What nobody needs any more is given back: tombstones, and other devices' blocks.
//!
//!     cargo run -p multibee --example small_storage

use std::error::Error;
use std::time::Duration;

use multibee::{HoldReason, Home, Multibee, Options, ReclaimOptions, Role};

async fn meet(phone: &Multibee, laptop: &Multibee) -> Result<(), multibee::Error> {
    let (one_end, other_end) = tokio::io::duplex(64 * 1024);
    phone.attach(one_end, Role::Initiator);
    laptop.attach(other_end, Role::Responder);
    phone.wait_synced(Duration::from_secs(10)).await?;
    laptop.wait_synced(Duration::from_secs(10)).await
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let phone = Multibee::create(Home::memory(), Options::default())?;
    let laptop = Multibee::create(Home::memory(), Options::default())?;
    phone.add_replica(laptop.key())?;
    laptop.add_replica(phone.key())?;
    for n in 0..100 {
        phone.put(format!("draft/{n}"), "text")?;
        phone.del(format!("draft/{n}"))?;
    }

    let mut options = ReclaimOptions::default();
    options.dry_run = true; // nothing is given back
    let report = phone.reclaim(&options)?;
    assert_eq!(report.tombstones.count, 0);
    for held in &report.tombstones.held_back {
        println!("{} deletes stay: {:?} {}", held.count, held.device, held.reason);
        assert_eq!((held.device, held.reason), (Some(laptop.key()), HoldReason::NotSeen));
    }

    meet(&phone, &laptop).await?;
    options.dry_run = false;
    let report = phone.reclaim(&options)?;
    println!("{} deletes, {} bytes", report.tombstones.count, report.tombstones.bytes);
    assert_eq!(report.tombstones.count, 100);

    let report = laptop.reclaim(&options)?; // it has merged the phone's blocks
    println!("{} blocks, {} bytes", report.replica_blocks.count, report.replica_blocks.bytes);
    assert!(report.replica_blocks.count > 100);

    let estimate = phone.compact_dry_run()?; // nothing is done
    println!("{} bytes of history", estimate.history_bytes());

    let done = phone.compact(|_| {})?;
    println!("{} bytes of blocks, {} before", done.bytes_after, done.bytes_before);
    assert!(done.bytes_after < done.bytes_before);

    assert_eq!(phone.digest(), laptop.digest());
    Ok(())
}
