//! Reads what a device showed at earlier times.
//!
//!     cargo run -p multibee --example as_of

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use multibee::{Home, Multibee, Options, RangeSpec, WallClock};

/// A clock that this program sets, so that it need not wait for days.
#[derive(Debug)]
struct Days(AtomicU64);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl WallClock for Days {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed) * DAY.as_secs() * 1000
    }
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let days = Arc::new(Days(AtomicU64::new(20_000)));
    let options = Options { clock: days.clone(), ..Options::default() };
    let db = Multibee::create(Home::memory(), options)?;
    for list in [&["milk", "bread"][..], &["tea"], &["salt"]] {
        for item in list {
            db.put(item, "to buy")?;
        }
        days.0.fetch_add(1, Ordering::Relaxed);
    }
    db.del("milk")?;

    for day in 19_999..=20_003 {
        let view = db.at(UNIX_EPOCH + DAY * day)?;
        let keys: Vec<_> = view.range(RangeSpec::default()).map(|entry| Ok(entry?.key)).collect();
        let keys = keys.into_iter().collect::<Result<Vec<_>, multibee::Error>>()?;
        println!("day {day}, version {}: {keys:?}", view.version());
    }
    Ok(())
}
