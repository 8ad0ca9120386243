//! Three replicators in a row, whose connections are lost and whose messages are late.

use std::time::Duration;

use multibee_log::Log;
use proptest::prelude::*;

use crate::network::{Network, WireId, append, assert_whole_copy, link, replica, writer};

/// A writer, one who copies from it, and one who copies from that one.
struct Row {
    net: Network,
    logs: [Log; 3],
    wires: [WireId; 2],
}

impl Row {
    fn new(blocks: u64) -> Self {
        let ours = writer(1, blocks);
        let logs = [ours.clone(), replica(ours.key()), replica(ours.key())];
        let mut net = Network::new(3);
        for (node, log) in logs.iter().enumerate() {
            net.nodes[node].replicator.add_log(log.clone());
            net.nodes[node].replicator.want_all(&log.key());
        }
        let wires = [link(&mut net, 1, 0, &ours.key()), link(&mut net, 2, 1, &ours.key())];
        Self { net, logs, wires }
    }

    /// Loses a connection, with what is under way, and makes another in its place.
    fn lose(&mut self, which: usize) {
        self.net.cut(self.wires[which]);
        self.wires[which] = link(&mut self.net, which + 1, which, &self.logs[0].key());
    }

    /// In the end all have everything, and nothing is asked for any more.
    fn check(&mut self) {
        self.net.run();
        let key = self.logs[0].key();
        for (node, log) in self.logs.iter().enumerate() {
            assert_whole_copy(&self.logs[0], log);
            let progress = self.net.nodes[node].replicator.progress(&key);
            assert_eq!((progress.remaining, progress.in_flight), (0, 0), "node {node}");
            self.net.nodes[node].assert_no_faults();
        }
        let asked = |net: &Network| {
            net.nodes.iter().map(|n| n.replicator.stats().logs[&key].requests_out).sum::<u64>()
        };
        let before = asked(&self.net);
        self.net.pass(Duration::from_secs(300));
        assert_eq!(asked(&self.net), before, "something is asked for ever after");
    }
}

/// Whichever connection is lost after whichever message: all have everything in the end.
#[test]
fn either_connection_may_be_lost_after_any_message() {
    let mut whole = Row::new(12);
    whole.net.run();
    let count = whole.net.delivered_count;
    for which in [0, 1] {
        for after in 0..=count {
            let mut row = Row::new(12);
            row.net.steps(after);
            row.lose(which);
            row.check();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// In whatever order connections deliver, however long that takes, and whenever they are lost or
    /// the writer appends: all have everything in the end.
    #[test]
    fn logs_become_equal_in_any_order(acts in prop::collection::vec((0..40_u8, 0..2000_u64), 0..150)) {
        let mut row = Row::new(12);
        for (act, millis) in acts {
            let which = usize::from(act % 2);
            match act {
                0..36 => {
                    let from = which + usize::from(act / 2 % 2);
                    row.net.carry(row.wires[which], from);
                    row.net.now += Duration::from_millis(millis / 20);
                }
                36 | 37 => row.lose(which),
                _ => {
                    append(&row.logs[0], 1 + millis % 3);
                    row.net.nodes[0].replicator.log_changed(&row.logs[0].key());
                }
            }
        }
        row.check();
    }
}
