//! See `multibee_btree::testing::fuzz::header`.

#![no_main]

multibee_fuzz::target!("tree-header");
