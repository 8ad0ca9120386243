//! See `multibee_log::testing::fuzz::bitfield`.

#![no_main]

multibee_fuzz::target!("bitfield");
