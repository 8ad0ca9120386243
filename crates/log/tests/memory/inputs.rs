//! Valid inputs of every decoder, from the golden vectors.

use std::fs;
use std::path::PathBuf;

use multibee_log::testing::fuzz::{Parts, conflicts, signatures};
use multibee_log::{MemoryStorage, Part, Storage};
use serde_json::Value;

/// Directories with all that a log can have: entries, a header elsewhere, user data, cleared blocks.
const DIRECTORIES: &[&str] =
    &["dirty-2", "external-header", "userdata", "sparse-v1", "truncated-reappended"];

/// More proofs than that have no more kinds of fields.
const PROOFS_MAX: usize = 24;

fn vectors() -> PathBuf {
    let vectors = std::env::var_os("MULTIBEE_VECTORS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors")),
        PathBuf::from,
    );
    vectors.join("log")
}

fn load(name: &str) -> Value {
    serde_json::from_slice(&fs::read(vectors().join(name)).unwrap()).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

/// Inputs, each with the name of its target.
pub(crate) fn all() -> Vec<(&'static str, Vec<u8>)> {
    let mut all = Vec::new();
    let encodings = load("encodings.json");
    for (name, target) in
        [("oplogEntry", "entry"), ("oplogHeader", "slot"), ("manifest", "manifest")]
    {
        let cases = encodings[name].as_array().unwrap().iter();
        all.extend(cases.map(|case| (target, bytes(&case["encoded"]))));
    }
    let proofs = load("proofs.json");
    let steps = proofs["sessions"].as_array().unwrap().iter();
    let steps = steps.flat_map(|session| session["steps"].as_array().unwrap());
    let wires = steps.filter(|step| step["wire"].is_string()).map(|step| bytes(&step["wire"]));
    all.extend(wires.filter(|wire| wire.len() < 600).take(PROOFS_MAX).map(|wire| ("proof", wire)));
    all.extend(signatures().into_iter().map(|input| ("signature", input)));
    all.extend(conflicts().into_iter().map(|input| ("conflict", input)));
    all.extend(DIRECTORIES.iter().map(|id| ("open", directory(id))));
    all
}

fn directory(id: &str) -> Vec<u8> {
    let storage = MemoryStorage::new();
    for part in Part::ALL {
        if let Ok(content) = fs::read(vectors().join("storage").join(id).join(part.name())) {
            storage.write_at(part, 0, &content).unwrap();
        }
    }
    Parts::of(&storage).encode()
}

/// The places of an input that are tried: not each byte of what takes long to look at, where most
/// bytes are of hashes and signatures, and of a whole log only those of its headers and entries.
pub(crate) fn places(target: &str, input: &[u8]) -> Vec<usize> {
    let (end, step) = match target {
        "open" => (1200, 5),
        "signature" => (usize::MAX, 3),
        _ => (usize::MAX, 1),
    };
    (0..input.len().min(end)).step_by(step).collect()
}
