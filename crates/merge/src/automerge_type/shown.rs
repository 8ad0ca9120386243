//! A document as JSON.

use ::automerge::{AutoCommit, ObjId, ObjType, ROOT, ReadDoc, ScalarValueRef, ValueRef};
use serde_json::{Map, Number, Value};

use crate::StateError;
use crate::limits::{MAX_DEPTH, MAX_SHOWN_LEN};

/// What a document shows, as a JSON object.
pub(super) fn of(document: &AutoCommit) -> Result<Value, StateError> {
    Shower { document, left: MAX_SHOWN_LEN }.object(&ROOT, ObjType::Map, 0)
}

struct Shower<'a> {
    document: &'a AutoCommit,
    /// Bytes of JSON that may still come.
    left: usize,
}

impl Shower<'_> {
    fn object(&mut self, id: &ObjId, kind: ObjType, depth: usize) -> Result<Value, StateError> {
        if depth >= MAX_DEPTH {
            return Err(StateError::TooMany { what: "levels", limit: MAX_DEPTH });
        }
        match kind {
            ObjType::Map | ObjType::Table => {
                let mut fields = Map::new();
                for field in self.document.map_range(id, ..) {
                    self.take(field.key.len())?;
                    let value = self.part(&field.value, || field.id(), depth)?;
                    fields.insert(field.key.clone().into_owned(), value);
                }
                Ok(Value::Object(fields))
            }
            ObjType::List => {
                let mut items = Vec::new();
                for item in self.document.list_range(id, ..) {
                    items.push(self.part(&item.value, || item.id(), depth)?);
                }
                Ok(Value::Array(items))
            }
            ObjType::Text => {
                let text = self.document.text(id);
                let text = text.map_err(|_| StateError::Malformed { what: "a text" })?;
                self.take(text.len())?;
                Ok(Value::String(text))
            }
        }
    }

    fn part(
        &mut self,
        value: &ValueRef<'_>,
        id: impl FnOnce() -> ObjId,
        depth: usize,
    ) -> Result<Value, StateError> {
        match value {
            ValueRef::Object(kind) => self.object(&id(), *kind, depth + 1),
            ValueRef::Scalar(scalar) => {
                let shown = self::scalar(scalar);
                let len = match &shown {
                    Value::String(text) => text.len(),
                    Value::Array(bytes) => bytes.len().saturating_mul(4),
                    _ => 0,
                };
                self.take(len)?;
                Ok(shown)
            }
        }
    }

    /// Takes a value of so many bytes, with what stands around it.
    fn take(&mut self, len: usize) -> Result<(), StateError> {
        let left = self.left.checked_sub(len.saturating_add(8));
        self.left =
            left.ok_or(StateError::TooMany { what: "bytes shown", limit: MAX_SHOWN_LEN })?;
        Ok(())
    }
}

/// A scalar as JSON. Bytes are a list of numbers; what JSON has no word for is null.
fn scalar(scalar: &ScalarValueRef<'_>) -> Value {
    match scalar {
        ScalarValueRef::Bytes(bytes) => bytes.iter().copied().map(Value::from).collect(),
        ScalarValueRef::Str(text) => Value::String(text.to_string()),
        ScalarValueRef::Int(number) | ScalarValueRef::Timestamp(number) => Value::from(*number),
        ScalarValueRef::Uint(number) => Value::from(*number),
        ScalarValueRef::F64(number) => Number::from_f64(*number).map_or(Value::Null, Value::Number),
        ScalarValueRef::Counter(count) => Value::from(*count),
        ScalarValueRef::Boolean(flag) => Value::Bool(*flag),
        ScalarValueRef::Unknown { .. } | ScalarValueRef::Null => Value::Null,
    }
}
