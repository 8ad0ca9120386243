//! See `multibee_replica::testing::fuzz::source`.

#![no_main]

multibee_fuzz::target!("peer-source");
