//! Copies that serve copies.

use multibee_log::{Log, LogKey};
use multibee_replica::{ConnectionId, Event};

use crate::network::{Network, WireId, append, assert_holds, replica, writer};

fn link(net: &mut Network, from: usize, to: usize, key: &LogKey) -> (WireId, ConnectionId) {
    let wire = net.connect(from, to);
    let id = net.id(wire, from);
    net.nodes[from].replicator.offer(id, key);
    (wire, id)
}

/// A log of so many blocks at node 0, and empty copies: the relay's at node 1, the reader's at node 2.
fn author_relay_and_reader(blocks: u64) -> (Network, [Log; 3]) {
    let ours = writer(1, blocks);
    let logs = [ours.clone(), replica(ours.key()), replica(ours.key())];
    let mut net = Network::new(3);
    for (node, log) in net.nodes.iter_mut().zip(&logs) {
        node.replicator.add_log(log.clone());
    }
    (net, logs)
}

/// Writer, relay, reader: the reader never meets the writer, and yet follows it live through a
/// relay that holds everything.
#[test]
fn whole_relay_passes_everything_on() {
    let (mut net, [ours, _, theirs]) = author_relay_and_reader(50);
    let key = ours.key();
    net.nodes[1].replicator.want_all(&key);
    net.nodes[2].replicator.want_all(&key);
    link(&mut net, 2, 1, &key);
    link(&mut net, 1, 0, &key);
    net.run();
    assert_holds(&theirs, 0..50);
    for _ in 0..10 {
        append(&ours, 3);
        net.nodes[0].replicator.log_changed(&key);
        net.run();
        assert_holds(&theirs, 0..ours.len());
    }
    let served = |node: usize| net.nodes[node].replicator.stats().logs[&key].blocks_out;
    assert_eq!((served(0), served(1)), (80, 80), "each block crosses each wire once");
    net.nodes.iter().for_each(|node| node.assert_no_faults());
}

/// A sparse relay serves what it has, and what it gets later; the reader is told where the gaps
/// are and does not ask into them.
#[test]
fn sparse_relay_serves_what_it_has() {
    let (mut net, [ours, _, theirs]) = author_relay_and_reader(100);
    let key = ours.key();
    link(&mut net, 1, 0, &key);
    net.nodes[1].replicator.want(&key, 10..20, 0);
    net.nodes[1].replicator.want(&key, 70..71, 0);
    net.run();
    let (_, id) = link(&mut net, 2, 1, &key);
    net.nodes[2].replicator.want(&key, 5..15, 0);
    net.nodes[2].replicator.want(&key, 60..80, 1);
    net.run();
    assert_eq!(theirs.len(), 100);
    assert_holds(&theirs, (10..15).chain([70]));
    assert_eq!(net.nodes[2].replicator.remote_length(id, &key), Some(100));

    net.nodes[1].replicator.want(&key, 62..64, 0);
    net.run();
    assert_holds(&theirs, (10..15).chain([62, 63, 70]));
    net.nodes.iter().for_each(|node| node.assert_no_faults());
}

/// The reader was at a length that the relay skipped, so the relay cannot prove from there. It can
/// from the last block that the reader holds, if that ended a length that both have seen.
#[test]
fn relay_that_skipped_our_length_proves_from_an_older_one() {
    let (mut net, [ours, relay, theirs]) = author_relay_and_reader(6);
    let key = ours.key();
    net.nodes[2].replicator.want(&key, 0..6, 0);
    let (to_writer, _) = link(&mut net, 1, 0, &key);
    let (also_to_writer, _) = link(&mut net, 2, 0, &key);
    net.run();
    net.cut(to_writer);
    // Length 7 only the reader sees, 12 only the relay.
    append(&ours, 1);
    net.nodes[0].replicator.log_changed(&key);
    net.run();
    net.cut(also_to_writer);
    append(&ours, 5);
    let (to_writer, _) = link(&mut net, 1, 0, &key);
    net.run();
    net.cut(to_writer);
    assert_eq!((relay.len(), theirs.len()), (12, 7));
    assert!(!relay.can_prove_upgrade(7).unwrap(), "else this tests nothing");

    link(&mut net, 2, 1, &key);
    net.run();
    assert_eq!(theirs.len(), 12);
    assert_eq!(theirs.head().unwrap().tree_hash, ours.head().unwrap().tree_hash);
    let upgraded = |event: &Event| matches!(event, Event::Upgraded { old: 7, new: 12, .. });
    assert_eq!(net.nodes[2].count(upgraded), 1);
    net.nodes.iter().for_each(|node| node.assert_no_faults());
}

/// A relay that can't lead from our length to its own, from none that both have seen, is told of once;
/// whoever can do it puts an end to that.
#[test]
fn a_relay_that_cannot_prove_its_head_is_told_of() {
    let (mut net, [ours, relay, theirs]) = author_relay_and_reader(6);
    let key = ours.key();
    // The reader holds no block but its last, at whose end nobody else has been.
    net.nodes[2].replicator.want(&key, 6..7, 0);
    append(&ours, 1);
    let (to_writer, _) = link(&mut net, 2, 0, &key);
    net.run();
    net.cut(to_writer);
    append(&ours, 5);
    let (to_writer, _) = link(&mut net, 1, 0, &key);
    net.run();
    net.cut(to_writer);
    assert_eq!((relay.len(), theirs.len()), (12, 7));

    let (to_relay, _) = link(&mut net, 2, 1, &key);
    let id = net.id(to_relay, 2);
    net.run();
    assert_eq!(theirs.len(), 7);
    assert!(net.nodes[2].replicator.is_head_out_of_reach(id, &key));
    let told = |event: &Event| matches!(event, Event::HeadOutOfReach { ours: 7, theirs: 12, .. });
    assert_eq!(net.nodes[2].count(told), 1);
    assert_eq!(net.nodes[1].count(|event| matches!(event, Event::HeadOutOfReach { .. })), 0);

    link(&mut net, 2, 0, &key);
    net.run();
    assert_eq!(theirs.len(), 12);
    assert!(!net.nodes[2].replicator.is_head_out_of_reach(id, &key));
    net.nodes.iter().for_each(|node| node.assert_no_faults());
}

/// A remote that is behind us is asked only for what its own, shorter tree proves to us: every
/// request is answered. If we can prove our length to it, it catches up and then serves all.
#[test]
fn remote_that_is_behind_is_asked_only_for_what_it_can_prove() {
    for (behind, knows_roots) in (1..41).flat_map(|behind| [(behind, false), (behind, true)]) {
        let (mut net, [ours, relay, theirs]) = author_relay_and_reader(behind);
        let key = ours.key();
        net.nodes[1].replicator.want_all(&key);
        let (first, _) = link(&mut net, 1, 0, &key);
        net.run();
        net.cut(first);
        append(&ours, 41 - behind);
        let (second, _) = link(&mut net, 2, 0, &key);
        if knows_roots {
            // The way up from there leads past all roots of that length.
            net.nodes[2].replicator.want(&key, behind - 1..behind, 0);
        }
        net.run();
        net.cut(second);
        assert_eq!((theirs.len(), relay.len()), (41, behind));

        net.nodes[2].replicator.want(&key, 0..41, 0);
        link(&mut net, 2, 1, &key);
        net.run();
        net.nodes.iter().for_each(|node| node.assert_no_faults());
        let stats = net.nodes[2].replicator.stats().logs[&key];
        assert_eq!(stats.requests_out, stats.blocks_in, "{behind}");
        if knows_roots {
            assert_eq!(relay.len(), 41, "the head travels back");
            assert_holds(&theirs, 0..behind);
        } else if behind % 8 == 0 && behind >= 32 {
            assert_holds(&theirs, 0..behind);
        } else {
            assert!(theirs.contiguous_len() == if behind > 32 { 32 } else { 0 });
        }
    }
}

/// In a ring of four every block reaches everyone, and everyone asks for it once.
#[test]
fn ring_carries_each_block_once_to_each() {
    let ours = writer(1, 200);
    let key = ours.key();
    let logs: Vec<Log> =
        std::iter::once(ours.clone()).chain((0..3).map(|_| replica(key))).collect();
    let mut net = Network::new(4);
    for (node, log) in logs.iter().enumerate() {
        net.nodes[node].replicator.add_log(log.clone());
        net.nodes[node].replicator.want_all(&key);
    }
    for node in 0..4 {
        link(&mut net, node, (node + 1) % 4, &key);
    }
    net.run();
    for (node, log) in logs.iter().enumerate() {
        assert_holds(log, 0..200);
        let stats = net.nodes[node].replicator.stats().logs[&key];
        assert_eq!(stats.requests_out, if node == 0 { 0 } else { 200 });
        assert_eq!(stats.retries, 0);
        net.nodes[node].assert_no_faults();
    }
}
