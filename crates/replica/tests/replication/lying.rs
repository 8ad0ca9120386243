//! Peers that know the key and do not play by the rules.

use std::time::{Duration, Instant};

use bytes::Bytes;
use multibee_log::{Request, RequestBlock, RequestUpgrade};
use multibee_replica::{Event, Fault, Message, NoDataReason, Sync};

use crate::hand::Hand;
use crate::network::{append, assert_holds, replica, writer};

/// Answers in the reverse order, as Hypercore may give them, are all stored, and none is asked
/// for twice.
#[test]
fn answers_in_any_order_are_stored() {
    let ours = writer(1, 64);
    let theirs = replica(ours.key());
    let mut hand = Hand::new(&theirs);
    hand.upgrade(&ours);
    let mut answers = hand.requests_answered(&ours);
    assert_eq!(answers.len(), 64);
    answers.reverse();
    for (request, proof) in answers {
        hand.say(&Message::Data { request, proof });
    }
    assert_holds(&theirs, 0..64);
    let stats = hand.net.nodes[0].replicator.stats().logs[&ours.key()];
    assert_eq!((stats.retries, stats.requests_out), (0, 64));
    hand.net.nodes[0].assert_no_faults();
}

/// When an answer fails to come on which others build, only what cannot be verified without it
/// is asked for again, and in the end all is here that the peer gives.
#[test]
fn missing_answer_costs_only_what_builds_on_it() {
    let ours = writer(1, 64);
    let theirs = replica(ours.key());
    let mut hand = Hand::new(&theirs);
    hand.upgrade(&ours);
    let answers = hand.requests_answered(&ours);
    for (request, proof) in answers {
        if request % 7 == 3 {
            hand.say(&Message::NoData { request, reason: NoDataReason::NOT_AVAILABLE });
        } else {
            hand.say(&Message::Data { request, proof });
        }
    }
    loop {
        let again = hand.requests_answered(&ours);
        if again.is_empty() {
            break;
        }
        for (request, proof) in again {
            hand.say(&Message::Data { request, proof });
        }
    }
    // Request 1 was for the head, 2 for block 0, and so on.
    assert_holds(&theirs, (0..64).filter(|block| (block + 2) % 7 != 3));
    hand.net.nodes[0].assert_no_faults();
}

/// Whichever bit of an answer is flipped: the peer is hung up on or what it sent is ignored, and
/// what is stored is what the writer signed.
#[test]
fn no_flipped_bit_is_stored() {
    let ours = writer(1, 10);
    // The head's proof, then the first block's and one that builds on it.
    for which in 0..3 {
        for bit in (0..).step_by(5) {
            let theirs = replica(ours.key());
            let mut hand = Hand::new(&theirs);
            let (mut answers, before) = if which == 0 {
                hand.announce(&ours);
                (hand.requests_answered(&ours), 0)
            } else {
                hand.upgrade(&ours);
                (hand.requests_answered(&ours), which - 1)
            };
            for (request, proof) in answers.drain(..before) {
                hand.say(&Message::Data { request, proof });
            }
            let (request, proof) = answers.remove(0);
            let mut payload = Message::Data { request, proof }.encode();
            let Some(byte) = payload.get_mut(bit / 8) else { break };
            *byte ^= 1 << (bit % 8);
            let len = theirs.len();
            hand.say_raw(DATA, payload);
            assert!(theirs.len() == len || theirs.len() == 10, "answer {which} bit {bit}");
            if let Some(head) = theirs.head() {
                assert_eq!(head.tree_hash, ours.head().unwrap().tree_hash);
            }
            let held: Vec<u64> = theirs.held(0..10).into_iter().flatten().collect();
            assert_holds(&theirs, held);
        }
    }
}

/// Proper data that was not asked for is ignored; another block than the one asked for is a fault.
#[test]
fn unasked_and_exchanged_answers_are_not_taken() {
    let ours = writer(1, 10);
    let theirs = replica(ours.key());
    let mut hand = Hand::new(&theirs);
    hand.upgrade(&ours);
    let answers = hand.requests_answered(&ours);
    let (asked, _) = answers[0].clone();
    let (_, other) = answers[1].clone();
    hand.say(&Message::Data { request: 999, proof: other.clone() });
    assert!(!hand.is_hung_up_on());
    assert_holds(&theirs, []);
    hand.say(&Message::Data { request: asked, proof: other });
    assert!(hand.is_hung_up_on());
    let fault =
        |event: &Event| matches!(event, Event::Fault { fault: Fault::WrongData { .. }, .. });
    assert_eq!(hand.net.nodes[0].count(fault), 1);
    assert_holds(&theirs, []);
}

/// Whoever was asked for a block that is no longer wanted is told so, and what comes even so is
/// ignored.
#[test]
fn unwanted_blocks_are_cancelled() {
    let ours = writer(1, 10);
    let theirs = replica(ours.key());
    let mut hand = Hand::new(&theirs);
    hand.upgrade(&ours);
    let answers = hand.requests_answered(&ours);
    hand.net.nodes[0].replicator.unwant(&ours.key(), 6..10);
    hand.net.run();
    let cancelled = answers[6..].iter().map(|&(request, _)| Message::Cancel { request });
    assert_eq!(hand.heard(), cancelled.collect::<Vec<_>>());
    for (request, proof) in answers {
        hand.say(&Message::Data { request, proof });
    }
    assert_holds(&theirs, 0..6);
    hand.net.nodes[0].assert_no_faults();
}

/// Many invalid requests are refused one by one, and then the peer is hung up on.
#[test]
fn invalid_requests_are_counted() {
    let ours = writer(1, 10);
    let mut hand = Hand::new(&ours);
    let upgrade = Some(RequestUpgrade { start: 5, length: 100 });
    let request = Request { upgrade, ..Request::default() };
    for id in 1..64 {
        hand.say(&Message::Request { id, fork: 0, priority: 0, request });
    }
    let refusals = hand.heard();
    let invalid = NoDataReason::INVALID_REQUEST;
    let refused = |message: &&Message| matches!(message, Message::NoData { reason, .. } if *reason == invalid);
    assert_eq!(refusals.iter().filter(refused).count(), 63);
    assert!(!hand.is_hung_up_on());
    hand.say(&Message::Request { id: 64, fork: 0, priority: 0, request });
    assert!(hand.is_hung_up_on());
}

/// A peer that asks without end and takes no answer gets refusals beyond the first few thousand
/// requests, and costs a bounded amount of memory.
#[test]
fn request_floods_are_refused() {
    let ours = writer(1, 10);
    let mut hand = Hand::new(&ours);
    let block = Some(RequestBlock { index: 3, nodes: 0 });
    let request = Request { block, ..Request::default() };
    // One frame with all of them, so that none is answered in between.
    for number in 1..=6000 {
        let message = Message::Request { id: number, fork: 0, priority: 0, request };
        hand.net.nodes[1].replicator.send(hand.far, hand.channel, message.ty(), message.encode());
    }
    let frame = hand.net.nodes[1].replicator.poll_transmit(hand.far).unwrap();
    let now = hand.net.now;
    hand.net.nodes[0].replicator.handle_bytes(hand.near, &frame, now);
    assert!(hand.net.nodes[0].replicator.queued_len(hand.near) < 400_000);
    hand.net.run();
    let answers = hand.heard();
    let served = answers.iter().filter(|m| matches!(m, Message::Data { .. })).count();
    let refused = answers.iter().filter(|m| matches!(m, Message::NoData { .. })).count();
    assert_eq!((served + refused, served >= 512, refused > 0), (6000, true, true));
    assert!(!hand.is_hung_up_on());
}

/// Requests for another fork, for blocks past the end and for blocks that are not held are
/// refused with a reason; one without any wish gets an empty answer.
#[test]
fn unanswerable_requests_are_refused() {
    let ours = writer(1, 10);
    let mut hand = Hand::new(&ours);
    hand.heard();
    let block =
        |index| Request { block: Some(RequestBlock { index, nodes: 0 }), ..Request::default() };
    hand.say(&Message::Request { id: 1, fork: 1, priority: 0, request: block(1) });
    hand.say(&Message::Request { id: 2, fork: 0, priority: 0, request: block(99) });
    hand.say(&Message::Request { id: 3, fork: 0, priority: 0, request: Request::default() });
    let answers = hand.heard();
    assert_eq!(answers.len(), 3);
    let none = NoDataReason::NOT_AVAILABLE;
    assert!(matches!(answers[0], Message::NoData { request: 1, reason } if reason == none));
    assert!(matches!(answers[1], Message::NoData { request: 2, .. }));
    assert!(matches!(&answers[2], Message::Data { request: 3, proof } if proof.block.is_none()));
}

/// A want is answered by a range if that says it all, else by bits; absurd wants, ranges and
/// bitfields cost next to nothing.
#[test]
fn absurd_announcements_cost_nothing() {
    let ours = writer(1, 100);
    let mut hand = Hand::new(&ours);
    hand.heard();
    hand.say(&Message::Want { start: 0, length: 1 << 21, any: false });
    assert_eq!(hand.heard(), [Message::Range { drop: false, start: 0, length: 100 }]);

    let begun = Instant::now();
    for shift in 0..53 {
        for drop in [false, true] {
            let (start, length) = ((1 << shift) - 1, (1 << (52 - shift)) + 1);
            hand.say(&Message::Range { drop, start, length });
            hand.say(&Message::Want { start, length, any: drop });
        }
        hand.say(&Message::Bitfield { start: 32 << (shift / 2), words: vec![u32::MAX; 10] });
    }
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert!(!hand.is_hung_up_on());
    assert!(hand.heard().len() < 10);
}

/// A remote that takes back a length is told and no longer asked; the connection stays. Once it
/// comes with another fork, it is asked again.
#[test]
fn lengths_are_not_taken_back() {
    let ours = writer(1, 10);
    let theirs = replica(ours.key());
    let mut hand = Hand::new(&theirs);
    hand.upgrade(&ours);
    assert_eq!(hand.requests().len(), 10);
    hand.say(&Message::Sync(Sync { length: 4, can_upgrade: true, ..Sync::default() }));
    let fault = |event: &Event| {
        matches!(event, Event::Fault { fault: Fault::WentBack { from: 10, to: 4 }, .. })
    };
    assert_eq!(hand.net.nodes[0].count(fault), 1);
    hand.say(&Message::Range { drop: false, start: 0, length: 10 });
    assert!(hand.requests().is_empty());
    hand.say(&Message::Sync(Sync { fork: 1, length: 4, ..Sync::default() }));
    assert_eq!(hand.requests().len(), 1);
    assert!(!hand.is_hung_up_on());
}

/// Each length that a remote acknowledges is answered at once by ours, without which a Hypercore
/// peer would never ask again; equal lengths are not acknowledged back and forth.
#[test]
fn lengths_are_acknowledged() {
    let ours = writer(1, 10);
    let mut hand = Hand::new(&ours);
    let syncs = |hand: &mut Hand| -> Vec<Sync> {
        let heard = hand.heard().into_iter();
        heard
            .filter_map(|message| match message {
                Message::Sync(sync) => Some(sync),
                _ => None,
            })
            .collect()
    };
    let first = syncs(&mut hand);
    assert_eq!((first.len(), first[0].length, first[0].remote_length), (1, 10, 0));
    assert!(first[0].can_upgrade && first[0].has_manifest);
    let say = |hand: &mut Hand, length| {
        hand.say(&Message::Sync(Sync { length, remote_length: 10, ..Sync::default() }));
    };
    say(&mut hand, 0);
    assert!(syncs(&mut hand).is_empty(), "it knows all that");
    say(&mut hand, 4);
    let second = syncs(&mut hand);
    assert_eq!((second.len(), second[0].remote_length, second[0].can_upgrade), (1, 4, true));
    say(&mut hand, 10);
    let third = syncs(&mut hand);
    assert_eq!((third.len(), third[0].can_upgrade), (1, false), "nothing left to prove");
    say(&mut hand, 10);
    assert!(syncs(&mut hand).is_empty());
    append(&ours, 1);
    hand.net.nodes[0].replicator.log_changed(&ours.key());
    hand.net.run();
    let fourth = syncs(&mut hand);
    assert_eq!((fourth.len(), fourth[0].length, fourth[0].remote_length), (1, 11, 10));
}

/// Bytes that are no message end the connection.
#[test]
fn undecodable_messages_end_the_connection() {
    for (ty, payload) in [(0, vec![1]), (3, vec![1, 1]), (7, vec![1, 9]), (1, vec![0xff; 8])] {
        let ours = writer(1, 10);
        let mut hand = Hand::new(&ours);
        hand.say_raw(ty, payload);
        assert!(hand.is_hung_up_on(), "type {ty}");
    }
    let ours = writer(1, 10);
    let mut hand = Hand::new(&ours);
    hand.say_raw(99, vec![1, 2, 3]);
    hand.say(&Message::Bitfield { start: 0, words: Vec::new() });
    hand.say(&Message::Range { drop: true, start: 0, length: 0 });
    hand.say(&Message::Extension { name: "unknown".into(), payload: Bytes::from_static(b"x") });
    assert!(
        !hand.is_hung_up_on(),
        "unknown types and extensions, and empty messages, are passed over"
    );
}

const DATA: u64 = 3;
