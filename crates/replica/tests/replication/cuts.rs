//! Logs that their writers cut.

use std::time::Duration;

use multibee_log::{Log, Proof};
use multibee_replica::{Event, Fault, Message, NoDataReason, ReplicatorOptions, Sync};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::hand::Hand;
use crate::network::{Network, append, assert_whole_copy, link, replica, writer};

/// Blocks unlike those of [`writer`].
fn append_others(log: &Log, count: u64) {
    let first = log.len();
    let blocks: Vec<Vec<u8>> =
        (first..first + count).map(|n| format!("other {} {n}", log.fork()).into_bytes()).collect();
    log.append(&blocks).unwrap();
}

/// A network where node 0 has a log of its own, and every other one wants all of it.
fn network(ours: &Log, count: u8) -> (Network, Vec<Log>) {
    let mut net = Network::new(count);
    let copies: Vec<Log> = (1..count).map(|_| replica(ours.key())).collect();
    for (node, log) in std::iter::once(ours).chain(&copies).enumerate() {
        net.nodes[node].replicator.add_log(log.clone());
        net.nodes[node].replicator.want_all(&ours.key());
    }
    (net, copies)
}

/// From every length to every shorter one, with and without new blocks after it: the copy follows,
/// keeps what both histories share, fetches the rest anew, and tells.
#[test]
fn copies_follow_a_cut() {
    for (len, to) in (1..18).flat_map(|len| (0..len).map(move |to| (len, to))) {
        for more in [0, 1, 5] {
            let ours = writer(1, len);
            let key = ours.key();
            let (mut net, copies) = network(&ours, 2);
            link(&mut net, 1, 0, &key);
            net.run();
            let before = net.nodes[1].replicator.stats().logs[&key].blocks_in;
            ours.truncate(to).unwrap();
            net.nodes[0].replicator.log_changed(&key);
            net.run();
            append_others(&ours, more);
            net.nodes[0].replicator.log_changed(&key);
            net.run();
            net.nodes.iter().for_each(|node| node.assert_no_faults());
            if to + more == 0 {
                // Nobody can prove that there is nothing.
                assert_eq!(copies[0].len(), len);
                continue;
            }
            assert_whole_copy(&ours, &copies[0]);
            let fetched = net.nodes[1].replicator.stats().logs[&key].blocks_in - before;
            assert_eq!(fetched, more, "{len} to {to} and {more}");
            let told = |event: &Event| matches!(event, Event::Truncated { fork: (0, 1), shared_len, .. } if *shared_len == to);
            assert_eq!(net.nodes[1].count(told), 1);
        }
    }
}

/// A reader that never meets the writer learns of a cut through a relay, also when it meets the
/// relay only after that, and also when several cuts have happened meanwhile.
#[test]
fn relays_pass_cuts_on() {
    for is_late in [false, true] {
        let ours = writer(1, 40);
        let key = ours.key();
        let (mut net, copies) = network(&ours, 3);
        link(&mut net, 1, 0, &key);
        let wire = link(&mut net, 2, 1, &key);
        net.run();
        assert_whole_copy(&ours, &copies[1]);
        if is_late {
            net.cut(wire);
        }
        for (to, more) in [(33, 9), (30, 1), (12, 50)] {
            ours.truncate(to).unwrap();
            append_others(&ours, more);
            net.nodes[0].replicator.log_changed(&key);
            net.run();
            assert_whole_copy(&ours, &copies[0]);
        }
        if is_late {
            link(&mut net, 2, 1, &key);
            net.run();
        }
        assert_whole_copy(&ours, &copies[1]);
        net.nodes.iter().for_each(|node| node.assert_no_faults());
    }
}

/// What a remote is told after a cut: which blocks are gone, and the new fork; nothing of it twice.
#[test]
fn remotes_are_told_of_a_cut() {
    let ours = writer(1, 11);
    let mut hand = Hand::new(&ours);
    hand.heard();
    ours.truncate(7).unwrap();
    hand.net.nodes[0].replicator.log_changed(&ours.key());
    hand.net.run();
    let heard = hand.heard();
    assert_eq!(heard[0], Message::Range { drop: true, start: 7, length: 4 });
    assert!(matches!(heard[1], Message::Sync(Sync { fork: 1, length: 7, remote_length: 0, .. })));
    assert_eq!(heard.len(), 2);
    // Cut and grown again before anybody looks.
    ours.truncate(5).unwrap();
    append_others(&ours, 4);
    hand.net.nodes[0].replicator.log_changed(&ours.key());
    hand.net.run();
    let heard = hand.heard();
    assert_eq!(heard[0], Message::Range { drop: true, start: 5, length: 2 });
    assert_eq!(heard[1], Message::Range { drop: false, start: 0, length: 9 });
    assert!(matches!(heard[2], Message::Sync(Sync { fork: 2, length: 9, .. })));
    assert_eq!(heard.len(), 3);
}

/// What is not wanted any more is not fetched after a cut.
#[test]
fn unwanted_blocks_do_not_come_back() {
    let ours = writer(1, 20);
    let key = ours.key();
    let (mut net, copies) = network(&ours, 2);
    link(&mut net, 1, 0, &key);
    net.run();
    net.nodes[1].replicator.unwant(&key, 12..u64::MAX);
    ours.truncate(8).unwrap();
    append_others(&ours, 12);
    net.nodes[0].replicator.log_changed(&key);
    net.run();
    assert_eq!((copies[0].len(), copies[0].fork(), copies[0].contiguous_len()), (20, 1, 12));
}

/// Wherever the wire to one peer with the new fork is cut, the log is whole, of the old fork or of
/// the new one; and another peer completes it.
#[test]
fn search_survives_a_cut_wire_anywhere() {
    let run = |stop_after: Option<usize>| {
        let ours = writer(1, 100);
        let key = ours.key();
        let (mut net, copies) = network(&ours, 3);
        let wire = link(&mut net, 1, 0, &key);
        net.run();
        let before = net.delivered_count;
        ours.truncate(61).unwrap();
        append_others(&ours, 30);
        net.nodes[0].replicator.log_changed(&key);
        match stop_after {
            Some(count) => net.steps(count),
            None => net.run(),
        }
        let count = net.delivered_count - before;
        net.cut(wire);
        net.run();
        let copy = &copies[0];
        assert!([(0, 100), (1, 91)].contains(&(copy.fork(), copy.len())));
        // Node 2 gets the log from the writer, node 1 from node 2.
        link(&mut net, 2, 0, &key);
        net.run();
        link(&mut net, 1, 2, &key);
        net.run();
        assert_whole_copy(&ours, copy);
        net.nodes.iter().for_each(|node| node.assert_no_faults());
        count
    };
    let whole = run(None);
    assert!(whole > 4);
    for count in 0..whole {
        run(Some(count));
    }
}

/// A copy of 50 blocks, a remote by hand that says that it has fork 1, and a log that really has.
fn hand_with_fork() -> (Hand, Log, Log) {
    let ours = writer(1, 50);
    let theirs = replica(ours.key());
    let mut hand = Hand::new(&theirs);
    hand.upgrade(&ours);
    for (request, proof) in hand.requests_answered(&ours) {
        hand.say(&Message::Data { request, proof });
    }
    assert_eq!(theirs.contiguous_len(), 50);
    ours.truncate(21).unwrap();
    append_others(&ours, 40);
    (hand, ours, theirs)
}

fn fork_ahead(ours: &Log) -> Message {
    Message::Sync(Sync {
        fork: ours.fork(),
        length: ours.len(),
        can_upgrade: true,
        ..Sync::default()
    })
}

/// Whatever is wrong with any answer of the search: the log stays as it is, the peer is hung up
/// on, and an honest one is followed.
#[test]
fn lies_in_the_search_change_nothing() {
    type Lie = fn(&mut Proof) -> bool;
    let lies: [Lie; 7] = [
        |proof| proof.hash.as_mut().is_some_and(|hash| hash.nodes.pop().is_some()),
        |proof| {
            let node = proof.hash.as_mut().and_then(|hash| hash.nodes.last_mut());
            node.map(|node| node.index += 2).is_some()
        },
        |proof| {
            let hash = proof.hash.as_mut();
            hash.map(|hash| hash.nodes.iter_mut().for_each(|node| node.size += 1)).is_some()
        },
        |proof| proof.hash.as_mut().map(|hash| hash.index += 2).is_some(),
        |proof| {
            let upgrade = proof.upgrade.as_mut();
            upgrade.is_some_and(|upgrade| upgrade.nodes.pop().is_some())
        },
        |proof| {
            let upgrade = proof.upgrade.as_mut();
            upgrade.map(|upgrade| upgrade.signature = vec![7; 68].into()).is_some()
        },
        |proof| {
            let upgrade = proof.upgrade.as_mut();
            upgrade.map(|upgrade| upgrade.start += 1).is_some()
        },
    ];
    for lie in lies {
        for lie_at in 0.. {
            let (mut hand, ours, theirs) = hand_with_fork();
            hand.say(&fork_ahead(&ours));
            hand.say(&Message::Range { drop: false, start: 0, length: ours.len() });
            let mut has_lied = false;
            for step in 0.. {
                let Some((request, mut proof)) = hand.requests_answered(&ours).pop() else { break };
                if theirs.fork() == 1 {
                    break;
                }
                if step == lie_at {
                    has_lied = lie(&mut proof);
                }
                hand.say(&Message::Data { request, proof });
                if has_lied {
                    assert!(hand.is_hung_up_on(), "lie at {lie_at}");
                    break;
                }
            }
            if !has_lied && lie_at > 0 {
                assert_eq!((theirs.fork(), theirs.contiguous_len()), (1, 21));
                break;
            }
            assert_eq!(theirs.fork(), if has_lied { 0 } else { 1 });
        }
    }
}

/// A remote that says that it has a higher fork and proves nothing, that always comes with another
/// one, or that answers with what was not asked for, costs one request each time; the log stays and
/// honest peers go on.
#[test]
fn forks_that_are_not_proven_cost_next_to_nothing() {
    let (mut hand, ours, theirs) = hand_with_fork();
    let mut asked = 0;
    for fork in 5..200 {
        hand.say(&Message::Sync(Sync { fork, length: 1 << 40, ..Sync::default() }));
        hand.say(&Message::Sync(Sync { fork, length: 1 << 40, ..Sync::default() }));
        let requests = hand.requests();
        asked += requests.len();
        for (request, _) in requests {
            match fork % 3 {
                0 => hand.say(&Message::NoData { request, reason: NoDataReason::NOT_AVAILABLE }),
                1 => {
                    hand.say(&Message::Data { request, proof: Proof { fork, ..Proof::default() } })
                }
                _ => hand.say(&Message::Data { request, proof: Proof::default() }),
            }
        }
    }
    assert_eq!(asked, 195);
    assert_eq!((theirs.fork(), theirs.contiguous_len()), (0, 50));
    assert!(!hand.is_hung_up_on());
    let key = ours.key();
    let other = hand.net.add_node(9);
    hand.net.nodes[other].replicator.add_log(ours.clone());
    link(&mut hand.net, other, 0, &key);
    hand.net.run();
    assert_whole_copy(&ours, &theirs);
}

/// A remote that moves on to yet another fork while its answer is awaited is asked for that one
/// instead.
#[test]
fn newest_fork_of_a_remote_is_asked_for() {
    let (mut hand, ours, theirs) = hand_with_fork();
    hand.say(&fork_ahead(&ours));
    let (before, _) = hand.requests().remove(0);
    ours.truncate(45).unwrap();
    hand.say(&fork_ahead(&ours));
    let heard = hand.heard();
    assert!(heard.contains(&Message::Cancel { request: before }));
    let asked = heard.iter().filter_map(|message| match message {
        Message::Request { fork, .. } => Some(*fork),
        _ => None,
    });
    assert_eq!((asked.collect::<Vec<_>>(), theirs.fork()), (vec![2], 0));
}

/// An empty copy that was refused the head of one fork asks for that of the next, also when it is as
/// long as the other was.
#[test]
fn refused_head_of_one_fork_says_nothing_of_the_next() {
    let ours = writer(1, 1);
    let theirs = replica(ours.key());
    let mut hand = Hand::new(&theirs);
    let upgrades = |hand: &mut Hand| {
        let heard = hand.heard().into_iter();
        let asked = heard.filter_map(|message| match message {
            Message::Request { id, fork, .. } => Some((id, fork)),
            _ => None,
        });
        asked.collect::<Vec<_>>()
    };
    for fork in [0, 1, 3] {
        hand.say(&Message::Sync(Sync { fork, length: 1, can_upgrade: true, ..Sync::default() }));
        let asked = upgrades(&mut hand);
        assert_eq!(asked.iter().map(|(_, fork)| *fork).collect::<Vec<_>>(), [fork]);
        let reason = NoDataReason::NOT_AVAILABLE;
        hand.say(&Message::NoData { request: asked[0].0, reason });
        assert_eq!(upgrades(&mut hand), [], "it has said no");
    }
}

/// A remote that stalls in the midst of a search is asked again a few times and then hung up on;
/// meanwhile another remote is followed.
#[test]
fn stalled_search_holds_up_nobody() {
    let (mut hand, ours, theirs) = hand_with_fork();
    let key = ours.key();
    hand.say(&Message::Sync(Sync { fork: 99, length: 1000, ..Sync::default() }));
    let other = hand.net.add_node(9);
    hand.net.nodes[other].replicator.add_log(ours.clone());
    link(&mut hand.net, other, 0, &key);
    hand.net.run();
    assert_whole_copy(&ours, &theirs);
    assert!(!hand.is_hung_up_on());
    hand.net.pass(Duration::from_secs(41));
    assert!(hand.is_hung_up_on());
    let fault =
        |event: &Event| matches!(event, Event::Fault { fault: Fault::Unresponsive { .. }, .. });
    assert_eq!(hand.net.nodes[0].count(fault), 1);
}

/// A remote with a lower fork is asked nothing, and is brought up to ours.
#[test]
fn lower_forks_are_not_followed() {
    let (mut hand, ours, theirs) = hand_with_fork();
    hand.say(&fork_ahead(&ours));
    hand.say(&Message::Range { drop: false, start: 0, length: ours.len() });
    loop {
        let answers = hand.requests_answered(&ours);
        if answers.is_empty() {
            break;
        }
        for (request, proof) in answers {
            hand.say(&Message::Data { request, proof });
        }
    }
    assert_whole_copy(&ours, &theirs);
    hand.say(&Message::Sync(Sync { fork: 0, length: 500, can_upgrade: true, ..Sync::default() }));
    hand.say(&Message::Range { drop: false, start: 0, length: 500 });
    assert!(hand.requests().is_empty());
    assert_whole_copy(&ours, &theirs);
}

/// Where cuts are not followed, a remote that has one is told, and nothing is asked of it.
#[test]
fn cuts_are_not_followed_unless_wished() {
    let options = ReplicatorOptions { follow_cuts: false, ..ReplicatorOptions::default() };
    let mut net = Network::with_options(2, &options);
    let ours = writer(1, 10);
    let (key, theirs) = (ours.key(), replica(ours.key()));
    net.nodes[0].replicator.add_log(ours.clone());
    net.nodes[1].replicator.add_log(theirs.clone());
    net.nodes[1].replicator.want_all(&key);
    link(&mut net, 1, 0, &key);
    net.run();
    ours.truncate(4).unwrap();
    append_others(&ours, 9);
    net.nodes[0].replicator.log_changed(&key);
    net.run();
    assert_eq!((theirs.fork(), theirs.contiguous_len()), (0, 10));
    let fault = |event: &Event| {
        let ahead = Fault::ForkAhead { ours: 0, theirs: 1, length: 13 };
        matches!(event, Event::Fault { fault, .. } if fault.to_string() == ahead.to_string())
    };
    assert_eq!(net.nodes[1].count(fault), 1);
}

/// Who writes a log and meets a higher fork of it, signed with its key, is told, and keeps its own.
#[test]
fn own_log_is_never_cut_by_others() {
    let (ours, other) = (writer(1, 10), writer(1, 10));
    let key = ours.key();
    other.truncate(3).unwrap();
    let mut net = Network::new(2);
    net.nodes[0].replicator.add_log(ours.clone());
    net.nodes[1].replicator.add_log(other);
    link(&mut net, 0, 1, &key);
    net.run();
    assert_eq!((ours.fork(), ours.contiguous_len()), (0, 10));
    let told = |event: &Event| matches!(event, Event::WrittenElsewhere { ours: 0, theirs: 1, .. });
    assert_eq!(net.nodes[0].count(told), 1);
    net.nodes.iter().for_each(|node| node.assert_no_faults());
}

#[derive(Clone, Debug)]
enum Step {
    Append(u64),
    Cut(u64),
    Clear(usize, u64, u64),
    Connect(usize),
    Disconnect(usize),
    Carry(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..9_u64).prop_map(Step::Append),
        (0..1000_u64).prop_map(Step::Cut),
        (0..2_usize, 0..40_u64, 1..20_u64)
            .prop_map(|(copy, at, count)| Step::Clear(copy, at, count)),
        (0..3_usize).prop_map(Step::Connect),
        (0..3_usize).prop_map(Step::Disconnect),
        (0..30_usize).prop_map(Step::Carry),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However a log is appended to and cut while its two copies drop blocks and come and go, at any
    /// message: once all are joined and all is wanted they end with the same blocks, and nobody has
    /// done anything wrong.
    #[test]
    fn all_copies_end_equal(steps in vec(step(), 0..40)) {
        let ours = writer(1, 5);
        let key = ours.key();
        let (mut net, copies) = network(&ours, 3);
        let pairs = [(1, 0), (2, 0), (2, 1)];
        let mut wires = [None; 3];
        for step in steps {
            match step {
                Step::Append(count) => append_others(&ours, count),
                Step::Cut(at) => drop(ours.truncate(at % (ours.len() + 1)).unwrap()),
                Step::Clear(copy, at, count) => {
                    copies[copy].clear(at..at + count).unwrap();
                    net.nodes[copy + 1].replicator.cleared(&key, at..at + count);
                }
                Step::Connect(pair) => {
                    let (from, to) = pairs[pair];
                    wires[pair].get_or_insert_with(|| link(&mut net, from, to, &key));
                }
                Step::Disconnect(pair) => {
                    wires[pair].take().into_iter().for_each(|wire| net.cut(wire));
                }
                Step::Carry(count) => net.steps(count),
            }
            net.nodes[0].replicator.log_changed(&key);
        }
        append(&ours, 1);
        net.nodes[0].replicator.log_changed(&key);
        net.nodes.iter_mut().for_each(|node| node.replicator.want_all(&key));
        for (wire, (from, to)) in wires.iter_mut().zip(pairs) {
            wire.get_or_insert_with(|| link(&mut net, from, to, &key));
        }
        net.pass(Duration::from_secs(30));
        net.nodes.iter().for_each(|node| node.assert_no_faults());
        copies.iter().for_each(|copy| assert_whole_copy(&ours, copy));
    }
}
