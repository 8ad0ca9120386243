//! Logs that are opened when somebody asks for them.

use std::time::Duration;

use multibee_log::LogKey;
use multibee_replica::{ChannelHandshake, ChannelId, Event, Message, PROTOCOL, Role, capability};

use crate::network::{Network, Node, WireId, assert_holds, replica, writer};

/// Node 0 follows a log, of which node 1 knows only the key.
fn asking(key: LogKey) -> (Network, WireId) {
    let mut net = Network::new(2);
    net.nodes[0].replicator.add_log(replica(key));
    net.nodes[1].replicator.add_key(key);
    let wire = net.connect(0, 1);
    let id = net.id(wire, 0);
    net.nodes[0].replicator.offer(id, &key);
    net.run();
    (net, wire)
}

fn requests(node: &Node, key: LogKey) -> usize {
    node.count(|event| matches!(event, Event::LogRequested { key: asked, .. } if *asked == key))
}

fn rejections(node: &Node) -> usize {
    node.count(|event| matches!(event, Event::LogRejected { .. }))
}

/// The owner is asked once, the remote waits, and when the log is there it is replicated as any other.
#[test]
fn log_is_opened_when_asked_for() {
    let log = writer(1, 100);
    let (mut net, _) = asking(log.key());
    assert_eq!(requests(&net.nodes[1], log.key()), 1);
    assert_eq!(rejections(&net.nodes[0]), 0, "it waits");
    net.nodes[0].replicator.want_all(&log.key());
    net.pass(Duration::from_secs(9));
    net.nodes[1].replicator.add_log(log.clone());
    net.run();
    assert_eq!(requests(&net.nodes[1], log.key()), 1);
    assert_eq!(net.nodes[0].replicator.progress(&log.key()).received, 100);
    net.nodes.iter().for_each(Node::assert_no_faults);
}

/// A log that the owner refuses, or about which it says nothing in time, is rejected; the connection
/// stays and the log can be asked for anew.
#[test]
fn refused_and_forgotten_requests_are_rejected() {
    let log = writer(1, 3);
    let (mut net, wire) = asking(log.key());
    let (near, far) = (net.id(wire, 0), net.id(wire, 1));
    net.nodes[1].replicator.refuse_log(far, &log.key());
    net.run();
    assert_eq!(rejections(&net.nodes[0]), 1);

    net.nodes[0].replicator.offer(near, &log.key());
    net.run();
    assert_eq!(requests(&net.nodes[1], log.key()), 2);
    net.pass(Duration::from_secs(9));
    assert_eq!(rejections(&net.nodes[0]), 1, "there is time left");
    net.pass(Duration::from_secs(2));
    assert_eq!(rejections(&net.nodes[0]), 2);

    net.nodes[1].replicator.add_log(log.clone());
    net.nodes[0].replicator.offer(near, &log.key());
    net.run();
    assert_eq!(net.nodes[0].replicator.remote_length(near, &log.key()), Some(3));
}

/// A log that nobody uses is given up and brought again when it is asked for; one in use is not.
#[test]
fn idle_log_is_released_and_reopened() {
    let log = writer(1, 3);
    let key = log.key();
    let (mut net, wire) = asking(key);
    let (near, far) = (net.id(wire, 0), net.id(wire, 1));
    net.nodes[1].replicator.add_log(log.clone());
    net.run();
    assert!(!net.nodes[1].replicator.release_log(&key), "it is in use");
    assert_eq!(net.nodes[1].replicator.channel_count(&key), 1);
    net.nodes[0].replicator.close_log(near, &key);
    net.run();
    let closed = |event: &Event| matches!(event, Event::LogClosed { id, .. } if *id == far);
    assert_eq!(net.nodes[1].count(closed), 1);
    assert!(net.nodes[1].replicator.release_log(&key));
    assert_eq!(net.nodes[1].replicator.logs().count(), 0);

    net.nodes[0].replicator.want_all(&key);
    net.nodes[0].replicator.offer(near, &key);
    net.run();
    assert_eq!(requests(&net.nodes[1], key), 2);
    net.nodes[1].replicator.add_log(log);
    net.run();
    assert_eq!(net.nodes[0].replicator.progress(&key).received, 3);
}

/// What a remote sends on a channel before its log was brought is not lost.
#[test]
fn messages_sent_while_waiting_arrive() {
    let log = writer(1, 3);
    let mut net = Network::new(2);
    net.nodes[1].replicator.add_key(log.key());
    net.nodes[1].replicator.accept_extension("x");
    let wire = net.connect(0, 1);
    net.run();
    let channel = open_by_hand(&mut net, wire, log.key(), log.key());
    let message = Message::Extension { name: "x".into(), payload: b"\x05hello"[..].into() };
    let id = net.id(wire, 0);
    net.nodes[0].replicator.send(id, channel, message.ty(), message.encode());
    net.run();
    assert_eq!(requests(&net.nodes[1], log.key()), 1);
    let arrived =
        |event: &Event| matches!(event, Event::Extension { payload, .. } if payload == "hello");
    assert_eq!(net.nodes[1].count(arrived), 0);
    net.nodes[1].replicator.add_log(log);
    net.run();
    assert_eq!(net.nodes[1].count(arrived), 1);
}

/// Node 0 opens the channel of a log with a capability for `shown`.
fn open_by_hand(net: &mut Network, wire: WireId, opened: LogKey, shown: LogKey) -> ChannelId {
    let near = net.id(wire, 0);
    let hash = net.nodes[0].events.iter().find_map(|event| match event {
        Event::Connected { handshake_hash, .. } => Some(*handshake_hash),
        _ => None,
    });
    let capability = capability(&hash.unwrap(), Role::Initiator, &shown);
    let handshake = ChannelHandshake { seeks: true, capability }.encode();
    let discovery_key = opened.discovery_key();
    net.nodes[0].replicator.open_channel(near, PROTOCOL, discovery_key.as_bytes(), &handshake)
}

/// What a node sends back, byte for byte but for the encryption, when a log is opened with a
/// capability: the sizes of what it sends, and what becomes of the channel.
fn answer_to(
    net: &mut Network,
    wire: WireId,
    opened: LogKey,
    shown: LogKey,
) -> (Vec<usize>, usize) {
    let (near, far) = (net.id(wire, 0), net.id(wire, 1));
    open_by_hand(net, wire, opened, shown);
    let mut sizes = Vec::new();
    while let Some(bytes) = net.nodes[0].replicator.poll_transmit(near) {
        net.nodes[1].replicator.handle_bytes(far, &bytes, net.now);
        while let Some(bytes) = net.nodes[1].replicator.poll_transmit(far) {
            sizes.push(bytes.len());
            net.nodes[0].replicator.handle_bytes(near, &bytes, net.now);
        }
    }
    net.take_events();
    let rejected = net.nodes[0].count(|event| matches!(event, Event::ChannelRejected { .. }));
    net.nodes[0].events.retain(|event| matches!(event, Event::Connected { .. }));
    (sizes, rejected)
}

/// Whoever does not know a log's key gets the same answer, at once and without a word to the owner,
/// for a log that is here, one that could be brought, and one that nobody knows.
#[test]
fn strangers_cannot_tell_known_logs_from_unknown_ones() {
    let (here, brought, unknown) = (writer(1, 5), writer(2, 5).key(), writer(3, 5).key());
    let mut net = Network::new(2);
    net.nodes[1].replicator.add_log(here.clone());
    net.nodes[1].replicator.add_key(brought);
    let wire = net.connect(0, 1);
    net.run();
    assert_eq!(net.nodes[1].replicator.queued_len(net.id(wire, 1)), 0, "nothing is opened unasked");
    let wrong = LogKey::from_bytes([9; 32]);
    let answers =
        [here.key(), brought, unknown].map(|opened| answer_to(&mut net, wire, opened, wrong));
    // One frame: 3 bytes of length, 17 of encryption, 3 of reject.
    assert_eq!(answers[0], (vec![23], 1));
    assert_eq!(answers[1], answers[0]);
    assert_eq!(answers[2], answers[0]);
    assert_eq!(requests(&net.nodes[1], brought), 0);
    // With the right one, the same connection still serves.
    let (sizes, rejected) = answer_to(&mut net, wire, here.key(), here.key());
    assert!(rejected == 0 && sizes.iter().sum::<usize>() > 23);
}

/// A store that announces all its logs at once, unasked, gets those answered that are known here;
/// the others are rejected, and the connection stays.
#[test]
fn announced_logs_are_answered_or_rejected() {
    let mut net = Network::new(2);
    let logs: Vec<_> = (0..150).map(|seed| writer(seed, 2)).collect();
    let copies: Vec<_> = logs.iter().step_by(50).map(|log| replica(log.key())).collect();
    logs.iter().for_each(|log| net.nodes[0].replicator.add_log(log.clone()));
    for copy in &copies {
        net.nodes[1].replicator.add_log(copy.clone());
        net.nodes[1].replicator.want_all(&copy.key());
    }
    let wire = net.connect(0, 1);
    let id = net.id(wire, 0);
    logs.iter().for_each(|log| net.nodes[0].replicator.offer(id, &log.key()));
    net.run();
    copies.iter().for_each(|copy| assert_holds(copy, 0..2));
    assert_eq!(rejections(&net.nodes[0]), 147);
    assert_eq!(net.nodes[0].replicator.channel_count(&logs[0].key()), 1);
    net.nodes.iter().for_each(Node::assert_no_faults);
}

/// However many logs a remote asks for at once, a bounded number waits; the others are rejected.
#[test]
fn waiting_requests_are_bounded() {
    let mut net = Network::new(2);
    let logs: Vec<_> = (0..100).map(|seed| writer(seed, 0)).collect();
    for log in &logs {
        net.nodes[0].replicator.add_log(log.clone());
        net.nodes[1].replicator.add_key(log.key());
    }
    let wire = net.connect(0, 1);
    let (near, far) = (net.id(wire, 0), net.id(wire, 1));
    logs.iter().for_each(|log| net.nodes[0].replicator.offer(near, &log.key()));
    net.run();
    let asked = net.nodes[1].count(|event| matches!(event, Event::LogRequested { .. }));
    assert_eq!((asked, rejections(&net.nodes[0])), (64, 36));
    net.nodes[1].replicator.bar_logs(far);
    net.run();
    assert_eq!(rejections(&net.nodes[0]), 100);
}
