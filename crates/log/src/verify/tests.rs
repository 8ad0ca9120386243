//! Proofs made and checked, by properties. Golden vectors are checked from outside, in
//! `tests/vectors`.

pub(crate) mod parties;
mod round_trip;
