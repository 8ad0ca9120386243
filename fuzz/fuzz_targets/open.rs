//! See `multibee_log::testing::fuzz::open`.

#![no_main]

multibee_fuzz::target!("open");
