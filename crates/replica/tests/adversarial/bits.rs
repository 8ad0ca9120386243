//! Every bit of every message of a sync, flipped.

use crate::case::{Case, Verdict, check};
use crate::recording::{Said, sync};
use crate::stage::{Stage, Start};

/// A case is one message; its inputs are that message with each of its bits flipped.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (start, by_runs) in [(Start::Empty, true), (Start::EmptyOneByOne, false)] {
        let [by_source, by_copy] = sync(by_runs);
        add(&mut cases, &format!("bits of what a source says, runs {by_runs}"), start, &by_source);
        let name = format!("bits of what a copy says, runs {by_runs}");
        add(&mut cases, &name, Start::Half, &by_copy);
    }
    cases
}

fn add(cases: &mut Vec<Case>, name: &str, start: Start, said: &[Said]) {
    for (number, (ty, payload)) in said.iter().enumerate() {
        let said = said.to_vec();
        let name = format!("{name}: message {number} of type {ty}");
        let bits = 8 * payload.len();
        cases.push(Case::of_many(name, start, Verdict::Judged, bits, move |stage, bit| {
            say_spoilt(stage, &said, number, bit);
        }));
    }
}

fn say_spoilt(stage: &mut Stage, said: &[Said], which: usize, bit: usize) {
    stage.open();
    for (number, (ty, payload)) in said.iter().enumerate() {
        let mut payload = payload.clone();
        if number == which {
            payload[bit / 8] ^= 1 << (bit % 8);
        }
        stage.say_raw(*ty, payload);
    }
}

/// Whichever bit of a message is flipped: what is stored is what was signed, and the others go on.
#[test]
fn no_flipped_bit_does_harm() {
    check(cases);
}
