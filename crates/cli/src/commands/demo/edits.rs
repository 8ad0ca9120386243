//! What the two devices change while they are apart.

use std::fmt;

use multibee::Multibee;
use serde_json::Value;

use crate::records::Record;

/// Records that the edits below need.
pub(super) const RECORDS_MIN: usize = 8 * OF_EACH;

/// How many keys of each kind are edited.
const OF_EACH: usize = 25;

/// How many edits of each kind were made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edits {
    own: usize,
    both: usize,
    deleted: usize,
    deleted_and_edited: usize,
}

impl Edits {
    /// Writes, all kinds together. A delete of a key that only the other device holds takes a put
    /// before it.
    pub(super) const fn count(self) -> u64 {
        (self.own * 2 + self.both * 2 + self.deleted * 2 + self.deleted_and_edited * 3) as u64
    }
}

impl fmt::Display for Edits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} keys each on their own, {} keys both differently, {} keys each deleted, {} keys \
             deleted on one and edited on the other",
            self.own, self.both, self.deleted, self.deleted_and_edited
        )
    }
}

/// Edits on both devices, each a commit of its own, as a person would make them.
///
/// Even records lie on the laptop, odd ones on the phone; neither has seen the other's.
pub(super) fn make(
    laptop: &Multibee,
    phone: &Multibee,
    records: &[Record],
) -> anyhow::Result<Edits> {
    let mut pairs = records.chunks_exact(2).filter_map(|pair| match pair {
        [even, odd] => Some((even, odd)),
        _ => None,
    });
    for (even, odd) in pairs.by_ref().take(OF_EACH) {
        laptop.put(&even.key, edited(even, "laptop"))?;
        phone.put(&odd.key, edited(odd, "phone"))?;
    }
    for (even, _) in pairs.by_ref().take(OF_EACH) {
        laptop.put(&even.key, edited(even, "laptop"))?;
        phone.put(&even.key, edited(even, "phone"))?;
    }
    for (even, odd) in pairs.by_ref().take(OF_EACH) {
        laptop.del(&even.key)?;
        phone.del(&odd.key)?;
    }
    for (_, odd) in pairs.by_ref().take(OF_EACH) {
        laptop.put(&odd.key, odd.value.clone())?;
        laptop.del(&odd.key)?;
        phone.put(&odd.key, edited(odd, "phone"))?;
    }
    let each = OF_EACH;
    Ok(Edits { own: each, both: each, deleted: each, deleted_and_edited: each })
}

/// The value with a note of who edited it: a field of a JSON object, or text behind anything else.
fn edited(record: &Record, by: &str) -> Vec<u8> {
    if let Ok(Value::Object(mut object)) = serde_json::from_slice(&record.value) {
        object.insert("editedOn".into(), by.into());
        return Value::Object(object).to_string().into_bytes();
    }
    [&record.value[..], b" (edited on the ", by.as_bytes(), b")"].concat()
}
