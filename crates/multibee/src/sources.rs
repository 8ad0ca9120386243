//! Which plain Hyperbees the database takes in: a pure function of the set of statements.

use std::collections::BTreeMap;

use multibee_log::LogKey;

use crate::members::Member;
use crate::statement::{Claim, Statement};

/// A plain Hyperbee that is or was a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceClaim {
    pub(crate) name: Option<String>,
    /// What is read of it stays, nothing later is taken.
    pub(crate) is_ended: bool,
}

/// All sources, by key. What a member said last of one counts; a device is none.
pub(crate) fn sources<'a>(
    members: &[Member],
    statements: impl IntoIterator<Item = &'a Statement>,
) -> BTreeMap<LogKey, SourceClaim> {
    let is_member = |key: &LogKey| members.iter().any(|member| member.key == *key);
    let mut sorted: Vec<&Statement> =
        statements.into_iter().filter(|statement| is_member(&statement.author)).collect();
    sorted.sort_by_key(|statement| (statement.time, statement.author, statement.hash()));
    let mut sources = BTreeMap::new();
    for statement in sorted {
        let (key, name, is_ended) = match &statement.claim {
            Claim::Source { key, name } => (*key, name.clone(), false),
            Claim::SourceEnd { key } => (*key, None, true),
            _ => continue,
        };
        if is_member(&key) {
            continue;
        }
        let source = sources.entry(key).or_insert(SourceClaim { name: None, is_ended });
        source.is_ended = is_ended;
        source.name = name.or(source.name.take());
    }
    sources
}

#[cfg(test)]
mod tests {
    use multibee_merge::Time;

    use super::*;
    use crate::DeviceRole;
    use crate::members::members;
    use crate::statement::tests::log;

    fn said(author: u8, time: u64, claim: Claim) -> Statement {
        Statement::sign(&log(author), Time::from_millis(time), claim).unwrap()
    }

    /// The last word of a member counts, whatever the order in which words arrive; a stranger's does
    /// not.
    #[test]
    fn the_last_word_of_a_member_counts() {
        let (key, other) = (LogKey::from_bytes([7; 32]), LogKey::from_bytes([8; 32]));
        let name = Some("notes".to_owned());
        let mut all = vec![
            said(1, 1, Claim::Add { key: log(2).key(), name: None, role: DeviceRole::Full }),
            said(1, 2, Claim::Source { key, name: name.clone() }),
            said(2, 3, Claim::SourceEnd { key }),
            said(1, 4, Claim::Source { key, name: None }),
            said(9, 5, Claim::SourceEnd { key }),
            said(2, 6, Claim::Source { key: other, name: None }),
            said(2, 7, Claim::SourceEnd { key: other }),
            said(2, 8, Claim::Source { key: log(1).key(), name: None }),
        ];
        for _ in 0..all.len() {
            all.rotate_left(1);
            let members = members(log(1).key(), &all);
            let sources = sources(&members, &all);
            assert_eq!(sources.len(), 2);
            assert_eq!(sources[&key], SourceClaim { name: name.clone(), is_ended: false });
            assert!(sources[&other].is_ended);
        }
    }
}
