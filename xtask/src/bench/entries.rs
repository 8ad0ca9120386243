//! Workloads on entries, W3 to W6, the same for the tree and for the database.

use anyhow::{Context, Result, ensure};

use super::data::{self, Entry};
use super::disk::DiskUse;
use super::job::{BATCH_OPS, Durability, Layer, Task};
use super::record::{Record, Title};
use super::store::Store;
use super::usage::{Meter, Span};

/// The two passes of those who read: over freshly opened data, and over the same once more.
pub(super) const PASSES: [&str; 2] = ["reopened", "warm"];

/// W3.
pub(super) fn put_single<S: Store>(
    task: &Task,
    layer: Layer,
    durability: Durability,
) -> Result<Vec<Record>> {
    let (keys, values) = (data::keys(task.n()), data::values(task.n()));
    let store = S::create(&task.folder(), durability)?;
    let meter = Meter::start();
    for (key, index) in keys.iter().zip(0..) {
        store.put(key, values.share(index))?;
    }
    let span = meter.stop();
    finish_writing(task, store, span, layer, durability)
}

/// W4.
pub(super) fn put_batch<S: Store>(
    task: &Task,
    layer: Layer,
    durability: Durability,
) -> Result<Vec<Record>> {
    let (keys, values) = (data::keys(task.n()), data::values(task.n()));
    let store = S::create(&task.folder(), durability)?;
    let meter = Meter::start();
    for start in (0..task.n()).step_by(BATCH_OPS as usize) {
        let batch = start..start + BATCH_OPS;
        store.put_all(batch.map(|index| (keys.get(index), values.share(index))))?;
    }
    let span = meter.stop();
    finish_writing(task, store, span, layer, durability)
}

fn finish_writing(
    task: &Task,
    store: impl Store,
    span: Span,
    layer: Layer,
    durability: Durability,
) -> Result<Vec<Record>> {
    let log_bytes = store.log_bytes()?;
    drop(store);
    let disk = DiskUse::of(&task.folder())?;
    let (variant, durability) = (layer.to_string(), durability.to_string());
    let title = Title { variant: &variant, durability: &durability, unit: "puts/s" };
    let record = Record::new(task, &title, span, disk);
    Ok(vec![record.and("logBytes", log_bytes).and_bytes_per_entry()])
}

/// W5.
pub(super) fn get<S: Store>(task: &Task, layer: Layer) -> Result<Vec<Record>> {
    let population = task.population();
    let (keys, values) = (data::keys(population), data::values(population));
    let indexes = data::indexes(task.n(), population);
    let pass = |store: &S| {
        let meter = Meter::start();
        for &index in &indexes {
            let value = store.get(keys.get(index))?.context("an entry is missing")?;
            ensure!(value == values.get(index), "an entry has the value of another");
        }
        Ok(meter.stop())
    };
    read_twice(task, layer, "gets/s", pass)
}

/// W6.
pub(super) fn scan<S: Store>(task: &Task, layer: Layer) -> Result<Vec<Record>> {
    let expected = data::sorted_entries(task.population());
    let pass = |store: &S| {
        let meter = Meter::start();
        compare(store, &expected)?;
        Ok(meter.stop())
    };
    read_twice(task, layer, "entries/s", pass)
}

/// Scans a store and fails unless it has these entries, in this order, and no others.
pub(super) fn compare(store: &impl Store, expected: &[Entry]) -> Result<()> {
    let mut rest = expected.iter();
    store.scan(|key, value| {
        let (wanted_key, wanted_value) = rest.next().context("more entries than were put")?;
        ensure!(key == wanted_key, "a key differs");
        ensure!(value == wanted_value, "an entry has another value");
        Ok(())
    })?;
    ensure!(rest.len() == 0, "{} entries are missing", rest.len());
    Ok(())
}

fn read_twice<S: Store>(
    task: &Task,
    layer: Layer,
    unit: &str,
    pass: impl Fn(&S) -> Result<Span>,
) -> Result<Vec<Record>> {
    let folder = task.source_folder();
    let store = S::open(&folder)?;
    let spans = [pass(&store)?, pass(&store)?];
    drop(store);
    let disk = DiskUse::of(&folder)?;
    let record = |(name, span): (&str, Span)| {
        let variant = match layer {
            Layer::Tree => name.to_owned(),
            Layer::Database => format!("{layer}-{name}"),
        };
        Record::new(task, &Title { variant: &variant, durability: "read", unit }, span, disk)
    };
    Ok(PASSES.into_iter().zip(spans).map(record).collect())
}

#[cfg(test)]
mod tests {
    use multibee::Multibee;
    use multibee_btree::Bee;

    use super::*;

    /// A comparison that passed whatever is there would make W6 and W8 worthless.
    fn tells_differences<S: Store>() {
        let folder = tempfile::tempdir().unwrap();
        let store = S::create(&folder.path().join("store"), Durability::Buffered).unwrap();
        let mut entries = data::sorted_entries(300);
        store
            .put_all(entries.iter().map(|(key, value)| (&key[..], value.to_vec().into())))
            .unwrap();
        compare(&store, &entries).unwrap();

        let error = |entries: &[Entry]| compare(&store, entries).unwrap_err().to_string();
        assert_eq!(error(&entries[..299]), "more entries than were put");
        entries[150].1[99] ^= 1;
        assert_eq!(error(&entries), "an entry has another value");
        entries[10].0[0] ^= 1;
        assert_eq!(error(&entries), "a key differs");
        let more = data::sorted_entries(301);
        let last = data::keys(301).get(300).to_vec();
        store.put(&last, data::values(301).share(300)).unwrap();
        compare(&store, &more).unwrap();
        let error = compare(&store, &[&more[..], &[([255; 16], [0; 100])]].concat()).unwrap_err();
        assert_eq!(error.to_string(), "1 entries are missing");
    }

    #[test]
    fn a_tree_that_differs_is_noticed() {
        tells_differences::<Bee>();
    }

    #[test]
    fn a_database_that_differs_is_noticed() {
        tells_differences::<Multibee>();
    }
}
