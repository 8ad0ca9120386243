//! Those who do not know the key, or want something else.

use multibee_replica::{ChannelHandshake, PROTOCOL, Role, capability};

use crate::case::{Case, Verdict, check};
use crate::network::writer;
use crate::stage::{HASH, Stage, Start, numbers};

/// What is shown instead of the key's capability.
type Shown = (&'static str, fn(&Stage) -> Vec<u8>);

/// By docs/spec/wire.md section 13 none of these is told from one who asks for a log that is not
/// here: its open is rejected, and its connection goes on.
pub(crate) fn cases() -> Vec<Case> {
    let shown: Vec<Shown> = vec![
        ("no capability", |_| Vec::new()),
        ("flags without a capability", |_| vec![1]),
        ("half a capability", |stage| right(stage)[..17].to_vec()),
        ("a capability of zeros", |_| vec![0; 33]),
        ("a capability with a flipped bit", |stage| {
            let mut handshake = right(stage);
            handshake[20] ^= 4;
            handshake
        }),
        ("a reflected capability", |stage| {
            shows(capability(&HASH, Role::Responder, &stage.logs[0].key()))
        }),
        ("a capability of another connection", |stage| {
            shows(capability(&[1; 64], Role::Initiator, &stage.logs[0].key()))
        }),
        ("a capability for another log", |_| {
            shows(capability(&HASH, Role::Initiator, &writer(2, 0).key()))
        }),
    ];
    let mut cases = Vec::new();
    for (name, handshake) in shown {
        for start in [Start::Empty, Start::Half] {
            cases.push(Case::new(
                format!("{name}, {start:?}"),
                start,
                Verdict::Ignored,
                move |stage| {
                    let id = *stage.logs[0].key().discovery_key().as_bytes();
                    stage.open_as(PROTOCOL, &id, &handshake(stage));
                    stage.say_raw(0, numbers(&[3, 0, 4, 0]));
                    stage.say_raw(1, numbers(&[1, 1, 0, 0, 0]));
                    assert!(stage.heard().is_empty(), "it was answered");
                },
            ));
        }
    }
    let names: Vec<(&str, String, usize)> = vec![
        ("an unknown protocol", "else".into(), 32),
        ("a protocol without a name", String::new(), 32),
        ("a protocol of another version", "hypercore/beta".into(), 32),
        ("an unknown log", PROTOCOL.into(), 31),
        ("a log without a name", PROTOCOL.into(), 0),
        ("a log with a long name", PROTOCOL.into(), 64),
        ("a channel with a name that is too long", "own".into(), 65),
        ("a protocol with a name that is too long", "x".repeat(257), 1),
    ];
    for (name, protocol, id_len) in names {
        cases.push(Case::new(name, Start::Half, Verdict::Ignored, move |stage| {
            let mut id = stage.logs[0].key().discovery_key().as_bytes().to_vec();
            id.resize(id_len, 0);
            stage.open_as(&protocol, &id, &right(stage));
            stage.say_raw(1, numbers(&[1, 1, 0, 0, 0]));
            assert!(stage.heard().is_empty(), "it was answered");
        }));
    }
    cases
}

fn right(stage: &Stage) -> Vec<u8> {
    shows(capability(&HASH, Role::Initiator, &stage.logs[0].key()))
}

fn shows(capability: [u8; 32]) -> Vec<u8> {
    ChannelHandshake { seeks: true, capability }.encode()
}

/// Who does not show that it knows the key learns nothing, and gets nothing.
#[test]
fn strangers_learn_nothing() {
    check(cases);
}
