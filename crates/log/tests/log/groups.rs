//! Reading blocks one by one, and so often that they are read with their neighbours.

use multibee_log::{
    Cache, Durability, Error, KeyPair, Log, LogOptions, MemoryStorage, Part, Storage,
};
use proptest::prelude::*;

/// Blocks of all sizes, mostly short.
fn block(number: u64) -> Vec<u8> {
    let len = (number * 37 % 200) as usize * if number % 97 == 5 { 40 } else { 1 };
    vec![number as u8; len]
}

/// Where a block begins.
fn offset(number: u64) -> u64 {
    (0..number).map(|number| block(number).len() as u64).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// In whatever order blocks are read, and however often, each is what was appended, or, if its
    /// bytes on disk are others, an error: whether it is read alone or with its neighbours, while the
    /// log is written, cut and cleared, and with a cache too small for it.
    #[test]
    fn each_read_gives_the_block(
        len in 1..900_u64,
        is_flushed in any::<bool>(),
        cache in prop::sample::select(vec![1_u64, 20_000, 64 << 20]),
        damaged in prop::collection::btree_set(0..900_u64, 0..4),
        steps in prop::collection::vec((0..40_u8, 0..900_u64), 1..300),
    ) {
        let storage = MemoryStorage::new();
        let options = LogOptions {
            durability: Durability::Buffered,
            cache: Cache::new(cache),
            ..LogOptions::default()
        };
        let keys = KeyPair::from_seed([3; 32]);
        let log = Log::create(storage.clone(), keys, options.clone()).unwrap();
        let mut model: Vec<Option<Vec<u8>>> = (0..len).map(|number| Some(block(number))).collect();
        log.append(&model.iter().flatten().collect::<Vec<_>>())?;
        if is_flushed {
            log.flush()?;
        }
        drop(log);
        let log = Log::open(storage.clone(), options)?;
        // What was not flushed is checked on opening, and may be cached since.
        let is_damaged = |number: &u64| is_flushed && *number < len && !block(*number).is_empty();
        let mut damaged: Vec<u64> = damaged.into_iter().filter(is_damaged).collect();
        for number in &damaged {
            storage.write_at(Part::Data, offset(*number), &[*number as u8 ^ 1]).unwrap();
        }
        for (kind, number) in steps {
            let number = number % log.len().max(1);
            match kind {
                0 => {
                    log.truncate(number)?;
                    model.truncate(number as usize);
                    damaged.retain(|damaged| *damaged < number);
                }
                1 => {
                    log.clear(number..number + 3)?;
                    model.iter_mut().skip(number as usize).take(3).for_each(|block| *block = None);
                }
                2 | 3 => {
                    let more: Vec<_> = (log.len()..log.len() + number % 90).map(block).collect();
                    log.append(&more)?;
                    model.extend(more.into_iter().map(Some));
                }
                _ => match (log.get(number), model.get(number as usize).cloned().flatten()) {
                    (Ok(None), None) => {}
                    (Err(Error::Corrupt { .. }), Some(_)) => prop_assert!(damaged.contains(&number)),
                    (Ok(Some(read)), Some(put)) => {
                        prop_assert!(read == put && !damaged.contains(&number));
                    }
                    (read, _) => prop_assert!(false, "block {number}: {read:?}"),
                },
            }
        }
    }
}
