//! See `multibee_btree::testing::fuzz::block`.

#![no_main]

multibee_fuzz::target!("tree-block");
