//! What the workloads on entries share, W3 to W6, the same for the tree and for the database.

use anyhow::{Context, Result, ensure};

use super::data::Entry;
use super::disk::DiskUse;
use super::record::{Record, Title};
use super::store::{Durability, Layer, Store};
use super::task::Task;
use super::usage::Span;

/// The two passes of those who read: over freshly opened data, and over the same once more.
pub(super) const PASSES: [&str; 2] = ["reopened", "warm"];

/// What a peer calls a variant of those who write: as itself.
pub(super) fn theirs_written(variant: &str, peer: &str) -> Option<String> {
    let is_layer = Layer::BOTH.iter().any(|layer| layer.to_string() == variant);
    is_layer.then(|| peer.to_owned())
}

/// What peers call a variant of those who read.
pub(super) fn theirs_read(variant: &str, _: &str) -> Option<String> {
    variant.strip_prefix(&format!("{}-", Layer::Database)).map(str::to_owned)
}

/// The record of those who write, once their store is closed.
pub(super) fn finish_writing(
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

/// The records of those who read, from two passes over one store.
pub(super) fn read_twice<S: Store>(
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
    use crate::bench::data;

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
