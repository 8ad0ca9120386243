use multibee_replica::{
    EphemeralSource, NoiseHandshake, Pattern, Role, SecureStream, SessionKeys, StaticKeys,
};
use serde_json::Value;

use crate::{bytes, fixed, list, load, passed, text};

/// Either side writes and accepts exactly the recorded messages and gets the recorded keys; and the
/// stream around it frames them as recorded and names itself by the recorded ids.
#[test]
fn handshake() {
    let vectors = load("handshake.json");
    let cases = list(&vectors["cases"]);
    for case in cases {
        check_messages(case);
        check_stream_ids(case);
        let messages = list(&case["messages"]);
        let plain = messages.iter().all(|message| text(&message["payload"]).is_empty());
        if pattern(case) == Pattern::Xx && plain {
            check_stream(case);
        }
    }
    passed("handshake.json", cases.len());
}

fn check_messages(case: &Value) {
    let remote_static = fixed(&case["responder"]["staticPublicKey"]);
    let side = |role: Role| {
        let seeds = &case[name(role)];
        let keys = StaticKeys::from_seed(fixed(&seeds["staticSeed"]));
        assert_eq!(keys.public_key(), fixed(&seeds["staticPublicKey"]));
        let ephemeral = fixed(&seeds["ephemeralSeed"]);
        NoiseHandshake::new(pattern(case), role, &keys, ephemeral, Some(&remote_static))
    };
    let (mut initiator, mut responder) = (side(Role::Initiator), side(Role::Responder));
    for message in list(&case["messages"]) {
        let from_initiator = text(&message["from"]) == "initiator";
        let (from, to) = if from_initiator {
            (&mut initiator, &mut responder)
        } else {
            (&mut responder, &mut initiator)
        };
        let payload = bytes(&message["payload"]);
        assert!(from.is_my_turn() && !to.is_my_turn());
        assert_eq!(from.session_keys().is_some(), from.is_finished());
        let written = from.write(&payload).unwrap();
        assert_eq!(written, bytes(&message["message"]));
        assert_eq!(to.read(&written).unwrap(), payload);
    }
    let (ours, theirs) = (initiator.session_keys().unwrap(), responder.session_keys().unwrap());
    assert_eq!(ours.hash, fixed::<64>(&case["handshakeHash"]));
    assert_eq!(theirs.hash, ours.hash);
    assert_eq!(ours.tx, fixed::<32>(&case["initiatorTx"]));
    assert_eq!(ours.rx, fixed::<32>(&case["initiatorRx"]));
    assert_eq!((theirs.tx, theirs.rx), (ours.rx, ours.tx));
    assert_eq!(ours.remote_static, remote_static);
    assert_eq!(theirs.remote_static, fixed::<32>(&case["initiator"]["staticPublicKey"]));
}

/// The header frame of a stream with ready keys holds the stream id of its direction.
fn check_stream_ids(case: &Value) {
    for role in [Role::Initiator, Role::Responder] {
        let keys = SessionKeys {
            tx: [1; 32],
            rx: [2; 32],
            hash: fixed(&case["handshakeHash"]),
            remote_static: [3; 32],
        };
        let mut stream = SecureStream::with_keys(role, &keys, [7; 24]);
        let frame = stream.poll_transmit().unwrap();
        assert_eq!(frame[..3], [56, 0, 0]);
        assert_eq!(frame[3..35], bytes(&case[format!("{}StreamId", name(role))]));
        assert_eq!(frame[35..], [7; 24]);
    }
}

/// A stream of each role, fed with the recorded frames of the other, byte by byte.
fn check_stream(case: &Value) {
    for role in [Role::Initiator, Role::Responder] {
        let seeds = &case[name(role)];
        let keys = StaticKeys::from_seed(fixed(&seeds["staticSeed"]));
        let ephemeral = EphemeralSource::from_parts(fixed(&seeds["ephemeralSeed"]), [7; 24]);
        let mut stream = SecureStream::new(role, &keys, ephemeral);
        for message in list(&case["messages"]) {
            let framed = bytes(&message["framed"]);
            if text(&message["from"]) == name(role) {
                assert_eq!(stream.poll_transmit().unwrap(), framed);
            } else {
                assert_eq!(stream.poll_transmit(), None);
                framed.iter().for_each(|&byte| stream.receive(&[byte]).unwrap());
            }
        }
        let handshake = stream.handshake().unwrap();
        assert_eq!(handshake.hash, fixed::<64>(&case["handshakeHash"]));
        let remote = &case[name(role.opposite())]["staticPublicKey"];
        assert_eq!(handshake.remote_static, fixed::<32>(remote));
        assert!(!stream.is_established());
    }
}

fn pattern(case: &Value) -> Pattern {
    match text(&case["pattern"]) {
        "XX" => Pattern::Xx,
        "IK" => Pattern::Ik,
        other => panic!("unknown pattern {other}"),
    }
}

fn name(role: Role) -> &'static str {
    match role {
        Role::Initiator => "initiator",
        Role::Responder => "responder",
    }
}
