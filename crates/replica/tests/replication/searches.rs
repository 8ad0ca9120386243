//! The search for the point where a remote's higher fork parts from ours, on remotes that do not
//! have, or do not tell, all of it.

use multibee_log::Log;
use multibee_replica::{Message, Sync};

use crate::hand::Hand;
use crate::network::{Network, link, replica, writer};

/// A copy of 50 blocks of which the remote was told; the remote, by hand, goes on to a fork that
/// shares 20 blocks, and says of its blocks what Hypercore says: which of the old ones are gone.
/// Returns the log that is really cut, and the copy.
fn hand_that_cuts() -> (Hand, Log, Log) {
    let ours = writer(1, 50);
    let theirs = replica(ours.key());
    let mut hand = Hand::new(&theirs);
    hand.upgrade(&ours);
    for (request, proof) in hand.requests_answered(&ours) {
        hand.say(&Message::Data { request, proof });
    }
    assert_eq!(theirs.contiguous_len(), 50);
    ours.truncate(20).unwrap();
    ours.append(&vec![b"other"; 40]).unwrap();
    hand.heard();
    let (fork, length) = (ours.fork(), ours.len());
    hand.say(&Message::Sync(Sync { fork, length, ..Sync::default() }));
    hand.say(&Message::Range { drop: true, start: 20, length: 30 });
    (hand, ours, theirs)
}

/// Answers all requests, until none comes. Returns what else was heard.
fn answer(hand: &mut Hand, log: &Log) -> Vec<Message> {
    let mut rest = Vec::new();
    loop {
        let heard = hand.heard();
        let before = rest.len();
        let mut has_asked = false;
        for message in heard {
            let Message::Request { id, request, .. } = message else {
                rest.push(message);
                continue;
            };
            has_asked = true;
            let proof = log.prove(&request).unwrap();
            hand.say(&Message::Data { request: id, proof });
        }
        if !has_asked && rest.len() == before {
            return rest;
        }
    }
}

/// A search goes on by any block that the remote has below the node that it looks into. When there
/// is none it rests, and goes on as soon as one is announced, to the very block where the histories
/// part.
#[test]
fn a_search_goes_on_once_a_lacked_block_is_announced() {
    for announced in 20..24 {
        let (mut hand, ours, theirs) = hand_that_cuts();
        answer(&mut hand, &ours);
        assert_eq!(theirs.fork(), 0, "no block tells of those from 20 to 23");
        // Of no use to the search.
        hand.say(&Message::Range { drop: false, start: 40, length: 20 });
        assert_eq!(hand.requests(), []);
        hand.say(&Message::Range { drop: false, start: announced, length: 1 });
        let asked = hand.requests();
        assert_eq!(asked.len(), 1, "the head is not asked for again");
        let (request, question) = &asked[0];
        assert!(question.upgrade.is_none());
        let proof = ours.prove(question).unwrap();
        hand.say(&Message::Data { request: *request, proof });
        answer(&mut hand, &ours);
        hand.say(&Message::Range { drop: false, start: 20, length: 40 });
        answer(&mut hand, &ours);
        assert_eq!((theirs.fork(), theirs.contiguous_len()), (1, 60), "after {announced}");
    }
}

/// A Hypercore tells nobody of a block that it was told of itself, whatever fork that was on. So a
/// search that rests takes back what was told beyond the shared blocks, and then asks what there
/// is; it does so once.
#[test]
fn a_search_that_rests_makes_a_hypercore_tell() {
    let (mut hand, ours, theirs) = hand_that_cuts();
    let told = answer(&mut hand, &ours);
    let wants = |message: &&Message| matches!(message, Message::Want { start: 0, .. });
    let taken_back = Message::Range { drop: true, start: 20, length: 30 };
    let at = told.iter().position(|message| *message == taken_back).unwrap();
    assert_eq!(told[at..].iter().filter(wants).count(), 1);
    assert_eq!(told[..at].iter().filter(wants).count(), 0);
    hand.say(&Message::Range { drop: false, start: 40, length: 20 });
    assert_eq!(hand.heard(), []);

    // In the words of a bitfield, then.
    let words = ours.bitfield_words(0, 2);
    hand.say(&Message::Bitfield { start: 0, words });
    let told = answer(&mut hand, &ours);
    assert_eq!((theirs.fork(), theirs.contiguous_len()), (1, 60));
    let all = Message::Range { drop: false, start: 0, length: 60 };
    assert!(told.contains(&all), "what was taken back is told again: {told:?}");
}

/// What was taken back and has stayed is told again, block by block, if there are gaps.
#[test]
fn blocks_that_stay_are_told_again() {
    let (mut hand, ours, theirs) = hand_that_cuts();
    hand.net.nodes[0].replicator.unwant(&theirs.key(), 0..u64::MAX);
    theirs.clear(3..5).unwrap();
    hand.net.nodes[0].replicator.cleared(&theirs.key(), 3..5);
    // Nothing at all helps the search, so it rests at the root of blocks 0 to 31.
    hand.say(&Message::Range { drop: true, start: 0, length: 20 });
    let told = answer(&mut hand, &ours);
    assert!(told.contains(&Message::Range { drop: true, start: 0, length: 50 }), "{told:?}");
    assert_eq!(theirs.fork(), 0);
    hand.say(&Message::Range { drop: false, start: 20, length: 40 });
    let told = answer(&mut hand, &ours);
    assert_eq!((theirs.fork(), theirs.held(0..60)), (1, vec![0..3, 5..20]));
    let has = |range: &Message| told.contains(range);
    assert!(has(&Message::Range { drop: false, start: 0, length: 3 }), "{told:?}");
    assert!(has(&Message::Range { drop: false, start: 5, length: 15 }), "{told:?}");
}

/// Blocks that arrive are told to a remote on a lower fork also if it has told of blocks in those
/// places: they are others.
#[test]
fn a_remote_on_a_lower_fork_is_told_of_all() {
    let ours = writer(1, 50);
    let theirs = replica(ours.key());
    let mut hand = Hand::new(&theirs);
    let others = hand.net.add_node(9);
    hand.net.nodes[others].replicator.add_log(ours.clone());
    hand.net.nodes[0].replicator.unwant(&ours.key(), 0..u64::MAX);
    link(&mut hand.net, others, 0, &ours.key());
    hand.net.run();
    hand.announce(&ours);
    ours.truncate(20).unwrap();
    ours.append(&[b"other"; 30]).unwrap();
    hand.net.nodes[others].replicator.log_changed(&ours.key());
    hand.net.run();
    assert_eq!((theirs.fork(), theirs.len()), (1, 50));
    hand.heard();
    hand.net.nodes[0].replicator.want(&ours.key(), 30..33, 0);
    hand.net.run();
    assert!(theirs.held(0..50).into_iter().flatten().eq(30..33));
    let told = hand.heard();
    assert!(told.contains(&Message::Range { drop: false, start: 30, length: 3 }), "{told:?}");
}

/// A Multibee relay that has nothing of the new fork but its head cannot help, and says so; the
/// search goes on once it has got a block of those that matter, asked for by its own reader.
#[test]
fn a_search_goes_on_when_a_relay_has_got_a_block() {
    let ours = writer(1, 50);
    let key = ours.key();
    let mut net = Network::new(3);
    net.nodes[0].replicator.add_log(ours.clone());
    let copies = [replica(key), replica(key)];
    for (node, copy) in net.nodes.iter_mut().skip(1).zip(&copies) {
        node.replicator.add_log(copy.clone());
        node.replicator.want_all(&key);
    }
    let wire = link(&mut net, 1, 0, &key);
    link(&mut net, 2, 1, &key);
    net.run();
    assert_eq!(copies[1].contiguous_len(), 50);
    for node in 1..3 {
        net.nodes[node].replicator.unwant(&key, 0..u64::MAX);
    }
    net.cut(wire);
    ours.truncate(20).unwrap();
    ours.append(&[b"other"; 40]).unwrap();
    link(&mut net, 1, 0, &key);
    net.run();
    assert_eq!((copies[0].fork(), copies[0].len()), (1, 60));
    net.nodes[1].replicator.want(&key, 21..22, 0);
    net.run();
    assert_eq!((copies[1].fork(), copies[1].len(), copies[1].contiguous_len()), (1, 60, 20));
    net.nodes.iter().for_each(|node| node.assert_no_faults());
}
