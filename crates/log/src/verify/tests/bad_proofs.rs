//! `bad-proofs.json`: tampered proofs, each against a replica in the state for which the right one
//! was made.

use serde::Deserialize;

use super::{
    parties::{Replica, stated_nodes},
    vectors::{Hex, ProofJson, load},
};
use crate::{error::Error, merkle::tests::MemoryTree};

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

/// What Hypercore refuses is refused, and blamed on the peer. What it takes is taken, but nothing
/// is stored of it that the right proof does not say as well.
#[test]
fn tampering_is_found() {
    let mut cases = 0;
    for case in load::<File>("bad-proofs.json").cases {
        let mut replica = Replica::new(case.key.key());
        for proof in &case.setup {
            replica.apply(&proof.proof()).unwrap();
        }
        let valid = case.variants.iter().find(|variant| variant.name == "valid").unwrap();
        let valid = valid.proof.proof();
        let right = replica.check(&valid).unwrap();
        let mut truth: MemoryTree = stated_nodes(&valid).into_iter().collect();
        truth.0.extend(right.nodes.iter().map(|node| (node.index, *node)));
        for variant in &case.variants {
            let at = format!("{}: {}", case.id, variant.name);
            cases += 1;
            match (replica.check(&variant.proof.proof()), variant.js.as_str()) {
                (Ok(taken), "accept") => {
                    for node in &taken.nodes {
                        assert_eq!(truth.0.get(&node.index), Some(node), "{at}");
                    }
                    assert_eq!(taken.block, right.block, "{at}");
                    let roots = |upgrade: &crate::verify::Upgrade| upgrade.roots.clone();
                    assert_eq!(
                        taken.upgrade.as_ref().map(roots),
                        right.upgrade.as_ref().map(roots),
                        "{at}"
                    );
                }
                (Err(Error::BadProof { .. }), "accept") if variant.name.contains("extra node") => {}
                (Err(Error::BadProof { .. } | Error::BadSignature { .. }), "reject") => {}
                (Err(Error::ForkMismatch { .. } | Error::BadSignature { .. }), "ignore") => {}
                (outcome, js) => panic!("{at}: {outcome:?}, expected {js}"),
            }
        }
    }
    println!("bad-proofs.json: {cases} cases passed");
}
