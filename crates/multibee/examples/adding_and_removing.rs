//! A device that may only read, one that is renamed, and one that is removed.
//!
//!     cargo run -p multibee --example adding_and_removing

use std::error::Error;
use std::time::Duration;

use multibee::{AddOptions, DeviceRole, Event, Home, Multibee, Options};

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let new = || Multibee::create(Home::memory(), Options::default());
    let (laptop, phone, display) = (new()?, new()?, new()?);

    laptop.add_named(phone.key(), Some("phone".into()))?;
    let role = DeviceRole::ReadOnly;
    laptop.add_with(display.key(), AddOptions { name: Some("kitchen".into()), role })?;
    phone.add_replica(laptop.key())?;
    display.add_replica(laptop.key())?;

    let address = laptop.listen("127.0.0.1:0").await?;
    laptop.put("milk", "two")?;
    for device in [&phone, &display] {
        device.connect(address).await?;
        device.wait_synced(Duration::from_secs(10)).await?;
    }
    laptop.rename(&phone.key(), "old phone")?;
    laptop.wait_synced(Duration::from_secs(10)).await?;
    println!("the display may write: {}", display.put("milk", "three").is_ok());

    let mut events = phone.events();
    laptop.remove_replica(&phone.key())?;
    while !matches!(events.recv().await?, Event::Removed { .. }) {}
    println!("the phone may write: {}", phone.put("milk", "four").is_ok());
    println!("not taken of it: {} keys", phone.unmerged()?.len());

    for device in laptop.devices()? {
        let name = device.name.unwrap_or_else(|| "laptop".into());
        println!("{name}: {}, removed: {}", device.role, device.removed);
    }
    Ok(())
}
