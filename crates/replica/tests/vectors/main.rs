//! Every case of the wire vectors, which were made by the programs we want to talk to.
//!
//! The files are in `vectors/wire` of the project, or below the directory that `MULTIBEE_VECTORS`
//! names: a set made from another label works as well.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod capability;
mod constants;
mod dh;
mod handshake;
mod messages;
mod proofs;
mod protomux;
mod secretstream;
mod sessions;

use std::path::PathBuf;

use serde_json::Value;

/// Loads one file of vectors.
fn load(file: &str) -> Value {
    let vectors = std::env::var_os("MULTIBEE_VECTORS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors")),
        PathBuf::from,
    );
    let path = vectors.join("wire").join(file);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// The elements of an array.
fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap()
}

/// A text.
fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// The bytes of a hex text; none for null.
fn bytes(value: &Value) -> Vec<u8> {
    value.as_str().map(|text| hex::decode(text).unwrap()).unwrap_or_default()
}

/// As [`bytes`], of a length that the test knows.
fn fixed<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().unwrap()
}

/// Says how many cases of a file were checked, and that there were any.
fn passed(file: &str, count: usize) {
    assert!(count > 0, "{file} has no cases");
    println!("{file}: {count} cases passed");
}
