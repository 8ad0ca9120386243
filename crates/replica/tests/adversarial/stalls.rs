//! Peers that stop, repeat themselves, or mix up the order.

use std::time::Duration;

use multibee_replica::CloseReason;

use crate::case::{Case, Verdict, check};
use crate::recording::{Said, sync};
use crate::stage::{Stage, Start};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (start, by_runs) in [(Start::Empty, true), (Start::EmptyOneByOne, false)] {
        for (side, start, said) in [("source", start), ("copy", Start::Half)]
            .into_iter()
            .zip(sync(by_runs))
            .map(|((side, start), said)| (side, start, said))
        {
            let name = format!("a {side}, runs {by_runs}");
            for number in 0..=said.len() {
                cases.push(stops(&name, start, &said[..number]));
                cases.push(falls_silent(&name, start, &said[..number]));
            }
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

/// One that keeps its connection and says nothing more, beside nobody else. If anything is asked of it, it
/// is hung up on; and if nothing is, nobody complains.
fn stops(name: &str, start: Start, said: &[Said]) -> Case {
    let name = format!("{name}, that stops for ever after {} messages", said.len());
    let said = said.to_vec();
    Case::new(name, start, Verdict::Judged, move |stage| {
        stage.open();
        said.iter().for_each(|(ty, payload)| stage.say_raw(*ty, payload.clone()));
        let is_awaited = stage.referee.awaits_answers();
        stage.pass(150);
        let outcome = stage.outcome();
        let is_named =
            outcome.faults.iter().any(|fault| fault.starts_with("no answer to 4 rounds"));
        assert_eq!(is_named, is_awaited, "{outcome:?}");
    })
}

/// One that does not even keep its connection, beside nobody else: it is closed, for that or for what it
/// has left unanswered before.
fn falls_silent(name: &str, start: Start, said: &[Said]) -> Case {
    let name = format!("{name}, that falls silent after {} messages", said.len());
    let said = said.to_vec();
    Case::new(name, start, Verdict::Gone, move |stage| {
        stage.open();
        said.iter().for_each(|(ty, payload)| stage.say_raw(*ty, payload.clone()));
        stage.pass_in_silence(Duration::from_secs(61));
        let reason = stage.outcome().reason;
        assert!(matches!(reason, Some(CloseReason::Silence | CloseReason::Fault)), "{reason:?}");
    })
}

/// Wherever a peer stops, and whatever it leaves out or repeats: the others go on.
#[test]
fn nobody_waits_for_ever() {
    check(cases);
}
