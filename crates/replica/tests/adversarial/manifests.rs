//! Manifests that are not the log's, and such as are no manifests.

use multibee_log::compact::put_uint;
use multibee_log::{KeyPair, Log, LogOptions, Manifest, MemoryStorage, Prologue, Proof, Signer};
use multibee_replica::Message;

use crate::case::{Case, Verdict, check};
use crate::lies;
use crate::network::writer;
use crate::stage::{BLOCKS, Stage, Start};

use Verdict::{HungUpOn, Ignored};

/// What becomes of the liar, and what it does to a right head with the log's manifest.
type Lie = (&'static str, Verdict, fn(&mut Proof));

const OF_ANOTHER: Verdict = HungUpOn("the manifest of another log");
const UNDECODABLE: Verdict = HungUpOn("undecodable data");

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, verdict, spoil) in lies_about_it() {
        cases.push(asked(format!("instead of the manifest: {name}"), verdict, move |stage| {
            lies::answer(stage, 0, spoil);
        }));
    }
    cases.extend(spoilt_bytes());
    cases.extend(repeated());
    cases
}

/// Other manifests, and none.
fn lies_about_it() -> Vec<Lie> {
    vec![
        ("no manifest", HungUpOn("data that does not verify"), |head| head.manifest = None),
        ("the manifest of another log", OF_ANOTHER, |head| {
            head.manifest = writer(2, 0).manifest();
        }),
        ("a manifest and a head of another log", OF_ANOTHER, |head| {
            *head = lies::head(&writer(2, BLOCKS));
        }),
        ("a manifest with another signer", OF_ANOTHER, |head| {
            change(head, |signers| {
                signers[0].public_key = KeyPair::from_seed([2; 32]).public_key()
            });
        }),
        ("a manifest with another namespace", OF_ANOTHER, |head| {
            change(head, |signers| signers[0].namespace = [1; 32]);
        }),
        ("a manifest with a second signer", OF_ANOTHER, |head| {
            change(head, |signers| signers.push(other()));
        }),
        ("a manifest with a second signer before ours", OF_ANOTHER, |head| {
            change(head, |signers| signers.insert(0, other()));
        }),
        ("a manifest with the same signer twice", OF_ANOTHER, |head| {
            change(head, |signers| signers.push(signers[0]));
        }),
        ("a manifest with 1,000 signers", OF_ANOTHER, |head| {
            change(head, |signers| signers.extend(vec![other(); 1000]));
        }),
        ("a manifest without signers", OF_ANOTHER, |head| change(head, Vec::clear)),
        ("a manifest that nobody need sign", OF_ANOTHER, |head| {
            let signers = head.manifest.as_ref().unwrap().signers().to_vec();
            head.manifest = Some(Manifest::new(signers, 0));
        }),
        ("a manifest that nobody need sign, and no signature", OF_ANOTHER, |head| {
            head.manifest = Some(Manifest::new(Vec::new(), 0));
            head.upgrade.as_mut().unwrap().signature = bytes::Bytes::from_static(&[0]);
        }),
        ("a manifest that more must sign than there are", OF_ANOTHER, |head| {
            let signers = head.manifest.as_ref().unwrap().signers().to_vec();
            head.manifest = Some(Manifest::new(signers, 2));
        }),
        ("a manifest of another version", OF_ANOTHER, |head| {
            let mut bytes = head.manifest.as_ref().unwrap().encode();
            bytes[0] = 2;
            head.manifest = Some(Manifest::decode(&bytes).unwrap());
        }),
        ("a manifest that lets signers patch", OF_ANOTHER, |head| {
            let mut bytes = head.manifest.as_ref().unwrap().encode();
            bytes[1] = 1;
            head.manifest = Some(Manifest::decode(&bytes).unwrap());
        }),
        ("a manifest with a prologue of the very blocks", OF_ANOTHER, |head| {
            let mut bytes = head.manifest.as_ref().unwrap().encode();
            let log = writer(1, BLOCKS);
            let hash = log.head().unwrap().tree_hash;
            let Prologue { hash, length } = Prologue { hash, length: BLOCKS };
            bytes[1] = 2;
            bytes.extend_from_slice(hash.as_bytes());
            put_uint(&mut bytes, length);
            head.manifest = Some(Manifest::decode(&bytes).unwrap());
        }),
    ]
}

/// What stands in the place of the manifest's bytes in the message.
fn spoilt_bytes() -> Vec<Case> {
    let of_signers = |count: u64, signers: usize| {
        let mut bytes = vec![1, 0, 0, 1];
        put_uint(&mut bytes, count);
        bytes.resize(bytes.len() + 65 * signers, 0);
        bytes
    };
    let places: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("a manifest of version 99", vec![99, 0, 0]),
        ("a manifest with unknown flags", vec![1, 128, 0]),
        ("a manifest with an unknown hash function", vec![1, 0, 9]),
        ("a manifest that says it has 2^53 signers", of_signers((1 << 53) - 1, 1)),
        ("a manifest that says it has 2^20 signers", of_signers(1 << 20, 1)),
        ("a manifest that says it has one signer more", of_signers(3, 2)),
        ("a manifest with a linked log too many", vec![2, 4, 0, 1, 0, 1]),
        ("a manifest with user data of 2^32 bytes", {
            let mut bytes = vec![2, 8, 0, 1, 0];
            put_uint(&mut bytes, 1 << 32);
            bytes
        }),
        ("a manifest of version 0 of no known kind", vec![0, 0, 9]),
    ];
    let mut cases: Vec<Case> = Vec::new();
    for (name, bytes) in places {
        cases.push(asked(format!("in place of the manifest: {name}"), UNDECODABLE, move |stage| {
            say_with(stage, &bytes);
        }));
    }
    // A megabyte of proper signers.
    let many = of_signers(16_000, 16_000);
    cases.push(asked("in place of the manifest: 16,000 signers", OF_ANOTHER, move |stage| {
        say_with(stage, &many);
    }));
    cases
}

/// A manifest where there is one already.
fn repeated() -> Vec<Case> {
    vec![
        asked("the manifest twice in one message", Ignored, |stage| {
            let manifest = stage.logs[0].manifest().unwrap().encode();
            say_with(stage, &[&manifest[..], &manifest[..]].concat());
            assert_eq!(stage.logs[1].len(), BLOCKS);
        }),
        asked("the manifest, and another one behind it", Ignored, |stage| {
            let manifest = stage.logs[0].manifest().unwrap().encode();
            let other = writer(2, 0).manifest().unwrap().encode();
            say_with(stage, &[manifest, other].concat());
            assert_eq!(stage.logs[1].manifest(), stage.logs[0].manifest());
        }),
        asked("the head with the manifest twice", Ignored, |stage| {
            let proof = lies::head(&stage.logs[0]);
            stage.say(&Message::Data { request: 1, proof: proof.clone() });
            stage.say(&Message::Data { request: 1, proof });
            assert_eq!(stage.logs[1].len(), BLOCKS);
        }),
        asked("another manifest once there is one, unasked", Ignored, |stage| {
            lies::answer(stage, 0, |_| {});
            for id in [0, 1, 2, 77] {
                let proof = Proof { manifest: writer(2, 0).manifest(), ..Proof::default() };
                stage.say(&Message::Data { request: id, proof });
                let proof = lies::head(&writer(2, BLOCKS));
                stage.say(&Message::Data { request: id, proof });
            }
            assert_eq!(stage.logs[1].manifest(), stage.logs[0].manifest());
        }),
    ]
}

/// A case in which the head is asked for by the request number 1, with the manifest.
fn asked(name: impl Into<String>, verdict: Verdict, act: impl Fn(&mut Stage) + 'static) -> Case {
    Case::new(name, Start::EmptyOneByOne, verdict, move |stage| {
        stage.open();
        lies::announce(stage);
        act(stage);
    })
}

/// Answers the request for the head, with other bytes in the place of the manifest.
fn say_with(stage: &mut Stage, manifest: &[u8]) {
    let proof = lies::head(&stage.logs[0]);
    let right = proof.manifest.as_ref().unwrap().encode();
    let mut payload = Message::Data { request: 1, proof }.encode();
    payload.truncate(payload.len() - right.len());
    payload.extend_from_slice(manifest);
    stage.say_raw(3, payload);
}

fn change(head: &mut Proof, act: impl Fn(&mut Vec<Signer>)) {
    let mut signers = head.manifest.as_ref().unwrap().signers().to_vec();
    act(&mut signers);
    head.manifest = Some(Manifest::new(signers, 1));
}

/// Somebody who does not write this log.
fn other() -> Signer {
    let keys = KeyPair::from_seed([2; 32]);
    let log = Log::create(MemoryStorage::default(), keys, LogOptions::default()).unwrap();
    log.manifest().unwrap().signers()[0]
}

/// Whatever comes instead of the log's manifest: it is not taken, and who sent it is named.
#[test]
fn no_other_manifest_is_taken() {
    check(cases);
}
