//! Connections that are set up in other ways than by a Noise handshake of ours.

use multibee_replica::{CloseReason, Event, Fault, Handshake, Link, PeerFault, Role, SessionKeys};

use crate::network::{Network, append, assert_holds, replica, writer};

fn handshake(of: u8) -> Handshake {
    Handshake { hash: [7; 64], remote_static: [of; 32] }
}

fn keys(tx: u8, rx: u8, of: u8) -> SessionKeys {
    SessionKeys { tx: [tx; 32], rx: [rx; 32], hash: [8; 64], remote_static: [of; 32] }
}

/// Node 0 offers a log to node 1 over a link, as `offerer`; both clone and follow it.
fn clones_over(near: Link, far: Link) -> Network {
    let mut net = Network::new(2);
    let ours = writer(1, 300);
    let theirs = replica(ours.key());
    net.nodes[0].replicator.add_log(ours.clone());
    net.nodes[1].replicator.add_log(theirs.clone());
    net.nodes[1].replicator.want_all(&ours.key());
    let wire = net.connect_links((0, near), (1, far));
    let id = net.id(wire, 0);
    net.nodes[0].replicator.offer(id, &ours.key());
    net.run();
    append(&ours, 2);
    net.nodes[0].replicator.log_changed(&ours.key());
    net.run();
    assert_holds(&theirs, 0..302);
    net.nodes.iter().for_each(crate::network::Node::assert_no_faults);
    net
}

/// Messages of a transport that encrypts by itself carry a clone and what follows, whichever end
/// has the log; both sides are told whom the transport has found.
#[test]
fn framed_links_carry_clones() {
    for role in [Role::Initiator, Role::Responder] {
        let net = clones_over(
            Link::framed(role, handshake(2)),
            Link::framed(role.opposite(), handshake(1)),
        );
        for (node, remote) in [(0, 2), (1, 1)] {
            let told = |event: &Event| {
                matches!(event, Event::Connected { remote_static, handshake_hash, .. }
                    if *remote_static == [remote; 32] && *handshake_hash == [7; 64])
            };
            assert_eq!(net.nodes[node].count(told), 1);
        }
    }
}

/// Nothing of ours precedes the first message, and a message on the wire is a frame of the mux.
#[test]
fn framed_links_send_plain_frames() {
    let mut net = Network::new(2);
    let links = [Role::Initiator, Role::Responder].map(|role| Link::framed(role, handshake(1)));
    let [near, far] = links;
    let wire = net.connect_links((0, near), (1, far));
    let id = net.id(wire, 0);
    assert_eq!(net.nodes[0].replicator.poll_transmit(id), None);
    net.nodes[0].replicator.open_channel(id, "p", b"", b"");
    let frame = net.nodes[0].replicator.poll_transmit(id).unwrap();
    assert_eq!(frame[..5], [0, 1, 1, 1, b'p']);
}

/// With keys that were agreed on elsewhere only the headers go before; the rest is as always.
#[test]
fn keyed_links_carry_clones() {
    for role in [Role::Initiator, Role::Responder] {
        clones_over(
            Link::with_keys(role, keys(3, 4, 2)),
            Link::with_keys(role.opposite(), keys(4, 3, 1)),
        );
    }
}

/// Ends that do not have the same keys part at the header or the first message: a fault, no log.
#[test]
fn keys_that_differ_are_noticed() {
    let mut net = Network::new(2);
    let near = Link::with_keys(Role::Initiator, keys(3, 4, 2));
    let far = Link::with_keys(Role::Responder, keys(4, 5, 1));
    let wire = net.connect_links((0, near), (1, far));
    let id = net.id(wire, 0);
    net.nodes[0].replicator.open_channel(id, "p", b"", b"");
    net.run();
    let fault =
        |event: &Event| matches!(event, Event::Fault { fault: Fault::Peer(PeerFault::Mac), .. });
    assert_eq!(net.nodes[1].count(fault), 1);
}

/// A message longer than any may be is a fault of the remote.
#[test]
fn framed_giants_are_refused() {
    let mut net = Network::new(2);
    let links = [Role::Initiator, Role::Responder].map(|role| Link::framed(role, handshake(1)));
    let [near, far] = links;
    let wire = net.connect_links((0, near), (1, far));
    net.inject(wire, 1, &vec![0; 16_777_198 + 1]);
    let closed = |event: &Event| matches!(event, Event::Closed { reason: CloseReason::Fault, .. });
    assert_eq!(net.nodes[1].count(closed), 1);
}
