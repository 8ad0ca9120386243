//! Who is asked for what, how far it has come, and how fast it may.

use std::time::Duration;

use multibee_log::{Log, LogKey};
use multibee_replica::{ConnectionId, Event, Message, NoDataReason, ReplicatorOptions};

use crate::hand::Hand;
use crate::network::{Network, append, assert_holds, replica, writer};

fn link(net: &mut Network, from: usize, to: usize, keys: &[LogKey]) -> ConnectionId {
    let wire = net.connect(from, to);
    let id = net.id(wire, from);
    keys.iter().for_each(|key| net.nodes[from].replicator.offer(id, key));
    id
}

/// Node 0 lacks all of a log that the others have.
fn setup(servers: u8, blocks: u64, options: &ReplicatorOptions) -> (Network, Log, LogKey) {
    let theirs = replica(writer(1, 0).key());
    let key = theirs.key();
    let mut net = Network::with_options(servers + 1, options);
    net.nodes[0].replicator.add_log(theirs.clone());
    for server in 1..=usize::from(servers) {
        net.nodes[server].replicator.add_log(writer(1, blocks));
    }
    (net, theirs, key)
}

/// Several peers serve one log at once: each a part, and no block is asked for twice, neither alone
/// nor in runs.
#[test]
fn peers_share_a_download() {
    for ask_for_runs in [false, true] {
        share(&ReplicatorOptions { ask_for_runs, ..ReplicatorOptions::default() });
    }
}

fn share(options: &ReplicatorOptions) {
    let (mut net, theirs, key) = setup(3, 5000, options);
    let ids = [1, 2, 3].map(|server| link(&mut net, 0, server, &[key]));
    net.run();
    net.nodes[0].replicator.want_all(&key);
    net.run();
    assert_holds(&theirs, 0..5000);
    let stats = net.nodes[0].replicator.stats().logs[&key];
    assert_eq!((stats.blocks_in, stats.retries), (5000, 0));
    assert!(options.ask_for_runs || stats.requests_out == 5000);
    let sent = (1..=3).map(|server| net.nodes[server].replicator.stats().logs[&key].blocks_out);
    assert_eq!(sent.sum::<u64>(), 5000);
    let remotes = net.nodes[0].replicator.remote_progress(&key);
    let received = ids.map(|id| remotes[&id].received);
    assert_eq!(received.iter().sum::<u64>(), 5000);
    assert!(received.iter().all(|received| *received > 500), "{received:?}");
    net.nodes.iter().for_each(|node| node.assert_no_faults());
}

/// A reader's block of one log overtakes the download of another on the same connection, and many
/// downloads on it get on together.
#[test]
fn readers_overtake_downloads_of_other_logs() {
    let logs: Vec<Log> = (1..9).map(|seed| writer(seed, 3000)).collect();
    let keys: Vec<LogKey> = logs.iter().map(Log::key).collect();
    let copies: Vec<Log> = keys.iter().map(|key| replica(*key)).collect();
    let mut net = Network::new(2);
    for (ours, theirs) in logs.iter().zip(&copies) {
        net.nodes[0].replicator.add_log(ours.clone());
        net.nodes[1].replicator.add_log(theirs.clone());
    }
    link(&mut net, 1, 0, &keys);
    net.run();
    let (reader, downloads) = (&copies[7], &copies[..7]);
    keys[..7].iter().for_each(|key| net.nodes[1].replicator.want_all(key));
    let counts = || -> Vec<usize> {
        downloads.iter().map(|log| log.held(0..3000).into_iter().flatten().count()).collect()
    };
    while counts().iter().sum::<usize>() < 3000 {
        assert!(net.step());
    }
    let (most, least) = (counts().into_iter().max(), counts().into_iter().min());
    assert!(most.unwrap() - least.unwrap() <= 640, "more than a window apart: {:?}", counts());
    let before = net.delivered_len;
    net.nodes[1].replicator.want(&reader.key(), 2000..2001, 1);
    while !reader.has(2000) {
        assert!(net.step());
    }
    // What the server had lined up for sending, and no more.
    let went = net.delivered_len - before;
    assert!(went < 320 * 1024, "{went} bytes went before it");
    net.run();
    assert!(counts().iter().all(|count| *count == 3000));
}

/// What a busy peer has refused is asked of it again, but only after a while.
#[test]
fn refusal_is_not_for_ever() {
    let ours = writer(1, 10);
    let theirs = replica(ours.key());
    let mut hand = Hand::new(&theirs);
    hand.upgrade(&ours);
    for (request, _) in hand.requests_answered(&ours) {
        hand.say(&Message::NoData { request, reason: NoDataReason::NOT_AVAILABLE });
    }
    hand.net.pass(Duration::from_secs(4));
    assert!(hand.requests_answered(&ours).is_empty(), "too soon");
    hand.net.pass(Duration::from_secs(2));
    let answers = hand.requests_answered(&ours);
    assert_eq!(answers.len(), 10);
    for (request, proof) in answers {
        hand.say(&Message::Data { request, proof });
    }
    assert_holds(&theirs, 0..10);
    hand.net.nodes[0].assert_no_faults();
}

/// Under a limit a download takes as long as its bytes take at that rate, all comes in the end, and
/// nobody is hung up on for being slow.
#[test]
fn limits_hold() {
    const LIMIT: u64 = 10_000;
    let options = ReplicatorOptions { ask_for_runs: false, ..ReplicatorOptions::default() };
    for is_upload in [false, true] {
        let (mut net, theirs, key) = setup(1, 8000, &options);
        if is_upload {
            net.nodes[1].replicator.set_limits(Some(LIMIT), None);
        } else {
            net.nodes[0].replicator.set_limits(None, Some(LIMIT));
        }
        net.nodes[0].replicator.want_all(&key);
        link(&mut net, 0, 1, &[key]);
        let start = net.now;
        while theirs.contiguous_len() < 8000 {
            net.pass(Duration::from_millis(100));
            assert!(net.now - start < Duration::from_secs(200), "{}", theirs.contiguous_len());
        }
        let received = net.nodes[0].replicator.stats().total.bytes_in;
        let took = (net.now - start).as_secs_f64();
        let fair = received as f64 / LIMIT as f64;
        assert!((0.9 * fair - 1.0..1.2 * fair + 1.0).contains(&took), "{took} s, not {fair}");
        net.nodes.iter().for_each(|node| node.assert_no_faults());
    }
}

/// News is told at once by one who may not send any more answers for now.
#[test]
fn limits_do_not_hold_up_news() {
    let (mut net, theirs, key) = setup(1, 3000, &ReplicatorOptions::default());
    let ours = writer(1, 3000);
    net.nodes[1].replicator.remove_log(&key);
    net.nodes[1].replicator.add_log(ours.clone());
    net.nodes[1].replicator.set_limits(Some(1000), None);
    net.nodes[0].replicator.want_all(&key);
    link(&mut net, 0, 1, &[key]);
    net.run();
    assert!(theirs.contiguous_len() < 3000);
    append(&ours, 1);
    net.nodes[1].replicator.log_changed(&key);
    net.run();
    let is_news = |event: &Event| matches!(event, Event::RemoteHead { length: 3001, .. });
    assert_eq!(net.nodes[0].count(is_news), 1);
}

/// Progress is told at most once in an interval, whatever happens in it; in the end it says that all
/// is here, and then nothing more.
#[test]
fn progress_is_told_as_it_changes() {
    let progress_interval = Some(Duration::from_millis(500));
    let options = ReplicatorOptions {
        progress_interval,
        ask_for_runs: false,
        ..ReplicatorOptions::default()
    };
    let (mut net, _, key) = setup(2, 4000, &options);
    net.nodes[0].replicator.set_limits(None, Some(40_000));
    net.nodes[0].replicator.want_all(&key);
    link(&mut net, 0, 1, &[key]);
    link(&mut net, 0, 2, &[key]);
    net.pass(Duration::from_secs(60));
    let mut all = Vec::new();
    for event in &net.nodes[0].events {
        if let Event::Progress { progress, remotes, .. } = event {
            let of_remotes = remotes.values().map(|remote| remote.received).sum::<u64>();
            assert_eq!(of_remotes, progress.received);
            assert_eq!(progress.wanted, progress.received + progress.remaining);
            all.push(**progress);
        }
    }
    assert!((5..=121).contains(&all.len()), "{}", all.len());
    assert!(all.windows(2).all(|pair| pair[0] != pair[1] && pair[0].received <= pair[1].received));
    let middle = all.iter().find(|progress| progress.received > 2000).unwrap();
    assert!((100..2000).contains(&middle.blocks_per_s), "{middle:?}");
    assert!(middle.bytes_per_s > middle.blocks_per_s * 5, "{middle:?}");
    let last = all.last().unwrap();
    let now = (last.received, last.remaining, last.in_flight, last.blocks_per_s);
    assert_eq!(now, (4000, 0, 0, 0));
    net.pass(Duration::from_secs(3600));
    let told = net.nodes[0].count(|event| matches!(event, Event::Progress { .. }));
    assert_eq!(told, all.len(), "nothing has changed");
}
