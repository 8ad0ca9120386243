//! The transport as two ends see it: the encrypted stream and the mux, without sockets.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod mux;
mod secure;
