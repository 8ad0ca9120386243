//! Carries out the steps of a case on a fresh log.

use bytes::Bytes;
use multibee_btree::{Batch, Bee, BeeOptions, Metadata};
use multibee_log::{Durability, KeyPair, Log, LogOptions, MemoryStorage};
use serde::Deserialize;

use crate::program::{Cas, Change, Hex, Op, Step};

/// Options of a case.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Options {
    always_duplicate: Option<bool>,
    metadata: Option<Meta>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    content_feed: Option<Hex>,
    user_data: Option<Hex>,
}

pub(crate) fn fresh(options: Option<&Options>) -> Bee {
    let log_options = LogOptions { durability: Durability::Buffered, ..LogOptions::default() };
    let keys = KeyPair::from_seed([1; 32]);
    let log = Log::create(MemoryStorage::default(), keys, log_options).unwrap();
    let metadata = options.and_then(|options| options.metadata.as_ref()).map(|meta| Metadata {
        content_feed: meta.content_feed.as_ref().map(|hex| hex.0.clone()),
        user_data: meta.user_data.as_ref().map(|hex| hex.0.clone()),
    });
    let always_duplicate = options.and_then(|options| options.always_duplicate).unwrap_or(true);
    Bee::open(log, BeeOptions { metadata, always_duplicate, ..BeeOptions::default() }).unwrap()
}

pub(crate) fn run(bee: &Bee, step: &Step) {
    let (ops, flush) = match step {
        Step::Single(op) => (std::slice::from_ref(op), true),
        Step::Batch { ops, flush } => (ops.as_slice(), *flush),
    };
    let mut batch = bee.batch().unwrap();
    ops.iter().for_each(|op| apply(&mut batch, op));
    if flush {
        batch.flush().unwrap();
    }
}

fn apply(batch: &mut Batch, op: &Op) {
    let extra = Bytes::new();
    let seq = batch.next_seq();
    match (&op.change, op.cas) {
        (Change::Put(value), None) => {
            batch.put(&op.key, value.clone(), extra).unwrap();
        }
        (Change::Put(value), Some(cas)) => {
            let staged = batch.put_if(&op.key, value.clone(), extra, |old, new| {
                assert_eq!((new.seq, &new.key, &new.value), (seq, &op.key, value));
                match cas {
                    Cas::No => false,
                    Cas::Yes => true,
                    Cas::Diff => old.value != new.value,
                }
            });
            assert!(staged.unwrap().is_none_or(|staged| staged == seq));
        }
        (Change::Del, None) => {
            batch.del(&op.key, extra).unwrap();
        }
        (Change::Del, Some(cas)) => {
            batch.del_if(&op.key, extra, |_| cas == Cas::Yes).unwrap();
        }
    }
}

/// Block `seq` as it is in the log.
pub(crate) fn block(bee: &Bee, seq: u64) -> Bytes {
    bee.log().get(seq).unwrap().unwrap()
}

pub(crate) fn tree_hash(bee: &Bee) -> String {
    let log = bee.log();
    crate::hex(log.tree_hash_at(log.len()).unwrap().unwrap().as_bytes())
}
