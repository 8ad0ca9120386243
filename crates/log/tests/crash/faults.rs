use multibee_log::testing::{Enumerator, Workload};

/// Whichever single operation of the disk fails: the error says so, the last acknowledged commit is
/// there, and a log whose sync failed takes no more writes until it is opened anew.
#[test]
fn any_operation_may_fail() {
    let all = Enumerator::new().unwrap();
    let mut runs = 0;
    for workload in [
        "immediate nothing 1: append batch flush truncate clear put download append reopen append",
        "buffered settled 2: append append flush clear batch truncate append download flush",
        "none settled 3: append append put flush append truncate append",
    ] {
        let workload: Workload = workload.parse().unwrap();
        runs += all.fail_each(&workload).unwrap_or_else(|bad| panic!("{bad}"));
    }
    assert!(runs > 100, "{runs}");
}

/// Whichever two fail.
#[test]
fn any_two_operations_may_fail() {
    let all = Enumerator::new().unwrap();
    let workload: Workload = "immediate settled 4: append flush append".parse().unwrap();
    let runs = all.fail_each_pair(&workload).unwrap_or_else(|bad| panic!("{bad}"));
    assert!(runs > 100, "{runs}");
}
