//! The golden vectors of `vectors/btree`, made with Hyperbee itself.
//!
//! Each file is one test, which prints `<file>: N cases passed`. The folder is found next to the
//! workspace's crates, or through the variable `MULTIBEE_VECTORS`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod cases;
mod large;
mod program;
mod queries;
mod replay;
mod small;
mod subs;
mod wire;

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// Reads one file of cases.
fn cases<T: DeserializeOwned>(file: &str) -> T {
    let folder = std::env::var_os("MULTIBEE_VECTORS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors"), PathBuf::from);
    let path = folder.join("btree").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{file}: {e}"))
}

fn passed(file: &str, count: usize) {
    println!("{file}: {count} cases passed");
}

/// Bytes in hex, as a test failure should show them.
fn hex(bytes: impl AsRef<[u8]>) -> String {
    hex::encode(bytes)
}
