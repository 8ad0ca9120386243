//! See `multibee_log::testing::fuzz::signature`.

#![no_main]

multibee_fuzz::target!("signature");
