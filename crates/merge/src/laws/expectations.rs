//! Workloads for the types provided: what users put, and what must come of it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{Random, Workload, Write};

/// For counters: a user sees a number and puts another one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts;

/// For sets: a user adds some elements and takes others away.
#[derive(Clone, Copy, Debug, Default)]
pub struct Elements;

/// For maps: a user changes fields, nested ones, and a list of texts.
///
/// Every list item is a new text, so that it can be told from all others.
#[derive(Clone, Copy, Debug, Default)]
pub struct Documents;

impl Workload for Counts {
    fn next(&self, random: &mut Random, shown: Option<&[u8]>) -> Vec<u8> {
        let step = i128::from(random.number() % 21) - 10;
        (number(shown) + step).to_string().into()
    }

    /// The sum of all steps.
    fn check(&self, writes: &[&Write], shown: &[u8]) -> Result<(), String> {
        let steps = writes.iter().map(|w| number(Some(&w.put)) - number(w.seen.as_deref()));
        let sum: i128 = steps.sum();
        if sum == number(Some(shown)) { Ok(()) } else { Err(format!("the steps give {sum}")) }
    }
}

impl Workload for Elements {
    fn next(&self, random: &mut Random, shown: Option<&[u8]>) -> Vec<u8> {
        let mut elements = items(shown);
        for _ in 0..=random.below(3) {
            if random.once_in(2) {
                let at = random.below(elements.len());
                let _removed = (at < elements.len()).then(|| elements.remove(at));
            } else {
                elements.push(Value::from(random.below(6)));
            }
        }
        Value::Array(elements).to_string().into()
    }

    /// Exactly those elements are there of which an add was seen by no remove.
    fn check(&self, writes: &[&Write], shown: &[u8]) -> Result<(), String> {
        let changes: Vec<_> = writes
            .iter()
            .map(|write| (write, texts(write.seen.as_deref()), texts(Some(&write.put))))
            .collect();
        let mut expected = BTreeSet::new();
        for (write, seen, put) in &changes {
            for element in put.difference(seen) {
                let removed = changes.iter().any(|(other, seen, put)| {
                    other.counting.contains(&write.dot)
                        && seen.contains(element)
                        && !put.contains(element)
                });
                if !removed {
                    expected.insert(element.clone());
                }
            }
        }
        if items(Some(shown)).len() != expected.len() || texts(Some(shown)) != expected {
            return Err(format!("the writes leave {expected:?}"));
        }
        Ok(())
    }
}

impl Workload for Documents {
    fn next(&self, random: &mut Random, shown: Option<&[u8]>) -> Vec<u8> {
        let mut document = fields(shown);
        for _ in 0..=random.below(3) {
            match random.below(4) {
                0 | 1 => change_field(&mut document, random),
                2 => {
                    let inner = document.entry("n").or_insert_with(|| Value::Object(Map::new()));
                    if let Value::Object(inner) = inner {
                        change_field(inner, random);
                    }
                }
                _ => {
                    let list = document.entry("l").or_insert_with(|| Value::Array(Vec::new()));
                    if let Value::Array(list) = list {
                        change_list(list, random);
                    }
                }
            }
        }
        Value::Object(document).to_string().into()
    }

    /// Each field holds the latest of the settings that none saw; each list item is there once
    /// unless a write that saw it took it away; items of one write stand in its order.
    fn check(&self, writes: &[&Write], shown: &[u8]) -> Result<(), String> {
        check_fields(writes, &leaves(Some(shown)))?;
        let list = list_texts(Some(shown));
        let once: BTreeSet<_> = list.iter().cloned().collect();
        if once.len() != list.len() {
            return Err("a list item is doubled".into());
        }
        let mut expected = BTreeSet::new();
        for write in writes {
            let (seen, put) = (list_texts(write.seen.as_deref()), list_texts(Some(&write.put)));
            let own: Vec<_> = put.iter().filter(|text| !seen.contains(text)).cloned().collect();
            let taken = |text: &String| {
                writes.iter().any(|other| {
                    list_texts(other.seen.as_deref()).contains(text)
                        && !list_texts(Some(&other.put)).contains(text)
                })
            };
            let stay: Vec<_> = own.into_iter().filter(|text| !taken(text)).collect();
            let in_order: Vec<_> =
                list.iter().filter(|text| stay.contains(text)).cloned().collect();
            if in_order != stay {
                return Err(format!("{stay:?} stands as {in_order:?}"));
            }
            expected.extend(stay);
        }
        if once == expected { Ok(()) } else { Err(format!("the list should hold {expected:?}")) }
    }
}

/// Compares scalar fields with the settings that no later change saw.
fn check_fields(writes: &[&Write], shown: &BTreeMap<String, Value>) -> Result<(), String> {
    let changes: Vec<_> = writes
        .iter()
        .map(|write| (write, leaves(write.seen.as_deref()), leaves(Some(&write.put))))
        .collect();
    let names: BTreeSet<_> = changes.iter().flat_map(|(_, _, put)| put.keys()).collect();
    for name in names {
        let touched = changes.iter().filter(|(_, seen, put)| seen.get(name) != put.get(name));
        let touched: Vec<_> = touched.collect();
        // A change is settled by any later write that saw it, also one that left it as it was
        // shown: then only the shown one goes on.
        let standing = touched.iter().filter(|(write, _, put)| {
            put.contains_key(name)
                && !changes.iter().any(|(other, seen, after)| {
                    other.dot != write.dot
                        && other.counting.contains(&write.dot)
                        && (seen.get(name) != after.get(name) || seen.get(name) != put.get(name))
                })
        });
        let latest = standing.max_by_key(|(write, ..)| (write.time, write.dot));
        let expected = latest.and_then(|(_, _, put)| put.get(name));
        if expected != shown.get(name) {
            return Err(format!("field {name} should be {expected:?}"));
        }
    }
    Ok(())
}

fn change_field(object: &mut Map<String, Value>, random: &mut Random) {
    let name = ["a", "b", "c"].get(random.below(3)).copied().unwrap_or("a");
    if random.once_in(4) {
        object.remove(name);
    } else {
        object.insert(name.into(), Value::from(random.number()));
    }
}

fn change_list(list: &mut Vec<Value>, random: &mut Random) {
    let at = random.below(list.len() + 1);
    if random.once_in(3) && at < list.len() {
        list.remove(at);
        return;
    }
    let run = (0..=random.below(3)).map(|_| Value::from(format!("{:x}", random.number())));
    let run: Vec<_> = run.collect();
    list.splice(at..at, run);
}

fn number(json: Option<&[u8]>) -> i128 {
    let text = json.map(String::from_utf8_lossy);
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn items(json: Option<&[u8]>) -> Vec<Value> {
    json.and_then(|json| serde_json::from_slice(json).ok()).unwrap_or_default()
}

fn texts(json: Option<&[u8]>) -> BTreeSet<String> {
    items(json).iter().map(Value::to_string).collect()
}

fn fields(json: Option<&[u8]>) -> Map<String, Value> {
    json.and_then(|json| serde_json::from_slice(json).ok()).unwrap_or_default()
}

/// The scalar fields of a document, by name, those of its inner object as `n.name`.
fn leaves(json: Option<&[u8]>) -> BTreeMap<String, Value> {
    let mut leaves = BTreeMap::new();
    for (name, value) in fields(json) {
        match value {
            Value::Object(inner) => leaves
                .extend(inner.into_iter().map(|(below, value)| (format!("{name}.{below}"), value))),
            Value::Array(_) => {}
            scalar => {
                leaves.insert(name, scalar);
            }
        }
    }
    leaves
}

fn list_texts(json: Option<&[u8]>) -> Vec<String> {
    match fields(json).remove("l") {
        Some(Value::Array(list)) => list.iter().map(Value::to_string).collect(),
        _ => Vec::new(),
    }
}
