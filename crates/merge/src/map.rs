//! JSON objects that merge field by field.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde_json::Value;

use crate::align::align;
use crate::facts::{Facts, Stamps};
use crate::item::ItemId;
use crate::json;
use crate::map_path::{Atom, MapFact, Segment};
use crate::{Dot, MergeType, Renaming, StateError, Time, WriteError};

/// A JSON object that merges field by field, nested, with lists that keep concurrent inserts.
///
/// A put changes the fields and items in which it differs from what was seen, and no others.
/// - Two devices set one field: the later write, by (time, dot), is shown.
/// - One removes what the other one changes: the change is shown. Of an object or a list item,
///   that is the part that was changed.
/// - Both insert into one list: all items stay, each once; what one write inserted stays together.
///   An item moved is removed and inserted again. Objects in lists are edited in place.
///
/// Numbers are 64-bit integers or doubles. The value shown has its fields in order of their names.
#[derive(Clone, Copy, Debug, Default)]
pub struct Map;

impl Map {
    /// The type's number in records.
    pub const KIND: u32 = 1;
}

impl MergeType for Map {
    fn kind(&self) -> u32 {
        Self::KIND
    }

    fn value(&self, state: &[u8]) -> Result<Bytes, StateError> {
        let facts = Facts::decode(state)?;
        Ok(Node::of(&facts).fields().to_string().into())
    }

    fn join(&self, a: &[u8], b: &[u8]) -> Result<Bytes, StateError> {
        let mut joined = Facts::<MapFact>::decode(a)?;
        joined.join(Facts::decode(b)?);
        Ok(joined.encode())
    }

    fn write(
        &self,
        base: Option<&[u8]>,
        value: &[u8],
        dot: Dot,
        time: Time,
    ) -> Result<Bytes, WriteError> {
        let value = json::parse(value)?;
        if !value.is_object() {
            return Err(WriteError::WrongShape { expected: "a JSON object" });
        }
        let mut facts = Facts::decode_base(base)?;
        let mut wanted = Wanted { facts: BTreeSet::new(), path: Vec::new(), dot };
        wanted.value(Some(&Node::of(&facts)), &value)?;
        facts.write(wanted.facts, dot, time)?;
        facts.encode_written()
    }

    fn delete(&self, base: Option<&[u8]>, dot: Dot) -> Result<Bytes, StateError> {
        let mut facts = Facts::<MapFact>::decode_base(base)?;
        facts.forget(dot);
        Ok(facts.encode())
    }

    fn rename(
        &self,
        state: &[u8],
        renaming: &Renaming,
        _base: Option<&[u8]>,
    ) -> Result<Bytes, StateError> {
        Facts::<MapFact>::renamed(state, renaming)
    }
}

/// When something was written last: the later one is shown.
type Stamp = (Time, Dot);

/// All that is known of one path, shown or not: concurrent writes may have made it an object, a
/// list and several scalars at once.
#[derive(Debug, Default)]
struct Node<'a> {
    object: Option<Stamp>,
    list: Option<Stamp>,
    scalar: Option<(Stamp, &'a str)>,
    fields: BTreeMap<&'a str, Self>,
    items: BTreeMap<&'a ItemId, Self>,
}

/// What a path shows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Form<'a> {
    Object,
    List,
    Scalar(&'a str),
}

impl<'a> Node<'a> {
    /// The tree of all facts.
    fn of(facts: &'a Facts<MapFact>) -> Self {
        let mut root = Self::default();
        for (fact, stamps) in facts.iter() {
            root.add(&fact.path, &fact.atom, latest(stamps));
        }
        root
    }

    /// Adds a fact below this node. What lies below an object or list makes it later, too.
    fn add(&mut self, path: &'a [Segment], atom: &'a Atom, stamp: Stamp) {
        match path.split_first() {
            Some((Segment::Field(name), rest)) => {
                self.object = self.object.max(Some(stamp));
                self.fields.entry(name).or_default().add(rest, atom, stamp);
            }
            Some((Segment::Item(id), rest)) => {
                self.list = self.list.max(Some(stamp));
                self.items.entry(id).or_default().add(rest, atom, stamp);
            }
            None => match atom {
                Atom::Object => self.object = self.object.max(Some(stamp)),
                Atom::List => self.list = self.list.max(Some(stamp)),
                Atom::Scalar(text) => self.scalar = self.scalar.max(Some((stamp, text))),
            },
        }
    }

    /// Of several concurrent forms, the latest.
    fn form(&self) -> Option<Form<'a>> {
        let object = self.object.map(|stamp| (stamp, Form::Object));
        let list = self.list.map(|stamp| (stamp, Form::List));
        let scalar = self.scalar.map(|(stamp, text)| (stamp, Form::Scalar(text)));
        object.max(list).max(scalar).map(|(_, form)| form)
    }

    fn value(&self) -> Value {
        match self.form() {
            Some(Form::Object) => self.fields(),
            Some(Form::List) => self.items.values().map(Self::value).collect(),
            // The text was checked when the fact was read; null would be shown for a wrong one.
            Some(Form::Scalar(text)) => serde_json::from_str(text).unwrap_or_default(),
            None => Value::Null,
        }
    }

    fn fields(&self) -> Value {
        let fields = self.fields.iter();
        Value::Object(fields.map(|(name, node)| ((*name).to_owned(), node.value())).collect())
    }
}

fn latest(stamps: &Stamps) -> Stamp {
    let latest = stamps.iter().map(|(dot, time)| (*time, *dot)).max();
    latest.expect("a fact has at least one stamp: an invariant of `Facts`")
}

/// Collects the facts that a put value consists of.
struct Wanted {
    facts: BTreeSet<MapFact>,
    /// Where we are.
    path: Vec<Segment>,
    /// The write: new items get their names from it.
    dot: Dot,
}

impl Wanted {
    /// The facts of `value` at the current path, where `seen` was before.
    fn value(&mut self, seen: Option<&Node<'_>>, value: &Value) -> Result<(), WriteError> {
        let form = seen.and_then(Node::form);
        match value {
            Value::Object(fields) => {
                self.fact(Atom::Object);
                let seen = seen.filter(|_| form == Some(Form::Object) || self.path.is_empty());
                for (name, value) in fields {
                    let seen = seen.and_then(|node| node.fields.get(name.as_str()));
                    self.below(Segment::Field(name.as_str().into()), seen, value)?;
                }
                Ok(())
            }
            Value::Array(values) => {
                self.fact(Atom::List);
                self.list(seen.filter(|_| form == Some(Form::List)), values)
            }
            scalar => {
                self.fact(Atom::Scalar(scalar.to_string().into()));
                Ok(())
            }
        }
    }

    fn list(&mut self, seen: Option<&Node<'_>>, values: &[Value]) -> Result<(), WriteError> {
        let old: Vec<(&ItemId, &Node<'_>)> = seen
            .map(|node| node.items.iter().map(|(id, node)| (*id, node)).collect())
            .unwrap_or_default();
        let shown: Vec<Value> = old.iter().map(|(_, node)| node.value()).collect();
        let aligned = align(&shown, values);
        let mut left = None;
        let mut run: Vec<&Value> = Vec::new();
        for (value, position) in values.iter().zip(aligned) {
            let Some((id, node)) = position.and_then(|position| old.get(position)) else {
                run.push(value);
                continue;
            };
            self.insert(left, Some(id), &mut run)?;
            self.below(Segment::Item((*id).clone()), Some(node), value)?;
            left = Some(*id);
        }
        self.insert(left, None, &mut run)
    }

    /// Puts a run of new items between two that stay.
    fn insert(
        &mut self,
        left: Option<&ItemId>,
        right: Option<&ItemId>,
        run: &mut Vec<&Value>,
    ) -> Result<(), WriteError> {
        if run.is_empty() {
            return Ok(());
        }
        let names = ItemId::run(left, right, run.len(), self.dot)?;
        for (id, value) in names.into_iter().zip(run.drain(..)) {
            self.below(Segment::Item(id), None, value)?;
        }
        Ok(())
    }

    fn below(
        &mut self,
        segment: Segment,
        seen: Option<&Node<'_>>,
        value: &Value,
    ) -> Result<(), WriteError> {
        self.path.push(segment);
        let result = self.value(seen, value);
        self.path.pop();
        result
    }

    fn fact(&mut self, atom: Atom) {
        self.facts.insert(MapFact { path: self.path.clone(), atom });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DeviceId;

    fn put(base: Option<&Bytes>, value: &str, device: u64, seq: u64) -> Bytes {
        let dot = Dot { device: DeviceId::from_u64(device), seq };
        let base = base.map(|base| &base[..]);
        Map.write(base, value.as_bytes(), dot, Time::from_millis(seq)).unwrap()
    }

    fn joined(a: &Bytes, b: &Bytes) -> String {
        let both = Map.join(a, b).unwrap();
        assert_eq!(both, Map.join(b, a).unwrap());
        String::from_utf8(Map.value(&both).unwrap().into()).unwrap()
    }

    /// Edits of different fields both stay, also deep inside; of one field, the later one.
    #[test]
    fn fields_merge_one_by_one() {
        let base = put(None, r#"{"a":1,"n":{"x":1,"y":1},"gone":0}"#, 1, 0);
        let one = put(Some(&base), r#"{"a":2,"n":{"x":5,"y":1}}"#, 1, 1);
        let two = put(Some(&base), r#"{"a":3,"n":{"x":1,"y":6},"gone":0,"new":[]}"#, 2, 2);
        assert_eq!(joined(&one, &two), r#"{"a":3,"n":{"x":5,"y":6},"new":[]}"#);
    }

    /// Scenario S28: concurrent inserts and removals in a list all take effect, once each.
    #[test]
    fn lists_lose_and_double_nothing() {
        let base = put(None, r#"{"l":["a","b"]}"#, 1, 0);
        let one = put(Some(&base), r#"{"l":["a","b","c"]}"#, 1, 1);
        let two = put(Some(&base), r#"{"l":["d","b"]}"#, 2, 1);
        assert_eq!(joined(&one, &two), r#"{"l":["d","b","c"]}"#);
        let both = Map.join(&one, &two).unwrap();
        let last = put(Some(&both), r#"{"l":["b"]}"#, 2, 2);
        assert_eq!(joined(&last, &one), r#"{"l":["b"]}"#);
    }

    /// Runs that two devices insert at one place stand one after the other.
    #[test]
    fn runs_are_not_interleaved() {
        let base = put(None, r#"{"l":[0,9]}"#, 1, 0);
        let one = put(Some(&base), r#"{"l":[0,1,2,3,9]}"#, 1, 1);
        let two = put(Some(&base), r#"{"l":[0,4,5,6,9]}"#, 2, 1);
        assert_eq!(joined(&one, &two), r#"{"l":[0,1,2,3,4,5,6,9]}"#);
    }

    /// Objects in lists are edited in place; a field that changes its kind has one winner.
    #[test]
    fn items_and_kinds_merge() {
        let base = put(None, r#"{"l":[{"t":"x","done":false}],"f":{"g":1}}"#, 1, 0);
        let one = put(Some(&base), r#"{"l":[{"t":"x","done":true}],"f":7}"#, 1, 1);
        let two = put(Some(&base), r#"{"l":[{"t":"y","done":false}],"f":{"g":2}}"#, 2, 2);
        assert_eq!(joined(&one, &two), r#"{"f":{"g":2},"l":[{"done":true,"t":"y"}]}"#);
    }

    /// The latest write decides, whatever it made of the field, and of equal values the later.
    #[test]
    fn the_latest_write_decides() {
        let base = put(None, r#"{"f":{"g":1}}"#, 1, 0);
        let scalar = put(Some(&base), r#"{"f":7}"#, 1, 3);
        let object = put(Some(&base), r#"{"f":{"g":2}}"#, 2, 2);
        assert_eq!(joined(&scalar, &object), r#"{"f":7}"#);
        let same = put(Some(&base), r#"{"f":7}"#, 3, 1);
        let early = Map.join(&scalar, &same).unwrap();
        assert_eq!(joined(&early, &object), r#"{"f":7}"#);
    }

    /// What is not an object, or nested too deeply, is refused; hostile nesting, too.
    #[test]
    fn only_objects_of_some_depth_are_taken() {
        let dot = Dot { device: DeviceId::from_u64(1), seq: 0 };
        let write = |value: &str| Map.write(None, value.as_bytes(), dot, Time::default());
        assert!(matches!(write("[1]"), Err(WriteError::WrongShape { .. })));
        assert_eq!(write("{"), Err(WriteError::NotJson));
        let nested = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        assert!(write(&nested(32)).is_ok());
        assert!(matches!(write(&nested(33)), Err(WriteError::TooDeep { .. })));
        assert_eq!(write(&"[".repeat(100_000)), Err(WriteError::NotJson));
    }
}
