//! See `multibee_replica::testing::fuzz::follower`.

#![no_main]

multibee_fuzz::target!("peer-follower");
