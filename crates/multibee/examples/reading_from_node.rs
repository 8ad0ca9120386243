//! Serves a database that a Node program can read, and says how.
//!
//!     cargo run -p multibee --example reading_from_node
//!
//! It ends by itself. With a number of seconds it goes on serving for so long:
//!
//!     cargo run -p multibee --example reading_from_node -- 600

use std::error::Error;
use std::time::Duration;

use multibee::{Home, Multibee, Options};

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
    let dir = tempfile::tempdir()?;

    let db = Multibee::create(Home::dir(dir.path().join("a")), Options::default())?;
    db.put("milk", "two")?;
    db.put("bread", "rye")?;
    let address = db.listen("127.0.0.1:0").await?;
    println!("node read.mjs {} {}", db.key(), address.port());

    tokio::time::sleep(Duration::from_secs(seconds)).await;
    db.close().await?;
    Ok(())
}
