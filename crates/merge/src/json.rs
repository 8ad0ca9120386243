//! JSON values as mergeable types take them in and give them out.

use serde_json::{Map, Value};

use crate::WriteError;
use crate::limits::{MAX_DEPTH, MAX_VALUE_LEN};

/// Reads a value that a user has put.
///
/// # Errors
///
/// It is too long, no JSON, or nested too deeply.
pub(crate) fn parse(value: &[u8]) -> Result<Value, WriteError> {
    if value.len() > MAX_VALUE_LEN {
        return Err(WriteError::TooLarge { what: "a value's bytes", limit: MAX_VALUE_LEN });
    }
    let value = serde_json::from_slice(value).map_err(|_| WriteError::NotJson)?;
    if depth(&value) > MAX_DEPTH {
        return Err(WriteError::TooDeep { limit: MAX_DEPTH });
    }
    Ok(value)
}

/// The one text of a value: no spaces, fields in the order of their names' bytes.
pub(crate) fn canonical(value: &Value) -> String {
    sorted(value).to_string()
}

/// Whether `text` is a value in the form that [`canonical`] gives, not nested too deeply.
pub(crate) fn is_canonical(text: &str) -> bool {
    serde_json::from_str(text)
        .is_ok_and(|value| depth(&value) <= MAX_DEPTH && canonical(&value) == text)
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            let fields = fields.into_iter().map(|(name, value)| (name.clone(), sorted(value)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        scalar => scalar.clone(),
    }
}

/// Levels of objects and lists. The parser itself goes no deeper than 128.
fn depth(value: &Value) -> usize {
    match value {
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
