//! Who belongs to the database: a pure function of the set of statements.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use multibee_log::LogKey;
use multibee_merge::{DeviceId, Time};

use crate::DeviceRole;
use crate::broken::BrokenRule;
use crate::statement::{Claim, Extent, Leaving, Statement};

/// A device that is or was a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) key: LogKey,
    pub(crate) device: DeviceId,
    pub(crate) name: Option<String>,
    pub(crate) role: DeviceRole,
    /// Set when the device was removed, or retired because it stayed away: its log counts up to this
    /// length.
    pub(crate) cut: Option<Extent>,
    /// Who threw it out.
    pub(crate) removed_by: Option<LogKey>,
    /// Its log is finished, though nobody threw it out: another one goes on for it, it left by itself,
    /// or it has stayed away too long. Without a cut its log is followed as far as anybody has it.
    pub(crate) is_retired: bool,
    /// The log that it goes on for.
    pub(crate) predecessor: Option<LogKey>,
    /// The logs that go on for it: more than one if copies of the device did so.
    pub(crate) successors: Vec<LogKey>,
}

impl Member {
    /// Whether the device takes part: neither was it removed, nor is its log finished.
    pub(crate) const fn is_active(&self) -> bool {
        self.removed_by.is_none() && !self.is_retired
    }
}

/// Who belongs to the database, and who may say so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Membership {
    /// All devices that were ever admitted, by seniority.
    pub(crate) devices: Vec<Member>,
    /// Keys of the recovery secrets that count. They sign statements, and have no log.
    pub(crate) recovery: Vec<LogKey>,
}

impl Membership {
    /// All devices that were ever admitted, by seniority: the founder first, then by the time of
    /// their admission (and by key, where times are equal); a log that goes on for another one right
    /// behind that one.
    ///
    /// - The founder is the author of the earliest admission, if it is no recovery secret of somebody
    ///   else; that a log goes on for another one counts as one if there is no other. Without any, `me` is
    ///   alone.
    /// - An admission counts if its author was admitted.
    /// - A log is admitted, too, if it goes on for one that was. It inherits name and role. So is the one
    ///   that an admitted log goes on for: whom that has admitted still belongs to it.
    /// - A removal counts unless its author is removed by somebody senior to it. What goes on for a
    ///   removed log is removed with it.
    /// - The log of a removed device counts as far as any member says to have applied it.
    /// - Of several roles in which a device was admitted the one counts that allows most: what was
    ///   allowed once stays so, or devices would differ in what they have merged.
    ///
    /// Devices with equal sets of statements get equal lists, but for a device that is alone.
    pub(crate) fn of<'a>(me: LogKey, statements: impl IntoIterator<Item = &'a Statement>) -> Self {
        let mut sorted: Vec<&Statement> = statements.into_iter().collect();
        sorted.sort_by_cached_key(|statement| (statement.time, statement.author, statement.hash()));
        let admissions = Admissions::of(me, &sorted);
        let said = Said::of(&admissions, &sorted);
        let gone = Gone::of(&admissions, &said);
        let is_recovery = |key: &LogKey| {
            said.about(key).iter().any(|one| matches!(one.claim, Claim::Recovery { .. }))
        };
        let mut membership = Self::default();
        let mut taken = BTreeSet::new();
        let mut places = BTreeMap::new();
        for key in &admissions.by_seniority {
            if is_recovery(key) {
                let counts = !gone.removed.contains_key(key) && !gone.absent.contains(key);
                membership.recovery.extend(counts.then_some(*key));
            } else if taken.insert(DeviceId::of_key(key.as_bytes())) {
                let before = |key: &LogKey| membership.devices.get(*places.get(key)?);
                let member = member(*key, before, &admissions, &gone, &said);
                places.insert(*key, membership.devices.len());
                membership.devices.push(member);
            }
        }
        membership
    }
}

/// The devices of [`Membership::of`].
#[cfg(test)]
pub(crate) fn members<'a>(
    me: LogKey,
    statements: impl IntoIterator<Item = &'a Statement>,
) -> Vec<Member> {
    Membership::of(me, statements).devices
}

fn member<'a>(
    key: LogKey,
    senior: impl Fn(&LogKey) -> Option<&'a Member>,
    admissions: &Admissions,
    gone: &Gone,
    said: &Said<'_>,
) -> Member {
    let predecessor = admissions.admitted.get(&key).and_then(|one| one.predecessor);
    let inherited = predecessor.and_then(|key| senior(&key));
    let successors: Vec<LogKey> = admissions.heirs.get(&key).cloned().unwrap_or_default();
    let removed_by = gone.removed.get(&key).copied();
    let has_left = !successors.is_empty() || gone.left.contains(&key) || gone.absent.contains(&key);
    let is_cut = removed_by.is_some() || gone.absent.contains(&key);
    let role = role(&key, admissions, said);
    Member {
        key,
        device: DeviceId::of_key(key.as_bytes()),
        name: name(&key, gone, said).or(inherited.and_then(|one| one.name.clone())),
        role: role.or(inherited.map(|one| one.role)).unwrap_or_default(),
        cut: is_cut.then(|| cut(key, said)),
        removed_by,
        is_retired: removed_by.is_none() && has_left,
        predecessor,
        successors,
    }
}

/// How a key was admitted.
#[derive(Clone, Copy, Debug)]
struct Admission {
    time: Time,
    /// Set if it was admitted because it goes on for this one.
    predecessor: Option<LogKey>,
}

/// All keys that were ever admitted, those of recovery secrets included.
struct Admissions {
    admitted: BTreeMap<LogKey, Admission>,
    /// Logs that go on for others, by these.
    heirs: BTreeMap<LogKey, Vec<LogKey>>,
    by_seniority: Vec<LogKey>,
    ranks: BTreeMap<LogKey, usize>,
}

impl Admissions {
    fn of(me: LogKey, sorted: &[&Statement]) -> Self {
        // A secret has consented to be one, so nobody can put another device out of its place by this.
        let secrets: BTreeSet<LogKey> = sorted.iter().filter_map(|one| secret_of(one)).collect();
        let founds =
            |one: &&&Statement| admits(&one.claim).is_some() && !secrets.contains(&one.author);
        // That a log goes on for another one may be heard before whom that one had admitted.
        let admits_another =
            |one: &&&Statement| founds(one) && !matches!(one.claim, Claim::Succeed { .. });
        let first = sorted.iter().find(admits_another).or_else(|| sorted.iter().find(founds));
        let founder = first.map_or(me, |statement| statement.author);
        let alone = Admission { time: Time::default(), predecessor: None };
        let mut admitted = BTreeMap::from([(founder, alone)]);
        loop {
            let count = admitted.len();
            for statement in sorted {
                admit(&mut admitted, statement);
            }
            if admitted.len() == count {
                break;
            }
        }
        let mut heirs: BTreeMap<LogKey, Vec<LogKey>> = BTreeMap::new();
        for statement in sorted.iter().filter(|one| admitted.contains_key(&one.author)) {
            let Claim::Succeed { key, .. } = &statement.claim else { continue };
            let known = heirs.entry(statement.author).or_default();
            if *key != statement.author && !known.contains(key) {
                known.push(*key);
            }
        }
        let by_seniority = by_seniority(founder, &admitted);
        let ranks = by_seniority.iter().copied().zip(0..).collect();
        Self { admitted, heirs, by_seniority, ranks }
    }

    fn rank(&self, key: &LogKey) -> Option<usize> {
        self.ranks.get(key).copied()
    }

    /// A key and all that goes on for it, through any number.
    fn line(&self, key: LogKey) -> BTreeSet<LogKey> {
        let mut line = BTreeSet::new();
        let mut next = vec![key];
        while let Some(key) = next.pop() {
            if line.insert(key) {
                next.extend(self.heirs.get(&key).into_iter().flatten());
            }
        }
        line
    }
}

/// The statements of those who were admitted, each list in the order of their times.
#[derive(Default)]
struct Said<'a> {
    by_author: BTreeMap<LogKey, Vec<&'a Statement>>,
    by_subject: BTreeMap<LogKey, Vec<&'a Statement>>,
}

impl<'a> Said<'a> {
    fn of(admissions: &Admissions, sorted: &[&'a Statement]) -> Self {
        let mut said = Self::default();
        for one in sorted.iter().filter(|one| admissions.admitted.contains_key(&one.author)) {
            said.by_author.entry(one.author).or_default().push(one);
            if let Some(key) = one.claim.key() {
                said.by_subject.entry(key).or_default().push(one);
            }
        }
        said
    }

    /// What somebody said.
    fn by(&self, author: &LogKey) -> &[&'a Statement] {
        self.by_author.get(author).map_or(&[], Vec::as_slice)
    }

    /// What was said about a log.
    fn about(&self, key: &LogKey) -> &[&'a Statement] {
        self.by_subject.get(key).map_or(&[], Vec::as_slice)
    }
}

/// Admits whom a statement leads to: from its author to the key that it names, and from a log that goes
/// on to the one that it goes on for. Both of these have signed, and what the one said still counts
/// where only the other one was admitted.
fn admit(admitted: &mut BTreeMap<LogKey, Admission>, statement: &Statement) {
    let (author, Some(key)) = (statement.author, admits(&statement.claim)) else { return };
    let goes_on = matches!(statement.claim, Claim::Succeed { .. });
    match (admitted.get(&author).copied(), admitted.get(&key).copied()) {
        (Some(_), None) => {
            let predecessor = goes_on.then_some(author);
            admitted.insert(key, Admission { time: statement.time, predecessor });
        }
        (None, Some(heir)) if goes_on => {
            admitted.insert(author, heir);
            admitted.insert(key, Admission { predecessor: Some(author), ..heir });
        }
        _ => {}
    }
}

/// Whom a claim admits.
const fn admits(claim: &Claim) -> Option<LogKey> {
    match claim {
        Claim::Add { key, .. } | Claim::Succeed { key, .. } | Claim::Recovery { key, .. } => {
            Some(*key)
        }
        _ => None,
    }
}

/// The recovery secret that a statement names, unless it names itself.
fn secret_of(statement: &Statement) -> Option<LogKey> {
    match &statement.claim {
        Claim::Recovery { key, .. } if *key != statement.author => Some(*key),
        _ => None,
    }
}

/// The founder first, then by the time of admission; whoever goes on for another one right behind it.
fn by_seniority(founder: LogKey, admitted: &BTreeMap<LogKey, Admission>) -> Vec<LogKey> {
    let mut under: BTreeMap<Option<LogKey>, Vec<(Time, LogKey)>> = BTreeMap::new();
    for (key, admission) in admitted {
        under.entry(admission.predecessor).or_default().push((admission.time, *key));
    }
    // The last one in the stack is the most senior that is left.
    let mut stack: Vec<LogKey> = Vec::new();
    let mut push = |stack: &mut Vec<LogKey>, predecessor| {
        let mut keys = under.remove(&predecessor).unwrap_or_default();
        keys.sort_by_key(|&(time, key)| (key != founder, time, key));
        stack.extend(keys.into_iter().rev().map(|(_, key)| key));
    };
    push(&mut stack, None);
    let mut order = Vec::with_capacity(admitted.len());
    while let Some(key) = stack.pop() {
        order.push(key);
        push(&mut stack, Some(key));
    }
    order
}

/// Who is a member no longer.
#[derive(Default)]
struct Gone {
    /// Who was thrown out, and by whom.
    removed: BTreeMap<LogKey, LogKey>,
    /// Who has stayed away too long.
    absent: BTreeSet<LogKey>,
    /// Who left by itself.
    left: BTreeSet<LogKey>,
}

impl Gone {
    fn of(admissions: &Admissions, said: &Said<'_>) -> Self {
        let mut gone = Self::default();
        let mut removed_by_senior = BTreeSet::new();
        for (own_rank, author) in admissions.by_seniority.iter().enumerate() {
            if removed_by_senior.contains(author) && !BrokenRule::IgnoreSeniority.is_broken() {
                continue;
            }
            for statement in said.by(author) {
                let Claim::Remove { key, why, .. } = &statement.claim else { continue };
                if key == author {
                    gone.left.insert(*key);
                    continue;
                }
                if *why == Leaving::Absent {
                    gone.absent.insert(*key);
                    continue;
                }
                for key in admissions.line(*key) {
                    gone.removed.entry(key).or_insert(*author);
                    if admissions.rank(&key).is_some_and(|rank| rank > own_rank) {
                        removed_by_senior.insert(key);
                    }
                }
            }
        }
        gone
    }
}

/// How far the log of a removed device counts: as far as any member says to have applied it.
fn cut(removed: LogKey, said: &Said<'_>) -> Extent {
    let others = said.about(&removed).iter().filter(|statement| statement.author != removed);
    others
        .filter_map(|statement| match &statement.claim {
            Claim::Remove { applied, .. } | Claim::Applied { applied, .. } => Some(*applied),
            _ => None,
        })
        .max_by_key(|extent| extent.length)
        .unwrap_or_default()
}

/// The name that a device got last, or was admitted with. Those who were thrown out name nobody.
fn name(wanted: &LogKey, gone: &Gone, said: &Said<'_>) -> Option<String> {
    let said = said.about(wanted);
    let last = said.iter().rev().find_map(|one| match &one.claim {
        Claim::Name { name, .. } if !gone.removed.contains_key(&one.author) => Some(name.clone()),
        _ => None,
    });
    let added = |one: &&Statement| match &one.claim {
        Claim::Add { name, .. } => name.clone(),
        _ => None,
    };
    last.or_else(|| said.iter().find_map(added))
}

/// The role in which a device was admitted, if anybody admitted it other than by going on for it.
fn role(wanted: &LogKey, admissions: &Admissions, said: &Said<'_>) -> Option<DeviceRole> {
    let added = |one: &&Statement| match &one.claim {
        Claim::Add { role, .. } => Some(*role),
        _ => None,
    };
    let role = said.about(wanted).iter().filter_map(added).max();
    let is_founder = admissions.by_seniority.first() == Some(wanted);
    if is_founder { role.max(Some(DeviceRole::Full)) } else { role }
}
