//! How one key leads to another: statements of which each is signed by whom the one before it named.
//!
//! So a device that goes by a fresh log, or was admitted by a recovery secret, is known to those who
//! have not heard of it: they know a key from which signatures lead to it.

use std::collections::{BTreeMap, VecDeque};

use multibee_log::LogKey;

use crate::hello::TAGS_MAX;
use crate::statement::{Claim, Statement};

/// The statements that lead from one key to another, in order; none if they are the same key, `None`
/// if they don't lead there.
pub(crate) fn chain<'a>(
    from: LogKey,
    to: LogKey,
    statements: impl IntoIterator<Item = &'a Statement>,
) -> Option<Vec<&'a Statement>> {
    let statements: Vec<&Statement> = statements.into_iter().collect();
    let mut reached: BTreeMap<LogKey, Option<(LogKey, &Statement)>> =
        BTreeMap::from([(from, None)]);
    let mut next = VecDeque::from([from]);
    while let Some(at) = next.pop_front() {
        for &statement in &statements {
            if let Some(key) = step(statement, at)
                && !reached.contains_key(&key)
            {
                reached.insert(key, Some((at, statement)));
                next.push_back(key);
            }
        }
    }
    let mut chain = Vec::new();
    let mut at = to;
    while let Some((before, statement)) = *reached.get(&at)? {
        chain.push(statement);
        at = before;
    }
    chain.reverse();
    Some(chain)
}

/// Whom the holder of a key names by a statement, if it does.
fn step(statement: &Statement, at: LogKey) -> Option<LogKey> {
    match &statement.claim {
        Claim::Add { key, .. } | Claim::Succeed { key, .. } | Claim::Recovery { key, .. }
            if statement.author == at =>
        {
            Some(*key)
        }
        // The secret has signed for whom it stands.
        Claim::Recovery { key, .. } if *key == at => Some(statement.author),
        _ => None,
    }
}

/// The keys by which others may know the holder of `key`: its own, those that it goes on for, newest
/// first, and those of the recovery secrets of its database.
pub(crate) fn names<'a>(
    key: LogKey,
    recovery: &[LogKey],
    statements: impl IntoIterator<Item = &'a Statement>,
) -> Vec<LogKey> {
    let statements: Vec<&Statement> = statements.into_iter().collect();
    let mut names = vec![key];
    let mut done = 0;
    while let Some(&at) = names.get(done) {
        done += 1;
        for statement in &statements {
            let leads_here = matches!(&statement.claim, Claim::Succeed { key, .. } if *key == at);
            if leads_here && !names.contains(&statement.author) {
                names.push(statement.author);
            }
        }
    }
    // From a secret signatures lead only to whom its device had admitted; from a log before, always.
    let at = names.len().min(TAGS_MAX.saturating_sub(recovery.len()).max(1));
    names.splice(at..at, recovery.iter().copied());
    names
}

#[cfg(test)]
mod tests {
    use multibee_log::{KeyPair, Log};
    use multibee_merge::Time;

    use super::*;
    use crate::DeviceRole;
    use crate::author::Author;
    use crate::statement::tests::log;

    fn add(author: &impl Author, subject: &Log) -> Statement {
        let claim = Claim::Add { key: subject.key(), name: None, role: DeviceRole::Full };
        Statement::sign(author, Time::from_millis(5), claim).unwrap()
    }

    fn succeed(old: &Log, heir: &Log) -> Statement {
        Statement::succeed(old, heir, None, Time::from_millis(5)).unwrap()
    }

    /// A log is found from any of those that it goes on for; not the other way, nor with a link missing.
    #[test]
    fn a_chain_leads_from_older_logs_to_newer_ones() {
        let [a, b, c, other] = [1, 2, 3, 4].map(log);
        let all = [succeed(&b, &c), add(&other, &a), succeed(&a, &b)];
        let keys = |chain: Vec<&Statement>| -> Vec<_> {
            chain.into_iter().map(|statement| statement.author).collect()
        };
        assert_eq!(chain(a.key(), c.key(), &all).map(keys), Some(vec![a.key(), b.key()]));
        assert_eq!(chain(b.key(), c.key(), &all).map(keys), Some(vec![b.key()]));
        assert_eq!(chain(c.key(), c.key(), []).map(keys), Some(vec![]));
        assert_eq!(chain(c.key(), a.key(), &all), None);
        assert_eq!(chain(a.key(), c.key(), &all[1..]), None);
        assert_eq!(names(c.key(), &[], &all), [c.key(), b.key(), a.key()]);
    }

    /// Whoever knows a recovery secret only finds the devices of its database by it, and they find a device
    /// that it has admitted.
    #[test]
    fn a_recovery_secret_leads_to_its_database() {
        let [a, b, new] = [1, 2, 3].map(log);
        let secret = KeyPair::from_seed([9; 32]);
        let made = Statement::recovery(&a, &secret, Time::from_millis(5)).unwrap();
        let all = [add(&a, &b), made, add(&secret, &new)];
        let key = Author::key(&secret);
        assert_eq!(chain(key, b.key(), &all).map(|chain| chain.len()), Some(2));
        assert_eq!(chain(key, new.key(), &all).map(|chain| chain.len()), Some(1));
        assert_eq!(names(b.key(), &[key], &all), [b.key(), key]);
    }
}
