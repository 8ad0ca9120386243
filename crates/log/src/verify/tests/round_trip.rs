//! Any request against any tree: what one side proves, the other side takes, and nothing else.

use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*};

use super::parties::{Replica, Source};
use crate::{
    error::Error,
    flat_tree,
    merkle::{byte_offset, missing_nodes},
    proof::Proof,
    request::{Request, RequestBlock, RequestHash, RequestSeek, RequestUpgrade},
};

/// One wish, in fractions of what there is then.
#[derive(Clone, Debug)]
struct Wish {
    block: Option<usize>,
    hash: Option<usize>,
    seek: Option<usize>,
    upgrade: bool,
    /// How many blocks the source has by then, and how many of them it is asked for.
    source_length: usize,
    upgrade_length: usize,
}

prop_compose! {
    fn wish()(
        kind in 0..4_u8, at: usize, seek in option::weighted(0.2, any::<usize>()),
        upgrade in prop::bool::weighted(0.3), source_length: usize, upgrade_length: usize,
    ) -> Wish {
        let block = (kind < 2).then_some(at);
        let hash = (kind == 2).then_some(at);
        Wish { block, hash, seek, upgrade, source_length, upgrade_length }
    }
}

fn blocks() -> impl Strategy<Value = Vec<Bytes>> {
    vec(vec(any::<u8>(), 0..12).prop_map(Bytes::from), 1..40)
}

fn request(wish: &Wish, replica: &Replica, source: &Source) -> Request {
    let (ours, theirs) = (replica.roots.length(), source.roots.length());
    let upgrade = (wish.upgrade && ours < theirs).then(|| RequestUpgrade {
        start: ours,
        length: wish.upgrade_length as u64 % (theirs - ours) + 1,
    });
    let end = upgrade.map_or(ours, |upgrade| upgrade.start + upgrade.length);
    let missing = |index| missing_nodes(&replica.tree, ours, index).unwrap();
    let block = wish.block.filter(|_| end > 0).map(|at| {
        let index = at as u64 % end;
        RequestBlock { index, nodes: missing(2 * index) }
    });
    // Only nodes that are whole in what is held, or whole in what is to come: no others are proven.
    let whole = |index: &u64| {
        let last = flat_tree::right_span(*index);
        last < 2 * ours || flat_tree::left_span(*index) >= 2 * ours && last < 2 * end
    };
    let hash = wish.hash.filter(|_| end > 0).map(|at| at as u64 % (2 * end)).filter(whole);
    let hash = hash.map(|index| RequestHash { index, nodes: missing(index) });
    let byte_length = source.roots.byte_length();
    let seek = wish.seek.map(|at| RequestSeek { bytes: at as u64 % (byte_length + 2), padding: 0 });
    Request { block, hash, seek, upgrade, manifest: replica.manifest.is_none() }
}

/// Has one conversation; gives each proof and the replica before it to `visit`.
fn converse(
    blocks: &[Bytes],
    wishes: &[Wish],
    mut visit: impl FnMut(&Source, &Replica, &Request, &Proof),
) -> (Source, Replica) {
    let mut source = Source::with_blocks(1, &blocks[..1]);
    let mut replica = Replica::new(source.key);
    for wish in wishes {
        let now = source.blocks.len();
        let new = wish.source_length % (blocks.len() - now + 1);
        if new > 0 {
            source.append(&blocks[now..now + new]);
        }
        let request = request(wish, &replica, &source);
        match source.prove(&request) {
            Ok(proof) => {
                visit(&source, &replica, &request, &proof);
                replica.apply(&proof).unwrap();
                if request.upgrade.is_some() {
                    assert_eq!(replica.roots, source.roots);
                }
                if let Some(block) = request.block {
                    let value = source.blocks.get(block.index as usize);
                    assert_eq!(replica.blocks.get(&block.index), value);
                }
            }
            Err(Error::InvalidRequest { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    (source, replica)
}

/// All proofs that differ from `proof` in one bit of their wire form and still decode.
fn bent(proof: &Proof, bit: u32) -> impl Iterator<Item = Proof> {
    let mut wire = Vec::new();
    proof.encode(1, &mut wire);
    (0..wire.len()).filter_map(move |at| {
        let mut wire = wire.clone();
        wire[at] ^= 1 << bit;
        Proof::decode(&wire).ok().map(|(_, proof)| proof)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever is asked for and can be proven is taken; stored nodes are the source's, sizes
    /// included; every block that is held has its offset.
    #[test]
    fn what_is_proven_is_taken(blocks in blocks(), wishes in vec(wish(), 1..25)) {
        let (source, replica) = converse(&blocks, &wishes, |_, _, _, _| {});
        for (index, node) in &replica.tree.0 {
            prop_assert_eq!(source.tree.0.get(index), Some(node));
        }
        for &block in replica.blocks.keys() {
            let offset = byte_offset(&replica.tree, &replica.roots, 2 * block)?;
            let before = source.blocks.iter().take(block as usize);
            prop_assert_eq!(offset, before.map(|block| block.len() as u64).sum::<u64>());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// A proof with a flipped bit is refused, or brings nothing that is not true.
    #[test]
    fn flipped_bits_do_no_harm(blocks in blocks(), wishes in vec(wish(), 1..6), bit in 0..8_u32) {
        converse(&blocks, &wishes, |source, replica, request, proof| {
            for bent in bent(proof, bit).filter(|bent| bent != proof) {
                let Ok(taken) = replica.check(&bent) else {
                    continue;
                };
                for node in &taken.nodes {
                    assert_eq!(source.tree.0.get(&node.index), Some(node), "{request:?} {bent:?}");
                }
                if let Some((index, value)) = &taken.block {
                    assert_eq!(source.blocks.get(*index as usize), Some(value), "{bent:?}");
                }
                if let Some(upgrade) = &taken.upgrade {
                    assert_eq!(upgrade.roots, source.roots, "{bent:?}");
                }
                assert!(taken.manifest.is_none_or(|manifest| manifest == source.manifest));
            }
        });
    }

    /// A replica that is further along takes a proof that starts at an older head, from a peer that
    /// holds no nodes to lead on from the newer one.
    #[test]
    fn older_starts_are_taken(blocks in blocks(), cuts: (usize, usize)) {
        let first = cuts.0 % blocks.len() + 1;
        let second = first + cuts.1 % (blocks.len() - first + 1);
        let upgrade = |start, end: usize| Request {
            upgrade: (start < end)
                .then(|| RequestUpgrade { start: start as u64, length: (end - start) as u64 }),
            manifest: true,
            ..Request::default()
        };
        let mut source = Source::with_blocks(1, &blocks[..first]);
        let mut replica = Replica::new(source.key);
        replica.apply(&source.prove(&upgrade(0, first))?)?;
        source.append(&blocks[first..second]);
        if first < second {
            replica.apply(&source.prove(&upgrade(first, second))?)?;
        }
        source.append(&blocks[second..]);
        if first < blocks.len() {
            let proof = source.prove(&upgrade(first, blocks.len()))?;
            replica.apply(&proof)?;
            // A second time it is known, and no fault.
            prop_assert!(replica.check(&proof)?.upgrade.is_none());
        }
        prop_assert_eq!(&replica.roots, &source.roots);
        for (index, node) in &replica.tree.0 {
            prop_assert_eq!(source.tree.0.get(index), Some(node));
        }
        for start in 0..blocks.len() {
            let proof = source.prove(&upgrade(start, blocks.len()))?;
            let is_fair = matches!(replica.check(&proof), Ok(_) | Err(Error::Outdated { .. }));
            prop_assert!(is_fair);
        }
    }

    /// Another history by the same writer is never taken for more of this one.
    #[test]
    fn second_histories_are_refused(
        blocks in blocks(), others in blocks(), shared: usize, ours: usize, start: usize,
    ) {
        let shared = shared % (blocks.len() + 1);
        let other: Vec<_> = blocks[..shared].iter().chain(&others).cloned().collect();
        let ours = ours % blocks.len() + 1;
        prop_assume!(shared < ours && blocks[shared] != other[shared]);
        let source = Source::with_blocks(1, &blocks[..ours]);
        let liar = Source::with_blocks(1, &other);
        let mut replica = Replica::new(source.key);
        let all = RequestUpgrade { start: 0, length: ours as u64 };
        replica.apply(&source.prove(&Request { upgrade: Some(all), manifest: true, ..Request::default() })?)?;
        let start = (start % other.len()).max(ours.min(other.len() - 1));
        let more = RequestUpgrade { start: start as u64, length: (other.len() - start) as u64 };
        let proof = liar.prove(&Request { upgrade: Some(more), ..Request::default() })?;
        let outcome = replica.check(&proof);
        let is_taken = outcome.as_ref().is_ok_and(|taken| taken.upgrade.is_some());
        prop_assert!(!is_taken, "{:?}", outcome);
    }
}

fn upgrade(start: u64, length: u64) -> Request {
    let upgrade = Some(RequestUpgrade { start, length });
    Request { upgrade, manifest: true, ..Request::default() }
}

fn numbered(range: std::ops::Range<u8>) -> Vec<Bytes> {
    range.map(|number| Bytes::from(vec![number; usize::from(number) + 1])).collect()
}

/// A longer history that shares a beginning with ours, but not all that we hold, is found out where
/// it leads on from before the difference and names a node that we hold.
#[test]
fn late_second_histories_are_found() {
    let mut source = Source::with_blocks(1, &numbered(0..4));
    let mut liar = source.clone();
    let mut replica = Replica::new(source.key);
    replica.apply(&source.prove(&upgrade(0, 4)).unwrap()).unwrap();
    source.append(&numbered(4..8));
    liar.append(&numbered(14..26));
    replica.apply(&source.prove(&upgrade(4, 4)).unwrap()).unwrap();
    let outcome = replica.check(&liar.prove(&upgrade(4, 12)).unwrap());
    assert!(matches!(outcome, Err(Error::TwoHistories { length: 8 })), "{outcome:?}");
}

/// A longer history from the very beginning, of which a replica holds another node, is found out;
/// one of which it holds no other is merely of no use.
#[test]
fn second_histories_from_zero_are_found() {
    let mut source = Source::with_blocks(1, &numbered(0..4));
    let liar = Source::with_blocks(1, &numbered(10..17));
    let mut replica = Replica::new(source.key);
    replica.apply(&source.prove(&upgrade(0, 4)).unwrap()).unwrap();
    let outcome = replica.check(&liar.prove(&upgrade(0, 4)).unwrap());
    assert!(matches!(outcome, Err(Error::TwoHistories { length: 4 })), "{outcome:?}");
    source.append(&numbered(4..8));
    let outcome = replica.check(&source.prove(&upgrade(0, 8)).unwrap());
    assert!(matches!(outcome, Err(Error::Outdated { start: 0, ours: 4 })), "{outcome:?}");
}

/// False sizes of two siblings, which another program may have stored, are mended once the block
/// comes that tells the truth.
#[test]
fn false_sizes_are_mended() {
    let source = Source::with_blocks(1, &numbered(0..8));
    let mut replica = Replica::lenient(source.key);
    replica.apply(&source.prove(&upgrade(0, 8)).unwrap()).unwrap();
    let hash = Some(RequestHash { index: 0, nodes: 3 });
    let mut proof = source.prove(&Request { hash, ..Request::default() }).unwrap();
    let [leaf, sibling, ..] = proof.hash.as_mut().unwrap().nodes.as_mut_slice() else {
        unreachable!("the path has four nodes");
    };
    leaf.size += 1;
    sibling.size -= 1;
    replica.apply(&proof).unwrap();
    let is_true = |replica: &Replica, index| replica.tree.0[&index] == source.tree.0[&index];
    assert!(!is_true(&replica, 0) && !is_true(&replica, 2));

    let block = Some(RequestBlock { index: 0, nodes: 0 });
    replica.apply(&source.prove(&Request { block, ..Request::default() }).unwrap()).unwrap();
    assert!(is_true(&replica, 0) && is_true(&replica, 2));
}
