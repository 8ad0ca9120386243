//! Making a document show other JSON, by as few changes as can be.

use std::collections::BTreeMap;

use ::automerge::transaction::Transactable;
use ::automerge::{
    AutoCommit, AutomergeError, ObjId, ObjType, Prop, ROOT, ReadDoc, ScalarValue, Value as Part,
};
use serde_json::{Map, Number, Value};

use crate::align::align;

type Outcome = Result<(), AutomergeError>;

/// Largest product of lengths of two texts, without what they begin and end with alike, for which
/// single letters are matched. Longer ones are replaced between their first and last difference.
const LETTERS_MAX: usize = 1_000_000;

/// Changes the document from what it shows to what is wanted; both are objects.
pub(super) fn update(document: &mut AutoCommit, shown: &Value, wanted: &Value) -> Outcome {
    match (shown, wanted) {
        (Value::Object(shown), Value::Object(wanted)) => fields(document, &ROOT, shown, wanted),
        _ => Ok(()),
    }
}

fn fields(
    document: &mut AutoCommit,
    id: &ObjId,
    shown: &Map<String, Value>,
    wanted: &Map<String, Value>,
) -> Outcome {
    for name in shown.keys().filter(|name| !wanted.contains_key(*name)) {
        document.delete(id, name.as_str())?;
    }
    let wanted: BTreeMap<_, _> = wanted.iter().collect();
    for (name, value) in wanted {
        match shown.get(name) {
            Some(before) => replace(document, id, name.as_str().into(), before, value)?,
            None => put(document, id, name.as_str().into(), value)?,
        }
    }
    Ok(())
}

fn items(document: &mut AutoCommit, id: &ObjId, shown: &[Value], wanted: &[Value]) -> Outcome {
    // `at`: how far the new list is made. `next`: which item of the old one comes next.
    let mut next = 0;
    for (at, (value, from)) in wanted.iter().zip(align(shown, wanted)).enumerate() {
        match from.and_then(|from| Some((from, shown.get(from)?))) {
            Some((from, before)) => {
                for _ in next..from {
                    document.delete(id, at)?;
                }
                next = from + 1;
                replace(document, id, at.into(), before, value)?;
            }
            None => insert(document, id, at, value)?,
        }
    }
    for _ in next..shown.len() {
        document.delete(id, wanted.len())?;
    }
    Ok(())
}

/// Changes what stands at a place, as far as it is of the same kind.
fn replace(
    document: &mut AutoCommit,
    id: &ObjId,
    place: Prop,
    shown: &Value,
    wanted: &Value,
) -> Outcome {
    if shown == wanted {
        return Ok(());
    }
    let found = document.get(id, place.clone())?.map(|(part, child)| (part.into_owned(), child));
    match (found, shown, wanted) {
        (
            Some((Part::Object(ObjType::Map), child)),
            Value::Object(shown),
            Value::Object(wanted),
        ) => fields(document, &child, shown, wanted),
        (Some((Part::Object(ObjType::List), child)), Value::Array(shown), Value::Array(wanted)) => {
            items(document, &child, shown, wanted)
        }
        (
            Some((Part::Object(ObjType::Text), child)),
            Value::String(shown),
            Value::String(wanted),
        ) => letters(document, &child, shown, wanted),
        (Some((Part::Scalar(scalar), _)), Value::Number(shown), Value::Number(wanted))
            if scalar.is_counter() && step(shown, wanted).is_some() =>
        {
            document.increment(id, place, step(shown, wanted).unwrap_or_default())
        }
        _ => put(document, id, place, wanted),
    }
}

fn letters(document: &mut AutoCommit, id: &ObjId, shown: &str, wanted: &str) -> Outcome {
    let (old, new): (Vec<char>, Vec<char>) = (shown.chars().collect(), wanted.chars().collect());
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let rest = old.len().min(new.len()) - head;
    let tail =
        old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    let (gone, come) = (old.len() - head - tail, new.len() - head - tail);
    if gone > 0 && come > 0 && gone.saturating_mul(come) <= LETTERS_MAX {
        return document.update_text(id, wanted);
    }
    let text: String = new.iter().skip(head).take(come).collect();
    document.splice_text(id, head, isize::try_from(gone).unwrap_or(isize::MAX), &text)
}

/// By how much a counter grows.
fn step(shown: &Number, wanted: &Number) -> Option<i64> {
    wanted.as_i64()?.checked_sub(shown.as_i64()?)
}

fn put(document: &mut AutoCommit, id: &ObjId, place: Prop, value: &Value) -> Outcome {
    match Made::of(value) {
        Made::Scalar(scalar) => document.put(id, place, scalar),
        Made::Object(kind) => {
            let child = document.put_object(id, place, kind)?;
            fill(document, &child, value)
        }
    }
}

fn insert(document: &mut AutoCommit, id: &ObjId, at: usize, value: &Value) -> Outcome {
    match Made::of(value) {
        Made::Scalar(scalar) => document.insert(id, at, scalar),
        Made::Object(kind) => {
            let child = document.insert_object(id, at, kind)?;
            fill(document, &child, value)
        }
    }
}

fn fill(document: &mut AutoCommit, id: &ObjId, value: &Value) -> Outcome {
    match value {
        Value::Object(wanted) => fields(document, id, &Map::new(), wanted),
        Value::Array(wanted) => items(document, id, &[], wanted),
        Value::String(text) => document.splice_text(id, 0, 0, text),
        _ => Ok(()),
    }
}

/// What becomes of a JSON value.
enum Made {
    Scalar(ScalarValue),
    Object(ObjType),
}

impl Made {
    fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Scalar(ScalarValue::Null),
            Value::Bool(flag) => Self::Scalar(ScalarValue::Boolean(*flag)),
            Value::Number(number) => Self::Scalar(match (number.as_i64(), number.as_u64()) {
                (Some(number), _) => ScalarValue::Int(number),
                (None, Some(number)) => ScalarValue::Uint(number),
                _ => ScalarValue::F64(number.as_f64().unwrap_or_default()),
            }),
            Value::String(_) => Self::Object(ObjType::Text),
            Value::Array(_) => Self::Object(ObjType::List),
            Value::Object(_) => Self::Object(ObjType::Map),
        }
    }
}
