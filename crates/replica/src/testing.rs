//! What tests and fuzzers of this crate share. Only with the feature `testing`.

#[doc(hidden)]
pub mod fuzz;
