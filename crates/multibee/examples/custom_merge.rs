//! A strategy and a type of one's own: the first claim on a task wins, and the highest score counts.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use multibee::laws::{Random, Workload, Write};
use multibee::{
    Dot, FIRST_USER_KIND, Home, MergeStrategy, MergeType, Multibee, Options, Role, Rule, Shown,
    StateError, Time, Version, WriteError, laws,
};

/// Shows the earliest of concurrent values.
struct FirstWriter;

impl MergeStrategy for FirstWriter {
    fn resolve(&self, _key: &[u8], versions: &[Version]) -> Shown {
        let live = versions.iter().enumerate().filter(|(_, version)| version.is_showable());
        let first = live.min_by_key(|(_, version)| (version.time, version.dot));
        first.map_or(Shown::Nothing, |(position, _)| Shown::One(position))
    }
}

/// A whole number, of which the greatest ever put counts. The state is the number, 8 bytes.
struct Highest;

impl Highest {
    const KIND: u32 = FIRST_USER_KIND;

    fn read(state: &[u8]) -> Result<u64, StateError> {
        let bytes = <[u8; 8]>::try_from(state);
        bytes.map(u64::from_le_bytes).map_err(|_| StateError::Malformed { what: "a score" })
    }

    fn state(score: u64) -> Bytes {
        Bytes::copy_from_slice(&score.to_le_bytes())
    }
}

impl MergeType for Highest {
    fn kind(&self) -> u32 {
        Self::KIND
    }

    fn value(&self, state: &[u8]) -> Result<Bytes, StateError> {
        Ok(Self::read(state)?.to_string().into())
    }

    fn join(&self, a: &[u8], b: &[u8]) -> Result<Bytes, StateError> {
        Ok(Self::state(Self::read(a)?.max(Self::read(b)?)))
    }

    fn write(
        &self,
        base: Option<&[u8]>,
        value: &[u8],
        _dot: Dot,
        _time: Time,
    ) -> Result<Bytes, WriteError> {
        let score = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
        let score: u64 = score.ok_or(WriteError::WrongShape { expected: "a score" })?;
        Ok(Self::state(score.max(base.map_or(Ok(0), Self::read)?)))
    }

    fn delete(&self, _base: Option<&[u8]>, _dot: Dot) -> Result<Bytes, StateError> {
        Ok(Self::state(0))
    }
}

fn device() -> Result<Multibee, Box<dyn Error>> {
    let mut options = Options::default();
    options.strategies.register("first-writer", Arc::new(FirstWriter))?;
    options.types.register(Arc::new(Highest))?;
    Ok(Multibee::create(Home::memory(), options)?)
}

/// What a user puts of scores, and what must come of it.
struct Scores;

impl Workload for Scores {
    fn next(&self, random: &mut Random, _shown: Option<&[u8]>) -> Vec<u8> {
        random.below(1000).to_string().into()
    }

    fn check(&self, writes: &[&Write], shown: &[u8]) -> Result<(), String> {
        let score = |text: &[u8]| String::from_utf8_lossy(text).parse().unwrap_or(0_u64);
        let greatest = writes.iter().map(|write| score(&write.put)).max().unwrap_or(0);
        if greatest == score(shown) { Ok(()) } else { Err(format!("not {greatest}")) }
    }
}

/// The laws, on a hundred histories of five devices each.
fn check() -> Result<(), laws::Broken> {
    for seed in 0..100 {
        laws::check_strategy(&FirstWriter, seed)?;
        laws::check_type(&Highest, &Scores, seed)?;
    }
    Ok(())
}

async fn run() -> Result<(), Box<dyn Error>> {
    let (phone, laptop) = (device()?, device()?);
    phone.add_replica(laptop.key())?;
    laptop.add_replica(phone.key())?;

    // Apart: both claim the task, and both play.
    phone.set_rule("claim/", Rule::strategy("first-writer"))?;
    phone.set_rule("score/", Rule::kind(Highest::KIND))?;
    phone.put("claim/dishes", "phone")?;
    laptop.put("claim/dishes", "laptop")?;
    phone.put("score/chess", "1200")?;
    laptop.put_typed("score/chess", Highest::KIND, "1350")?;

    let (one_end, other_end) = tokio::io::duplex(64 * 1024);
    phone.attach(one_end, Role::Initiator);
    laptop.attach(other_end, Role::Responder);
    phone.wait_synced(Duration::from_secs(10)).await?;

    // Whoever was first, by the two clocks: both say the same.
    for db in [&phone, &laptop] {
        for key in ["claim/dishes", "score/chess"] {
            let value = db.get(key)?.map(|entry| entry.value).unwrap_or_default();
            println!("{key}: {}", String::from_utf8_lossy(&value));
        }
    }
    Ok(())
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    check()?;
    tokio::runtime::Runtime::new()?.block_on(run())
}
