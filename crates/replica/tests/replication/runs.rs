//! Blocks that are asked for many at once.

use std::time::Duration;

use bytes::Bytes;
use multibee_log::{Log, ProofRun, RequestRun};
use multibee_replica::{Event, Fault, Message, NoDataReason, ReplicatorOptions};
use proptest::prelude::*;

use crate::hand::Hand;
use crate::network::{Network, WireId, append, assert_holds, replica, writer};

/// Some replicators that ask for runs, the first of which has the log, and connections of the last
/// one to the others.
fn joined(count: u8, logs: &[&Log]) -> (Network, Vec<WireId>) {
    let mut net = Network::with_options(count, &ReplicatorOptions::default());
    for (node, log) in net.nodes.iter_mut().zip(logs) {
        node.replicator.add_log((*log).clone());
    }
    let last = logs.len() - 1;
    let wires = (0..last).map(|other| {
        let wire = net.connect(last, other);
        let id = net.id(wire, last);
        net.nodes[last].replicator.offer(id, &logs[last].key());
        wire
    });
    let wires = wires.collect();
    net.run();
    (net, wires)
}

/// A clone takes a few requests, less than a node for each block, and ends with the same tree; what
/// is appended later comes, too.
#[test]
fn a_clone_takes_few_requests() {
    let ours = writer(1, 3000);
    let theirs = replica(ours.key());
    let key = ours.key();
    let (mut net, _) = joined(2, &[&ours, &theirs]);
    net.nodes[1].replicator.want_all(&key);
    net.run();
    assert_holds(&theirs, 0..3000);
    assert_eq!(theirs.head().unwrap().tree_hash, ours.head().unwrap().tree_hash);
    let stats = net.nodes[1].replicator.stats().logs[&key];
    assert_eq!((stats.blocks_in, stats.retries), (3000, 0));
    assert!(stats.requests_out < 30 && stats.nodes_in < 60, "{stats:?}");
    let told = net.nodes[1].events.iter().map(|event| match event {
        Event::Stored { blocks, .. } => blocks.end - blocks.start,
        _ => 0,
    });
    assert_eq!(told.sum::<u64>(), 3000);
    append(&ours, 100);
    net.nodes[0].replicator.log_changed(&key);
    net.run();
    assert_holds(&theirs, 0..3100);
    let progress = net.nodes[1].replicator.progress(&key);
    assert_eq!((progress.length, progress.remaining, progress.in_flight), (3100, 0, 0));
    net.nodes.iter().for_each(|node| node.assert_no_faults());
}

/// Who waits for a block gets it, whether or not it is in a run that was asked for; what nobody wants
/// any more is forgotten.
#[test]
fn urgent_blocks_do_not_wait_for_runs() {
    let ours = writer(1, 2000);
    let theirs = replica(ours.key());
    let key = ours.key();
    let (mut net, wires) = joined(2, &[&ours, &theirs]);
    net.silence(wires[0], 0);
    net.nodes[1].replicator.want_all(&key);
    net.run();
    let asked = net.nodes[1].replicator.progress(&key).in_flight;
    net.nodes[1].replicator.want(&key, 77..78, 1);
    net.run();
    let progress = net.nodes[1].replicator.progress(&key);
    assert_eq!((progress.in_flight, progress.remaining), (asked + 1, 2001));
    net.nodes[1].replicator.unwant(&key, 100..1900);
    net.run();
    let progress = net.nodes[1].replicator.progress(&key);
    assert!(progress.remaining <= 201, "{progress:?}");
    net.cut(wires[0]);
    let wire = net.connect(1, 0);
    let id = net.id(wire, 1);
    net.nodes[1].replicator.offer(id, &key);
    net.run();
    assert_holds(&theirs, (0..100).chain(1900..2000));
    net.nodes.iter().for_each(|node| node.assert_no_faults());
}

/// A run that one peer does not deliver comes from another: before the first is given up, and also
/// when it is gone.
#[test]
fn another_peer_delivers_what_one_does_not() {
    for is_cut in [false, true] {
        let ours = writer(1, 2000);
        let (copy, theirs) = (replica(ours.key()), replica(ours.key()));
        let key = ours.key();
        let (mut net, _) = joined(2, &[&ours, &copy]);
        net.nodes[1].replicator.want_all(&key);
        net.run();
        drop(net);
        let (mut net, wires) = joined(3, &[&ours, &copy, &theirs]);
        net.silence(wires[0], 0);
        net.nodes[2].replicator.want_all(&key);
        net.run();
        if is_cut {
            net.cut(wires[0]);
            net.run();
        }
        net.pass(Duration::from_secs(12));
        assert_holds(&theirs, 0..2000);
        assert_eq!(net.nodes[2].replicator.progress(&key).remaining, 0);
    }
}

/// A peer that speaks of runs by hand.
fn say(hand: &mut Hand, kind: u8, body: &[u8]) {
    let payload = Bytes::from([&[kind], body].concat());
    hand.say(&Message::Extension { name: "multibee/replica".to_owned(), payload });
}

/// The runs that were asked for since the last call: id and request. All numbers are short.
fn asked(hand: &mut Hand) -> Vec<(u64, RequestRun)> {
    let heard = hand.heard().into_iter().filter_map(|message| match message {
        Message::Extension { payload, .. } if payload.first() == Some(&0x10) => Some(payload),
        _ => None,
    });
    let number = |bytes: &mut &[u8]| {
        let mut reader = multibee_log::compact::Reader::new(bytes);
        let number = reader.uint().unwrap();
        *bytes = reader.rest();
        number
    };
    heard
        .map(|payload| {
            let mut rest = &payload[1..];
            let [id, _fork, start, depth, nodes] = [(); 5].map(|()| number(&mut rest));
            (id, RequestRun { start, depth: depth as u32, nodes })
        })
        .collect()
}

fn give(hand: &mut Hand, id: u64, run: &ProofRun) {
    let mut body = Vec::new();
    multibee_log::compact::put_uint(&mut body, id);
    run.encode(&mut body);
    say(hand, 0x11, &body);
}

/// What is refused as a run is asked for block by block, and no peer is blamed for it.
#[test]
fn refused_runs_are_asked_for_block_by_block() {
    let ours = writer(1, 64);
    let theirs = replica(ours.key());
    let mut hand = Hand::asking_for_runs(&theirs);
    say(&mut hand, 2, &[]);
    hand.upgrade(&ours);
    let runs = asked(&mut hand);
    assert_eq!(runs.len(), 1);
    hand.say(&Message::NoData { request: runs[0].0, reason: NoDataReason::NOT_AVAILABLE });
    let mut count = 0;
    loop {
        let again = hand.requests_answered(&ours);
        if again.is_empty() {
            break;
        }
        count += again.len();
        for (request, proof) in again {
            hand.say(&Message::Data { request, proof });
        }
    }
    assert_eq!(count, 64);
    assert_holds(&theirs, 0..64);
    hand.net.nodes[0].assert_no_faults();
}

/// A peer of an older version, and one that is not Multibee, is asked for each block.
#[test]
fn only_those_who_give_runs_are_asked_for_them() {
    for hello in [None, Some(1)] {
        let ours = writer(1, 64);
        let theirs = replica(ours.key());
        let mut hand = Hand::asking_for_runs(&theirs);
        hello.into_iter().for_each(|version| say(&mut hand, version, &[]));
        hand.upgrade(&ours);
        assert_eq!(hand.requests().len(), 64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is wrong with a run: the peer is hung up on, or it is ignored and asked for again;
    /// nothing of it is stored, and bytes that are no run end the connection.
    #[test]
    fn lies_store_nothing(kind in 0..7_u8, place in any::<prop::sample::Index>()) {
        let ours = writer(1, 64);
        let theirs = replica(ours.key());
        let mut hand = Hand::asking_for_runs(&theirs);
        say(&mut hand, 2, &[]);
        hand.upgrade(&ours);
        let (id, request) = asked(&mut hand)[0];
        let mut run = ours.prove_run(&request).unwrap();
        match kind {
            0 => {
                let mut data = run.data.to_vec();
                let at = place.index(data.len());
                data[at] ^= 1;
                run.data = data.into();
            }
            1 => run.fork += 1,
            2 => run.start += 64,
            3 => {
                // Another one, which is right.
                let (depth, nodes) = (request.depth - 1, request.nodes + 1);
                run = ours.prove_run(&RequestRun { depth, nodes, ..request }).unwrap();
            }
            4 => run.lens.swap(0, 1),
            5 => say(&mut hand, 0x11, &[place.index(250) as u8; 5]),
            _ => give(&mut hand, id + 9, &run),
        }
        if kind < 5 {
            give(&mut hand, id, &run);
        }
        let is_same = kind == 4 && run == ours.prove_run(&request).unwrap();
        if !is_same {
            prop_assert_eq!(theirs.held(0..64), vec![]);
            // Whether it was the writer's fault is asked first.
            hand.net.pass(Duration::from_secs(60));
            let told = hand.net.nodes[0].count(|event| {
                matches!(event, Event::Fault { fault: Fault::BadData(_) | Fault::WrongData { .. }, .. })
            });
            prop_assert!(kind == 1 || kind >= 5 || hand.is_hung_up_on() || told > 0);
        }
    }
}
