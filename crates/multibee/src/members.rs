//! Who belongs to the database: a pure function of the set of statements.

use std::collections::{BTreeMap, BTreeSet};

use multibee_log::LogKey;
use multibee_merge::{DeviceId, Time};

use crate::statement::{Claim, Extent, Statement};

/// A device that is or was a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) key: LogKey,
    pub(crate) device: DeviceId,
    pub(crate) name: Option<String>,
    /// Set when the device was removed: its log counts up to this length.
    pub(crate) cut: Option<Extent>,
}

impl Member {
    fn new(key: LogKey, name: Option<String>) -> Self {
        Self { key, device: DeviceId::of_key(key.as_bytes()), name, cut: None }
    }
}

/// All devices that were ever admitted, by seniority: the founder first, then by the time of
/// their admission (and by key, where times are equal).
///
/// - The founder is the author of the earliest admission. Without any, `me` is alone.
/// - An admission counts if its author was admitted.
/// - A removal counts unless its author is removed by somebody senior to it.
/// - The log of a removed device counts as far as any member says to have applied it.
///
/// Devices with equal sets of statements get equal lists, but for a device that is alone.
pub(crate) fn members<'a>(
    me: LogKey,
    statements: impl IntoIterator<Item = &'a Statement>,
) -> Vec<Member> {
    let mut sorted: Vec<&Statement> = statements.into_iter().collect();
    sorted.sort_by_key(|statement| (statement.time, statement.author, statement.hash()));
    let mut admitted = admissions(me, &sorted);
    let removed = removals(&admitted, &sorted);
    for member in &mut admitted {
        if removed.contains(&member.key) {
            member.cut = Some(cut(member.key, &sorted));
        }
    }
    admitted
}

fn admissions(me: LogKey, sorted: &[&Statement]) -> Vec<Member> {
    let adds = || {
        sorted.iter().filter_map(|statement| match &statement.claim {
            Claim::Add { key, name } => Some((statement, key, name)),
            _ => None,
        })
    };
    let founder = adds().next().map_or(me, |(statement, ..)| statement.author);
    let mut admitted = BTreeMap::from([(founder, Time::default())]);
    loop {
        let count = admitted.len();
        for (statement, key, _) in adds() {
            if admitted.contains_key(&statement.author) && !admitted.contains_key(key) {
                admitted.insert(*key, statement.time);
            }
        }
        if admitted.len() == count {
            break;
        }
    }
    let mut by_seniority: Vec<_> = admitted.into_iter().collect();
    by_seniority.sort_by_key(|&(key, time)| (key != founder, time, key));
    let mut taken = BTreeSet::new();
    let name = |wanted: &LogKey| {
        adds().find(|(_, key, _)| *key == wanted).and_then(|(_, _, name)| name.clone())
    };
    by_seniority
        .into_iter()
        .map(|(key, _)| Member::new(key, name(&key)))
        .filter(|member| taken.insert(member.device))
        .collect()
}

fn removals(by_seniority: &[Member], sorted: &[&Statement]) -> BTreeSet<LogKey> {
    let rank = |key: &LogKey| by_seniority.iter().position(|member| member.key == *key);
    let mut removed_by_senior = BTreeSet::new();
    let mut removed = BTreeSet::new();
    for (own_rank, author) in by_seniority.iter().enumerate() {
        if removed_by_senior.contains(&author.key) {
            continue;
        }
        for statement in sorted.iter().filter(|statement| statement.author == author.key) {
            let Claim::Remove { key, .. } = &statement.claim else { continue };
            removed.insert(*key);
            if rank(key).is_some_and(|rank| rank > own_rank) {
                removed_by_senior.insert(*key);
            }
        }
    }
    removed
}

/// How far the log of a removed device counts: as far as anybody says to have applied it.
fn cut(removed: LogKey, sorted: &[&Statement]) -> Extent {
    sorted
        .iter()
        .filter(|statement| statement.author != removed)
        .filter_map(|statement| match &statement.claim {
            Claim::Remove { key, applied } | Claim::Applied { key, applied } => {
                (*key == removed).then_some(*applied)
            }
            _ => None,
        })
        .max_by_key(|extent| extent.length)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use multibee_log::Log;
    use proptest::prelude::*;
    use proptest::sample::subsequence;

    use super::*;
    use crate::statement::tests::log;

    fn add(author: &Log, time: u64, subject: &Log) -> Statement {
        let claim = Claim::Add { key: subject.key(), name: None };
        Statement::sign(author, Time::from_millis(time), claim).unwrap()
    }

    fn remove(author: &Log, time: u64, subject: &Log, length: u64) -> Statement {
        let claim = Claim::Remove { key: subject.key(), applied: Extent { length, tag: None } };
        Statement::sign(author, Time::from_millis(time), claim).unwrap()
    }

    fn active(me: &Log, statements: &[Statement]) -> Vec<LogKey> {
        let all = members(me.key(), statements);
        all.into_iter().filter(|member| member.cut.is_none()).map(|member| member.key).collect()
    }

    /// A device without statements is alone.
    #[test]
    fn a_new_device_is_alone() {
        assert_eq!(active(&log(1), &[]), [log(1).key()]);
    }

    /// Whoever was added by a member is one, through any number of hands.
    #[test]
    fn admission_is_transitive_and_sorted_by_seniority() {
        let [a, b, c] = [1, 2, 3].map(log);
        let statements = [add(&c, 30, &a), add(&b, 20, &c), add(&a, 10, &b)];
        assert_eq!(active(&c, &statements), [a.key(), b.key(), c.key()]);
    }

    /// Somebody whom no member added adds nobody.
    #[test]
    fn strangers_add_nobody() {
        let [a, b, x, y] = [1, 2, 3, 4].map(log);
        let statements = [add(&a, 10, &b), add(&x, 20, &y)];
        assert_eq!(active(&a, &statements), [a.key(), b.key()]);
    }

    /// Two members that remove each other: the senior one stays.
    #[test]
    fn the_senior_wins_a_mutual_removal() {
        let [a, b, c] = [1, 2, 3].map(log);
        let statements =
            [add(&a, 10, &b), add(&a, 11, &c), remove(&c, 12, &b, 3), remove(&b, 13, &c, 3)];
        assert_eq!(active(&a, &statements), [a.key(), b.key()]);
    }

    /// A removed log counts as far as the member that got furthest.
    #[test]
    fn the_cut_is_the_greatest_applied_length() {
        let [a, b, c] = [1, 2, 3].map(log);
        let applied = Claim::Applied { key: c.key(), applied: Extent { length: 9, tag: None } };
        let applied = Statement::sign(&b, Time::from_millis(14), applied).unwrap();
        let statements = [add(&a, 10, &b), add(&a, 11, &c), remove(&a, 12, &c, 3), applied];
        let cut = members(a.key(), &statements).into_iter().find_map(|member| member.cut);
        assert_eq!(cut, Some(Extent { length: 9, tag: None }));
    }

    proptest! {
        /// The list depends on the set alone: not on its order, nor on who asks.
        #[test]
        fn order_does_not_matter(picked in subsequence((0..8_usize).collect::<Vec<_>>(), 1..8), seed: u64) {
            let [a, b, c] = [1, 2, 3].map(log);
            let all = [
                add(&a, 1, &b), add(&b, 2, &a), add(&b, 3, &c), add(&a, 3, &c),
                remove(&c, 4, &b, 1), remove(&b, 5, &c, 2), remove(&a, 6, &a, 0), add(&c, 7, &b),
            ];
            let set: Vec<_> = picked.iter().map(|&i| all[i].clone()).collect();
            prop_assume!(set.iter().any(|statement| matches!(statement.claim, Claim::Add { .. })));
            let mut shuffled = set.clone();
            let turn = usize::try_from(seed % set.len() as u64).unwrap();
            shuffled.rotate_left(turn);
            shuffled.reverse();
            prop_assert_eq!(members(a.key(), &set), members(c.key(), &shuffled));
        }
    }
}
