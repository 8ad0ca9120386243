use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*, sample::Index};

use super::*;
use crate::{
    merkle::{byte_offset, missing_nodes, tests::MemoryTree},
    proof::ProofHash,
    request::{RequestBlock, RequestUpgrade},
    verify::tests::parties::{Replica, Source},
};

fn blocks(count: Range<usize>) -> impl Strategy<Value = Vec<Bytes>> {
    vec(vec(any::<u8>(), 0..12).prop_map(Bytes::from), count)
}

/// A replica of all of `source` that holds these blocks.
fn replica_of(source: &Source, held: &[Index]) -> Replica {
    let mut replica = Replica::new(source.key);
    replica.apply(&head(source, source.blocks.len())).unwrap();
    for pick in held {
        let index = pick.index(source.blocks.len()) as u64;
        let nodes = missing_nodes(&replica.tree, replica.roots.length(), 2 * index).unwrap();
        let block = Some(RequestBlock { index, nodes });
        replica.apply(&source.prove(&Request { block, ..Request::default() }).unwrap()).unwrap();
    }
    replica
}

/// The proof of a head, asked for at a length.
fn head(source: &Source, length: usize) -> Proof {
    let upgrade = Some(RequestUpgrade { start: 0, length: length as u64 });
    source.prove(&Request { upgrade, manifest: true, ..Request::default() }).unwrap()
}

fn start(replica: &Replica, proof: &Proof) -> Result<ForkPoint> {
    let signed = SignedHead::of(&replica.key, replica.manifest.as_ref(), proof)?;
    ForkPoint::new(&replica.tree, replica.roots.length(), &signed, proof, &signed.roots)
}

/// Searches to the end. Tells `on_answer` of each answer and the search before it.
fn search(
    source: &Source,
    replica: &Replica,
    proof: &Proof,
    on_answer: impl FnMut(&ForkPoint, &Proof),
) -> ForkPoint {
    search_by(source, replica, proof, ForkPoint::request, on_answer)
}

/// The same, asking what `ask` says.
fn search_by(
    source: &Source,
    replica: &Replica,
    proof: &Proof,
    mut ask: impl FnMut(&ForkPoint) -> Option<Request>,
    mut on_answer: impl FnMut(&ForkPoint, &Proof),
) -> ForkPoint {
    let mut search = start(replica, proof).unwrap();
    let depth_max = source.roots.nodes().iter().map(|root| flat_tree::depth(root.index)).max();
    for _ in 0..=depth_max.unwrap_or(0) {
        let Some(request) = ask(&search) else {
            return search;
        };
        let answer = source.prove(&request).unwrap();
        on_answer(&search, &answer);
        let before = search.shared_len();
        search.add(&replica.tree, &answer).unwrap();
        assert!(search.shared_len() >= before, "what is known to be shared stays so");
    }
    assert_eq!(search.request(), None, "there is no level left to go down");
    search
}

/// How many blocks are the same in both.
fn common_len(ours: &[Bytes], theirs: &[Bytes]) -> u64 {
    ours.iter().zip(theirs).take_while(|(ours, theirs)| ours == theirs).count() as u64
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever a sparse replica holds, and whichever paths it asks for: what is found to be shared
    /// is shared, all nodes found are true, sizes included, and together with the nodes kept they
    /// give each block that is kept its place. One that holds all finds exactly what is shared.
    #[test]
    fn shared_blocks_are_found(
        first in blocks(1..60), second in blocks(0..60), cut: Index, held in vec(any::<Index>(), 0..40),
        holds_all: bool, later in blocks(0..10), by in option::of(vec(any::<Index>(), 8)),
    ) {
        let old = Source::with_blocks(1, &first);
        let mut new = old.clone();
        new.cut(cut.index(first.len() + 1), &second);
        prop_assume!(!new.blocks.is_empty());
        // The head may be further along than what was asked for.
        let asked = new.blocks.len();
        new.append(&later);
        let mut replica = replica_of(&old, &held);
        if holds_all {
            replica.tree = old.tree.clone();
        }
        let mut by = by.map(|by| by.into_iter().cycle());
        let ask = |search: &ForkPoint| match &mut by {
            None => search.request(),
            Some(by) => {
                let blocks = search.blocks()?;
                let pick = by.next().unwrap().index((blocks.end - blocks.start) as usize);
                search.request_by(blocks.start + pick as u64)
            }
        };
        let found = search_by(&new, &replica, &head(&new, asked), ask, |_, _| {});
        let common = common_len(&first, &new.blocks);
        let shared_len = found.shared_len();
        prop_assert!(shared_len <= common);
        if holds_all {
            prop_assert_eq!(shared_len, common);
        }
        let kept = replica.tree.0.into_iter();
        let kept = kept.filter(|(index, _)| flat_tree::right_span(*index) < 2 * shared_len);
        let mut tree: MemoryTree = kept.map(|(_, node)| node).collect();
        tree.0.extend(found.into_nodes().into_iter().map(|node| (node.index, node)));
        for (index, node) in &tree.0 {
            prop_assert_eq!(new.tree.0.get(index), Some(node));
        }
        for root in new.roots.nodes() {
            prop_assert_eq!(tree.0.get(&root.index), Some(root));
        }
        for &number in replica.blocks.keys().filter(|number| **number < shared_len) {
            let offset = byte_offset(&tree, &new.roots, 2 * number)?;
            let before = new.blocks.iter().take(number as usize);
            prop_assert_eq!(offset, before.map(|block| block.len() as u64).sum::<u64>());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    /// An answer with a flipped bit is refused and changes nothing, or says the same; and so does a
    /// head.
    #[test]
    fn flipped_bits_are_refused(
        first in blocks(1..20), second in blocks(1..20), cut: Index, held in vec(any::<Index>(), 0..9),
    ) {
        let old = Source::with_blocks(1, &first);
        let mut new = old.clone();
        new.cut(cut.index(first.len() + 1), &second);
        let replica = replica_of(&old, &held);
        // Known already, the manifest in a proof does not matter.
        let proof = Proof { manifest: None, ..head(&new, new.blocks.len()) };
        for bent in bent(&proof) {
            let outcome = start(&replica, &bent);
            assert!(
                matches!(outcome, Err(Error::BadProof { .. } | Error::BadSignature { .. })),
                "{bent:?}: {outcome:?}"
            );
        }
        search(&new, &replica, &proof, |search, answer| {
            let mut honest = search.clone();
            honest.add(&replica.tree, answer).unwrap();
            for bent in bent(answer) {
                let mut other = search.clone();
                match other.add(&replica.tree, &bent) {
                    Ok(()) => panic!("taken: {bent:?}"),
                    Err(Error::BadProof { .. } | Error::ForkMismatch { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
                other.add(&replica.tree, answer).unwrap();
                assert_eq!(other.shared_len(), honest.shared_len());
                assert_eq!(other.nodes, honest.nodes);
            }
        });
    }
}

/// All proofs that differ from `proof` in one bit of their wire form and still decode.
fn bent(proof: &Proof) -> Vec<Proof> {
    let mut wire = Vec::new();
    proof.encode(0, &mut wire);
    let flipped = |at: usize| {
        let mut wire = wire.clone();
        wire[at / 8] ^= 1 << (at % 8);
        Proof::decode(&wire).ok().map(|(_, proof)| proof)
    };
    (0..8 * wire.len()).filter_map(flipped).filter(|bent| bent != proof).collect()
}

fn numbered(range: Range<u8>) -> Vec<Bytes> {
    range.map(|number| Bytes::from(vec![number; usize::from(number) + 1])).collect()
}

/// Bytes moved between two siblings of an answer, which no hash shows, are not kept.
#[test]
fn moved_sizes_are_not_kept() {
    let old = Source::with_blocks(1, &numbered(0..16));
    let mut new = old.clone();
    new.cut(9, &numbered(40..47));
    let replica = replica_of(&old, &[]);
    let mut search = start(&replica, &head(&new, 16)).unwrap();
    while let Some(request) = search.request() {
        let mut answer = new.prove(&request).unwrap();
        let [first, second, ..] = answer.hash.as_mut().unwrap().nodes.as_mut_slice() else {
            panic!("a path has two nodes at least");
        };
        first.size += 1;
        second.size -= 1;
        search.add(&replica.tree, &answer).unwrap();
    }
    for node in search.into_nodes() {
        assert_eq!(new.tree.0.get(&node.index), Some(&node));
    }
}

/// Parts that were not asked for, nodes without end, and answers of another fork are refused.
#[test]
fn strange_answers_are_refused() {
    let old = Source::with_blocks(1, &numbered(0..16));
    let mut new = old.clone();
    new.cut(9, &numbered(40..47));
    let replica = replica_of(&old, &[]);
    let proof = head(&new, 16);
    let mut search = start(&replica, &proof).unwrap();
    let answer = new.prove(&search.request().unwrap()).unwrap();
    let path = answer.hash.as_ref().unwrap().nodes.clone();
    let long: Vec<Node> = path.iter().cycle().take(PROOF_NODES_MAX + 1).copied().collect();
    let with = |change: &dyn Fn(&mut Proof)| {
        let mut answer = answer.clone();
        change(&mut answer);
        answer
    };
    let strange = [
        with(&|answer| answer.upgrade = proof.upgrade.clone()),
        with(&|answer| answer.hash.as_mut().unwrap().nodes.pop().map(drop).unwrap()),
        with(&|answer| answer.hash.as_mut().unwrap().nodes.clone_from(&long)),
        with(&|answer| answer.hash = None),
    ];
    for strange in &strange {
        let outcome = search.add(&replica.tree, strange);
        assert!(matches!(outcome, Err(Error::BadProof { .. })), "{outcome:?}");
    }
    let outcome = search.add(&replica.tree, &with(&|answer| answer.fork = 2));
    assert!(matches!(outcome, Err(Error::ForkMismatch { ours: 1, theirs: 2 })), "{outcome:?}");
    search.add(&replica.tree, &answer).unwrap();
    let mut with_more = proof.clone();
    let leaf = new.tree.0[&0];
    with_more.hash = Some(ProofHash { index: 0, nodes: vec![leaf] });
    let outcome = start(&replica, &with_more);
    assert!(matches!(outcome, Err(Error::BadProof { index: 0, .. })), "{outcome:?}");

    // True, but leaf by leaf.
    let many = Source::with_blocks(1, &vec![Bytes::new(); PROOF_NODES_MAX + 2]);
    let mut leaf_by_leaf = head(&many, 1);
    let leaves = (1..many.blocks.len() as u64).map(|number| many.tree.0[&(2 * number)]);
    leaf_by_leaf.upgrade.as_mut().unwrap().additional_nodes = leaves.collect();
    let outcome = start(&replica, &leaf_by_leaf);
    assert!(matches!(outcome, Err(Error::BadProof { .. })), "{outcome:?}");
    let nodes = &mut leaf_by_leaf.upgrade.as_mut().unwrap().additional_nodes;
    let pair = many.tree.0[&(2 * PROOF_NODES_MAX as u64 + 1)];
    nodes.truncate(PROOF_NODES_MAX - 1);
    nodes.push(pair);
    start(&replica, &leaf_by_leaf).unwrap();
}
