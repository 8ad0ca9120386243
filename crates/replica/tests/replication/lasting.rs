//! How long a connection lasts, and what is still sent when it ends.

use std::time::Duration;

use multibee_replica::{CloseReason, Event, ReplicatorOptions};

use crate::network::{Network, assert_holds, replica, writer};

const SECOND: Duration = Duration::from_secs(1);

fn closed(net: &Network, node: usize) -> Option<CloseReason> {
    net.nodes[node].events.iter().find_map(|event| match event {
        Event::Closed { reason, .. } => Some(*reason),
        _ => None,
    })
}

/// Two that have nothing to say keep their connection by keepalives alone, and those are few.
#[test]
fn keepalives_keep_an_idle_connection() {
    let mut net = Network::new(2);
    net.connect(0, 1);
    net.run();
    let before = net.delivered_len;
    net.pass(600 * SECOND);
    assert_eq!((closed(&net, 0), closed(&net, 1)), (None, None));
    // 20 bytes each way every 5 seconds.
    assert_eq!(net.delivered_len - before, 2 * 120 * 20);
}

/// A remote that sends no keepalives is given up after the silence that is allowed; where none is
/// forbidden it may be silent for as long as it likes.
#[test]
fn silence_ends_a_connection() {
    let mut net = Network::new(2);
    let wire = net.connect(0, 1);
    net.run();
    net.silence(wire, 1);
    net.pass(59 * SECOND);
    assert_eq!(closed(&net, 0), None);
    net.pass(2 * SECOND);
    assert_eq!(closed(&net, 0), Some(CloseReason::Silence));

    let options = ReplicatorOptions { read_silence: None, ..ReplicatorOptions::default() };
    let mut net = Network::with_options(2, &options);
    let wire = net.connect(0, 1);
    net.run();
    net.silence(wire, 1);
    net.pass(3600 * SECOND);
    assert_eq!(closed(&net, 0), None);
}

/// A remote that talks and takes nothing is given up, too: what waits for it would wait for ever.
#[test]
fn remote_that_takes_nothing_is_given_up() {
    let mut net = Network::new(2);
    let wire = net.connect(0, 1);
    let (near, far) = (net.id(wire, 0), net.id(wire, 1));
    net.run();
    let channel = net.nodes[0].replicator.open_channel(near, "p", b"", b"");
    net.nodes[0].replicator.send(near, channel, 0, vec![0; 1000]);
    for _ in 0..70 {
        net.now += SECOND;
        // Nobody takes node 0's bytes; node 1's keepalives arrive.
        net.nodes[1].replicator.handle_timeout(net.now);
        while let Some(bytes) = net.nodes[1].replicator.poll_transmit(far) {
            net.nodes[0].replicator.handle_bytes(near, &bytes, net.now);
        }
        net.nodes[0].replicator.handle_timeout(net.now);
    }
    net.take_events();
    assert_eq!(closed(&net, 0), Some(CloseReason::Silence));
}

/// While so much waits that the remote is not listened to, its silence means nothing, also at the
/// moment when it is listened to again.
#[test]
fn remote_that_is_not_listened_to_may_be_silent() {
    let mut net = Network::new(2);
    let wire = net.connect(0, 1);
    let near = net.id(wire, 0);
    net.run();
    let channel = net.nodes[0].replicator.open_channel(near, "p", b"", b"");
    let waiting = (4 << 20) + (100 << 10);
    for _ in 0..waiting >> 10 {
        net.nodes[0].replicator.send(near, channel, 0, vec![0; 1024]);
    }
    assert!(!net.nodes[0].replicator.wants_read(near));
    let start = net.now;
    while !net.nodes[0].replicator.wants_read(near) {
        net.now += 50 * SECOND;
        net.nodes[0].replicator.handle_timeout(net.now);
        net.nodes[0].replicator.poll_transmit(near).unwrap();
    }
    assert!(net.now - start > 60 * SECOND);
    net.now += SECOND;
    net.nodes[0].replicator.handle_timeout(net.now);
    net.take_events();
    assert_eq!(closed(&net, 0), None);
}

/// An owner that does not read for its own reasons can say so, and the remote is not blamed.
#[test]
fn owner_that_did_not_read_can_forgive() {
    let mut net = Network::new(2);
    let wire = net.connect(0, 1);
    let near = net.id(wire, 0);
    net.run();
    net.now += 100 * SECOND;
    net.nodes[0].replicator.forgive_silence(near, net.now);
    net.nodes[0].replicator.handle_timeout(net.now);
    net.take_events();
    assert_eq!(closed(&net, 0), None);
}

/// Closing sends what was accepted: requests that have arrived are answered as far as they can be at
/// once, and the answers leave before the end.
#[test]
fn closing_sends_what_is_queued() {
    let mut net = Network::new(2);
    let ours = writer(1, 50);
    let theirs = replica(ours.key());
    net.nodes[0].replicator.add_log(ours.clone());
    net.nodes[1].replicator.add_log(theirs.clone());
    let wire = net.connect(1, 0);
    let (near, far) = (net.id(wire, 0), net.id(wire, 1));
    net.nodes[1].replicator.offer(far, &ours.key());
    net.run();
    net.nodes[1].replicator.want_all(&ours.key());
    // The requests reach node 0, and before any answer has left it closes.
    while let Some(bytes) = net.nodes[1].replicator.poll_transmit(far) {
        net.nodes[0].replicator.handle_bytes(near, &bytes, net.now);
    }
    let until = net.now + 5 * SECOND;
    net.nodes[0].replicator.close_all(until);
    net.run();
    assert_eq!(
        (closed(&net, 0), closed(&net, 1)),
        (Some(CloseReason::Local), Some(CloseReason::Remote))
    );
    assert_holds(&theirs, 0..50);
}
