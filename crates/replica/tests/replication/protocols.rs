//! Own protocols beside the logs, and who is let in.

use multibee_log::{KeyPair, LogKey};
use multibee_replica::{ChannelId, CloseReason, Event, Fault};

use crate::network::{Network, Node, append, assert_holds, replica, writer};

fn opened(node: &Node) -> Option<ChannelId> {
    node.events.iter().find_map(|event| match event {
        Event::ChannelOpened { channel, .. } => Some(*channel),
        _ => None,
    })
}

/// A channel of an own protocol carries messages both ways beside the logs; messages sent right
/// after the open arrive once it is answered; a close is told.
#[test]
fn own_protocol_carries_messages() {
    let mut net = Network::new(2);
    let wire = net.connect(0, 1);
    let (near, far) = (net.id(wire, 0), net.id(wire, 1));
    net.nodes[1].replicator.accept_protocol("multibee/1");
    let channel = net.nodes[0].replicator.open_channel(near, "multibee/1", b"id", b"hello");
    assert!(net.nodes[0].replicator.send(near, channel, 7, &b"early"[..]));
    net.run();
    let asked = net.nodes[1].events.iter().find_map(|event| match event {
        Event::ChannelRequested { protocol, channel_id, handshake, .. } => {
            Some((protocol.clone(), channel_id.clone(), handshake.clone()))
        }
        _ => None,
    });
    let (protocol, channel_id, handshake) = asked.unwrap();
    assert_eq!(
        (protocol.as_str(), &channel_id[..], &handshake[..]),
        ("multibee/1", &b"id"[..], &b"hello"[..])
    );
    let answer = net.nodes[1].replicator.open_channel(far, &protocol, &channel_id, b"welcome");
    net.nodes[1].replicator.send(far, answer, 8, vec![9; 100_000]);
    net.run();

    assert_eq!(opened(&net.nodes[0]), Some(channel));
    let got = |node: usize, wanted: u64, len: usize| {
        net.nodes[node].count(|event| {
            matches!(event, Event::ChannelMessage { ty, payload, .. }
                if *ty == wanted && payload.len() == len)
        })
    };
    assert_eq!((got(0, 8, 100_000), got(1, 7, 5)), (1, 1));
    net.nodes[0].replicator.close_channel(near, channel);
    assert!(!net.nodes[0].replicator.send(near, channel, 7, &b"late"[..]));
    net.run();
    assert_eq!(net.nodes[1].count(|event| matches!(event, Event::ChannelClosed { .. })), 1);
    assert_eq!(net.nodes[0].count(|event| matches!(event, Event::ChannelClosed { .. })), 0);
}

/// Both sides opening the same channel at once get one channel, and nobody is asked.
#[test]
fn crossing_opens_make_one_channel() {
    let mut net = Network::new(2);
    let wire = net.connect(0, 1);
    net.run();
    for node in [0, 1] {
        let id = net.id(wire, node);
        net.nodes[node].replicator.accept_protocol("p");
        net.nodes[node].replicator.open_channel(id, "p", b"", b"");
    }
    net.run();
    for node in &net.nodes {
        assert_eq!(node.count(|event| matches!(event, Event::ChannelOpened { .. })), 1);
        assert_eq!(node.count(|event| matches!(event, Event::ChannelRequested { .. })), 0);
    }
}

/// A protocol that the other side does not speak, or does not want now, is rejected; the
/// connection goes on.
#[test]
fn unknown_protocols_are_rejected() {
    let mut net = Network::new(2);
    let wire = net.connect(0, 1);
    let (near, far) = (net.id(wire, 0), net.id(wire, 1));
    net.nodes[1].replicator.accept_protocol("known");
    let unknown = net.nodes[0].replicator.open_channel(near, "unknown", b"", b"");
    let refused = net.nodes[0].replicator.open_channel(near, "known", b"x", b"");
    net.run();
    net.nodes[1].replicator.reject_channel(far, "known", b"x");
    net.run();
    for channel in [unknown, refused] {
        let rejected = |event: &Event| matches!(event, Event::ChannelRejected { channel: other, .. } if *other == channel);
        assert_eq!(net.nodes[0].count(rejected), 1);
    }
    assert!(!net.nodes[0].replicator.is_closed(near));
}

/// A log that the remote does not have is rejected; so is one that is known by another key (a
/// wrong capability), and the bytes on the wire are as many in both cases.
#[test]
fn unknown_logs_and_wrong_capabilities_are_rejected_alike() {
    let ours = writer(1, 5);
    let mut lens = Vec::new();
    for has_log in [false, true] {
        let mut net = Network::new(2);
        if has_log {
            net.nodes[1].replicator.add_log(ours.clone());
        }
        let wire = net.connect(0, 1);
        net.run();
        let before = net.delivered_len;
        // An honest replicator cannot be made to send a wrong capability, so its open is
        // written by hand: protocol, discovery key, flags, 32 bytes that prove nothing.
        let id = net.id(wire, 0);
        let mut handshake = vec![1];
        handshake.extend([0xaa; 32]);
        let discovery_key = ours.discovery_key();
        net.nodes[0].replicator.open_channel(
            id,
            multibee_replica::PROTOCOL,
            discovery_key.as_bytes(),
            &handshake,
        );
        net.run();
        lens.push(net.delivered_len - before);
        assert_eq!(net.nodes[0].count(|event| matches!(event, Event::ChannelRejected { .. })), 1);
        assert_eq!(net.nodes[1].count(|event| matches!(event, Event::LogOpened { .. })), 0);
        net.nodes[1].assert_no_faults();
    }
    assert_eq!(lens[0], lens[1]);
}

/// A remote that answers our own offer with a wrong capability gets the channel closed before
/// anything was said on it.
#[test]
fn wrong_answer_to_an_offer_is_turned_away() {
    let ours = writer(1, 5);
    let key = ours.key();
    let mut net = Network::new(2);
    net.nodes[0].replicator.add_log(ours.clone());
    net.nodes[1].replicator.accept_protocol(multibee_replica::PROTOCOL);
    let wire = net.connect(0, 1);
    let (near, far) = (net.id(wire, 0), net.id(wire, 1));
    net.run();
    let mut handshake = vec![1];
    handshake.extend([0xaa; 32]);
    let discovery_key = ours.discovery_key();
    net.nodes[1].replicator.open_channel(
        far,
        multibee_replica::PROTOCOL,
        discovery_key.as_bytes(),
        &handshake,
    );
    net.nodes[0].replicator.offer(near, &key);
    net.run();
    assert_eq!(net.nodes[0].count(|event| matches!(event, Event::LogRejected { .. })), 1);
    assert_eq!(net.nodes[1].count(|event| matches!(event, Event::ChannelMessage { .. })), 0);
}

/// A log may be added and removed while connected: it is rejected before, served while it is
/// there, and closed after.
#[test]
fn logs_come_and_go() {
    let ours = writer(1, 5);
    let theirs = replica(ours.key());
    let key = ours.key();
    let mut net = Network::new(2);
    net.nodes[1].replicator.add_log(theirs.clone());
    net.nodes[1].replicator.want_all(&key);
    let wire = net.connect(1, 0);
    let id = net.id(wire, 1);
    net.nodes[1].replicator.offer(id, &key);
    net.run();
    assert_eq!(net.nodes[1].count(|event| matches!(event, Event::LogRejected { .. })), 1);

    net.nodes[0].replicator.add_log(ours.clone());
    net.nodes[1].replicator.offer(id, &key);
    net.nodes[1].replicator.offer(id, &key);
    net.run();
    assert_holds(&theirs, 0..5);
    assert_eq!(net.nodes[1].count(|event| matches!(event, Event::LogOpened { .. })), 1);

    net.nodes[0].replicator.remove_log(&key);
    append(&ours, 5);
    net.nodes[0].replicator.log_changed(&key);
    net.run();
    assert_eq!(net.nodes[1].count(|event| matches!(event, Event::LogClosed { .. })), 1);
    assert_holds(&theirs, 0..5);

    net.nodes[0].replicator.add_log(ours);
    net.nodes[1].replicator.offer(id, &key);
    net.run();
    assert_holds(&theirs, 0..10);
}

/// A remote that is barred gets no log any more, open ones included, however well it knows the
/// keys; own protocols go on, and other remotes are served.
#[test]
fn a_barred_remote_gets_no_logs() {
    let ours = writer(1, 5);
    let (barred, welcome) = (replica(ours.key()), replica(ours.key()));
    let key = ours.key();
    let mut net = Network::new(3);
    net.nodes[0].replicator.add_log(ours.clone());
    let wires = [(1, &barred), (2, &welcome)].map(|(number, log)| {
        net.nodes[number].replicator.add_log(log.clone());
        net.nodes[number].replicator.want_all(&key);
        let wire = net.connect(number, 0);
        let id = net.id(wire, number);
        net.nodes[number].replicator.offer(id, &key);
        wire
    });
    net.run();
    assert_holds(&barred, 0..5);

    let (at_server, at_client) = (net.id(wires[0], 0), net.id(wires[0], 1));
    net.nodes[0].replicator.bar_logs(at_server);
    net.nodes[1].replicator.accept_protocol("own");
    append(&ours, 5);
    net.nodes[0].replicator.log_changed(&key);
    net.run();
    net.nodes[1].replicator.offer(at_client, &key);
    net.nodes[0].replicator.offer(at_server, &key);
    net.nodes[0].replicator.open_channel(at_server, "own", b"", b"");
    net.run();
    assert_holds(&barred, 0..5);
    assert_eq!(barred.len(), 5, "not even the new length");
    assert_holds(&welcome, 0..10);
    let count = |wanted: fn(&Event) -> bool| net.nodes[1].count(wanted);
    assert_eq!(count(|event| matches!(event, Event::LogClosed { .. })), 1);
    assert_eq!(count(|event| matches!(event, Event::LogRejected { .. })), 1);
    assert_eq!(count(|event| matches!(event, Event::ChannelRequested { .. })), 1);
}

/// A node that opens a log unasked, and one that does not know it, learn nothing of each other.
#[test]
fn nothing_is_opened_unasked() {
    let mut net = Network::new(2);
    let log = writer(1, 5);
    for node in &mut net.nodes {
        node.replicator.add_log(log.clone());
    }
    net.connect(0, 1);
    net.run();
    for node in &net.nodes {
        assert_eq!(node.count(|event| matches!(event, Event::Connected { .. })), 1);
        assert_eq!(node.count(|event| matches!(event, Event::LogOpened { .. })), 0);
    }
    let foreign = LogKey::from_bytes(KeyPair::from_seed([9; 32]).public_key());
    let wire = net.connect(0, 1);
    let id = net.id(wire, 0);
    net.nodes[0].replicator.offer(id, &foreign);
    net.run();
    assert_eq!(net.nodes[0].count(|event| matches!(event, Event::LogRejected { .. })), 0);
}

/// Closing sends what is queued first, and both sides are told who closed.
#[test]
fn closing_sends_the_rest_first() {
    let mut net = Network::new(2);
    let wire = net.connect(0, 1);
    let (near, far) = (net.id(wire, 0), net.id(wire, 1));
    net.nodes[1].replicator.accept_protocol("p");
    let channel = net.nodes[0].replicator.open_channel(near, "p", b"", b"");
    net.run();
    net.nodes[1].replicator.open_channel(far, "p", b"", b"");
    for _ in 0..100 {
        net.nodes[0].replicator.send(near, channel, 1, vec![0; 50_000]);
    }
    net.nodes[0].replicator.close(near);
    net.run();
    assert_eq!(net.nodes[1].count(|event| matches!(event, Event::ChannelMessage { .. })), 100);
    for (node, wanted) in [(0, CloseReason::Local), (1, CloseReason::Remote)] {
        let closed =
            |event: &Event| matches!(event, Event::Closed { reason, .. } if *reason == wanted);
        assert_eq!(net.nodes[node].count(closed), 1);
        net.nodes[node].assert_no_faults();
    }
}

/// The two handshake hashes of a connection are equal, and each side sees the other's static key.
#[test]
fn both_sides_name_the_connection_alike() {
    let mut net = Network::new(2);
    net.connect(0, 1);
    net.run();
    let seen = |node: &Node| {
        node.events.iter().find_map(|event| match event {
            Event::Connected { handshake_hash, remote_static, .. } => {
                Some((*handshake_hash, *remote_static))
            }
            _ => None,
        })
    };
    let (a, b) = (seen(&net.nodes[0]).unwrap(), seen(&net.nodes[1]).unwrap());
    assert_eq!(a.0, b.0);
    assert_eq!(a.1, net.nodes[1].replicator.static_public_key());
    assert_eq!(b.1, net.nodes[0].replicator.static_public_key());
}

/// The fault of a remote reads as a sentence.
#[test]
fn faults_say_what_happened() {
    let fault = Fault::WentBack { from: 9, to: 7 };
    assert_eq!(fault.to_string(), "the remote's length fell from 9 to 7");
}
