//! Who is let in, and what those learn who are not.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use multibee_replica::{
    Admission, CloseReason, Event, Handshake, Link, Replicator, ReplicatorOptions, Role,
};

use crate::network::{Network, assert_holds, replica, writer};

/// Two nodes that both have a log; node `guard` lets in whom `admission` does.
fn guarded(guard: usize, admission: Admission) -> Network {
    let mut net = Network::new(2);
    let options = ReplicatorOptions { admission, ..ReplicatorOptions::default() };
    net.nodes[guard].replicator = Replicator::new(options, [guard as u8; 32]);
    net
}

fn is_refused(event: &Event) -> bool {
    matches!(event, Event::Closed { reason: CloseReason::Refused, .. })
}

/// Bytes that a node has sent.
fn bytes_out(net: &Network, node: usize) -> u64 {
    net.nodes[node].replicator.stats().total.bytes_out
}

/// The hook learns the proven key, the role and the address, once, and lets in whom it knows.
#[test]
fn members_are_let_in() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let member = Network::new(1).nodes[0].replicator.static_public_key();
    let record = asked.clone();
    let admission = Admission::ask(move |who| {
        record.lock().unwrap().push(*who);
        who.remote_static == member
    });
    let mut net = guarded(1, admission);
    let ours = writer(1, 10);
    let theirs = replica(ours.key());
    net.nodes[0].replicator.add_log(ours.clone());
    net.nodes[1].replicator.add_log(theirs.clone());
    net.nodes[1].replicator.want_all(&ours.key());
    let address: SocketAddr = "192.0.2.1:1234".parse().unwrap();
    let far = Link::noise(Role::Responder).from_address(address);
    let wire = net.connect_links((0, Link::noise(Role::Initiator)), (1, far));
    let id = net.id(wire, 0);
    net.nodes[0].replicator.offer(id, &ours.key());
    net.run();
    assert_holds(&theirs, 0..10);
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 1);
    let who = asked[0];
    assert_eq!(
        (who.remote_static, who.role, who.address),
        (member, Role::Responder, Some(address))
    );
}

/// A stranger that dials gets the second handshake message, which comes before it says who it is, and
/// then the end: no header, no open, and no event at our side but that it was refused.
#[test]
fn strangers_that_dial_get_nothing() {
    for admission in [Admission::Closed, Admission::ask(|_| false)] {
        let mut net = guarded(1, admission);
        net.connect(0, 1);
        net.run();
        assert_eq!(bytes_out(&net, 1), 99, "the second handshake message, with its length");
        assert_eq!(net.nodes[1].events.len(), 1);
        assert_eq!(net.nodes[1].count(is_refused), 1);
        assert_eq!(net.nodes[0].count(|event| matches!(event, Event::Connected { .. })), 0);
    }
}

/// A stranger that we dialled by mistake does not learn our static key: nothing follows the first
/// message, which has none.
#[test]
fn strangers_that_were_dialled_learn_no_key() {
    let mut net = guarded(0, Admission::Closed);
    net.connect(0, 1);
    net.run();
    assert_eq!(bytes_out(&net, 0), 35, "the first handshake message, with its length");
    assert_eq!(net.nodes[0].count(is_refused), 1);
}

/// Over a transport that knows the key from the start nobody is let in any further either.
#[test]
fn strangers_are_refused_on_framed_links() {
    let handshake = || Handshake { hash: [1; 64], remote_static: [2; 32] };
    let mut net = guarded(1, Admission::ask(|who| who.remote_static != [2; 32]));
    let near = Link::framed(Role::Initiator, handshake());
    let far = Link::framed(Role::Responder, handshake());
    let wire = net.connect_links((0, near), (1, far));
    assert!(net.nodes[1].replicator.is_closed(net.id(wire, 1)));
    net.run();
    assert_eq!(net.nodes[1].events.len(), 1);
    assert_eq!(net.nodes[1].count(is_refused), 1);
}
