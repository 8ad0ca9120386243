//! Types of values, by name.

use multibee::{Counter, Map, PLAIN, Set};

const NAMES: [(&str, u32); 4] =
    [("plain", PLAIN), ("map", Map::KIND), ("set", Set::KIND), ("counter", Counter::KIND)];

/// The type with this name, or number.
pub(crate) fn parse(text: &str) -> Result<u32, String> {
    let named = NAMES.iter().find(|(name, _)| *name == text).map(|(_, kind)| *kind);
    let unknown = || format!("{text:?} is no type: say plain, map, set, counter, or a number");
    named.or_else(|| text.parse().ok()).ok_or_else(unknown)
}

/// What a type is called.
pub(crate) fn name(kind: u32) -> String {
    let named = NAMES.iter().find(|(_, known)| *known == kind);
    named.map_or_else(|| kind.to_string(), |(name, _)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names and numbers mean the same type, and come back.
    #[test]
    fn types_have_names() {
        for kind in [PLAIN, Map::KIND, Set::KIND, Counter::KIND, 77] {
            assert_eq!(parse(&name(kind)), Ok(kind));
            assert_eq!(parse(&kind.to_string()), Ok(kind));
        }
        assert!(parse("list").is_err());
    }
}
