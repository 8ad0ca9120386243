//! See `multibee_replica::testing::fuzz::frames`.

#![no_main]

multibee_fuzz::target!("peer-frames");
