//! Cut wires, slow peers, liars and noise.

use std::time::Duration;

use multibee_log::{Log, LogKey};
use multibee_replica::{CloseReason, ConnectionId, Event, Fault, Message, ReplicatorOptions};

use crate::hand::Hand;
use crate::network::{Network, WireId, assert_holds, replica, writer};

fn link(net: &mut Network, from: usize, to: usize, key: &LogKey) -> (WireId, ConnectionId) {
    let wire = net.connect(from, to);
    let id = net.id(wire, from);
    net.nodes[from].replicator.offer(id, key);
    (wire, id)
}

fn clone_setup(blocks: u64) -> (Network, Log, Log) {
    let ours = writer(1, blocks);
    let theirs = replica(ours.key());
    let mut net = Network::new(2);
    net.nodes[0].replicator.add_log(ours.clone());
    net.nodes[1].replicator.add_log(theirs.clone());
    net.nodes[1].replicator.want_all(&ours.key());
    (net, ours, theirs)
}

/// Wherever the wire is cut, a new one completes the clone, and no block is fetched twice that
/// was stored.
#[test]
fn clone_goes_on_after_a_cut_anywhere() {
    let whole = {
        let (mut net, ours, _) = clone_setup(30);
        link(&mut net, 1, 0, &ours.key());
        net.run();
        net.delivered_count
    };
    for cut_after in 0..=whole {
        let (mut net, ours, theirs) = clone_setup(30);
        let (wire, _) = link(&mut net, 1, 0, &ours.key());
        for _ in 0..cut_after {
            net.step();
        }
        net.cut(wire);
        net.run();
        link(&mut net, 1, 0, &ours.key());
        net.run();
        assert_holds(&theirs, 0..30);
        assert_eq!(net.nodes[1].replicator.stats().logs[&ours.key()].blocks_in, 30);
        assert_eq!(net.nodes[1].replicator.progress(&ours.key()).remaining, 0);
        net.nodes.iter().for_each(|node| node.assert_no_faults());
    }
}

/// A peer that falls silent in the middle is asked in vain for a while; then another peer serves
/// what it did not, although the silent connection never ended.
#[test]
fn silent_peer_is_replaced() {
    let (mut net, ours, theirs) = clone_setup(2000);
    let key = ours.key();
    let (silent, _) = link(&mut net, 1, 0, &key);
    // Until some blocks have come and more are under way.
    while theirs.held(0..2000).is_empty() {
        assert!(net.step());
    }
    net.silence(silent, 0);
    net.pass(Duration::from_secs(1));
    assert!(theirs.contiguous_len() < 2000);

    let other = writer(1, 2000);
    net.nodes.push(Network::new(1).nodes.pop().unwrap());
    net.nodes[2].replicator.add_log(other);
    link(&mut net, 1, 2, &key);
    net.pass(Duration::from_secs(30));
    assert_holds(&theirs, 0..2000);
}

/// A peer that says that it has blocks and never answers a request is hung up on.
#[test]
fn peer_that_never_answers_is_hung_up_on() {
    let options = ReplicatorOptions { read_silence: None, ..ReplicatorOptions::default() };
    let mut net = Network::with_options(2, &options);
    let ours = writer(1, 10);
    let theirs = replica(ours.key());
    let key = ours.key();
    net.nodes[0].replicator.add_log(ours);
    net.nodes[1].replicator.add_log(theirs.clone());
    let (wire, id) = link(&mut net, 1, 0, &key);
    net.run();
    net.silence(wire, 0);
    net.nodes[1].replicator.want_all(&key);
    net.pass(Duration::from_secs(50));
    assert!(!net.nodes[1].replicator.is_closed(id), "patience comes first");
    net.pass(Duration::from_secs(50));
    assert!(net.nodes[1].replicator.is_closed(id));
    let fault =
        |event: &Event| matches!(event, Event::Fault { fault: Fault::Unresponsive { .. }, .. });
    assert_eq!(net.nodes[1].count(fault), 1);
}

/// A reader's block that a peer fails to send is asked of another after a second if the first has
/// never answered, and much sooner if it usually answers soon; the first is told not to bother.
#[test]
fn slow_block_is_asked_of_another_peer() {
    let mut net = Network::new(3);
    let ours = writer(1, 10);
    let theirs = replica(ours.key());
    let key = ours.key();
    net.nodes[0].replicator.add_log(ours.clone());
    net.nodes[1].replicator.add_log(ours);
    net.nodes[2].replicator.add_log(theirs.clone());
    let (slow, _) = link(&mut net, 2, 0, &key);
    net.run();
    net.silence(slow, 0);
    net.nodes[2].replicator.want(&key, 4..5, 1);
    net.run();
    link(&mut net, 2, 1, &key);
    net.pass(Duration::from_millis(990));
    assert_holds(&theirs, []);
    net.pass(Duration::from_millis(20));
    assert_holds(&theirs, [4]);
    assert_eq!(net.nodes[2].replicator.progress(&key).in_flight, 0);

    net.nodes[2].replicator.want(&key, 5..6, 1);
    net.run();
    net.pass(Duration::from_millis(250));
    assert_holds(&theirs, [4, 5]);
}

/// Garbage instead of a handshake, or a changed byte after it, ends the connection with a
/// fault that names the peer, and nothing else.
#[test]
fn garbage_ends_the_connection() {
    let mut net = Network::new(1);
    for length in [1_usize, 3, 35, 1000, 100_000] {
        let id = net.nodes[0].replicator.connect(multibee_replica::Role::Responder, net.now);
        let garbage: Vec<u8> = (0..length).map(|i| (i * 7 + 13) as u8).collect();
        net.nodes[0].replicator.handle_bytes(id, &garbage, net.now);
        net.nodes[0].replicator.handle_bytes(id, &garbage, net.now);
    }
    net.pass(Duration::from_secs(11));
    let closed = net.nodes[0].count(|event| matches!(event, Event::Closed { .. }));
    assert_eq!(closed, 5, "by a fault, or because the handshake never ended");

    let (mut net, ours, theirs) = clone_setup(5);
    let (wire, id) = link(&mut net, 1, 0, &ours.key());
    net.run();
    net.inject(wire, 1, &[17, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17]);
    assert!(net.nodes[1].replicator.is_closed(id));
    assert_eq!(net.nodes[1].count(|event| matches!(event, Event::Fault { .. })), 1);
    net.run();
    assert_holds(&theirs, 0..5);
    let reason = |event: &Event| matches!(event, Event::Closed { reason: CloseReason::Fault, .. });
    assert_eq!(net.nodes[1].count(reason), 1);
}

/// An idle connection is kept alive; one whose remote is gone without a word is noticed.
#[test]
fn keepalives_keep_a_connection() {
    let (mut net, ours, _) = clone_setup(5);
    let (wire, id) = link(&mut net, 1, 0, &ours.key());
    net.pass(Duration::from_secs(600));
    assert!(!net.nodes[1].replicator.is_closed(id));
    net.silence(wire, 0);
    net.pass(Duration::from_secs(59));
    assert!(!net.nodes[1].replicator.is_closed(id));
    net.pass(Duration::from_secs(10));
    let reason =
        |event: &Event| matches!(event, Event::Closed { reason: CloseReason::Silence, .. });
    assert_eq!(net.nodes[1].count(reason), 1);
}

/// Who connects and says nothing is not waited for.
#[test]
fn handshake_must_be_done_in_time() {
    let mut net = Network::new(1);
    let id = net.nodes[0].replicator.connect(multibee_replica::Role::Responder, net.now);
    net.pass(Duration::from_secs(9));
    assert!(!net.nodes[0].replicator.is_closed(id));
    net.pass(Duration::from_secs(2));
    assert!(net.nodes[0].replicator.is_closed(id));
    assert_eq!(net.nodes[0].replicator.poll_timeout(), None);
}

/// Blocks that are no longer wanted are cancelled: those not yet on their way do not come.
#[test]
fn unwanted_blocks_do_not_come() {
    let (mut net, ours, theirs) = clone_setup(2000);
    let key = ours.key();
    link(&mut net, 1, 0, &key);
    while theirs.held(0..2000).is_empty() {
        assert!(net.step());
    }
    net.nodes[1].replicator.unwant(&key, 0..u64::MAX);
    net.run();
    assert!(theirs.contiguous_len() < 2000);
    let progress = net.nodes[1].replicator.progress(&key);
    assert_eq!((progress.remaining, progress.in_flight), (0, 0));
}

/// A remote that is slow to prove its head is asked for it again, after a while in which others may be
/// asked first; it is not given up before it has let four requests run out of time.
#[test]
fn slow_heads_are_asked_for_again() {
    let ours = writer(1, 10);
    for answered in 1..=4 {
        let theirs = replica(ours.key());
        let mut hand = Hand::new(&theirs);
        hand.announce(&ours);
        for round in 0..answered {
            let asked = hand.requests();
            assert_eq!(asked.len(), 1, "round {round}");
            hand.net.pass(Duration::from_secs(11));
            assert_eq!(hand.requests(), [], "it rests");
            // Too late: that request was taken back.
            let (request, wish) = asked[0];
            hand.say(&Message::Data { request, proof: ours.prove(&wish).unwrap() });
            assert_eq!(theirs.len(), 0);
            hand.net.pass(Duration::from_secs(10));
        }
        assert_eq!(hand.is_hung_up_on(), answered == 4);
        if answered < 4 {
            let (request, proof) = hand.requests_answered(&ours).remove(0);
            hand.say(&Message::Data { request, proof });
            assert_eq!(theirs.len(), 10);
        }
    }
}

/// While one who let a request for its head run out of time rests, another is asked at once.
#[test]
fn others_are_asked_for_their_head_meanwhile() {
    let ours = writer(1, 10);
    let theirs = replica(ours.key());
    let mut hand = Hand::new(&theirs);
    hand.announce(&ours);
    let other = hand.net.add_node(9);
    hand.net.nodes[other].replicator.add_log(ours.clone());
    link(&mut hand.net, other, 0, &ours.key());
    hand.net.run();
    assert_eq!(theirs.len(), 0, "one is asked at a time");
    hand.net.pass(Duration::from_secs(11));
    assert_eq!(theirs.len(), 10);
    assert!(!hand.is_hung_up_on());
}
