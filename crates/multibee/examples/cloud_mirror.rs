//! Two devices that never meet, and one that both of them meet.
//!
//!     cargo run -p multibee --example cloud_mirror

use std::error::Error;
use std::time::Duration;

use multibee::{Home, Multibee, Options};

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let home = |name: &str| Home::dir(dir.path().join(name));
    let patience = Duration::from_secs(10);

    let phone = Multibee::create(home("phone"), Options::default())?;
    let laptop = Multibee::create(home("laptop"), Options::default())?;
    let cloud = Multibee::create(home("cloud"), Options::default())?;
    for device in [&phone, &laptop] {
        cloud.add_replica(device.key())?;
        device.add_named(cloud.key(), Some("cloud".into()))?;
    }
    let address = cloud.listen("127.0.0.1:0").await?;

    phone.put("milk", "two")?;
    phone.connect(address).await?;
    phone.wait_synced(patience).await?;
    phone.close().await?; // and is out of reach from now on

    laptop.put("bread", "rye")?;
    laptop.connect(address).await?;
    laptop.wait_synced(patience).await?;
    let milk = laptop.get("milk")?.ok_or("the cloud has not passed it on")?;
    println!("milk: {:?}, written by {}", milk.value, milk.device);

    let status = laptop.sync_status();
    println!("{} of {} blocks, {:.0} %", status.done, status.total, status.fraction * 100.0);
    laptop.close().await?;

    let phone = Multibee::open(home("phone"), Options::default())?;
    phone.connect(address).await?;
    phone.wait_synced(patience).await?;
    println!("bread: {:?}", phone.get("bread")?.map(|entry| entry.value));
    phone.close().await?;
    cloud.close().await?;
    Ok(())
}
