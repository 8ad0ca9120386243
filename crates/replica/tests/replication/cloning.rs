//! Downloading whole logs, parts of logs, and logs that grow.

use std::time::Duration;

use multibee_log::{Durability, KeyPair, Log, LogOptions, MemoryStorage};
use multibee_replica::Event;

use crate::network::{Network, append, assert_holds, replica, writer};

/// A clone has every block and the same tree, cost about one tree node for each block and
/// no retries, and after it nothing more is sent.
#[test]
fn whole_log_is_cloned_at_one_node_a_block() {
    let ours = writer(1, 1000);
    let theirs = replica(ours.key());
    let mut net = Network::new(2);
    net.nodes[0].replicator.add_log(ours.clone());
    net.nodes[1].replicator.add_log(theirs.clone());
    net.nodes[1].replicator.want_all(&ours.key());
    let wire = net.connect(1, 0);
    let id = net.id(wire, 1);
    net.nodes[1].replicator.offer(id, &ours.key());
    net.run();

    assert_holds(&theirs, 0..1000);
    assert_eq!(theirs.head().unwrap().tree_hash, ours.head().unwrap().tree_hash);
    let stats = net.nodes[1].replicator.stats().logs[&ours.key()];
    assert_eq!((stats.blocks_in, stats.requests_out, stats.retries), (1000, 1000, 0));
    assert!(stats.nodes_in <= 1010, "{} nodes", stats.nodes_in);
    let told = net.nodes[1].events.iter().map(|event| match event {
        Event::Stored { blocks, .. } => blocks.end - blocks.start,
        _ => 0,
    });
    assert_eq!(told.sum::<u64>(), 1000);
    let progress = net.nodes[1].replicator.progress(&ours.key());
    assert_eq!((progress.length, progress.remaining, progress.in_flight), (1000, 0, 0));
    net.nodes.iter().for_each(|node| node.assert_no_faults());

    let before = net.delivered_len;
    net.pass(Duration::from_secs(4));
    assert_eq!(net.delivered_len, before, "two that are even have nothing to say");
}

/// The side that was connected to can download as well as serve.
#[test]
fn responder_downloads_too() {
    let ours = writer(1, 20);
    let theirs = replica(ours.key());
    let mut net = Network::new(2);
    net.nodes[0].replicator.add_log(ours.clone());
    net.nodes[1].replicator.add_log(theirs.clone());
    net.nodes[1].replicator.want_all(&ours.key());
    let wire = net.connect(0, 1);
    let id = net.id(wire, 0);
    net.nodes[0].replicator.offer(id, &ours.key());
    net.run();
    assert_holds(&theirs, 0..20);
}

/// A sparse reader gets the blocks that it asks for, and no others; wanting again what is here
/// sends nothing.
#[test]
fn sparse_reader_gets_just_what_it_wants() {
    let ours = writer(1, 300);
    let theirs = replica(ours.key());
    let key = ours.key();
    let mut net = Network::new(2);
    net.nodes[0].replicator.add_log(ours);
    net.nodes[1].replicator.add_log(theirs.clone());
    let wire = net.connect(1, 0);
    let id = net.id(wire, 1);
    net.nodes[1].replicator.offer(id, &key);
    net.run();
    assert_eq!(theirs.len(), 300, "the head comes unasked");
    assert_holds(&theirs, []);

    net.nodes[1].replicator.want(&key, 250..251, 1);
    net.nodes[1].replicator.want(&key, 3..5, 0);
    net.run();
    assert_holds(&theirs, [3, 4, 250]);
    net.nodes[1].replicator.want(&key, 2..5, 1);
    net.run();
    assert_holds(&theirs, [2, 3, 4, 250]);
    assert_eq!(net.nodes[1].replicator.stats().logs[&key].requests_out, 4);
}

/// Blocks that are wanted before the log is known to be that long come when it is; blocks that
/// are no longer wanted do not.
#[test]
fn wants_outlive_the_length_and_can_be_taken_back() {
    let ours = writer(1, 3);
    let theirs = replica(ours.key());
    let key = ours.key();
    let mut net = Network::new(2);
    net.nodes[0].replicator.add_log(ours.clone());
    net.nodes[1].replicator.add_log(theirs.clone());
    net.nodes[1].replicator.want(&key, 2..8, 0);
    net.nodes[1].replicator.unwant(&key, 5..6);
    let wire = net.connect(1, 0);
    let id = net.id(wire, 1);
    net.nodes[1].replicator.offer(id, &key);
    net.run();
    assert_holds(&theirs, [2]);
    append(&ours, 7);
    net.nodes[0].replicator.log_changed(&key);
    net.run();
    assert_holds(&theirs, [2, 3, 4, 6, 7]);
}

/// Who wants all of a log follows it: every append arrives by itself, and costs one proof of
/// the new length and one answer for each block.
#[test]
fn appends_arrive_as_they_are_made() {
    let ours = writer(1, 0);
    let theirs = replica(ours.key());
    let key = ours.key();
    let mut net = Network::new(2);
    net.nodes[0].replicator.add_log(ours.clone());
    net.nodes[1].replicator.add_log(theirs.clone());
    net.nodes[1].replicator.want_all(&key);
    let wire = net.connect(1, 0);
    let id = net.id(wire, 1);
    net.nodes[1].replicator.offer(id, &key);
    net.run();
    for round in 1..20 {
        append(&ours, round % 4 + 1);
        net.nodes[0].replicator.log_changed(&key);
        net.run();
        assert_holds(&theirs, 0..ours.len());
    }
    let upgrades = net.nodes[1].count(|event| matches!(event, Event::Upgraded { .. }));
    assert_eq!(upgrades, 19);
    net.nodes.iter().for_each(|node| node.assert_no_faults());
}

/// What the writer has accepted but not made durable is neither announced nor proven.
#[test]
fn only_durable_lengths_are_shared() {
    let options = LogOptions { durability: Durability::Buffered, ..LogOptions::default() };
    let keys = KeyPair::from_seed([1; 32]);
    let ours = Log::create(MemoryStorage::default(), keys, options).unwrap();
    append(&ours, 3);
    ours.sync().unwrap();
    append(&ours, 3);
    assert_eq!((ours.durable_len(), ours.len()), (3, 6));
    let theirs = replica(ours.key());
    let key = ours.key();
    let mut net = Network::new(2);
    net.nodes[0].replicator.add_log(ours.clone());
    net.nodes[1].replicator.add_log(theirs.clone());
    net.nodes[1].replicator.want_all(&key);
    let wire = net.connect(1, 0);
    let id = net.id(wire, 1);
    net.nodes[1].replicator.offer(id, &key);
    net.run();
    assert_eq!(net.nodes[1].replicator.remote_length(id, &key), Some(3));
    assert_holds(&theirs, 0..3);
    ours.sync().unwrap();
    net.nodes[0].replicator.log_changed(&key);
    net.run();
    assert_holds(&theirs, 0..6);
}

/// Two sources share the work: no block comes twice, and each serves some.
#[test]
fn two_sources_share_the_work() {
    let ours = writer(1, 3000);
    let copy = replica(ours.key());
    let theirs = replica(ours.key());
    let key = ours.key();
    let mut net = Network::new(3);
    net.nodes[0].replicator.add_log(ours);
    net.nodes[1].replicator.add_log(copy.clone());
    net.nodes[1].replicator.want_all(&key);
    let wire = net.connect(1, 0);
    let id = net.id(wire, 1);
    net.nodes[1].replicator.offer(id, &key);
    net.run();
    assert_holds(&copy, 0..3000);

    net.nodes[2].replicator.add_log(theirs.clone());
    for source in [0, 1] {
        let wire = net.connect(2, source);
        let id = net.id(wire, 2);
        net.nodes[2].replicator.offer(id, &key);
    }
    net.run();
    net.nodes[2].replicator.want_all(&key);
    net.run();
    assert_holds(&theirs, 0..3000);
    let stats = net.nodes[2].replicator.stats().logs[&key];
    assert_eq!((stats.blocks_in, stats.requests_out), (3000, 3000));
    let served = |node: usize| net.nodes[node].replicator.stats().logs[&key].blocks_out;
    assert!(served(0) > 3000 + 500 && served(1) > 500, "{} {}", served(0), served(1));
    net.nodes.iter().for_each(|node| node.assert_no_faults());
}

/// Many logs share one connection.
#[test]
fn many_logs_share_a_connection() {
    let mut net = Network::new(2);
    let wire = net.connect(1, 0);
    let id = net.id(wire, 1);
    let mut copies = Vec::new();
    for seed in 1..40 {
        let log = writer(seed, u64::from(seed));
        let copy = replica(log.key());
        net.nodes[0].replicator.add_log(log.clone());
        net.nodes[1].replicator.add_log(copy.clone());
        net.nodes[1].replicator.want_all(&log.key());
        net.nodes[1].replicator.offer(id, &log.key());
        copies.push(copy);
    }
    net.run();
    for (seed, copy) in (1..).zip(&copies) {
        assert_holds(copy, 0..seed);
    }
    assert_eq!(net.nodes[1].count(|event| matches!(event, Event::LogOpened { .. })), 39);
}
