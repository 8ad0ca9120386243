//! See `multibee_log::testing::fuzz::frames`.

#![no_main]

multibee_fuzz::target!("frames");
