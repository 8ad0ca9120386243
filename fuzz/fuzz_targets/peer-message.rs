//! See `multibee_replica::testing::fuzz::message`.

#![no_main]

multibee_fuzz::target!("peer-message");
