//! Two devices that write apart, meet over TCP, and hold the same.
//!
//!     cargo run -p multibee --example second_device

use std::error::Error;
use std::time::Duration;

use multibee::{Home, Multibee, Options};

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let home = |name: &str| Home::dir(dir.path().join(name));

    let phone = Multibee::create(home("phone"), Options::default())?;
    let laptop = Multibee::create(home("laptop"), Options::default())?;
    phone.add_named(laptop.key(), Some("laptop".into()))?;
    laptop.add_named(phone.key(), Some("phone".into()))?;

    phone.put("milk", "two")?;
    laptop.put("bread", "rye")?;

    let address = laptop.listen("127.0.0.1:0").await?;
    phone.connect(address).await?;
    phone.wait_synced(Duration::from_secs(10)).await?;

    for (name, db) in [("phone", &phone), ("laptop", &laptop)] {
        println!("{name}: {} keys, digest {}", db.verify()?.keys, db.digest());
    }
    phone.close().await?;
    laptop.close().await?;
    Ok(())
}
