//! What a change should come to, given what its author holds.

use multibee::{Counter, Map, PLAIN, Set};
use serde_json::Value as Json;

use crate::keys::Slot;
use crate::model::{Write, joined, resolve};
use crate::plan::What;
use crate::typed::{State, number};

/// What a change should do.
#[derive(Clone, Debug)]
pub(crate) enum Expected {
    /// Nothing at all is written, nor anything else in the same batch.
    Refused,
    /// Everything stays as it is.
    Nothing,
    Written(Intent),
}

/// A write that is about to happen.
#[derive(Clone, Debug)]
pub(crate) struct Intent {
    pub(crate) slot: Slot,
    pub(crate) kind: u32,
    pub(crate) value: Option<Vec<u8>>,
    /// What a write of a mergeable type builds upon.
    pub(crate) base: Option<State>,
}

/// What is held of a key, and the rule for it.
#[derive(Debug)]
pub(crate) struct Held<'m> {
    pub(crate) key: u16,
    pub(crate) versions: Vec<&'m Write>,
    pub(crate) rule: (&'static str, u32),
}

impl Held<'_> {
    /// The value that is shown, and its type.
    pub(crate) fn showing(&self) -> Option<(Vec<u8>, u32)> {
        let first = resolve(&self.versions, self.rule.0).values.into_iter().next()?;
        Some((first.value, first.kind))
    }

    fn is_live(&self) -> bool {
        self.versions.iter().any(|write| write.value.is_some())
    }

    /// Whether nothing stands beside what is shown.
    fn is_settled(&self) -> bool {
        match resolve(&self.versions, self.rule.0).values.first() {
            Some(shown) => shown.others == 0,
            None => !self.is_live(),
        }
    }

    /// A put of a value that fits the type.
    pub(crate) fn put(&self, kind: u32, value: Vec<u8>) -> Expected {
        let base = if kind == PLAIN { None } else { joined(&self.versions, kind) };
        Expected::Written(Intent { slot: Slot::Key(self.key), kind, value: Some(value), base })
    }

    pub(crate) fn delete(&self) -> Expected {
        if !self.is_live() {
            return Expected::Nothing;
        }
        let slot = Slot::Key(self.key);
        Expected::Written(Intent { slot, kind: PLAIN, value: None, base: None })
    }

    /// What a change does. `value` is what it puts, if it puts a value.
    pub(crate) fn change(&self, what: What, value: &[u8]) -> Expected {
        match what {
            What::Put(_) | What::Number(_) => self.put(self.rule.1, value.to_vec()),
            What::Swap { is_right: true, .. } => self.put(self.rule.1, value.to_vec()),
            What::Swap { is_right: false, .. } => Expected::Refused,
            What::Delete => self.delete(),
            What::Add(_) => self.edit(what, Counter::KIND),
            What::Insert(_) | What::Remove(_) => self.edit(what, Set::KIND),
            What::Patch { .. } => self.edit(what, Map::KIND),
        }
    }

    /// What the version says that somebody picks.
    pub(crate) fn pick(&self, write: &Write) -> Expected {
        match &write.value {
            None => self.delete(),
            Some(value) if write.kind == PLAIN => self.put(PLAIN, value.clone()),
            Some(_) => {
                let all = joined(&self.versions, write.kind);
                self.put(write.kind, all.map(|all| all.value(write.kind)).unwrap_or_default())
            }
        }
    }

    fn edit(&self, what: What, kind: u32) -> Expected {
        let base = joined(&self.versions, kind);
        let showing = self.showing();
        let current = match &base {
            Some(state) => Some(state.value(kind)),
            None => showing.as_ref().map(|(value, _)| value.clone()),
        };
        let Some(value) = edited(what, current.as_deref()) else { return Expected::Refused };
        if showing == Some((value.clone(), kind)) && self.is_settled() {
            return Expected::Nothing;
        }
        self.put(kind, value)
    }
}

/// The value after an edit; `None` if it does not fit.
fn edited(what: What, current: Option<&[u8]>) -> Option<Vec<u8>> {
    let json = |empty: &str| match current {
        Some(text) => serde_json::from_slice(text).ok(),
        None => serde_json::from_str(empty).ok(),
    };
    let text = match what {
        What::Add(by) => {
            let sum = current.map_or(Some(0), number)? + i128::from(by);
            sum.to_string()
        }
        What::Insert(element) | What::Remove(element) => {
            let Json::Array(elements) = json("[]")? else { return None };
            let mut texts: Vec<_> = elements.iter().map(Json::to_string).collect();
            let element = element.to_string();
            texts.retain(|text| *text != element);
            if matches!(what, What::Insert(_)) {
                texts.push(element);
            }
            texts.sort();
            format!("[{}]", texts.join(","))
        }
        What::Patch { field, value } => {
            let Json::Object(mut fields) = json("{}")? else { return None };
            let name = format!("f{field}");
            fields.remove(&name);
            if let Some(value) = value {
                fields.insert(name, value.into());
            }
            let mut texts: Vec<_> =
                fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            texts.sort();
            format!("{{{}}}", texts.join(","))
        }
        _ => return None,
    };
    Some(text.into_bytes())
}
