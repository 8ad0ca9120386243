use std::thread;

use multibee_log::testing::{Ablation, Bad, Effort, Enumerator, Tally, Workload};

/// Explores workloads on two threads, and says what was bad.
fn explore(all: &Enumerator, workloads: &[(Workload, usize)], effort: Effort) -> (Tally, Vec<Bad>) {
    let half = |first: usize| {
        let (mut tally, mut bad) = (Tally::default(), Vec::new());
        for (workload, from) in workloads.iter().skip(first).step_by(2) {
            match all.explore(workload, *from, effort) {
                Ok(found) => tally.add(found),
                Err(found) => bad.push(*found),
            }
        }
        (tally, bad)
    };
    thread::scope(|scope| {
        let other = scope.spawn(|| half(1));
        let (mut tally, mut bad) = half(0);
        let (other_tally, other_bad) = other.join().unwrap();
        tally.add(other_tally);
        bad.extend(other_bad);
        (tally, bad)
    })
}

fn assert_none_bad(workloads: &[(Workload, usize)], effort: Effort) -> Tally {
    let (tally, bad) = explore(&Enumerator::new().unwrap(), workloads, effort);
    for bad in bad.iter().take(5) {
        println!("{bad}");
    }
    assert!(bad.is_empty(), "{} bad states", bad.len());
    tally
}

/// Whenever the power fails during a short workload, and whatever of the writes since the last sync
/// it takes along: the log opens as one that it was, no older than what was promised.
#[test]
fn short_workloads_survive_power_cuts() {
    let workloads: Vec<_> = (0..=1)
        .flat_map(Workload::all_of_len)
        .chain(Workload::all_of_len(2).step_by(5))
        .map(|workload| {
            let from = workload.ops.len().saturating_sub(1);
            (workload, from)
        })
        .collect();
    let effort = Effort { exhaustive: 6, samples: 4, seed: 1 };
    let tally = assert_none_bad(&workloads, effort);
    assert!(tally.states > 5_000, "{tally:?}");
}

/// The same for longer ones.
#[test]
fn long_workloads_survive_power_cuts() {
    let workloads: Vec<_> = (0..4).map(|seed| (Workload::random(seed), 0)).collect();
    let tally = assert_none_bad(&workloads, Effort { exhaustive: 3, samples: 1, seed: 1 });
    assert!(tally.states > 5_000, "{tally:?}");
}

/// A log that leaves out any one wait for the disk is found out: each is needed, and the search can
/// fail.
#[test]
fn each_wait_is_needed() {
    let effort = Effort { exhaustive: 6, samples: 4, seed: 1 };
    let waits = Ablation::waits().unwrap();
    assert!(waits.len() >= 15, "{waits:?}");
    for left_out in waits {
        let found = Ablation::run(left_out, 40, effort).unwrap();
        assert!(found.bad.is_some(), "nothing is bad without {left_out:?}: {:?}", found.tally);
    }
}
