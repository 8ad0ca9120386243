//! Where things stand in the tree: users' keys, and the reserved keys that no user sees.
//!
//! Reserved keys begin with byte `ff` (never valid UTF-8) and a letter. A user's key that begins
//! with `ff` is stored with one more `ff` in front: that keeps the order, and sorts behind the
//! reserved keys.

use std::borrow::Cow;

use bytes::Bytes;
use multibee_merge::Dot;

const MARK: u8 = 0xff;

/// A stored key, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A user's key, as the user wrote it.
    User(Bytes),
    /// What is known of a user's key without a live version.
    Tombstone(Bytes),
    /// A user's key is in conflict.
    Conflict(Bytes),
    /// A user's key has versions that this program can't read.
    Opaque(Bytes),
    /// A version of some key that has no room in the key's own record.
    Aside,
    /// By which strategies what is shown was chosen.
    ShownBy,
    /// A statement about devices, by its hash.
    Statement,
    /// A record with versions that all devices share, by its stored key: a rule, or something that
    /// only newer programs know.
    Shared(Bytes),
    /// Bookkeeping of a newer program.
    Unknown,
}

/// The kinds of reserved records, by their letter.
#[derive(Clone, Copy)]
enum Kind {
    Conflict = b'c' as isize,
    Statement = b'd' as isize,
    Opaque = b'o' as isize,
    Rule = b'p' as isize,
    ShownBy = b'r' as isize,
    Tombstone = b't' as isize,
    Aside = b'v' as isize,
}

/// Where a user's key is stored.
pub(crate) fn user(key: &[u8]) -> Bytes {
    if key.first() == Some(&MARK) { prefixed(&[MARK], key) } else { Bytes::copy_from_slice(key) }
}

/// As [`user`], for looking it up: most keys stand where they are.
pub(crate) fn place_of(key: &[u8]) -> Cow<'_, [u8]> {
    if key.first() == Some(&MARK) { [&[MARK], key].concat().into() } else { key.into() }
}

/// Where a user's key is remembered while it has no live version.
pub(crate) fn tombstone(key: &[u8]) -> Bytes {
    reserved(Kind::Tombstone, key)
}

/// Where a user's key is listed while it is in conflict.
pub(crate) fn conflict(key: &[u8]) -> Bytes {
    reserved(Kind::Conflict, key)
}

/// Where a user's key is listed while it has versions that this program can't read.
pub(crate) fn opaque(key: &[u8]) -> Bytes {
    reserved(Kind::Opaque, key)
}

/// Where the rule for a prefix is stored.
pub(crate) fn rule(prefix: &[u8]) -> Bytes {
    reserved(Kind::Rule, prefix)
}

/// The prefix that a stored rule is for, if it is one.
pub(crate) fn rule_prefix(stored: &Bytes) -> Option<Bytes> {
    match **stored {
        [MARK, letter, ..] if letter == Kind::Rule as u8 => Some(stored.slice(2..)),
        _ => None,
    }
}

/// Where it is stored by which strategies what is shown was chosen.
pub(crate) fn shown_by() -> Bytes {
    reserved(Kind::ShownBy, &[])
}

/// Where the statement with this hash is stored.
pub(crate) fn statement(hash: &[u8; 32]) -> Bytes {
    reserved(Kind::Statement, hash)
}

/// The hash of the statement that is stored under a key.
pub(crate) fn statement_hash(stored: &[u8]) -> Option<[u8; 32]> {
    match stored {
        [MARK, letter, hash @ ..] if *letter == Kind::Statement as u8 => hash.try_into().ok(),
        _ => None,
    }
}

/// Where a version stands that has no room in the record of its key, which is stored under `base`
/// while it is live.
pub(crate) fn aside(base: &[u8], dot: Dot) -> Bytes {
    let rest = [base, &dot.device.as_u64().to_le_bytes(), &dot.seq.to_be_bytes()].concat();
    reserved(Kind::Aside, &rest)
}

/// The half-open range of all versions that have no room in their key's record.
#[cfg(test)]
pub(crate) fn asides() -> (Bytes, Bytes) {
    all(Kind::Aside)
}

/// The half-open range of the index of keys in conflict.
pub(crate) fn conflicts() -> (Bytes, Bytes) {
    all(Kind::Conflict)
}

/// The half-open range of the index of keys in conflict that begin with `prefix`.
pub(crate) fn conflicts_under(prefix: &[u8]) -> (Bytes, Bytes) {
    let first = conflict(prefix);
    let end = after_prefix(&first).unwrap_or_else(|| all(Kind::Conflict).1);
    (first, end)
}

/// The half-open range of the index of keys with versions that this program can't read.
pub(crate) fn opaques() -> (Bytes, Bytes) {
    all(Kind::Opaque)
}

/// The half-open range of all rules.
pub(crate) fn rules() -> (Bytes, Bytes) {
    all(Kind::Rule)
}

/// The half-open ranges of all records with versions that all devices share.
pub(crate) fn shared() -> [(Bytes, Bytes); 2] {
    [(Bytes::from_static(&[MARK, b'A']), Bytes::from_static(&[MARK, b'Z' + 1])), rules()]
}

/// A key of a user's that begins with a prefix.
pub(crate) fn within(prefix: &[u8], key: &[u8]) -> Bytes {
    prefixed(prefix, key)
}

/// A key of a user's without its first bytes.
pub(crate) fn without(key: &Bytes, prefix_len: usize) -> Bytes {
    key.slice(prefix_len.min(key.len())..)
}

/// The least key that is greater than all keys with this prefix, if there is one.
pub(crate) fn after_prefix(prefix: &[u8]) -> Option<Bytes> {
    let last = prefix.iter().rposition(|&byte| byte != 0xff)?;
    let mut end = prefix.get(..=last)?.to_vec();
    *end.last_mut()? += 1;
    Some(end.into())
}

/// The half-open range of what is remembered of keys without a live version.
pub(crate) fn tombstones() -> (Bytes, Bytes) {
    all(Kind::Tombstone)
}

/// The half-open range of all statements.
pub(crate) fn statements() -> (Bytes, Bytes) {
    all(Kind::Statement)
}

/// The half-open range of all reserved keys: it lies in the midst of the users' keys.
pub(crate) fn all_reserved() -> (Bytes, Bytes) {
    (Bytes::from_static(&[MARK]), Bytes::from_static(&[MARK, MARK]))
}

/// What a stored key is.
pub(crate) fn place(stored: &Bytes) -> Place {
    match **stored {
        [MARK, MARK, ..] => Place::User(stored.slice(1..)),
        [MARK, letter, ..] if letter == Kind::Tombstone as u8 => {
            Place::Tombstone(stored.slice(2..))
        }
        [MARK, letter, ..] if letter == Kind::Conflict as u8 => Place::Conflict(stored.slice(2..)),
        [MARK, letter, ..] if letter == Kind::Opaque as u8 => Place::Opaque(stored.slice(2..)),
        [MARK, letter, ..] if letter == Kind::Statement as u8 => Place::Statement,
        [MARK, letter, ..] if letter == Kind::ShownBy as u8 => Place::ShownBy,
        [MARK, letter, ..] if letter == Kind::Aside as u8 => Place::Aside,
        // Capital letters are for what newer programs share; small ones for their bookkeeping.
        [MARK, letter, ..] if letter == Kind::Rule as u8 || letter.is_ascii_uppercase() => {
            Place::Shared(stored.clone())
        }
        [MARK, ..] => Place::Unknown,
        _ => Place::User(stored.clone()),
    }
}

/// Whether a stored key is that of a statement.
pub(crate) fn is_statement(stored: &[u8]) -> bool {
    matches!(stored, [MARK, letter, ..] if *letter == Kind::Statement as u8)
}

fn reserved(kind: Kind, rest: &[u8]) -> Bytes {
    prefixed(&[MARK, kind as u8], rest)
}

fn all(kind: Kind) -> (Bytes, Bytes) {
    (prefixed(&[MARK, kind as u8], &[]), prefixed(&[MARK, kind as u8 + 1], &[]))
}

fn prefixed(prefix: &[u8], rest: &[u8]) -> Bytes {
    [prefix, rest].concat().into()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn key() -> impl Strategy<Value = Vec<u8>> {
        vec(prop_oneof![Just(0xff), Just(0xfe), Just(b'd'), any::<u8>()], 0..6)
    }

    proptest! {
        /// Every key that a user can think of comes back as written and is never a reserved one.
        #[test]
        fn user_keys_come_back(key in key()) {
            prop_assert_eq!(place(&user(&key)), Place::User(key.clone().into()));
            let (first, end) = all_reserved();
            let stored = user(&key);
            prop_assert!(stored < first || stored >= end);
        }

        /// Stored keys sort as users' keys do.
        #[test]
        fn order_is_kept(a in key(), b in key()) {
            prop_assert_eq!(user(&a).cmp(&user(&b)), a.cmp(&b));
        }

        /// Reserved records of a key are found again and lie in the reserved range.
        #[test]
        fn reserved_keys_come_back(key in key()) {
            prop_assert_eq!(place(&tombstone(&key)), Place::Tombstone(key.clone().into()));
            prop_assert_eq!(place(&conflict(&key)), Place::Conflict(key.clone().into()));
            prop_assert_eq!(place(&opaque(&key)), Place::Opaque(key.clone().into()));
            prop_assert_eq!(place(&rule(&key)), Place::Shared(rule(&key)));
            prop_assert_eq!(rule_prefix(&rule(&key)), Some(key.clone().into()));
            let (first, end) = all_reserved();
            prop_assert!((first..end).contains(&tombstone(&key)));
        }

        /// A range under a prefix holds the conflicts of the keys that begin with it.
        #[test]
        fn conflicts_lie_under_their_prefixes(prefix in key(), key in key()) {
            let (first, end) = conflicts_under(&prefix);
            let is_within = (first..end).contains(&conflict(&key));
            prop_assert_eq!(is_within, key.starts_with(&prefix));
        }
    }

    /// The range of a prefix ends where no key has the prefix any more.
    #[test]
    fn a_prefix_ends_behind_its_last_key() {
        assert_eq!(after_prefix(b"ab"), Some("ac".into()));
        assert_eq!(after_prefix(b"a\xff\xff"), Some("b".into()));
        assert_eq!(after_prefix(b"\xff"), None);
        assert_eq!(after_prefix(b""), None);
    }

    /// A reserved letter of a newer program is told from a user's key.
    #[test]
    fn unknown_letters_are_told_apart() {
        assert_eq!(place(&Bytes::from_static(b"\xffz1")), Place::Unknown);
        assert_eq!(place(&Bytes::from_static(b"\xff")), Place::Unknown);
        let shared = Bytes::from_static(b"\xffZ1");
        assert_eq!(place(&shared), Place::Shared(shared.clone()));
        assert_eq!(place(&statement(&[7; 32])), Place::Statement);
        assert!(
            is_statement(&statement(&[7; 32])) && !is_statement(b"d") && !is_statement(&shared)
        );
        let dot = Dot { device: multibee_merge::DeviceId::from_u64(1), seq: 2 };
        assert_eq!(place(&aside(b"k", dot)), Place::Aside);
    }
}
