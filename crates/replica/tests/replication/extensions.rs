//! Messages of extensions in the channels of logs.

use bytes::Bytes;
use multibee_log::LogKey;
use multibee_replica::{ConnectionId, Event, Message};

use crate::hand::Hand;
use crate::network::{Network, Node, replica, writer};

/// What a node was told: the connection, the log, the name, the message.
fn heard(node: &Node) -> Vec<(ConnectionId, LogKey, &str, &[u8])> {
    let told = node.events.iter().filter_map(|event| match event {
        Event::Extension { id, key, name, payload } => Some((*id, *key, &name[..], &payload[..])),
        _ => None,
    });
    told.collect()
}

/// Messages go both ways on the channel of a log, in order, to one remote or to all; only names that
/// were accepted are told, and the log is replicated all the same.
#[test]
fn messages_go_to_one_or_to_all() {
    let log = writer(1, 5);
    let key = log.key();
    let mut net = Network::new(3);
    net.nodes[0].replicator.add_log(log.clone());
    for node in [1, 2] {
        let log = replica(key);
        net.nodes[node].replicator.add_log(log);
        net.nodes[node].replicator.want_all(&key);
    }
    for node in &mut net.nodes {
        node.replicator.accept_extension("greeting");
    }
    net.nodes[1].replicator.accept_extension("other");
    let wires = [1, 2].map(|node| net.connect(node, 0));
    assert_eq!(net.nodes[0].replicator.broadcast_extension(&key, "greeting", &b"early"[..]), 0);
    for (wire, node) in wires.into_iter().zip([1, 2]) {
        let id = net.id(wire, node);
        net.nodes[node].replicator.offer(id, &key);
    }
    net.run();
    let near = wires.map(|wire| net.id(wire, 0));
    let far = [net.id(wires[0], 1), net.id(wires[1], 2)];

    assert_eq!(net.nodes[0].replicator.broadcast_extension(&key, "greeting", &b"all"[..]), 2);
    assert!(net.nodes[0].replicator.send_extension(near[0], &key, "other", Bytes::new()));
    assert!(net.nodes[0].replicator.send_extension(near[1], &key, "other", Bytes::new()));
    assert!(net.nodes[0].replicator.send_extension(near[0], &key, "greeting", &b"one"[..]));
    assert!(net.nodes[2].replicator.send_extension(
        far[1],
        &key,
        "greeting",
        vec![7; (1 << 20) - 5]
    ));
    net.run();

    let all = [(far[0], key, "greeting", &b"all"[..]), (far[0], key, "other", b"")];
    assert_eq!(heard(&net.nodes[1]), [all[0], all[1], (far[0], key, "greeting", b"one")]);
    assert_eq!(heard(&net.nodes[2]), [(far[1], key, "greeting", &b"all"[..])]);
    assert_eq!(heard(&net.nodes[0]), [(near[1], key, "greeting", &vec![7; (1 << 20) - 5][..])]);
    for node in &net.nodes {
        node.assert_no_faults();
    }
    assert_eq!(net.nodes[1].replicator.progress(&key).received, 5);
}

/// What nobody would take is not sent: too long a name or message, no name, the replicators' own
/// name; nor is anything sent where the log is not open.
#[test]
fn what_cannot_be_taken_is_not_sent() {
    let log = writer(1, 1);
    let (key, other) = (log.key(), writer(2, 1).key());
    let mut net = Network::new(2);
    for node in &mut net.nodes {
        node.replicator.add_log(log.clone());
    }
    let wire = net.connect(0, 1);
    let id = net.id(wire, 0);
    net.run();
    let mut send = |key: &LogKey, name: &str, len: usize| {
        net.nodes[0].replicator.send_extension(id, key, name, vec![0; len])
    };
    assert!(!send(&key, "x", 1), "the log is not open yet");
    net.nodes[0].replicator.offer(id, &key);
    net.run();
    let mut send = |key: &LogKey, name: &str, len: usize| {
        net.nodes[0].replicator.send_extension(id, key, name, vec![0; len])
    };
    assert!(send(&key, &"x".repeat(128), (1 << 20) - 5));
    assert!(!send(&key, &"x".repeat(129), 1));
    assert!(!send(&key, "x", (1 << 20) - 4));
    assert!(!send(&key, "", 1));
    assert!(!send(&key, "multibee/replica", 1));
    assert!(!send(&other, "x", 1));
    net.run();
    assert!(!net.nodes[0].replicator.is_closed(id));
    net.nodes[1].assert_no_faults();
}

/// A message is preceded by its length, as Hypercore has it. What is not is ignored.
#[test]
fn messages_are_framed() {
    let log = writer(1, 3);
    let mut hand = Hand::new(&log);
    hand.net.nodes[0].replicator.accept_extension("hyperbee");
    for framed in [&b"\x02hi"[..], b"", b"\x03hi", b"\xff", b"\x00", b"\x01x and more"] {
        let payload = Bytes::copy_from_slice(framed);
        hand.say(&Message::Extension { name: "hyperbee".to_owned(), payload });
    }
    let told: Vec<_> = heard(&hand.net.nodes[0]).into_iter().map(|(.., told)| told).collect();
    assert_eq!(told, [&b"hi"[..], b"", b"x"]);
    let (near, key) = (hand.near, log.key());
    hand.heard();
    assert!(hand.net.nodes[0].replicator.send_extension(near, &key, "hyperbee", &b"hi"[..]));
    hand.net.run();
    let payload = Bytes::from_static(b"\x02hi");
    assert_eq!(hand.heard(), [Message::Extension { name: "hyperbee".to_owned(), payload }]);
    assert!(!hand.is_hung_up_on());
}

/// As Hypercore does, a remote may leave out a name that repeats the one before it, known or not.
#[test]
fn an_empty_name_repeats_the_last_one() {
    let log = writer(1, 3);
    let mut hand = Hand::new(&log);
    hand.net.nodes[0].replicator.accept_extension("hyperbee");
    let mut say = |name: &str, payload: &'static [u8]| {
        let payload = [&[u8::try_from(payload.len()).unwrap()], payload].concat().into();
        hand.say(&Message::Extension { name: name.to_owned(), payload });
    };
    say("", b"none before");
    say("hyperbee", b"1");
    say("", b"2");
    say("unknown", b"3");
    say("", b"4");
    say("hyperbee", b"5");
    let told: Vec<_> = heard(&hand.net.nodes[0]).into_iter().map(|(.., told)| told).collect();
    assert_eq!(told, [b"1", b"2", b"5"]);
    assert!(!hand.is_hung_up_on());
}
