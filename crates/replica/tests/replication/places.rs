//! Blocks that are dropped, announced, and looked for.

use std::time::Duration;

use multibee_log::{KeyPair, Log, LogOptions, MemoryStorage, Proof};
use multibee_replica::{Event, Fault, Message, NoDataReason, Sync};
use proptest::prelude::*;

use crate::hand::Hand;
use crate::network::{Network, append, assert_holds, link, replica, writer};

/// Blocks that are dropped are announced as gone, once and to everybody, and not asked for any
/// more; those that were fetched again are announced again.
#[test]
fn dropped_blocks_are_announced_as_gone() {
    let ours = writer(1, 50);
    let key = ours.key();
    let copies = [replica(key), replica(key)];
    let mut net = Network::new(3);
    for (node, log) in [&ours, &copies[0], &copies[1]].into_iter().enumerate() {
        net.nodes[node].replicator.add_log(log.clone());
    }
    net.nodes[1].replicator.want_all(&key);
    link(&mut net, 1, 0, &key);
    link(&mut net, 2, 1, &key);
    net.run();
    copies[0].clear(10..20).unwrap();
    net.nodes[1].replicator.cleared(&key, 5..25);
    copies[0].clear(40..u64::MAX).unwrap();
    net.nodes[1].replicator.cleared(&key, 40..u64::MAX);
    net.run();
    net.nodes[2].replicator.want_all(&key);
    net.run();
    let expected = (0..10).chain(20..40);
    assert_holds(&copies[1], expected.clone());
    assert_holds(&copies[0], expected);
    let stats = net.nodes[2].replicator.stats().logs[&key];
    assert_eq!(stats.requests_out, 30, "nothing was asked in vain");
    net.nodes[1].replicator.want(&key, 12..15, 0);
    net.run();
    assert_holds(&copies[1], (0..10).chain(12..15).chain(20..40));
    // What is cut off is fetched anew, but for what was dropped on purpose.
    ours.truncate(8).unwrap();
    append(&ours, 32);
    net.nodes[0].replicator.log_changed(&key);
    net.run();
    assert_holds(&copies[0], (0..10).chain(12..15).chain(20..40));
    assert_holds(&copies[1], (0..10).chain(12..15).chain(20..40));
    net.nodes.iter().for_each(|node| node.assert_no_faults());
}

/// A block that a remote refused is asked of it again once it has announced it again, and of
/// another remote at once.
#[test]
fn refused_blocks_are_asked_again() {
    let ours = writer(1, 10);
    let theirs = replica(ours.key());
    let mut hand = Hand::new(&theirs);
    hand.upgrade(&ours);
    let reason = NoDataReason::NOT_AVAILABLE;
    loop {
        let answers = hand.requests_answered(&ours);
        if answers.is_empty() {
            break;
        }
        for (request, proof) in answers {
            if proof.block.as_ref().is_some_and(|block| block.index % 5 == 3) {
                hand.say(&Message::NoData { request, reason });
            } else {
                hand.say(&Message::Data { request, proof });
            }
        }
    }
    hand.say(&Message::Range { drop: false, start: 3, length: 1 });
    let again = hand.requests_answered(&ours);
    assert_eq!(again.len(), 1);
    for (request, proof) in again {
        hand.say(&Message::Data { request, proof });
    }
    assert_holds(&theirs, (0..8).chain([9]));
    // Dropped, and then announced by bits.
    hand.say(&Message::Range { drop: true, start: 8, length: 2 });
    hand.say(&Message::Bitfield { start: 0, words: vec![1 << 8] });
    assert_eq!(hand.requests().len(), 1);
    let other = hand.net.add_node(9);
    let key = ours.key();
    hand.net.nodes[other].replicator.add_log(ours);
    link(&mut hand.net, other, 0, &key);
    hand.net.pass(Duration::from_secs(6));
    assert_holds(&theirs, 0..10);
}

/// A remote that asks about stretches is told of new blocks there and at the end of the log, and
/// no longer once it has taken that back; one that never asks is told of all.
#[test]
fn remotes_are_told_what_they_asked_for() {
    let ours = writer(1, 10_000);
    let copy = replica(ours.key());
    let mut hand = Hand::new(&copy);
    let key = ours.key();
    hand.net.nodes[0].replicator.unwant(&key, 0..u64::MAX);
    let other = hand.net.add_node(9);
    hand.net.nodes[other].replicator.add_log(ours.clone());
    link(&mut hand.net, other, 0, &key);
    hand.net.run();
    let told = |hand: &mut Hand, blocks: &[u64]| -> Vec<u64> {
        hand.heard();
        for &block in blocks {
            hand.net.nodes[0].replicator.want(&key, block..block + 1, 0);
        }
        hand.net.run();
        let heard = hand.heard().into_iter();
        heard
            .filter_map(|message| match message {
                Message::Range { drop: false, start, .. } => Some(start),
                _ => None,
            })
            .collect()
    };
    assert_eq!(told(&mut hand, &[100, 5000]), [100, 5000]);
    hand.say(&Message::Want { start: 4096, length: 4096, any: false });
    assert_eq!(told(&mut hand, &[102, 5002, 9900]), [5002, 9900]);
    hand.say(&Message::Unwant { start: 4096, length: 4096, any: false });
    assert_eq!(told(&mut hand, &[104, 5004, 9902]), [9902]);
}

/// A log whose blocks have these sizes.
fn sized(sizes: &[usize]) -> Log {
    let keys = KeyPair::from_seed([3; 32]);
    let log = Log::create(MemoryStorage::default(), keys, LogOptions::default()).unwrap();
    log.append(&sizes.iter().map(|&size| vec![7; size]).collect::<Vec<_>>()).unwrap();
    log
}

fn sought(net: &Network, node: usize) -> Vec<(u64, u64, u64)> {
    let events = net.nodes[node].events.iter();
    events
        .filter_map(|event| match event {
            Event::Sought { byte, seq, within, .. } => Some((*byte, *seq, *within)),
            _ => None,
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Every byte is found in the block that holds it, by a copy with nothing but the head, with few
    /// requests and next to no blocks fetched.
    #[test]
    fn bytes_are_found(sizes in proptest::collection::vec(0..40_usize, 1..120), at in 0..10_000_usize) {
        let ours = sized(&sizes);
        let key = ours.key();
        let total: usize = sizes.iter().sum();
        prop_assume!(total > 0);
        let byte = at % total;
        let (mut seq, mut before) = (0, 0);
        while before + sizes[seq] <= byte {
            before += sizes[seq];
            seq += 1;
        }
        let theirs = replica(key);
        let mut net = Network::new(2);
        net.nodes[0].replicator.add_log(ours.clone());
        net.nodes[1].replicator.add_log(theirs.clone());
        // Before there is any head, which it waits for.
        prop_assert!(net.nodes[1].replicator.seek(&key, byte as u64));
        link(&mut net, 1, 0, &key);
        net.run();
        let found = sought(&net, 1);
        prop_assert_eq!(found.len(), 1);
        let (_, found_seq, within) = found[0];
        // At a border, empty blocks may come before the byte's.
        if byte > before {
            prop_assert_eq!((found_seq, within), (seq as u64, (byte - before) as u64));
        } else {
            let skipped: usize = sizes[found_seq as usize..seq].iter().sum();
            prop_assert_eq!((skipped, within), (0, 0));
        }
        let held: u64 = theirs.held(0..u64::MAX).into_iter().map(|run| run.end - run.start).sum();
        prop_assert!(held <= 2, "{} blocks", held);
        prop_assert!(net.delivered_count < 40);
        net.nodes[1].assert_no_faults();
        // Now all that it takes is here.
        net.nodes[1].replicator.seek(&key, byte as u64);
        net.take_events();
        prop_assert_eq!(sought(&net, 1).len(), 2);
    }
}

/// Who refuses to say where a byte is, or answers something else, is not asked again and again, and
/// another remote is; who answers wrongly is hung up on.
#[test]
fn liars_do_not_end_a_search() {
    for case in 0..4 {
        let ours = writer(1, 100);
        let key = ours.key();
        let theirs = replica(key);
        let mut hand = Hand::new(&theirs);
        hand.upgrade(&ours);
        hand.net.nodes[0].replicator.unwant(&key, 0..u64::MAX);
        hand.net.run();
        hand.heard();
        hand.net.nodes[0].replicator.seek(&key, 333);
        hand.net.run();
        let mut asked = hand.requests();
        assert_eq!(asked.len(), 1);
        let (request, question) = asked.remove(0);
        assert!(question.hash.is_some() && question.seek.is_some_and(|seek| seek.bytes == 333));
        match case {
            0 => {
                let reason = NoDataReason::INVALID_REQUEST;
                hand.say(&Message::NoData { request, reason });
            }
            1 => hand.say(&Message::Data { request, proof: Proof::default() }),
            2 => hand.net.pass(Duration::from_secs(11)),
            _ => {
                let mut proof = ours.prove(&question).unwrap();
                proof.hash.as_mut().unwrap().nodes[1].size += 1;
                hand.say(&Message::Data { request, proof });
                let (request, question) = hand.requests().remove(0);
                let proof = ours.prove(&question).unwrap();
                hand.say(&Message::Data { request, proof });
                assert!(hand.is_hung_up_on());
            }
        }
        let fault = |event: &Event| matches!(event, Event::Fault { fault: Fault::BadData(_), .. });
        assert_eq!(hand.net.nodes[0].count(fault), usize::from(case == 3));
        if case < 2 {
            hand.say(&Message::Sync(Sync { length: 100, downloading: true, ..Sync::default() }));
            assert!(hand.requests().is_empty());
        }
        let other = hand.net.add_node(9);
        hand.net.nodes[other].replicator.add_log(ours);
        link(&mut hand.net, other, 0, &key);
        hand.net.pass(Duration::from_secs(45));
        assert_eq!(sought(&hand.net, 0), [(333, 42, 7)], "case {case}");
    }
}

/// A bounded number of bytes is looked for at a time, and what is not looked for any more is not
/// found.
#[test]
fn searches_are_bounded() {
    let ours = writer(1, 1);
    let mut net = Network::new(1);
    net.nodes[0].replicator.add_log(ours.clone());
    let seek = |net: &mut Network, byte| net.nodes[0].replicator.seek(&ours.key(), byte);
    assert_eq!((0..2000).filter(|&byte| seek(&mut net, 1000 + byte)).count(), 1024);
    assert!(seek(&mut net, 1000) && !seek(&mut net, 9000));
    net.nodes[0].replicator.unseek(&ours.key(), 1000);
    assert!(seek(&mut net, 3));
    net.take_events();
    assert_eq!(sought(&net, 0), [(3, 0, 3)]);
}
