//! How keys under a prefix are merged: data of the database, the same on every device.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use blake2::digest::consts::U16;
use blake2::{Blake2b, Digest as _};
use bytes::Bytes;
use multibee_btree::Tree;
use multibee_merge::{DeviceId, LastWriter, MergeStrategy, PLAIN, Strategies, Time, Version};
use prost::Message;

use crate::aside::Outline;
use crate::primary::between;
use crate::{Error, format, keyspace};

/// How the keys under a prefix are merged. The rule of the longest prefix counts, as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Name of the strategy that chooses what is shown of concurrent versions.
    pub strategy: String,
    /// The type that a plain put writes: [`PLAIN`], or that of a mergeable type.
    pub kind: u32,
}

/// A rule of the database, and who set it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleEntry {
    /// The prefix of the keys that it is for.
    pub prefix: Bytes,
    /// The rule.
    pub rule: Rule,
    /// Whether this program knows the strategy. If not, the last writer is shown meanwhile.
    pub is_strategy_known: bool,
    /// Whether this program knows the type. If not, it refuses plain puts under the prefix.
    pub is_kind_known: bool,
    /// Who set the rule.
    pub device: DeviceId,
    /// When, by that device's hybrid clock.
    pub time: Time,
}

impl Default for Rule {
    fn default() -> Self {
        Self { strategy: Strategies::LAST_WRITER.into(), kind: PLAIN }
    }
}

impl Rule {
    /// Plain values, of which this strategy chooses.
    pub fn strategy(name: impl Into<String>) -> Self {
        Self { strategy: name.into(), ..Self::default() }
    }

    /// Values of this type; beside others the last writer is shown.
    pub fn kind(kind: u32) -> Self {
        Self { kind, ..Self::default() }
    }

    pub(crate) fn encode(&self) -> Bytes {
        let record = format::Rule {
            strategy: (self.strategy != Strategies::LAST_WRITER).then(|| self.strategy.clone()),
            r#type: (self.kind != PLAIN).then_some(self.kind),
        };
        record.encode_to_vec().into()
    }

    /// Bytes that are no rule are one whose strategy nobody knows.
    fn decode(value: &Bytes) -> Self {
        match format::Rule::decode(value.clone()) {
            Ok(record) => Self {
                strategy: record.strategy.unwrap_or_else(|| Strategies::LAST_WRITER.into()),
                kind: record.r#type.unwrap_or_default(),
            },
            Err(_) => Self::strategy("?"),
        }
    }
}

/// A rule that counts, with the version that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Standing {
    rule: Rule,
    device: DeviceId,
    time: Time,
}

/// All rules that count, by their prefixes. A copy costs nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules(Arc<BTreeMap<Bytes, Standing>>);

impl Rules {
    /// Reads the rules out of the tree of `owner`.
    pub(crate) fn load(tree: &Tree, owner: DeviceId) -> Result<Self, Error> {
        let mut rules = Self::default();
        let mut range = tree.range(between(keyspace::rules()));
        while let Some(block) = range.next()? {
            let outline = Outline::shared(&block, owner)
                .map_err(|error| Error::bad_record(block.seq, &error))?;
            let bad = |seq, what: &str| Error::bad_record(seq, &what);
            let held = outline.complete(|key| Ok(tree.get(key)?), bad)?;
            if let Some(prefix) = keyspace::rule_prefix(&block.key) {
                rules.set(&prefix, &held.versions);
            }
        }
        Ok(rules)
    }

    /// The rule for a key: that of its longest prefix that has one.
    pub(crate) fn of(&self, key: &[u8]) -> Option<&Rule> {
        if self.0.is_empty() {
            return None;
        }
        // The greatest prefix at or below the key is the longest, unless it belongs to others.
        let mut end = key;
        loop {
            let below = (Bound::Unbounded, Bound::Included(end));
            let (prefix, standing) = self.0.range::<[u8], _>(below).next_back()?;
            if key.starts_with(prefix) {
                return Some(&standing.rule);
            }
            let shared = key.iter().zip(prefix).take_while(|(ours, theirs)| ours == theirs);
            end = key.get(..shared.count())?;
        }
    }

    /// Takes in what has become of a prefix. Says whether its strategy is another one now.
    pub(crate) fn set(&mut self, prefix: &Bytes, versions: &[Version]) -> bool {
        let shown = LastWriter.resolve(prefix, versions).first().and_then(|at| versions.get(at));
        let new = shown.and_then(|version| {
            let rule = Rule::decode(version.value()?);
            Some(Standing { rule, device: version.dot.device, time: version.time })
        });
        let strategy = |standing: &Standing| standing.rule.strategy.clone();
        let (before, after) = (self.0.get(prefix).map(strategy), new.as_ref().map(strategy));
        let rules = Arc::make_mut(&mut self.0);
        match new {
            Some(standing) => rules.insert(prefix.clone(), standing),
            None => rules.remove(prefix),
        };
        before != after
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn contains(&self, prefix: &[u8]) -> bool {
        self.0.contains_key(prefix)
    }

    /// The rules with what a program of these types and strategies knows of them.
    pub(crate) fn entries(&self, known: &crate::resolver::Resolver) -> Vec<RuleEntry> {
        let entry = |(prefix, standing): (&Bytes, &Standing)| RuleEntry {
            prefix: prefix.clone(),
            rule: standing.rule.clone(),
            is_strategy_known: known.strategies.get(&standing.rule.strategy).is_some(),
            is_kind_known: standing.rule.kind == PLAIN
                || known.types.get(standing.rule.kind).is_some(),
            device: standing.device,
            time: standing.time,
        };
        self.0.iter().map(entry).collect()
    }

    /// Says by which strategies a program that knows these shows things; `None` without any rules.
    pub(crate) fn fingerprint(&self, known: &Strategies) -> Option<Bytes> {
        if self.0.is_empty() {
            return None;
        }
        let mut hash = Blake2b::<U16>::new();
        for (prefix, Standing { rule, .. }) in &*self.0 {
            let is_known = known.get(&rule.strategy).is_some();
            let strategy = if is_known { &rule.strategy } else { Strategies::LAST_WRITER };
            for part in [prefix, strategy.as_bytes()] {
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part);
            }
        }
        Some(Bytes::copy_from_slice(&hash.finalize()))
    }
}

#[cfg(test)]
mod tests {
    use multibee_merge::{Content, Dot};
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    use super::*;

    fn version(seq: u64, value: Option<Bytes>) -> Version {
        let dot = Dot { device: DeviceId::from_u64(1), seq };
        let content = value.map_or(Content::Deleted, Content::Value);
        Version::plain(dot, Time::from_u64(seq), content)
    }

    proptest! {
        /// The rule of a key is that of the longest prefix that has one.
        #[test]
        fn the_longest_prefix_counts(
            prefixes in btree_set(vec(0..3_u8, 0..5), 0..12),
            key in vec(0..3_u8, 0..7),
        ) {
            let mut rules = Rules::default();
            for prefix in &prefixes {
                let rule = Rule::strategy(format!("{prefix:?}"));
                rules.set(&prefix.clone().into(), &[version(1, Some(rule.encode()))]);
            }
            let longest = prefixes.iter().filter(|prefix| key.starts_with(prefix));
            let longest = longest.max_by_key(|prefix| prefix.len()).map(|p| format!("{p:?}"));
            prop_assert_eq!(rules.of(&key).map(|rule| rule.strategy.clone()), longest);
        }

        /// Rules come back from their records; arbitrary bytes are some rule.
        #[test]
        fn rules_round_trip(strategy in "[a-z-]{1,12}", kind: u32, bytes in vec(any::<u8>(), 0..20)) {
            let rule = Rule { strategy, kind };
            prop_assert_eq!(Rule::decode(&rule.encode()), rule);
            let _ = Rule::decode(&bytes.into());
        }
    }

    /// The latest of concurrent rules counts, also beside a clearing; a cleared one is gone.
    #[test]
    fn concurrent_rules_have_one_winner() {
        let mut rules = Rules::default();
        let prefix = Bytes::from_static(b"p");
        let keep = version(1, Some(Rule::strategy("keep-all").encode()));
        let other = version(2, Some(Rule::kind(3).encode()));
        assert!(rules.set(&prefix, &[keep.clone(), other]));
        assert_eq!(rules.of(b"pq"), Some(&Rule::kind(3)));
        assert!(rules.set(&prefix, &[keep, version(3, None)]));
        assert_eq!(rules.of(b"pq"), Some(&Rule::strategy("keep-all")));
        assert!(rules.set(&prefix, &[version(3, None)]));
        assert_eq!((rules.of(b"pq"), rules.count()), (None, 0));
    }
}
