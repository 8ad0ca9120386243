//! The keys and prefixes that plans name by numbers, and the rules.

use multibee::{Counter, Map, PLAIN, Set, Strategies};

/// What can be written: a key, or the rule for a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Slot {
    Key(u16),
    Rule(u8),
}

/// What keys begin with, in turns.
const FAMILIES: [&str; 4] = ["key ", "key of a/", "of a/key ", "of a/b/key "];
/// Prefixes that rules are set for: of all keys, of many, of few.
const PREFIXES: [&str; 6] = ["", "key ", "key of ", "of a/", "of a/b/", "of a/b/key 0"];
/// The rules that are set.
const RULES: [(&str, u32); 7] = [
    (Strategies::DELETE_WINS, PLAIN),
    (Strategies::KEEP_ALL, PLAIN),
    (Strategies::LAST_WRITER, Counter::KIND),
    (Strategies::DELETE_WINS, Map::KIND),
    (Strategies::KEEP_ALL, Set::KIND),
    (Strategies::LAST_WRITER, PLAIN),
    (Strategies::KEEP_ALL, Counter::KIND),
];
/// What holds without a rule.
pub(crate) const DEFAULT_RULE: (&str, u32) = (Strategies::LAST_WRITER, PLAIN);

/// How many prefixes there are, and how many rules.
pub(crate) const COUNTS: (u8, u8) = (PREFIXES.len() as u8, RULES.len() as u8);

/// The key with this number.
pub(crate) fn key(number: u16) -> Vec<u8> {
    let family = FAMILIES[usize::from(number) % FAMILIES.len()];
    format!("{family}{number:05}").into_bytes()
}

/// The number of a key.
pub(crate) fn number(key: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(key).ok()?;
    let number = text.get(text.len().checked_sub(5)?..)?.parse().ok()?;
    (self::key(number) == key).then_some(number)
}

/// The prefix with this number.
pub(crate) fn prefix(number: u8) -> &'static str {
    PREFIXES[usize::from(number) % PREFIXES.len()]
}

/// The number of a prefix.
pub(crate) fn prefix_number(prefix: &[u8]) -> Option<u8> {
    PREFIXES.iter().zip(0..).find(|(one, _)| one.as_bytes() == prefix).map(|(_, number)| number)
}

/// The rule with this number: strategy and type.
pub(crate) fn rule(number: u8) -> (&'static str, u32) {
    RULES[usize::from(number) % RULES.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers are found again in what they name.
    #[test]
    fn numbers_come_back() {
        for one in [0, 1, 2, 3, 400, u16::MAX] {
            assert_eq!(number(&key(one)), Some(one));
        }
        assert_eq!((number(b"key 00001"), number(b"")), (None, None));
        for one in 0..COUNTS.0 {
            assert_eq!(prefix_number(prefix(one).as_bytes()), Some(one));
        }
    }
}
