//! The jobs, the same for each store, with the same data and checks as Multibee's own.

use anyhow::{Context, Result, bail, ensure};

use crate::data;
use crate::disk::DiskUse;
use crate::store::{Reader, Store};
use crate::task::{Record, Task};
use crate::usage::{Meter, Span};

/// Does what a task says.
pub(crate) fn run<S: Store>(task: &Task) -> Result<Vec<Record>> {
    match task.job.as_str() {
        "W3" | "W4" => put::<S>(task),
        "W5" => get::<S>(task),
        "W6" => scan::<S>(task),
        "W11" => open::<S>(task),
        other => bail!("there is no job {other:?}"),
    }
}

/// W3, W4.
fn put<S: Store>(task: &Task) -> Result<Vec<Record>> {
    let (keys, values) = (data::keys(task.n), data::values(task.n));
    ensure!(task.size > 0, "a batch without puts");
    let mut store = S::create(&task.folder, task.durability)?;
    let meter = Meter::start();
    for start in (0..task.n).step_by(task.size as usize) {
        let batch = start..task.n.min(start + task.size);
        store.put_all(batch.map(|index| (keys.get(index), values.get(index))))?;
    }
    let span = meter.stop();
    drop(store);
    Ok(vec![Record::written(task, &S::version(), span, DiskUse::of(&task.folder)?)])
}

/// Runs `pass` over a store that was just opened, and once more.
fn twice<S: Store>(
    task: &Task,
    unit: &'static str,
    pass: impl Fn(&S) -> Result<Span>,
) -> Result<Vec<Record>> {
    let store = S::open(&task.source)?;
    let spans = [pass(&store)?, pass(&store)?];
    drop(store);
    let disk = DiskUse::of(&task.source)?;
    let version = S::version();
    let passes = ["reopened", "warm"].into_iter().zip(spans);
    let record = |(variant, span)| Record::read(task, (&version, variant, unit), span, disk);
    Ok(passes.map(record).collect())
}

/// W5.
fn get<S: Store>(task: &Task) -> Result<Vec<Record>> {
    let (keys, values) = (data::keys(task.population), data::values(task.population));
    let indexes = data::indexes(task.n, task.population);
    twice(task, "gets/s", |store: &S| {
        let meter = Meter::start();
        let mut reader = store.reader()?;
        for &index in &indexes {
            let is_there = reader.get(keys.get(index), |value| {
                ensure!(value == values.get(index), "an entry has the value of another");
                Ok(())
            })?;
            ensure!(is_there, "an entry is missing");
        }
        Ok(meter.stop())
    })
}

/// W6.
fn scan<S: Store>(task: &Task) -> Result<Vec<Record>> {
    let expected = data::sorted_entries(task.population);
    twice(task, "entries/s", |store: &S| {
        let meter = Meter::start();
        let mut rest = expected.iter();
        store.reader()?.scan(|key, value| {
            let (wanted_key, wanted_value) = rest.next().context("more entries than were put")?;
            ensure!(key == wanted_key && value == wanted_value, "an entry differs");
            Ok(())
        })?;
        ensure!(rest.len() == 0, "{} entries are missing", rest.len());
        Ok(meter.stop())
    })
}

/// W11.
fn open<S: Store>(task: &Task) -> Result<Vec<Record>> {
    const NUMBER: u32 = 77;
    let (keys, values) = (data::keys(NUMBER + 1), data::values(NUMBER + 1));
    let meter = Meter::start();
    let store = S::open(&task.source)?;
    let is_there = store.reader()?.get(keys.get(NUMBER), |value| {
        ensure!(value == values.get(NUMBER), "an entry has the value of another");
        Ok(())
    })?;
    let span = meter.stop();
    ensure!(is_there, "an entry is missing");
    drop(store);
    let disk = DiskUse::of(&task.source)?;
    Ok(vec![Record::read(task, (&S::version(), "open", "opens/s"), span, disk)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fjall_store::Fjall;
    use crate::redb_store::Redb;
    use crate::sqlite_store::Sqlite;

    /// What was put is read by a store that was opened again, all of it and nothing else; what is not
    /// there is noticed.
    fn does_all_jobs<S: Store>(peer: &str, durability: &str) {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("store");
        let task = |job: &str, n: u32, population: u32| -> Task {
            let text = serde_json::json!({
                "peer": peer, "job": job, "size": 100, "durability": durability, "n": n,
                "population": population, "source": folder, "folder": folder, "run": 1,
                "quick": true,
            });
            serde_json::from_value(text).unwrap()
        };
        assert_eq!(run::<S>(&task("W4", 1000, 0)).unwrap().len(), 1);
        for job in ["W5", "W6"] {
            let results = run::<S>(&task(job, 500, 1000)).unwrap();
            let variants: Vec<_> = results.iter().map(|result| &result.variant[..]).collect();
            assert_eq!(variants, ["reopened", "warm"]);
            assert!(run::<S>(&task(job, 500, 1001)).is_err() || job == "W5");
        }
        assert!(run::<S>(&task("W6", 500, 999)).is_err());
        assert!(run::<S>(&task("W5", 5000, 3000)).is_err());
        assert_eq!(run::<S>(&task("W11", 1, 1000)).unwrap().len(), 1);
        assert!(run::<S>(&task("W8", 1, 1000)).is_err());
    }

    #[test]
    fn redb_does_all_jobs() {
        for durability in ["Immediate", "Buffered"] {
            does_all_jobs::<Redb>("redb", durability);
        }
    }

    #[test]
    fn fjall_does_all_jobs() {
        for durability in ["Immediate", "Buffered"] {
            does_all_jobs::<Fjall>("fjall", durability);
        }
    }

    #[test]
    fn sqlite_does_all_jobs() {
        for durability in ["Immediate", "Buffered"] {
            does_all_jobs::<Sqlite>("sqlite", durability);
        }
    }
}
