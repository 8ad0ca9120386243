//! What the vectors were generated from.

use serde::Deserialize;

use crate::program::{ListedStep, Program, Step};
use crate::replay::{self, Options};

#[derive(Deserialize)]
struct Cases {
    small: Vec<Case>,
    large: Vec<Case>,
    queries: Vec<Case>,
    subs: Vec<serde_json::Value>,
    wire: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    bee: Option<Options>,
    #[serde(flatten)]
    source: Source,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Source {
    Generated(Program),
    Listed { steps: Vec<ListedStep> },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    name: String,
    tree_hash: String,
}

/// The generator's input alone leads to the log that Hyperbee made of it.
#[test]
fn cases() {
    let Cases { small, large, queries, subs, wire } = crate::cases("cases.json");
    let mut passed = 0;
    for (cases, file) in [(small, "small.json"), (large, "large.json"), (queries, "queries.json")] {
        let outcomes: Vec<Outcome> = crate::cases(file);
        assert_eq!(cases.len(), outcomes.len(), "{file}");
        for (case, outcome) in cases.iter().zip(&outcomes) {
            assert_eq!(case.name, outcome.name);
            let bee = replay::fresh(case.bee.as_ref());
            case.source.steps().iter().for_each(|step| replay::run(&bee, step));
            assert_eq!(replay::tree_hash(&bee), outcome.tree_hash, "{}", case.name);
            passed += 1;
        }
    }
    println!("cases.json: {} of subs and {} of wire have no steps", subs.len(), wire.len());
    crate::passed("cases.json", passed);
}

impl Source {
    fn steps(&self) -> Vec<Step> {
        match self {
            Self::Generated(program) => program.steps(),
            Self::Listed { steps } => steps.iter().map(Step::from).collect(),
        }
    }
}
