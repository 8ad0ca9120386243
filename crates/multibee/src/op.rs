//! What users ask of a database, before it is written.

use bytes::Bytes;
use multibee_merge::Dot;

use crate::edit::Edit;
use crate::rules::Rule;

/// One change that a user asked for.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// Puts a value, of the type that the rule for the key says if none is named.
    Put { key: Bytes, kind: Option<u32>, value: Bytes },
    /// Deletes a key.
    Delete { key: Bytes },
    /// Changes a value of a mergeable type.
    Edit { key: Bytes, edit: Edit },
    /// Settles a conflict in favour of one version.
    Pick { key: Bytes, dot: Dot },
    /// Sets the rule for the keys under a prefix, or clears it.
    Rule { prefix: Bytes, rule: Option<Rule> },
}

impl Op {
    /// The key, or prefix, that is written.
    pub(crate) const fn key(&self) -> &Bytes {
        match self {
            Self::Put { key, .. }
            | Self::Delete { key }
            | Self::Edit { key, .. }
            | Self::Pick { key, .. }
            | Self::Rule { prefix: key, .. } => key,
        }
    }
}

/// What has to be so, or nothing is written.
#[derive(Clone, Debug)]
pub(crate) struct Expectation {
    pub(crate) key: Bytes,
    pub(crate) found: Expected,
}

/// What is expected of a key.
#[derive(Clone, Debug)]
pub(crate) enum Expected {
    /// It shows this value, or is absent.
    Value(Option<Bytes>),
    /// It stands in this block of the own log, or is absent.
    Block(Option<u64>),
}

/// What came of a change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// Whether anything was written.
    pub(crate) changed: bool,
    /// What the key shows afterwards, if it was put or edited.
    pub(crate) value: Option<Bytes>,
}

/// What came of a write.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// For each change, in their order.
    pub(crate) outcomes: Vec<Outcome>,
    /// Keys that are in conflict no more.
    pub(crate) settled: Vec<Bytes>,
}
