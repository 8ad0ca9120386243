//! A phone is lost. A new laptop gets everything from the cloud, with 24 words on paper.
//!
//!     cargo run -p multibee --example new_laptop

use std::error::Error;
use std::time::Duration;

use multibee::{AddOptions, Home, Multibee, Options, RecoverySecret};

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let phone = Multibee::create(Home::memory(), Options::default())?;
    let cloud = Multibee::create(Home::memory(), Options::default())?;
    phone.add_named(cloud.key(), Some("cloud".into()))?;
    cloud.add_named(phone.key(), Some("phone".into()))?;
    phone.put("milk", "two")?;

    // On the phone, while it is there: to be written on paper, and nowhere else.
    let secret = phone.create_recovery()?;
    let paper = secret.words();

    let address = cloud.listen("127.0.0.1:0").await?;
    phone.connect(address).await?;
    phone.wait_synced(Duration::from_secs(10)).await?;
    let lost = phone.key();
    phone.close().await?;

    // The phone is gone. All that is left is the paper, and the cloud's address.
    let secret = RecoverySecret::from_words(&paper)?;
    let device = AddOptions { name: Some("new laptop".into()), ..AddOptions::default() };
    let laptop = Multibee::recover(Home::memory(), &secret, Options::default(), device)?;
    laptop.connect(address).await?;
    laptop.wait_synced(Duration::from_secs(10)).await?;
    println!("milk: {:?}", laptop.get("milk")?.map(|entry| entry.value));

    // Nothing is taken from the phone any more, whoever has it.
    laptop.remove_with(&secret, &lost)?;
    laptop.wait_synced(Duration::from_secs(10)).await?;
    for device in cloud.devices()? {
        let name = device.name.unwrap_or_else(|| "no name".into());
        println!("{name}: {}", if device.removed { "removed" } else { "member" });
    }
    laptop.close().await?;
    cloud.close().await?;
    Ok(())
}
