//! Changes to values of mergeable types that need not say the whole value.

use bytes::Bytes;
use multibee_merge::{Counter, Map, Set, WriteError};
use serde_json::Value;

/// A change that depends on what is there.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    /// Adds to a counter.
    Add(i64),
    /// Adds an element, as JSON, to a set.
    Insert(Bytes),
    /// Removes an element, as JSON, from a set.
    Remove(Bytes),
    /// Merges a JSON object into a map, as RFC 7396 says: `null` removes a field.
    Patch(Bytes),
}

impl Edit {
    /// The type that is edited.
    pub(crate) const fn kind(&self) -> u32 {
        match self {
            Self::Add(_) => Counter::KIND,
            Self::Insert(_) | Self::Remove(_) => Set::KIND,
            Self::Patch(_) => Map::KIND,
        }
    }

    /// The whole value afterwards, given the one that is there; none counts as empty or 0.
    pub(crate) fn apply(&self, current: Option<&[u8]>) -> Result<Bytes, WriteError> {
        match self {
            Self::Add(by) => {
                let current = current.map_or(Ok(0), integer)?;
                let sum = current.checked_add(i128::from(*by)).ok_or(WriteError::OutOfRange)?;
                Ok(sum.to_string().into())
            }
            Self::Insert(element) => {
                let (mut elements, element) = (list(current)?, json(element)?);
                elements.push(element);
                Ok(Value::Array(elements).to_string().into())
            }
            Self::Remove(element) => {
                let (mut elements, element) = (list(current)?, json(element)?);
                elements.retain(|other| *other != element);
                Ok(Value::Array(elements).to_string().into())
            }
            Self::Patch(patch) => {
                let current = current.map_or_else(|| Ok(Value::Object(<_>::default())), json)?;
                let (Value::Object(_), patch @ Value::Object(_)) = (&current, json(patch)?) else {
                    return Err(WriteError::WrongShape { expected: "a JSON object" });
                };
                Ok(patched(current, patch).to_string().into())
            }
        }
    }
}

/// RFC 7396. The depth of the patch is bounded by its parser.
fn patched(target: Value, patch: Value) -> Value {
    let Value::Object(patch) = patch else { return patch };
    let mut fields = match target {
        Value::Object(fields) => fields,
        _ => <_>::default(),
    };
    for (name, change) in patch {
        if change.is_null() {
            fields.remove(&name);
        } else {
            let before = fields.remove(&name).unwrap_or_default();
            fields.insert(name, patched(before, change));
        }
    }
    Value::Object(fields)
}

fn integer(text: &[u8]) -> Result<i128, WriteError> {
    let expected = WriteError::WrongShape { expected: "a JSON integer" };
    let text = std::str::from_utf8(text).map_err(|_| expected.clone())?;
    text.trim_ascii().parse().map_err(|_| expected)
}

fn list(current: Option<&[u8]>) -> Result<Vec<Value>, WriteError> {
    match current.map(json).transpose()? {
        None => Ok(Vec::new()),
        Some(Value::Array(elements)) => Ok(elements),
        Some(_) => Err(WriteError::WrongShape { expected: "a JSON list" }),
    }
}

fn json(text: &(impl AsRef<[u8]> + ?Sized)) -> Result<Value, WriteError> {
    serde_json::from_slice(text.as_ref()).map_err(|_| WriteError::NotJson)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(edit: Edit, current: Option<&str>) -> Result<String, WriteError> {
        let value = edit.apply(current.map(str::as_bytes))?;
        Ok(String::from_utf8(value.to_vec()).unwrap())
    }

    /// Each edit changes what it names and leaves the rest.
    #[test]
    fn edits_change_what_they_name() {
        assert_eq!(apply(Edit::Add(-3), Some("5")).unwrap(), "2");
        assert_eq!(apply(Edit::Add(4), None).unwrap(), "4");
        assert_eq!(apply(Edit::Insert("\"b\"".into()), Some("[1]")).unwrap(), r#"[1,"b"]"#);
        assert_eq!(apply(Edit::Remove("1".into()), Some("[1,2]")).unwrap(), "[2]");
        assert_eq!(apply(Edit::Remove("1".into()), None).unwrap(), "[]");
        let patch = Edit::Patch(r#"{"a":null,"b":{"c":2},"d":[1]}"#.into());
        let patched = apply(patch.clone(), Some(r#"{"a":1,"b":{"x":0,"c":1},"e":7}"#)).unwrap();
        let expected = r#"{"b":{"x":0,"c":2},"d":[1],"e":7}"#;
        let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(parse(&patched), parse(expected));
        assert_eq!(parse(&apply(patch, None).unwrap()), parse(r#"{"b":{"c":2},"d":[1]}"#));
    }

    /// What is there and is of another shape is refused, not replaced.
    #[test]
    fn other_shapes_are_refused() {
        for (edit, current) in [
            (Edit::Add(1), "\"x\""),
            (Edit::Insert("1".into()), "{}"),
            (Edit::Insert("nonsense".into()), "[]"),
            (Edit::Patch("{}".into()), "[]"),
            (Edit::Patch("[]".into()), "{}"),
        ] {
            assert!(apply(edit.clone(), Some(current)).is_err(), "{edit:?}");
        }
    }
}
