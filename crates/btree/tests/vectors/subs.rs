//! Sub-databases.

use bytes::Bytes;
use multibee_btree::{Bee, Entry, RangeOptions};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::program::Hex;
use crate::{hex, replay};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    name: String,
    writes: Vec<Write>,
    lens: Vec<u64>,
    blocks: Vec<Hex>,
    tree_hash: String,
    queries: Vec<Value>,
}

#[derive(Deserialize)]
struct Write {
    t: String,
    sub: Vec<Name>,
    key: Hex,
    value: Option<Hex>,
}

#[derive(Deserialize)]
struct Name {
    name: Hex,
    sep: Option<Hex>,
}

/// Writes through sub-databases give Hyperbee's blocks. Reads give what it gives, but for the two
/// keys that its ranges leave out unless they are asked for.
#[test]
fn subs() {
    let cases: Vec<Case> = crate::cases("subs.json");
    for case in &cases {
        let root = replay::fresh(None);
        for (write, len) in case.writes.iter().zip(&case.lens) {
            let bee = descend(&root, &write.sub);
            match write.t.as_str() {
                "put" => {
                    bee.put(&write.key.0, write.value.as_ref().map(|Hex(v)| v.clone())).unwrap();
                }
                _ => {
                    bee.del(&write.key.0).unwrap();
                }
            }
            assert_eq!(root.log().len(), *len, "{}", case.name);
        }
        for (seq, Hex(block)) in (0..).zip(&case.blocks) {
            assert_eq!(hex(replay::block(&root, seq)), hex(block), "{} {seq}", case.name);
        }
        assert_eq!(replay::tree_hash(&root), case.tree_hash, "{}", case.name);
        for query in &case.queries {
            let path: Vec<Name> = serde_json::from_value(query["sub"].clone()).unwrap();
            let bee = descend(&root, &path);
            let expected = &query["result"];
            assert_eq!(&answer(&bee, query, !path.is_empty()), expected, "{}: {query}", case.name);
        }
    }
    crate::passed("subs.json", cases.len());
}

fn descend(root: &Bee, path: &[Name]) -> Bee {
    path.iter().fold(root.clone(), |bee, Name { name, sep }| match sep {
        Some(sep) => bee.sub_with(&name.0, &sep.0),
        None => bee.sub(&name.0),
    })
}

fn answer(bee: &Bee, query: &Value, is_sub: bool) -> Value {
    let tree = |version: &Value| bee.checkout(version.as_u64().unwrap()).unwrap();
    match query["q"].as_str().unwrap() {
        "prefix" => hex(bee.prefix()).into(),
        "get" => {
            let key = hex::decode(query["key"].as_str().unwrap()).unwrap();
            shown(bee.snapshot().unwrap().get(&key).unwrap())
        }
        "range" => {
            let range = bee.snapshot().unwrap().range(as_hyperbee(query, is_sub));
            range.map(|entry| shown(Some(entry.unwrap()))).collect()
        }
        "diff" => {
            let (left, right) = (tree(&query["left"]), tree(&query["right"]));
            let changes = left.diff(&right, as_hyperbee(query, is_sub)).unwrap();
            changes
                .map(|change| change.unwrap())
                .map(|change| json!([shown(change.left), shown(change.right)]))
                .collect()
        }
        other => panic!("unknown query {other}"),
    }
}

/// A range of a sub-database without a lower bound, as Hyperbee understands it.
fn as_hyperbee(query: &Value, is_sub: bool) -> RangeOptions {
    let mut options = crate::queries::range(query);
    if is_sub && options.gt.is_none() && options.gte.is_none() {
        options.gt = Some(Bytes::from_static(b"\0"));
    }
    options
}

fn shown(entry: Option<Entry>) -> Value {
    entry.map_or(Value::Null, |entry| json!([entry.seq, hex(entry.key), entry.value.map(hex)]))
}
