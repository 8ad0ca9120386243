//! A slice of the simulation, in every run of the tests.

use multibee_sim::{Plan, Report, Scope, run};

/// Groups of devices with failing disks, connections and clocks keep every promise.
#[test]
fn devices_keep_their_promises() {
    let mut all = Report::default();
    for seed in 1..=24 {
        let plan = Plan::random(seed, Scope { devices: 4, steps: 100 });
        match run(&plan) {
            Ok(report) => all.add(&report),
            Err(violation) => panic!("seed {seed}: {violation}"),
        }
    }
    assert!(all.faults > 100 && all.operations > 500, "{all}");
}

/// The same seed gives the same run, in every step (S15).
#[test]
fn a_seed_repeats_its_run() {
    let plan = Plan::random(7, Scope { devices: 4, steps: 100 });
    assert_eq!(run(&plan), run(&plan));
}
