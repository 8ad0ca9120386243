//! See `multibee_log::testing::fuzz::conflict`.

#![no_main]

multibee_fuzz::target!("conflict");
