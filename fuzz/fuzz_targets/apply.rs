//! See `multibee_log::testing::fuzz::apply`.

#![no_main]

multibee_fuzz::target!("apply");
