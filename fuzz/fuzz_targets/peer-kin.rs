//! See `multibee_replica::testing::fuzz::kin`.

#![no_main]

multibee_fuzz::target!("peer-kin");
