//! See `multibee_replica::testing::fuzz::mux`.

#![no_main]

multibee_fuzz::target!("peer-mux");
