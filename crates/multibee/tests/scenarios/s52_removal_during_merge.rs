//! S52: a device is removed while what it wrote is being merged.

use std::collections::BTreeSet;

use multibee::Multibee;

use crate::by_hand::{Hands, Wire};
use crate::devices::{Group, Kind, check_same, text};
use crate::scenario;

const A: usize = 0;
const B: usize = 1;
const C: usize = 2;
/// Entries of B, each with a second one in the same commit.
const ENTRIES: usize = 10;

/// Who removes B while A merges.
#[derive(Clone, Copy, Debug)]
enum Remover {
    /// A itself, in the midst of it.
    Merging,
    /// C, before; A learns so in the midst of it.
    Other,
}

/// How many of B's entries a device has: the first ones, none of them in part.
fn merged(db: &Multibee) -> usize {
    let has = |name: &str, number: usize| text(db, &format!("{name} {number}")).is_some();
    let count = (0..ENTRIES).take_while(|&number| has("entry", number)).count();
    for number in 0..ENTRIES {
        assert_eq!(has("entry", number), number < count, "no entry is skipped");
        assert_eq!(has("other", number), number < count, "no commit is merged in part");
    }
    count
}

/// B writes entry by entry while A, connected, merges frame by frame. At one step the removal takes
/// effect. Returns whether that step was reached.
fn until_removed(group: &Group, hands: &mut Hands, wire: Wire, step: usize) -> bool {
    let mut steps = 0;
    for number in 0..ENTRIES {
        let mut batch = group.db(B).batch();
        batch.put(format!("entry {number}"), "1").put(format!("other {number}"), "1");
        batch.commit().unwrap();
        while hands.step(wire) {
            if steps == step {
                return true;
            }
            steps += 1;
        }
    }
    false
}

/// B is removed at a step of a merge. All others then agree how much of B is in, and stay so, whatever B
/// writes and whom it meets. Returns how much that is; `None` beyond the last step.
fn removed_at(kind: Kind, remover: Remover, step: usize) -> Option<usize> {
    let group = Group::new(kind, 3);
    let mut hands = Hands::take(&group);
    for (one, other) in [(A, C), (A, B), (B, C)] {
        let wire = hands.dial(one, other);
        hands.settle(&[wire]);
        hands.cut(wire);
    }
    let b_key = group.db(B).key();
    if matches!(remover, Remover::Other) {
        group.db(C).remove_replica(&b_key).unwrap();
    }
    let wire = hands.dial(A, B);
    if !until_removed(&group, &mut hands, wire, step) {
        return None;
    }
    if matches!(remover, Remover::Merging) {
        group.db(A).remove_replica(&b_key).unwrap();
    }
    let between = hands.dial(C, A);
    hands.settle(&[between, wire]);
    let (a, c) = (group.db(A), group.db(C));
    check_same(&[a, c]);
    let count = merged(a);

    // B may not know it yet, and C may be the first to hear what it wrote since.
    for number in 0..ENTRIES {
        let _ = group.db(B).put(format!("entry {number}"), "later");
    }
    let last = hands.dial(B, C);
    hands.settle(&[between, wire, last]);
    check_same(&[a, c]);
    assert_eq!(merged(a), count, "nothing is merged later");
    Some(count)
}

/// Every step in memory, every seventh on disk, which is slow.
async fn every_step(kind: Kind) {
    let stride = if kind == Kind::Memory { 1 } else { 7 };
    for remover in [Remover::Merging, Remover::Other] {
        let steps = (0..).step_by(stride);
        let counts: Vec<usize> = steps.map_while(|step| removed_at(kind, remover, step)).collect();
        assert!(counts.is_sorted(), "{counts:?}");
        let different: BTreeSet<usize> = counts.iter().copied().collect();
        assert!(different.len() > ENTRIES / stride, "{remover:?}: {different:?}");
    }
}

scenario!(s52_removal_at_every_step_of_a_merge, every_step);
