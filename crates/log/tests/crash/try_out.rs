use multibee_log::testing::{Effort, Enumerator, Tally, Workload};
use std::time::Instant;

#[test]
fn try_out() {
    let all = Enumerator::new().unwrap();
    let effort = Effort { exhaustive: 6, samples: 4, seed: 1 };
    let mut bad = 0;
    for len in 0..=std::env::var("LEN").map_or(2, |l| l.parse().unwrap()) {
        let start = Instant::now();
        let mut tally = Tally::default();
        let mut n = 0;
        for workload in Workload::all_of_len(len) {
            n += 1;
            match all.explore(&workload, (len as usize).saturating_sub(1), effort) {
                Ok(found) => tally.add(found),
                Err(b) => {
                    bad += 1;
                    if bad < 40 {
                        println!("BAD {b}");
                    }
                }
            }
        }
        let t = start.elapsed();
        println!(
            "len {len}: {n} workloads {tally:?} {t:?} {:?} a state",
            t / (tally.states as u32 + 1)
        );
    }
    println!("{bad} bad");
}

#[test]
fn try_random() {
    let all = Enumerator::new().unwrap();
    let effort = Effort { exhaustive: 4, samples: 2, seed: 1 };
    let mut bad = 0;
    let start = Instant::now();
    let mut tally = Tally::default();
    let first: u64 = std::env::var("FIRST").map_or(0, |l| l.parse().unwrap());
    let count: u64 = std::env::var("COUNT").map_or(20, |l| l.parse().unwrap());
    for seed in first..first + count {
        match all.explore(&Workload::random(seed), 0, effort) {
            Ok(found) => tally.add(found),
            Err(b) => {
                bad += 1;
                if bad < 10 {
                    println!("BAD {b}");
                }
            }
        }
    }
    let t = start.elapsed();
    println!("{tally:?} {t:?} {:?} a state", t / (tally.states as u32 + 1));
    println!("{bad} bad");
}

#[test]
fn try_ablation() {
    use multibee_log::testing::Ablation;
    let waits = Ablation::waits().unwrap();
    println!("{waits:?}");
    for wait in waits {
        let start = Instant::now();
        let effort = Effort { exhaustive: 6, samples: 4, seed: 1 };
        let found = Ablation::run(wait, 30, effort).unwrap();
        println!(
            "{:?} {:?} {:?} {}",
            found.left_out,
            found.tally,
            start.elapsed(),
            found.bad.map_or("NONE".to_owned(), |bad| bad.to_string())
        );
    }
}

#[test]
fn try_one() {
    let Ok(text) = std::env::var("ONE") else { return };
    let all = Enumerator::new().unwrap();
    let effort = Effort { exhaustive: 4, samples: 2, seed: 1 };
    match all.explore(&text.parse().unwrap(), 0, effort) {
        Ok(found) => println!("{found:?}"),
        Err(bad) => println!("BAD {bad}"),
    }
}

#[test]
fn try_faults() {
    let all = Enumerator::new().unwrap();
    for mode in ["immediate", "buffered", "none", "eventual"] {
        for start in ["nothing", "settled", "unsynced"] {
            let t = Instant::now();
            let w: Workload = format!("{mode} {start} 1: put append flush batch truncate append download clear download flush notes download reopen append reclaim put sync download").parse().unwrap();
            println!(
                "{mode} {start} {:?} {:?}",
                all.fail_each(&w).map_err(|b| b.to_string()),
                t.elapsed()
            );
            let t = Instant::now();
            let w: Workload = format!("{mode} {start} 1: put flush append").parse().unwrap();
            println!(
                "pairs {mode} {start} {:?} {:?}",
                all.fail_each_pair(&w).map_err(|b| b.to_string()),
                t.elapsed()
            );
        }
    }
}
