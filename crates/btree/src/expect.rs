use bytes::Bytes;

use crate::entry::Entry;

/// What has to be under a key for a write to happen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expect {
    /// Whatever is there, or nothing.
    #[default]
    Any,
    /// No entry: the write creates one.
    Absent,
    /// Some entry: the write replaces or deletes it.
    Present,
    /// The entry of this block: nothing was written since it was read.
    Seq(u64),
    /// An entry with this value.
    Value(Bytes),
}

impl Expect {
    /// Whether what was found is what is expected.
    pub fn is_met_by(&self, found: Option<&Entry>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => found.is_none(),
            Self::Present => found.is_some(),
            Self::Seq(seq) => found.is_some_and(|entry| entry.seq == *seq),
            Self::Value(value) => found.is_some_and(|entry| entry.value.as_ref() == Some(value)),
        }
    }
}

/// What became of a write that [expects](Expect) something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The write is in this block, or will be once the batch is flushed. With
    /// [`always_duplicate`](crate::BeeOptions::always_duplicate) off and nothing to change, the
    /// block that is there.
    Written(u64),
    /// What was expected is not there, but this, and nothing is written. A deletion where there is
    /// no entry writes nothing either.
    Refused(Option<Entry>),
}

impl Outcome {
    /// The block of the write, if there is one.
    pub fn seq(&self) -> Option<u64> {
        match self {
            Self::Written(seq) => Some(*seq),
            Self::Refused(_) => None,
        }
    }

    /// Whether the write happened.
    pub fn is_written(&self) -> bool {
        self.seq().is_some()
    }
}
