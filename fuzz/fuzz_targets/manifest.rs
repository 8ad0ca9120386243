//! See `multibee_log::testing::fuzz::manifest`.

#![no_main]

multibee_fuzz::target!("manifest");
