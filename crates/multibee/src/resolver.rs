//! What a key shows, by the types and strategies of this program and the rules of the database.

use multibee_merge::{
    Content, LastWriter, PLAIN, Resolution, ShownValue, Strategies, Types, Version,
};

use crate::rules::Rules;

/// The types and strategies that this program knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resolver {
    pub(crate) types: Types,
    pub(crate) strategies: Strategies,
}

impl Resolver {
    /// What `versions` show under the rules. A strategy that is not known is taken for the last
    /// writer.
    pub(crate) fn resolve(&self, rules: &Rules, key: &[u8], versions: &[Version]) -> Resolution {
        if let [Version { content: Content::Value(value), kind: PLAIN, .. }] = versions {
            let value = value.clone();
            let shown = ShownValue { value, kind: PLAIN, state: None, from: vec![0] };
            return Resolution { shown: vec![shown], ..Resolution::default() };
        }
        let named = rules.of(key).and_then(|rule| self.strategies.get(&rule.strategy));
        match named {
            Some(strategy) => self.types.resolve(strategy, key, versions),
            None => self.types.resolve(&LastWriter, key, versions),
        }
    }
}
