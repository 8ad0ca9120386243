//! See `multibee_btree::testing::fuzz::forest`.

#![no_main]

multibee_fuzz::target!("tree-walk");
