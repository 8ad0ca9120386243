//! See `multibee_log::testing::fuzz::entry`.

#![no_main]

multibee_fuzz::target!("entry");
