//! Hints for sparse readers: what is asked, and what is answered.

use bytes::Bytes;
use multibee_btree::{
    Bee, BeeOptions, CacheHint, DecodeError, ExtensionMessage, GetHint, RangeHint, RangeOptions,
};
use proptest::prelude::*;

use crate::sparse::{Replica, writer};
use crate::{new_bee, scrambled};

/// The blocks that a bee names when asked, in order. Parts must be as the protocol has them.
fn answer(bee: &Bee, message: &ExtensionMessage) -> Vec<u64> {
    let message = ExtensionMessage::decode(&message.encode().into()).unwrap();
    let mut blocks = Vec::new();
    let parts = bee.answer_hint(&message);
    for (i, part) in parts.iter().enumerate() {
        let part = ExtensionMessage::decode(&part.encode().into()).unwrap().cache.unwrap();
        assert_eq!(Some(&part.start), part.blocks.iter().min());
        assert_eq!(Some(part.end - 1), part.blocks.iter().max().copied());
        assert!(part.blocks.len() == 128 || i + 1 == parts.len() && part.blocks.len() < 128);
        blocks.extend(part.blocks);
    }
    assert!(blocks.len() <= 2176);
    let mut distinct = blocks.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), blocks.len(), "each block is named once");
    blocks
}

/// With exactly the blocks of the answer a lookup succeeds, whether there is such a key or not.
#[test]
fn an_answer_is_all_that_a_lookup_needs() {
    let writer = writer(2000);
    for key in [0, 1, 999, 1999, 2000, 77_777].map(scrambled) {
        let tree = writer.snapshot().unwrap();
        let mut replica = Replica::of(&writer);
        replica.fetch(&answer(&writer, &tree.hint(&key).unwrap()));
        let found = replica.bee.snapshot().unwrap().get(&key).unwrap();
        assert_eq!(found, tree.get(&key).unwrap());
    }
}

/// In a sub-database, what is asked and answered is about the keys that are stored.
#[test]
fn hints_of_sub_databases_are_about_stored_keys() {
    let writer = writer(600);
    let sub = writer.sub("part");
    sub.put(b"key", Some("value")).unwrap();
    let tree = sub.snapshot().unwrap();
    let mut range = tree.range(RangeOptions::default());
    for ask in [tree.hint(b"key").unwrap(), range.hint().unwrap()] {
        // Whichever handle answers.
        let blocks = answer(&writer.sub("other"), &ask);
        let mut replica = Replica::of(&writer);
        replica.fetch(&blocks);
        let entry = replica.bee.sub("part").snapshot().unwrap().get(b"key").unwrap();
        assert_eq!(entry.unwrap().value.as_deref(), Some(&b"value"[..]));
    }
}

/// Wherever a range stands, in whichever direction, what it is answered is what the rest of it
/// needs, and not what it has read.
#[test]
fn an_answer_goes_on_where_the_range_is() {
    let writer = writer(1200);
    let tree = writer.snapshot().unwrap();
    let bounds = |reverse| RangeOptions {
        gte: Some(Bytes::copy_from_slice(&[0x20])),
        lt: Some(Bytes::copy_from_slice(&[0xe0])),
        reverse,
        limit: Some(700),
        ..RangeOptions::default()
    };
    for options in [bounds(false), bounds(true), RangeOptions::default()] {
        let all: Vec<u64> = tree.range(options.clone()).map(|entry| entry.unwrap().seq).collect();
        for given in [0, 1, 2, 7, 8, 9, 10, 50, 333, all.len() - 2] {
            let mut range = tree.range(options.clone());
            assert_eq!(range.by_ref().take(given).count(), given);
            let ask = range.hint().unwrap();
            assert_eq!(ask.iterator.as_ref().unwrap().checkpoint.is_empty(), given == 0);
            let blocks = answer(&writer, &ask);
            let (before, after) = all.split_at(given);
            assert!(after.iter().all(|seq| blocks.contains(seq)), "{options:?} {given}");
            // A node below the checkpoint may lie in a block whose entry was given already.
            let again = before.iter().filter(|seq| blocks.contains(seq)).count();
            assert!(again <= given / 5, "{options:?} {given}: {again} again");
        }
    }
}

/// A range that has just asked does not ask again before it got on, nor at its end.
#[test]
fn ranges_do_not_repeat_themselves() {
    let writer = writer(2500);
    let tree = writer.snapshot().unwrap();
    let mut range = tree.range(RangeOptions::default());
    assert!(range.hint().is_some());
    assert_eq!(range.hint(), None);
    range.by_ref().take(1023).for_each(|entry| drop(entry.unwrap()));
    assert_eq!(range.hint(), None);
    range.next().unwrap().unwrap();
    assert!(range.hint().is_some());
    range.by_ref().for_each(|entry| drop(entry.unwrap()));
    assert_eq!(range.hint(), None);

    let empty = new_bee();
    assert_eq!(empty.snapshot().unwrap().hint(b"k"), None);
    assert_eq!(empty.snapshot().unwrap().range(RangeOptions::default()).hint(), None);
}

/// An answer to a long range is cut off.
#[test]
fn an_answer_is_bounded() {
    let writer = writer(4000);
    let mut range = writer.snapshot().unwrap().range(RangeOptions::default());
    assert_eq!(answer(&writer, &range.hint().unwrap()).len(), 2176);
}

/// Versions that are none, that are not here, or that lie within a batch, are not answered; nor is
/// what a sparse peer does not have.
#[test]
fn what_is_not_here_is_not_answered() {
    let writer = writer(600);
    let ask = |bee: &Bee, version: u64| {
        let get = GetHint { version, key: Bytes::copy_from_slice(&scrambled(5)) };
        let range = RangeHint { version, ..RangeHint::default() };
        [answer(bee, &get.into()).len(), answer(bee, &range.into()).len()]
    };
    assert!(ask(&writer, 601).iter().all(|count| *count > 0));
    assert!(ask(&writer, 501).iter().all(|count| *count > 0));
    for version in [0, 1, 602, u64::MAX] {
        assert_eq!(ask(&writer, version), [0, 0], "{version}");
    }
    let mut replica = Replica::of(&writer);
    assert_eq!(ask(&replica.bee, 601), [0, 0]);
    replica.fetch(&[600]);
    assert_eq!(ask(&replica.bee, 601), [1, 1]);
}

/// Of the blocks that an answer names, those are fetched that the log can have and has not.
#[test]
fn answers_are_read_with_care() {
    let writer = writer(20);
    let mut replica = Replica::of(&writer);
    replica.fetch(&[3]);
    let cache = CacheHint { start: 2, end: 30, blocks: vec![9, 3, 1, 9, 21, 20, u64::MAX] };
    assert_eq!(cache.missing(replica.bee.log()), [9, 20]);
    assert!(CacheHint::default().missing(replica.bee.log()).is_empty());
}

/// More numbers than anybody sends are refused before they take memory.
#[test]
fn long_lists_are_refused() {
    let blocks = |count| CacheHint { start: 0, end: 1, blocks: vec![0; count] };
    let decode = |message: ExtensionMessage| ExtensionMessage::decode(&message.encode().into());
    assert!(decode(blocks(2176).into()).is_ok());
    assert_eq!(decode(blocks(2177).into()), Err(DecodeError::TooMany { number: 3 }));
    let places = |count| RangeHint { checkpoint: vec![0; count], ..RangeHint::default() };
    assert!(decode(places(192).into()).is_ok());
    assert_eq!(decode(places(193).into()), Err(DecodeError::TooMany { number: 8 }));
}

proptest! {
    /// No bytes make the decoder panic, and what it reads is written and read back as it is.
    #[test]
    fn any_bytes_are_read_safely(
        kind in 1..4_u8,
        body in prop::collection::vec(prop_oneof![0..0x50_u8, any::<u8>()], 0..40),
    ) {
        let mut bytes = vec![kind << 3 | 2, u8::try_from(body.len()).unwrap()];
        bytes.extend(body);
        if let Ok(message) = ExtensionMessage::decode(&bytes.into()) {
            prop_assert_eq!(ExtensionMessage::decode(&message.encode().into()), Ok(message));
        }
    }

    /// A checkpoint of any numbers is answered with something or nothing, and soon.
    #[test]
    fn any_checkpoint_is_answered_safely(
        checkpoint in prop::collection::vec(prop_oneof![0..12_u64, 0..310_u64, any::<u64>()], 0..20),
        reverse: bool,
    ) {
        let range = RangeOptions { reverse, ..RangeOptions::default() };
        let bee = small();
        answer(bee, &RangeHint { version: 301, range, checkpoint }.into());
    }
}

fn small() -> &'static Bee {
    static BEE: std::sync::OnceLock<Bee> = std::sync::OnceLock::new();
    BEE.get_or_init(|| {
        let log = writer(300).log().clone();
        Bee::open(log, BeeOptions::default()).unwrap()
    })
}
