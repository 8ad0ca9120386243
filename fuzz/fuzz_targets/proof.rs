//! See `multibee_log::testing::fuzz::proof`.

#![no_main]

multibee_fuzz::target!("proof");
