//! Plans that once found something, or bring about what is hard to reach.

use std::fs;
use std::path::Path;

use multibee_sim::{Plan, run};

/// No plan that is kept breaks a rule (any more).
#[test]
fn kept_plans_break_no_rule() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans");
    let mut count = 0;
    for file in fs::read_dir(folder).expect("the folder is there") {
        let path = file.expect("it can be listed").path();
        let text = fs::read(&path).expect("it can be read");
        let plan: Plan = serde_json::from_slice(&text).expect("it is a plan");
        if let Err(violation) = run(&plan) {
            panic!("{}: {violation}", path.display());
        }
        count += 1;
    }
    assert!(count > 0);
}
