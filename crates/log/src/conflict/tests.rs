use super::*;
use crate::{
    log::{Log, LogOptions},
    memory::MemoryStorage,
    merkle::Roots,
    node::Node,
    request::{Request, RequestUpgrade},
    signature::Signers,
    verify::tests::parties::Source,
};

fn blocks(count: u8) -> Vec<Bytes> {
    (0..count).map(|number| Bytes::from(vec![number; 3])).collect()
}

fn upgrade(source: &Source, length: u64) -> ProofUpgrade {
    let upgrade = Some(RequestUpgrade { start: 0, length });
    let request = Request { upgrade, manifest: true, ..Request::default() };
    source.prove(&request).unwrap().upgrade.unwrap()
}

/// One history, of which a peer has moved bytes between nodes where no signature shows it, is not
/// taken for two.
#[test]
fn moved_sizes_prove_nothing() {
    let source = Source::with_blocks(1, &blocks(8));
    let mut moved = upgrade(&source, 5);
    moved.nodes[1].size += 1;
    moved.additional_nodes[0].size -= 1;
    let (honest, manifest) = (upgrade(&source, 5), Some(source.manifest.clone()));
    let conflict = Conflict::new(source.key, 0, 5, honest, moved, manifest);
    assert!(matches!(conflict.verify(None), Err(Error::BadProof { .. })));
}

/// A writer who signs another size for the same blocks has signed two histories, and none of it is
/// trusted.
#[test]
fn signed_sizes_count() {
    let source = Source::with_blocks(1, &blocks(6));
    let mut false_roots = Roots::default();
    for root in source.roots.nodes() {
        false_roots.push(Node { size: root.size + 1, ..*root }, |_, _, _| {}).unwrap();
    }
    let signers = Signers { key: &source.key, manifest: &source.manifest };
    let signature = signers.sign(&source.keys, &false_roots.tree_hash(), 6, 0).unwrap();
    let theirs =
        ProofUpgrade { nodes: false_roots.nodes().to_vec(), signature, ..upgrade(&source, 6) };
    let storage = MemoryStorage::new();
    let log = Log::create(storage.clone(), source.keys.clone(), LogOptions::default()).unwrap();
    assert_eq!(log.key(), source.key);
    log.append(&source.blocks).unwrap();
    let proof = Proof { upgrade: Some(theirs), ..Proof::default() };
    let conflict = log.check_conflict(&proof).unwrap().unwrap();
    conflict.verify(None).unwrap();
    assert_eq!(log.trusted_len(), 0);
    drop(log);
    let log = Log::open(storage, LogOptions::default()).unwrap();
    assert_eq!((log.conflict(), log.trusted_len()), (Some(conflict), 0));
}
