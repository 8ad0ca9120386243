//! See `multibee_log::testing::fuzz::slot`.

#![no_main]

multibee_fuzz::target!("slot");
