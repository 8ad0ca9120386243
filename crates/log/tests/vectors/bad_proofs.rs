//! `bad-proofs.json`: tampered proofs, each against a replica in the state for which the right one
//! was made.

use std::collections::BTreeMap;

use multibee_log::{Error, Log, Node, Proof};
use serde::Deserialize;

use crate::{
    held::{self, Sight},
    json::{Hex, load},
    schema::ProofJson,
};

#[derive(Deserialize)]
struct File {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    key: Hex,
    setup: Vec<ProofJson>,
    variants: Vec<Variant>,
}

#[derive(Deserialize)]
struct Variant {
    name: String,
    proof: ProofJson,
    js: String,
}

impl Variant {
    /// Whether the vectors allow to refuse this though Hypercore takes it: it states sizes that are
    /// not true, or nodes that are not needed, or in the wrong order.
    fn may_be_refused(&self) -> bool {
        self.name.contains("size moved from")
            || ["upgrade extra node", "seek first two nodes swapped"].contains(&self.name.as_str())
    }
}

/// All nodes that a proof lists.
fn stated_nodes(proof: &Proof) -> impl Iterator<Item = Node> {
    let block = proof.block.iter().flat_map(|block| &block.nodes);
    let hash = proof.hash.iter().flat_map(|hash| &hash.nodes);
    let seek = proof.seek.iter().flat_map(|seek| &seek.nodes);
    let upgrade = proof.upgrade.iter();
    let upgrade = upgrade.flat_map(|upgrade| upgrade.nodes.iter().chain(&upgrade.additional_nodes));
    block.chain(hash).chain(seek).chain(upgrade).copied()
}

/// What Hypercore refuses is refused, blamed on the peer, and changes nothing. What it takes is
/// taken, but nothing is stored of it that the right proof does not say as well.
#[test]
fn tampering_is_found() {
    let mut cases = 0;
    for case in load::<File>("bad-proofs.json").cases {
        let setup: Vec<Proof> = case.setup.iter().map(ProofJson::proof).collect();
        let replica = || held::replica(case.key.key(), &setup);
        let valid = case.variants.iter().find(|variant| variant.name == "valid").unwrap();
        let valid = valid.proof.proof();
        let before = Sight::of(&replica());
        let right = replica();
        right.apply(&valid).unwrap_or_else(|error| panic!("{}: {error}", case.id));
        let right = Sight::of(&right);
        let mut truth: BTreeMap<u64, Node> =
            stated_nodes(&valid).map(|node| (node.index, node)).collect();
        truth.extend(&right.nodes);
        for variant in &case.variants {
            let at = format!("{}: {}", case.id, variant.name);
            let log = replica();
            match (log.apply(&variant.proof.proof()), variant.js.as_str()) {
                (Ok(_), "accept") => assert_true(&log, &right, &truth, &at),
                (Err(Error::BadProof { .. } | Error::BadSignature { .. }), js)
                    if js == "reject" || js == "accept" && variant.may_be_refused() =>
                {
                    assert_eq!(Sight::of(&log), before, "{at}");
                }
                (Err(Error::ForkMismatch { .. } | Error::BadSignature { .. }), "ignore") => {
                    assert_eq!(Sight::of(&log), before, "{at}");
                }
                (outcome, js) => panic!("{at}: {outcome:?}, expected {js}"),
            }
            cases += 1;
        }
    }
    println!("bad-proofs.json: {cases} cases passed");
}

/// Asserts that `log` has the head and blocks that the right proof leads to, and no false nodes.
fn assert_true(log: &Log, right: &Sight, truth: &BTreeMap<u64, Node>, at: &str) {
    let sight = Sight::of(log);
    for (index, node) in &sight.nodes {
        assert_eq!(truth.get(index), Some(node), "{at}");
    }
    assert_eq!(Sight { nodes: right.nodes.clone(), ..sight }, *right, "{at}");
}
