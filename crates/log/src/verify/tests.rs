//! Proofs made and checked: against golden vectors, and by properties.

mod bad_proofs;
mod heads;
mod parties;
mod proofs;
mod round_trip;
mod vectors;
