//! Blocks that come unasked.

use multibee_log::{Log, Proof, Request, RequestBlock, RequestUpgrade};
use multibee_replica::{Event, Message, Sync};

use crate::hand::Hand;
use crate::network::{Network, append, assert_holds, link, replica, writer};

/// Appended blocks reach a copy that wants everything, and a copy behind that one, with the first
/// bytes that leave the writer, before anything goes back; each crosses each wire once.
#[test]
fn appends_take_one_way() {
    let ours = writer(1, 20);
    let key = ours.key();
    let copies = [replica(key), replica(key)];
    let mut net = Network::new(3);
    for (node, log) in [&ours, &copies[0], &copies[1]].into_iter().enumerate() {
        net.nodes[node].replicator.add_log(log.clone());
        net.nodes[node].replicator.want_all(&key);
    }
    let wire = link(&mut net, 1, 0, &key);
    let wire = [wire, link(&mut net, 2, 1, &key)];
    net.run();
    let asked =
        |net: &Network, node: usize| net.nodes[node].replicator.stats().logs[&key].requests_out;
    let before = [asked(&net, 1), asked(&net, 2)];
    for count in [1, 1, 7, 60] {
        append(&ours, count);
        net.nodes[0].replicator.log_changed(&key);
        // What goes down, and nothing that goes up.
        for (hop, wire) in wire.into_iter().enumerate() {
            while net.carry(wire, hop) {}
            assert_holds(&copies[hop], 0..ours.len());
        }
        net.run();
    }
    assert_eq!([asked(&net, 1), asked(&net, 2)], before);
    let served = |node: usize| net.nodes[node].replicator.stats().logs[&key].blocks_out;
    assert_eq!((served(0), served(1)), (89, 89));
    net.nodes.iter().for_each(|node| node.assert_no_faults());
}

/// More than a bounded number of blocks or bytes is not pushed but asked for, and pushing begins
/// again after that. Who does not want the next block is pushed nothing.
#[test]
fn pushes_are_bounded_and_wanted() {
    let ours = writer(1, 5);
    let key = ours.key();
    let copy = replica(key);
    let mut net = Network::new(2);
    net.nodes[0].replicator.add_log(ours.clone());
    net.nodes[1].replicator.add_log(copy.clone());
    net.nodes[1].replicator.want_all(&key);
    link(&mut net, 1, 0, &key);
    net.run();
    let asked = |net: &Network| net.nodes[1].replicator.stats().logs[&key].requests_out;
    let mut requests = asked(&net);
    for (blocks, are_asked) in [
        (vec![vec![1; 100_000]; 2], 0),
        (vec![vec![2; 1]; 65], 65),
        (vec![vec![3; 300_000]], 1),
        (vec![vec![4; 100_000]; 4], 2),
        (vec![vec![5; 10]; 64], 0),
    ] {
        ours.append(&blocks).unwrap();
        net.nodes[0].replicator.log_changed(&key);
        net.run();
        assert_eq!(copy.contiguous_len(), ours.len());
        assert_eq!(asked(&net) - requests, are_asked, "{} blocks", blocks.len());
        requests = asked(&net);
    }
    net.nodes[1].replicator.unwant(&key, 0..u64::MAX);
    net.run();
    let served = net.nodes[0].replicator.stats().logs[&key].blocks_out;
    ours.append(&[b"x"]).unwrap();
    net.nodes[0].replicator.log_changed(&key);
    net.run();
    assert_eq!(copy.len(), ours.len());
    assert_eq!(net.nodes[0].replicator.stats().logs[&key].blocks_out, served);
    net.nodes.iter().for_each(|node| node.assert_no_faults());
}

/// A kin remote by hand, to whom node 0 with a copy of all blocks allows pushes.
fn kin(ours: &Log, theirs: &Log) -> Hand {
    let mut hand = Hand::new(theirs);
    hand.say(&Message::Extension { name: "multibee/replica".into(), payload: vec![1].into() });
    hand.upgrade(ours);
    for (request, proof) in hand.requests_answered(ours) {
        hand.say(&Message::Data { request, proof });
    }
    hand
}

fn allows(hand: &mut Hand) -> Option<bool> {
    let heard = hand.heard().into_iter();
    let syncs = heard.filter_map(|message| match message {
        Message::Sync(sync) => Some(sync.allow_push),
        _ => None,
    });
    syncs.last()
}

fn pushed(ours: &Log, index: u64, start: u64) -> Proof {
    let upgrade = Some(RequestUpgrade { start, length: ours.len() - start });
    let block = Some(RequestBlock { index, nodes: 0 });
    ours.prove(&Request { block, upgrade, ..Request::default() }).unwrap()
}

/// Only Multibee peers are told that they may push, and only what is wanted and verifies is taken:
/// all else is dropped without a word, and after a few bad ones nothing is taken any more.
#[test]
fn pushes_are_taken_with_care() {
    let (ours, theirs) = (writer(1, 4), replica(writer(1, 0).key()));
    let key = ours.key();
    let mut hand = kin(&ours, &theirs);
    let mut stranger = Hand::new(&replica(key));
    stranger.upgrade(&ours);
    assert_eq!(allows(&mut stranger), Some(false));
    append(&ours, 1);
    stranger.say(&Message::Data { request: 0, proof: pushed(&ours, 4, 4) });
    assert_eq!(stranger.net.nodes[0].replicator.progress(&key).length, 4);

    assert_holds(&theirs, 0..4);
    hand.say(&Message::Data { request: 0, proof: pushed(&ours, 4, 4) });
    assert_holds(&theirs, 0..5);
    // Twice, and of another fork.
    hand.say(&Message::Data { request: 0, proof: pushed(&ours, 4, 4) });
    append(&ours, 1);
    let good = pushed(&ours, 5, 5);
    hand.say(&Message::Data { request: 0, proof: Proof { fork: 3, ..good.clone() } });
    let mut bad = good.clone();
    bad.block.as_mut().unwrap().value = b"forged".to_vec().into();
    for _ in 0..8 {
        hand.say(&Message::Data { request: 0, proof: bad.clone() });
    }
    assert_eq!(allows(&mut hand), Some(false));
    hand.say(&Message::Data { request: 0, proof: good });
    assert_holds(&theirs, 0..5);
    assert!(!hand.is_hung_up_on());
    hand.net.nodes[0].assert_no_faults();
}

/// A remote that takes pushes, as a Hypercore 11 may, is pushed what one needs that has nothing
/// but its head: the block, the way to the new head, and the rest with nodes up to that.
#[test]
fn pushed_data_stands_for_itself() {
    let ours = writer(1, 11);
    let mut hand = Hand::new(&ours);
    let theirs = replica(ours.key());
    let head = Some(RequestUpgrade { start: 0, length: 11 });
    let request = Request { upgrade: head, manifest: true, ..Request::default() };
    theirs.apply(&ours.prove(&request).unwrap()).unwrap();
    let sync = |allow_push, length| {
        let remote_length = length;
        Message::Sync(Sync {
            length,
            remote_length,
            downloading: true,
            allow_push,
            ..Sync::default()
        })
    };
    let pushes = |hand: &mut Hand| -> Vec<Proof> {
        let heard = hand.heard().into_iter();
        heard
            .filter_map(|message| match message {
                Message::Data { request: 0, proof } => Some(proof),
                _ => None,
            })
            .collect()
    };
    for allow_push in [false, true] {
        hand.say(&sync(allow_push, ours.len()));
        append(&ours, 4);
        hand.net.nodes[0].replicator.log_changed(&ours.key());
        hand.net.run();
        let proofs = pushes(&mut hand);
        assert_eq!(proofs.len(), if allow_push { 4 } else { 0 });
        for proof in &proofs {
            theirs.apply(proof).unwrap();
        }
        if !allow_push {
            theirs.apply(&pushed(&ours, 11, 11)).unwrap();
        }
    }
    assert_holds(&theirs, [11, 15, 16, 17, 18]);
    let stored = |event: &Event| matches!(event, Event::Stored { .. });
    assert_eq!(hand.net.nodes[0].count(stored), 0);
}
