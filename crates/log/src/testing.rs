//! Helpers for tests, of this crate and of others: Cargo feature `testing`, no part of the API.

pub mod fuzz;
