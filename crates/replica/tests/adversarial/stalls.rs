//! Peers that stop, repeat themselves, or mix up the order.

use crate::case::{Case, Verdict, check};
use crate::recording::sync;
use crate::stage::{Stage, Start};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (start, by_runs) in [(Start::Empty, true), (Start::EmptyOneByOne, false)] {
        for (side, start, said) in [("source", start), ("copy", Start::Half)]
            .into_iter()
            .zip(sync(by_runs))
            .map(|((side, start), said)| (side, start, said))
        {
            let mut add = |name: String, order: Vec<usize>| {
                let said = said.clone();
                let name = format!("a {side} {name}, runs {by_runs}");
                cases.push(Case::new(name, start, Verdict::Judged, move |stage: &mut Stage| {
                    stage.open();
                    for &number in &order {
                        let (ty, payload) = said[number].clone();
                        stage.say_raw(ty, payload);
                    }
                }));
            };
            let all = said.len();
            for number in 0..all {
                add(format!("that stops after {number} messages"), (0..number).collect());
                add(
                    format!("that leaves out message {number}"),
                    (0..all).filter(|&other| other != number).collect(),
                );
                add(
                    format!("that says message {number} twice"),
                    (0..=number).chain(number..all).collect(),
                );
            }
            add("that says everything backwards".into(), (0..all).rev().collect());
            add("that says everything twice".into(), (0..all).chain(0..all).collect());
        }
    }
    cases
}

/// Wherever a peer stops, and whatever it leaves out or repeats: the others go on.
#[test]
fn nobody_waits_for_ever() {
    check(cases);
}
