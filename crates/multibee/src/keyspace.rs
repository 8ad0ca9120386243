//! Where things stand in the tree: users' keys, and the reserved keys that no user sees.
//!
//! Reserved keys begin with byte `ff` (never valid UTF-8) and a letter. A user's key that begins
//! with `ff` is stored with one more `ff` in front: that keeps the order, and sorts behind the
//! reserved keys.

use bytes::Bytes;

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
    /// A statement about devices, by its hash.
    Statement,
    /// Something that only newer programs know.
    Unknown,
}

/// The kinds of reserved records, by their letter.
#[derive(Clone, Copy)]
enum Kind {
    Conflict = b'c' as isize,
    Statement = b'd' as isize,
    Tombstone = b't' as isize,
}

/// Where a user's key is stored.
pub(crate) fn user(key: &[u8]) -> Bytes {
    if key.first() == Some(&MARK) { prefixed(&[MARK], key) } else { Bytes::copy_from_slice(key) }
}

/// Where a user's key is remembered while it has no live version.
pub(crate) fn tombstone(key: &[u8]) -> Bytes {
    reserved(Kind::Tombstone, key)
}

/// Where a user's key is listed while it is in conflict.
pub(crate) fn conflict(key: &[u8]) -> Bytes {
    reserved(Kind::Conflict, key)
}

/// Where the statement with this hash is stored.
pub(crate) fn statement(hash: &[u8; 32]) -> Bytes {
    reserved(Kind::Statement, hash)
}

/// The half-open range of the index of keys in conflict.
pub(crate) fn conflicts() -> (Bytes, Bytes) {
    all(Kind::Conflict)
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
        [MARK, letter, ..] if letter == Kind::Statement as u8 => Place::Statement,
        [MARK, ..] => Place::Unknown,
        _ => Place::User(stored.clone()),
    }
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
            let (first, end) = all_reserved();
            prop_assert!((first..end).contains(&tombstone(&key)));
        }
    }

    /// A reserved letter of a newer program is told from a user's key.
    #[test]
    fn unknown_letters_are_told_apart() {
        assert_eq!(place(&Bytes::from_static(b"\xffz1")), Place::Unknown);
        assert_eq!(place(&Bytes::from_static(b"\xff")), Place::Unknown);
        assert_eq!(place(&statement(&[7; 32])), Place::Statement);
    }
}
