//! Two nodes at the same place of two trees, and what differs between them.

use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::few::Few;
use crate::glimpses::Glimpses;
use crate::limits::NODE_KEYS_MAX;
use crate::missing::Missing;
use crate::node::{Kid, Node, Outline};
use crate::store::Store;

/// Nodes of the two sides, as far as they were asked for.
pub(crate) type Pair = [Option<Arc<Node>>; 2];

/// Children of two nodes, one of each.
type KidPairs = Few<[Kid; 2], { NODE_KEYS_MAX + 1 }>;

/// Two nodes that cover the same range of keys, opened.
#[expect(clippy::large_enum_variant, reason = "it lives for a moment, and there are many")]
pub(crate) enum Opened {
    /// What differs.
    Nodes(Pair),
    /// They have the same keys, and these children differ.
    Kids(KidPairs),
}

impl Opened {
    /// Opens two nodes that cover the same range of keys, but only what differs. What they have in common
    /// at their beginnings and ends would be passed over, so its keys need not be read; and those between
    /// children are only needed where a range of keys is asked for, or where the two have other keys.
    pub(crate) fn read(store: &Store, [left, right]: [Kid; 2], is_bounded: bool) -> Result<Self> {
        if let (Some(left), Some(right)) = (store.cached(left), store.cached(right)) {
            let kids = [left.kids(), right.kids()];
            return Ok(match differing_kids([left.key_seqs(), right.key_seqs()], kids) {
                Some(kids) if !is_bounded => Self::Kids(kids),
                _ => Self::Nodes([Some(left), Some(right)]),
            });
        }
        let mut glimpses = Glimpses::new(store);
        let mut outline = |kid| store.outline(kid, &mut glimpses);
        let [a, b] = match [outline(left), outline(right)] {
            [Ok(a), Ok(b)] => [a, b],
            [a, b] => return Err(joined(a.err(), b.err())),
        };
        if !is_bounded
            && let Some(kids) = differing_kids([&a.key_seqs, &b.key_seqs], [&a.kids, &b.kids])
        {
            return Ok(Self::Kids(kids));
        }
        let (keys_of_a, keys_of_b) = differing(&a, &b);
        let a = store.part(left, &a, keys_of_a, &mut glimpses);
        let b = store.part(right, &b, keys_of_b, &mut glimpses);
        load([a.map(Some), b.map(Some)], store).map(Self::Nodes)
    }
}

/// The children in which two inner nodes with the same keys differ.
fn differing_kids(
    [left_keys, right_keys]: [&[u64]; 2],
    [left, right]: [&[Kid]; 2],
) -> Option<KidPairs> {
    if left_keys != right_keys || left.is_empty() || left.len() != right.len() {
        return None;
    }
    let mut kids = Few::new();
    for (left, right) in left.iter().zip(right).filter(|(left, right)| left != right) {
        kids.push([*left, *right]);
    }
    Some(kids)
}

/// The keys of two nodes that are left once those are gone that both begin with and both end with,
/// each together with the child before or behind it.
fn differing(a: &Outline, b: &Outline) -> (Range<usize>, Range<usize>) {
    let (a_len, b_len) = (a.key_seqs.len(), b.key_seqs.len());
    let most = a_len.min(b_len);
    let is_same = |i: usize, j: usize, kid_behind: usize| {
        a.key_seqs.get(i) == b.key_seqs.get(j)
            && a.kids.get(i + kid_behind) == b.kids.get(j + kid_behind)
    };
    let start = (0..most).take_while(|i| is_same(*i, *i, 0)).count();
    let end = (1..=most - start).take_while(|i| is_same(a_len - i, b_len - i, 1)).count();
    (start..a_len - end, start..b_len - end)
}

/// The nodes of both sides, all their keys known. If not, what is missing names those keys, and the
/// children that only one of the two nodes has: they will be looked into.
pub(crate) fn load(loaded: [Result<Option<Arc<Node>>>; 2], store: &Store) -> Result<Pair> {
    let pair = match loaded {
        [Ok(left), Ok(right)] => [left, right],
        [left, right] => return Err(joined(left.err(), right.err())),
    };
    let mut missing = Missing::default();
    for node in pair.iter().flatten() {
        missing.extend(node.unknown_seqs());
    }
    if missing.len() == 0 {
        return Ok(pair);
    }
    if let ([Some(left), Some(right)], true) = (&pair, store.guesses()) {
        for (node, other) in [(left, right), (right, left)] {
            let differing = node.kids().iter().filter(|kid| !other.kids().contains(kid));
            let seqs = differing.map(|kid| kid.seq).filter(|seq| !store.log().has(*seq));
            missing.extend(seqs);
        }
    }
    Err(Error::Missing(missing.into_seqs()))
}

/// The error of either side; what is missing on both together.
pub(crate) fn joined(left: Option<Error>, right: Option<Error>) -> Error {
    match (left, right) {
        (Some(Error::Missing(seqs)), Some(Error::Missing(more))) => {
            let mut missing = Missing::default();
            missing.extend(seqs.into_iter().chain(more));
            Error::Missing(missing.into_seqs())
        }
        (Some(Error::Missing(_)), Some(error)) | (Some(error), _) | (None, Some(error)) => error,
        (None, None) => Error::Missing(Vec::new()),
    }
}
