//! Two peers whose connection is lost at each boundary between two messages.

use std::time::Duration;

use multibee_log::Log;
use multibee_replica::{Event, ReplicatorOptions};

use crate::network::{Network, WireId, append, assert_holds, replica, writer};

/// A writer, who copies from it, and the connection between them.
struct Pair {
    net: Network,
    logs: [Log; 2],
    wire: Option<WireId>,
    is_encrypted: bool,
}

/// Something that the two do together.
struct Scenario {
    name: &'static str,
    by_runs: bool,
    /// Messages that it takes at least, so that none of it is missed.
    messages_min: usize,
    /// Blocks of the writer, of which the copy has all at the beginning, or none.
    blocks: u64,
    is_copied: bool,
    /// What happens; the two are joined after it if they are not yet.
    act: fn(&mut Pair),
    /// Blocks that come then.
    needed: u64,
    /// How it ends.
    check: fn(&Pair),
}

const SCENARIOS: [Scenario; 9] = [
    Scenario {
        name: "a full sync",
        by_runs: false,
        messages_min: 50,
        blocks: 20,
        is_copied: false,
        act: |pair| pair.want_all(),
        needed: 20,
        check: |pair| pair.assert_whole(),
    },
    Scenario {
        name: "a full sync by runs",
        by_runs: true,
        messages_min: 15,
        blocks: 300,
        is_copied: false,
        act: |pair| pair.want_all(),
        needed: 300,
        check: |pair| pair.assert_whole(),
    },
    Scenario {
        name: "an append that is asked for",
        by_runs: false,
        messages_min: 130,
        blocks: 5,
        is_copied: true,
        act: |pair| pair.append(65),
        needed: 65,
        check: |pair| pair.assert_whole(),
    },
    Scenario {
        name: "an append that is pushed",
        by_runs: false,
        messages_min: 6,
        blocks: 20,
        is_copied: true,
        act: |pair| pair.append(5),
        needed: 5,
        check: |pair| pair.assert_whole(),
    },
    Scenario {
        name: "a cut to a new fork",
        by_runs: false,
        messages_min: 20,
        blocks: 20,
        is_copied: true,
        act: |pair| pair.fork(7, 6),
        needed: 6,
        check: |pair| pair.assert_whole(),
    },
    Scenario {
        name: "a cut to a new fork, by runs",
        by_runs: true,
        messages_min: 10,
        blocks: 100,
        is_copied: true,
        act: |pair| pair.fork(33, 80),
        needed: 80,
        check: |pair| pair.assert_whole(),
    },
    Scenario {
        name: "blocks that the copy drops and fetches again",
        by_runs: false,
        messages_min: 7,
        blocks: 20,
        is_copied: true,
        act: |pair| {
            pair.clear(1, 5..15);
            pair.net.nodes[1].replicator.want(&pair.logs[0].key(), 7..10, 0);
        },
        needed: 3,
        check: |pair| assert_holds(&pair.logs[1], (0..5).chain(7..10).chain(15..20)),
    },
    Scenario {
        name: "blocks that the source has dropped",
        by_runs: false,
        messages_min: 20,
        blocks: 20,
        is_copied: false,
        act: |pair| {
            pair.clear(0, 5..15);
            pair.want_all();
        },
        needed: 10,
        check: |pair| assert_holds(&pair.logs[1], (0..5).chain(15..20)),
    },
    Scenario {
        name: "bytes that are looked for",
        by_runs: false,
        messages_min: 12,
        blocks: 40,
        is_copied: false,
        // Blocks 0 to 9 have 7 bytes, the others 8.
        act: |pair| {
            let key = pair.logs[0].key();
            assert!(pair.net.nodes[1].replicator.seek(&key, 75));
            assert!(pair.net.nodes[1].replicator.seek(&key, 281));
        },
        needed: 2,
        check: |pair| {
            let sought = pair.net.nodes[1].events.iter().filter_map(|event| match event {
                Event::Sought { byte, seq, within, .. } => Some((*byte, *seq, *within)),
                _ => None,
            });
            let mut sought: Vec<_> = sought.collect();
            sought.sort_unstable();
            assert_eq!(sought, [(75, 10, 5), (281, 36, 3)], "each is told once");
        },
    },
];

impl Pair {
    fn new(scenario: &Scenario, is_encrypted: bool) -> Self {
        let options =
            ReplicatorOptions { ask_for_runs: scenario.by_runs, ..ReplicatorOptions::default() };
        let ours = writer(1, scenario.blocks);
        let logs = [ours.clone(), replica(ours.key())];
        let mut net = Network::with_options(2, &options);
        for (node, log) in net.nodes.iter_mut().zip(&logs) {
            node.replicator.add_log(log.clone());
        }
        let mut pair = Self { net, logs, wire: None, is_encrypted };
        if scenario.is_copied {
            pair.want_all();
            pair.join();
            pair.net.run();
            pair.assert_whole();
        }
        (scenario.act)(&mut pair);
        if pair.wire.is_none() {
            pair.join();
        }
        pair
    }

    fn join(&mut self) {
        let wire =
            if self.is_encrypted { self.net.connect(1, 0) } else { self.net.connect_singly(1, 0) };
        let id = self.net.id(wire, 1);
        self.net.nodes[1].replicator.offer(id, &self.logs[0].key());
        self.wire = Some(wire);
    }

    fn want_all(&mut self) {
        self.net.nodes[1].replicator.want_all(&self.logs[0].key());
    }

    fn append(&mut self, count: u64) {
        append(&self.logs[0], count);
        self.net.nodes[0].replicator.log_changed(&self.logs[0].key());
    }

    /// Cuts the log, and appends others than were there.
    fn fork(&mut self, to: u64, count: u64) {
        self.logs[0].truncate(to).unwrap();
        let blocks: Vec<String> = (0..count).map(|number| format!("anew {number}")).collect();
        self.logs[0].append(&blocks).unwrap();
        self.net.nodes[0].replicator.log_changed(&self.logs[0].key());
    }

    fn clear(&mut self, node: usize, blocks: std::ops::Range<u64>) {
        self.logs[node].clear(blocks.clone()).unwrap();
        self.net.nodes[node].replicator.cleared(&self.logs[0].key(), blocks);
    }

    fn assert_whole(&self) {
        crate::network::assert_whole_copy(&self.logs[0], &self.logs[1]);
    }

    /// Blocks that the writer has sent, and that the copy has stored.
    fn moved(&self) -> (u64, u64) {
        let key = self.logs[0].key();
        let stats = |node: usize| self.net.nodes[node].replicator.stats().logs[&key];
        (stats(0).blocks_out, stats(1).blocks_in)
    }

    /// Loses the connection, with what the given ends have sent meanwhile, and joins the two again.
    fn lose(&mut self, ends: &[usize]) {
        let wire = self.wire.unwrap();
        ends.iter().for_each(|&end| self.net.lose(wire, end));
        self.net.cut(wire);
        self.join();
    }

    /// Right after a loss: all goes well, at once. `stored_before` blocks had come before the scenario.
    fn check(&mut self, scenario: &Scenario, stored_before: u64) {
        let (sent, stored) = self.moved();
        self.net.run();
        (scenario.check)(self);
        self.net.pass(Duration::from_secs(60));
        (scenario.check)(self);
        let (sent_after, stored_after) = self.moved();
        assert_eq!(stored_after - stored_before, scenario.needed, "stored once");
        assert_eq!(sent_after - sent, stored_after - stored, "sent once, but for what was lost");
        let progress = self.net.nodes[1].replicator.progress(&self.logs[0].key());
        assert_eq!(progress.in_flight, 0);
        self.net.nodes.iter().for_each(|node| node.assert_no_faults());
    }
}

/// Wherever the connection is lost, with and without what either side has sent in the meantime: once
/// the two are joined again they end as if nothing had happened, without waiting for anything, nobody is
/// blamed, and what was stored before does not cross a second time.
#[test]
fn connections_may_be_lost_after_any_message() {
    for scenario in &SCENARIOS {
        let count = lose_everywhere(scenario, false);
        assert!(count >= scenario.messages_min, "{}: {count} messages", scenario.name);
    }
}

/// The same of encrypted connections, from their handshake on: their pieces hold several messages.
#[test]
fn connections_may_be_lost_after_any_piece() {
    for scenario in &SCENARIOS {
        let count = lose_everywhere(scenario, true);
        // The handshake takes four.
        let count_min = if scenario.is_copied { 2 } else { 9 };
        assert!(count >= count_min, "{}: {count} pieces", scenario.name);
    }
}

/// Returns how many pieces are delivered if nothing is lost.
fn lose_everywhere(scenario: &Scenario, is_encrypted: bool) -> usize {
    let mut whole = Pair::new(scenario, is_encrypted);
    let before = whole.net.delivered_count;
    whole.net.run();
    (scenario.check)(&whole);
    let count = whole.net.delivered_count - before;
    for after in 0..=count {
        for ends in [&[][..], &[0], &[1], &[0, 1]] {
            println!("{}: lost after {after} of {count}, unheard {ends:?}", scenario.name);
            let mut pair = Pair::new(scenario, is_encrypted);
            let (_, stored_before) = pair.moved();
            pair.net.steps(after);
            pair.lose(ends);
            pair.check(scenario, stored_before);
        }
    }
    count
}
