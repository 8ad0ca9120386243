//! Reads of finished databases.

use bytes::Bytes;
use multibee_btree::{Action, Bee, Entry, Error, HistoryOptions, RangeOptions, Record, Tree};
use serde::Deserialize;
use serde_json::Value;

use crate::program::{Hex, ListedStep, Program, Step};
use crate::replay;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    name: String,
    #[serde(flatten)]
    source: Source,
    lens: Vec<u64>,
    tree_hash: String,
    queries: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Source {
    Generated(Program),
    Listed { steps: Vec<ListedStep> },
}

#[derive(Deserialize)]
struct Bounds {
    gt: Option<Hex>,
    gte: Option<Hex>,
    lt: Option<Hex>,
    lte: Option<Hex>,
    #[serde(default)]
    reverse: bool,
    limit: Option<u64>,
}

/// Ranges, peeks, gets, diffs and histories give what Hyperbee gives, at all versions. Lengths within
/// a batch, which it reads as if they were versions, are refused or at least no panic; and where its
/// shortcut returns an entry that was deleted, the plain search returns none.
#[test]
fn queries() {
    let cases: Vec<Case> = crate::cases("queries.json");
    let (mut checked, mut stale, mut others) = (0, 0, 0);
    let mut touches = 0;
    for case in &cases {
        let bee = build(case);
        for query in &case.queries {
            let context = format!("{}: {query}", case.name);
            let kind = query["q"].as_str().unwrap();
            match kind {
                "diff" => {
                    check_diff(case, &bee, query, &context);
                    checked += 1;
                    continue;
                }
                "history" => {
                    check_history(&bee, query, &context);
                    checked += 1;
                    continue;
                }
                "touch" => {
                    check_touch(&bee, query, &context);
                    touches += 1;
                    continue;
                }
                "range" | "peek" | "get" => {}
                _ => {
                    others += 1;
                    continue;
                }
            }
            let version = query.get("version").map_or(bee.version(), |v| v.as_u64().unwrap());
            if version > 1 && !case.lens.contains(&version) {
                check_mid_batch(&bee, version, &context);
                checked += 1;
                continue;
            }
            let tree = bee.checkout(version).unwrap();
            let result = answer(&tree, kind, query);
            if kind == "get" && result != query["result"] {
                check_stale(&bee, &tree, query, &context);
                stale += 1;
            } else {
                assert_eq!(result, query["result"], "{context}");
            }
            checked += 1;
        }
    }
    println!("queries.json: {checked} queries, {stale} stale in Hyperbee, {others} of other kinds");
    println!("queries.json: {touches} lookups whose blocks are those that Hyperbee reads");
    assert!(touches > 0, "there are such queries");
    assert!(stale >= 1, "the case q-stale-get is there to differ");
    crate::passed("queries.json", cases.len());
}

fn build(case: &Case) -> Bee {
    let steps = match &case.source {
        Source::Generated(program) => program.steps(),
        Source::Listed { steps } => steps.iter().map(Step::from).collect(),
    };
    let bee = replay::fresh(None);
    for (step, len) in steps.iter().zip(&case.lens) {
        replay::run(&bee, step);
        assert_eq!(bee.log().len(), *len, "{}", case.name);
    }
    assert_eq!(steps.len(), case.lens.len());
    assert_eq!(replay::tree_hash(&bee), case.tree_hash, "{}", case.name);
    bee
}

fn answer(tree: &Tree, kind: &str, query: &Value) -> Value {
    if kind == "get" {
        let key = hex::decode(query["key"].as_str().unwrap()).unwrap();
        return tree.get(&key).unwrap().map(|entry| entry.seq).into();
    }
    let options = range(query);
    if kind == "peek" {
        return tree.peek(options).unwrap().map(|entry| entry.seq).into();
    }
    let seqs: Vec<u64> = tree.range(options).map(|entry| entry.unwrap().seq).collect();
    seqs.into()
}

pub(crate) fn range(query: &Value) -> RangeOptions {
    let bounds: Bounds = serde_json::from_value(query.clone()).unwrap();
    let bytes = |hex: Option<Hex>| hex.map(|Hex(bytes)| -> Bytes { bytes });
    RangeOptions {
        gt: bytes(bounds.gt),
        gte: bytes(bounds.gte),
        lt: bytes(bounds.lt),
        lte: bytes(bounds.lte),
        reverse: bounds.reverse,
        limit: bounds.limit,
    }
}

/// Where both bounds of an end are given, Hyperbee takes the exclusive one for an inclusive one; ours
/// is what a range does.
fn check_diff(case: &Case, bee: &Bee, query: &Value, context: &str) {
    let [left, right] = ["left", "right"].map(|side| query[side].as_u64().unwrap());
    if [left, right].iter().any(|version| *version > 1 && !case.lens.contains(version)) {
        let [left, right] = [left, right].map(|version| bee.checkout(version));
        if let (Ok(left), Ok(right)) = (left, right) {
            left.diff(&right, range(query)).unwrap().for_each(drop);
        }
        return;
    }
    let mut options = range(query);
    if options.gt.is_some() && options.gte.is_some() {
        options.gte = options.gt.take();
    }
    if options.lt.is_some() && options.lte.is_some() {
        options.lte = options.lt.take();
    }
    let [left, right] = [left, right].map(|version| bee.checkout(version).unwrap());
    let seq = |entry: &Option<Entry>| entry.as_ref().map(|entry| entry.seq);
    let changes: Vec<_> = left
        .diff(&right, options)
        .unwrap()
        .map(|change| change.map(|change| (seq(&change.left), seq(&change.right))).unwrap())
        .collect();
    assert_eq!(serde_json::to_value(changes).unwrap(), query["result"], "{context}");
}

/// Hyperbee's words `since` and `end` are our `gte` and `lt`. Where it throws, since it reads the
/// header or less, ours begins with the first block.
fn check_history(bee: &Bee, query: &Value, context: &str) {
    let number = |name: &str| query.get(name).map(|number| number.as_i64().unwrap());
    let options = HistoryOptions {
        // For Hyperbee, 0 is no bound at the low end, and nothing at all at the high end.
        gt: number("gt").filter(|gt| *gt != 0),
        gte: number("gte").or(number("since")).filter(|gte| *gte != 0),
        lt: number("lt").or(number("end")),
        lte: number("lte"),
        reverse: query["reverse"].as_bool().unwrap_or(false),
        limit: number("limit").and_then(|limit| u64::try_from(limit).ok()),
        live: false,
    };
    if query.get("error").is_some() {
        bee.history(options).for_each(drop);
        return;
    }
    let records: Vec<_> = bee
        .history(options)
        .map(|record| {
            let Record { action, entry } = record.unwrap();
            (entry.seq, if action == Action::Put { "put" } else { "del" })
        })
        .collect();
    assert_eq!(serde_json::to_value(records).unwrap(), query["result"], "{context}");
}

/// Who asks for a hint is sent to the blocks that Hyperbee reads, in that order.
fn check_touch(bee: &Bee, query: &Value, context: &str) {
    let key = hex::decode(query["key"].as_str().unwrap()).unwrap();
    let ask = bee.snapshot().unwrap().hint(&key).unwrap();
    let answer = bee.answer_hint(&ask);
    let blocks: Vec<u64> =
        answer.into_iter().flat_map(|message| message.cache.unwrap().blocks).collect();
    let mut touched: Vec<u64> = Vec::new();
    for seq in query["result"]["touched"].as_array().unwrap() {
        let seq = seq.as_u64().unwrap();
        if !touched.contains(&seq) {
            touched.push(seq);
        }
    }
    assert_eq!(blocks, touched, "{context}");
}

/// A block with an empty index is refused; others may be served, but nothing is promised.
fn check_mid_batch(bee: &Bee, version: u64, context: &str) {
    let block = multibee_btree::Block::decode(replay::block(bee, version - 1)).unwrap();
    let tree = bee.checkout(version);
    if block.levels().unwrap().is_empty() {
        assert!(
            matches!(tree, Err(Error::NotACommitEnd { version: v }) if v == version),
            "{context}"
        );
    } else {
        tree.unwrap();
    }
}

/// Ours must be right: the key is not in the range of the version, and Hyperbee's block is older
/// than the key's deletion.
fn check_stale(bee: &Bee, tree: &Tree, query: &Value, context: &str) {
    let key = Bytes::from(hex::decode(query["key"].as_str().unwrap()).unwrap());
    let seq = query["result"].as_u64().unwrap();
    let old = bee.get_by_seq(seq).unwrap().unwrap();
    assert_eq!(old.key, key, "{context}");
    let mut range = tree.range(RangeOptions::default());
    assert!(range.all(|entry| entry.unwrap().key != key), "{context}");
    let deleted = (seq + 1..tree.version())
        .any(|seq| bee.get_by_seq(seq).unwrap().is_some_and(|e| e.key == key && e.value.is_none()));
    assert!(deleted, "{context}");
}
