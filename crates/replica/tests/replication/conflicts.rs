//! Writers who sign two histories, and remotes that only look as if.

use std::time::Duration;

use multibee_log::{Log, LogKey, Node, Proof};
use multibee_replica::{Event, Fault, Message, NoDataReason};

use crate::hand::Hand;
use crate::network::{Network, append, assert_holds, block, link, replica, writer};

/// Two logs with one key, the same up to `shared`.
fn two_histories(lens: (u64, u64), shared: u64) -> (Log, Log) {
    let (ours, other) = (writer(1, lens.0), writer(1, shared));
    for seq in shared..lens.1 {
        other.append(&[if seq == shared { b"forged".to_vec() } else { block(seq) }]).unwrap();
    }
    (ours, other)
}

fn conflicts(net: &Network, node: usize) -> usize {
    net.nodes[node].count(|event| matches!(event, Event::Conflict { .. }))
}

fn add(net: &mut Network, node: usize, log: &Log) {
    net.nodes[node].replicator.add_log(log.clone());
    net.nodes[node].replicator.want_all(&log.key());
}

fn closes(net: &Network, node: usize, key: &LogKey) -> bool {
    let open = |event: &Event| matches!(event, Event::LogOpened { key: k, .. } if k == key);
    let closed = |event: &Event| matches!(event, Event::LogClosed { key: k, .. } if k == key);
    net.nodes[node].count(closed) == net.nodes[node].count(open)
}

/// A copy that meets the other history keeps the proof that the writer signed both, tells, and
/// closes that log's channel, wherever the histories part and however long they are. The
/// connection stays. Then it goes on below the point where they part, and trusts no more.
#[test]
fn both_histories_are_proven() {
    for (lens, shared) in [((8, 12), 5), ((8, 8), 0), ((12, 8), 7), ((33, 40), 31), ((3, 2), 1)] {
        let (ours, other) = two_histories(lens, shared);
        let key = ours.key();
        let theirs = replica(key);
        let mut net = Network::new(3);
        for (node, log) in [&ours, &other, &theirs].into_iter().enumerate() {
            add(&mut net, node, log);
        }
        link(&mut net, 2, 0, &key);
        net.run();
        let wire = link(&mut net, 2, 1, &key);
        net.run();
        // With the other history shorter there is nothing yet that shows it.
        if lens.1 <= lens.0 {
            append(&other, lens.0 + 1 - lens.1);
            net.nodes[1].replicator.log_changed(&key);
            net.run();
        }
        assert_eq!(conflicts(&net, 2), 1, "{lens:?} {shared}");
        let conflict = theirs.conflict().unwrap();
        conflict.verify(None).unwrap();
        assert_eq!(theirs.trusted_len(), shared, "{lens:?}");
        assert!(!net.nodes[2].replicator.is_closed(net.id(wire, 2)));
        assert!(closes(&net, 1, &key));
        net.nodes[2].assert_no_faults();
        assert_holds(&theirs, 0..lens.0);
        assert!(ours.conflict().is_some() && other.conflict().is_some(), "they were told");
        // What one who was not told goes on with is not taken.
        let len = theirs.len();
        let unknowing = writer(1, lens.0 + 1);
        let node = net.add_node(9);
        add(&mut net, node, &unknowing);
        link(&mut net, 2, node, &key);
        net.run();
        assert_eq!(theirs.len(), len);
    }
}

/// Who holds our history is shown the evidence, through relays too; all end with the same proof and
/// go on with the common blocks, and the other logs with everything.
#[test]
fn evidence_travels_and_the_rest_goes_on() {
    let (ours, other) = two_histories((20, 30), 13);
    let (key, unrelated) = (ours.key(), writer(2, 10));
    let copies = [replica(key), replica(key)];
    let late = replica(unrelated.key());
    let mut net = Network::new(4);
    // The other history, two copies in a row, the writer.
    for (node, log) in [&other, &copies[0], &copies[1], &ours].into_iter().enumerate() {
        add(&mut net, node, log);
    }
    add(&mut net, 0, &unrelated);
    add(&mut net, 1, &late);
    link(&mut net, 2, 3, &key);
    link(&mut net, 2, 1, &key);
    net.run();
    let wire = link(&mut net, 1, 0, &key);
    let id = net.id(wire, 1);
    net.nodes[1].replicator.offer(id, &unrelated.key());
    net.run();
    for copy in &copies {
        let conflict = copy.conflict().unwrap();
        assert_eq!((conflict.length(), copy.trusted_len() <= 13), (20, true));
    }
    assert_eq!(ours.conflict().unwrap().length(), 20);
    assert_eq!((conflicts(&net, 1), conflicts(&net, 2), conflicts(&net, 3)), (1, 1, 1));
    append(&unrelated, 5);
    net.nodes[0].replicator.log_changed(&unrelated.key());
    net.run();
    assert_holds(&late, 0..15);
    // One who comes now is told, and finds out what is not disputed once it meets the other side.
    let newcomer = net.add_node(9);
    let copy = writer(1, 20);
    add(&mut net, newcomer, &copy);
    link(&mut net, newcomer, 1, &key);
    net.run();
    assert!(copy.conflict().is_some());
    link(&mut net, newcomer, 0, &key);
    net.run();
    assert_eq!(copy.trusted_len(), 13);
    net.nodes.iter().for_each(|node| node.assert_no_faults());
}

/// A copy with the head and the first two of ten blocks, and a remote by hand.
fn hand_with_some() -> (Hand, Log, Log, Vec<(u64, Proof)>) {
    let ours = writer(1, 10);
    let theirs = replica(ours.key());
    let mut hand = Hand::new(&theirs);
    hand.upgrade(&ours);
    let mut answers = hand.requests_answered(&ours);
    for (request, proof) in answers.drain(..2) {
        hand.say(&Message::Data { request, proof });
    }
    (hand, ours, theirs, answers)
}

fn spoil(answers: &[(u64, Proof)]) -> Message {
    let (request, mut proof) = answers
        .iter()
        .find(|(_, proof)| proof.block.as_ref().is_some_and(|block| block.index == 8))
        .unwrap()
        .clone();
    proof.block.as_mut().unwrap().value = b"forged".to_vec().into();
    Message::Data { request, proof }
}

/// The question for the head that follows a contradiction.
fn question(hand: &mut Hand) -> (u64, multibee_log::Request) {
    let mut requests = hand.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].0, 0);
    requests.remove(0)
}

/// A remote that sends a block that does not verify is asked nothing but for its head. Whether that
/// is ours, is not signed, is refused, or does not come: it is hung up on for the block.
#[test]
fn liars_do_not_pass_for_cheated() {
    for case in 0..5 {
        let (mut hand, ours, theirs, answers) = hand_with_some();
        hand.say(&spoil(&answers));
        assert!(!hand.is_hung_up_on());
        let (request, question) = question(&mut hand);
        for (request, proof) in answers.iter().skip(3).cloned() {
            hand.say(&Message::Data { request, proof });
        }
        assert!(hand.requests().is_empty(), "nothing more is asked");
        let mut proof = ours.prove(&question).unwrap();
        match case {
            0 => hand.say(&Message::Data { request, proof }),
            1 => {
                proof.upgrade.as_mut().unwrap().signature = vec![1; 68].into();
                hand.say(&Message::Data { request, proof });
            }
            2 => {
                let node: &mut Node = proof.upgrade.as_mut().unwrap().nodes.first_mut().unwrap();
                node.size += 1;
                hand.say(&Message::Data { request, proof });
            }
            3 => hand.say(&Message::NoData { request, reason: NoDataReason::NOT_AVAILABLE }),
            _ => hand.net.pass(Duration::from_secs(11)),
        }
        assert!(hand.is_hung_up_on(), "case {case}");
        let fault = |event: &Event| matches!(event, Event::Fault { fault: Fault::BadData(_), .. });
        assert_eq!(hand.net.nodes[0].count(fault), 1);
        assert_eq!((theirs.conflict(), conflicts(&hand.net, 0)), (None, 0));
        assert_holds(&theirs, 0..2);
    }
}

/// Heads that nobody asked for are checked a few times only, and change nothing unless they prove
/// a conflict.
#[test]
fn unasked_heads_are_bounded() {
    for is_patient in [true, false] {
        let (ours, other) = two_histories((10, 10), 4);
        let mut hand = Hand::new(&ours);
        let upgrade = Some(multibee_log::RequestUpgrade { start: 0, length: 10 });
        let request = multibee_log::Request { upgrade, ..Default::default() };
        let mut bad = other.prove(&request).unwrap();
        bad.upgrade.as_mut().unwrap().signature = vec![1; 68].into();
        for _ in 0..if is_patient { 7 } else { 8 } {
            hand.say(&Message::Data { request: 0, proof: bad.clone() });
        }
        hand.say(&Message::Data { request: 0, proof: other.prove(&request).unwrap() });
        assert_eq!(conflicts(&hand.net, 0), usize::from(is_patient));
        assert!(!hand.is_hung_up_on());
    }
}

/// We answer the question for our head, whatever we hold.
#[test]
fn questions_for_our_head_are_answered() {
    let ours = writer(1, 10);
    let mut hand = Hand::new(&ours);
    hand.heard();
    let upgrade = Some(multibee_log::RequestUpgrade { start: 0, length: 6 });
    let request = multibee_log::Request { upgrade, ..Default::default() };
    hand.say(&Message::Request { id: 0, fork: 0, priority: 0, request });
    let heard = hand.heard();
    let [Message::Data { request: 0, proof }] = heard.as_slice() else { panic!("{heard:?}") };
    assert_eq!(writer(1, 6).check_conflict(proof).unwrap(), None);
}

/// A sparse copy that holds too few nodes to compare the head of a remote that contradicts it blames
/// nobody, since it may be the writer's doing. It asks nothing more of that remote, and gets from
/// another one what it wants.
#[test]
fn what_cannot_be_told_blames_nobody() {
    let (ours, other) = two_histories((40, 21), 5);
    let key = ours.key();
    let theirs = replica(key);
    let mut net = Network::new(3);
    for (node, log) in [&ours, &other, &theirs].into_iter().enumerate() {
        net.nodes[node].replicator.add_log(log.clone());
    }
    // The path to block 31 brings the root of the first 16, and none of those for 21.
    net.nodes[2].replicator.want(&key, 31..32, 0);
    let wire = link(&mut net, 2, 0, &key);
    net.run();
    assert_holds(&theirs, [31]);
    net.cut(wire);
    let wire = link(&mut net, 2, 1, &key);
    net.nodes[2].replicator.want(&key, 10..12, 0);
    net.run();
    net.nodes[2].assert_no_faults();
    assert!(!net.nodes[2].replicator.is_closed(net.id(wire, 2)));
    assert_holds(&theirs, [31]);
    assert!(theirs.conflict().is_none());
    assert!(net.nodes[1].replicator.stats().logs[&key].blocks_out > 0, "one was asked for");
    link(&mut net, 2, 0, &key);
    net.run();
    assert_holds(&theirs, [10, 11, 31]);
    net.nodes[2].assert_no_faults();
}
