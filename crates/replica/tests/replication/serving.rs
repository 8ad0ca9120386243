//! In which order a replicator answers what is asked of it.

use multibee_log::{Log, LogKey};
use multibee_replica::ReplicatorOptions;

use crate::network::{Network, link, replica, writer};

/// Blocks in a log; so many that no remote asks for all of them at once.
const COUNT: u64 = 3000;

/// A log of large blocks.
fn large(seed: u8) -> Log {
    let log = writer(seed, 0);
    let blocks: Vec<Vec<u8>> = (0..COUNT).map(|seq| vec![seq as u8; 2000]).collect();
    log.append(&blocks).unwrap();
    log
}

/// How many blocks a log holds.
fn held(log: &Log) -> u64 {
    log.held(0..COUNT).into_iter().map(|held| held.end - held.start).sum()
}

/// Node 0 has logs of large blocks, and node 1, which wants all of each, copies of them.
fn serve(ours: &[Log], theirs: &[Log], options: &ReplicatorOptions) -> Network {
    let mut net = Network::with_options(2, options);
    for (ours, theirs) in ours.iter().zip(theirs) {
        net.nodes[0].replicator.add_log(ours.clone());
        net.nodes[1].replicator.add_log(theirs.clone());
        net.nodes[1].replicator.want_all(&theirs.key());
    }
    net
}

/// All at once over one connection.
fn join(net: &mut Network, keys: &[LogKey]) {
    let wire = net.connect(1, 0);
    let id = net.id(wire, 1);
    keys.iter().for_each(|key| net.nodes[1].replicator.offer(id, key));
}

/// Logs that are served over one connection get on together, whatever their number and order:
/// while any is on its way, none is far behind.
#[test]
fn served_logs_get_on_together() {
    for ask_for_runs in [false, true] {
        let logs: Vec<Log> = (1..6).map(large).collect();
        let keys: Vec<LogKey> = logs.iter().map(Log::key).collect();
        let copies: Vec<Log> = keys.iter().map(|key| replica(*key)).collect();
        let options = ReplicatorOptions { ask_for_runs, ..ReplicatorOptions::default() };
        let mut net = serve(&logs, &copies, &options);
        join(&mut net, &keys);
        while copies.iter().all(|copy| held(copy) < COUNT) {
            assert!(net.step());
            let counts: Vec<u64> = copies.iter().map(held).collect();
            let (most, least) = (counts.iter().max().unwrap(), counts.iter().min().unwrap());
            assert!(most - least <= COUNT / 4, "far apart: {counts:?}");
        }
        net.run();
        assert!(copies.iter().all(|copy| held(copy) == COUNT));
    }
}

/// What we lack of a log ourselves, and ask the same remote for, does not put off what it asks of us
/// about that log.
#[test]
fn what_is_asked_does_not_put_off_what_is_served() {
    // Whichever comes first by its key.
    for (served, shared) in [(1, 2), (2, 1)] {
        let (served, whole) = (large(served), large(shared));
        let halves = [replica(whole.key()), replica(whole.key())];
        let mut net = Network::new(2);
        net.nodes[0].replicator.add_log(whole);
        net.nodes[1].replicator.add_log(halves[0].clone());
        let source = net.add_node(9);
        net.nodes[source].replicator.add_log(halves[1].clone());
        let middle = COUNT / 2;
        for (node, part) in [(1, 0..middle), (source, middle..COUNT)] {
            net.nodes[node].replicator.want(&halves[0].key(), part, 0);
            link(&mut net, node, 0, &halves[0].key());
        }
        net.run();

        let copy = replica(served.key());
        let [ours, theirs] = halves;
        let logs = [served, ours.clone()];
        let mut net = serve(&logs, &[copy.clone(), theirs.clone()], &ReplicatorOptions::default());
        net.nodes[0].replicator.want_all(&ours.key());
        join(&mut net, &logs.map(|log| log.key()));
        while held(&copy) < COUNT / 2 {
            assert!(net.step());
        }
        assert!(held(&theirs) - middle > COUNT / 8, "{} of {}", held(&theirs), held(&copy));
        net.run();
        assert_eq!((held(&copy), held(&theirs), held(&ours)), (COUNT, COUNT, COUNT));
    }
}
