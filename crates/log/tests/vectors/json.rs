//! Reading the vectors. Their schema: vectors/log/README.md.

use std::{env, fs, path::PathBuf};

use serde::{Deserialize, Deserializer, de::DeserializeOwned};

/// Reads a file of `vectors/log`.
pub(crate) fn load<T: DeserializeOwned>(name: &str) -> T {
    let root = env::var_os("MULTIBEE_VECTORS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors")),
        PathBuf::from,
    );
    let text = fs::read_to_string(root.join("log").join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Bytes written as hex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hex(pub(crate) Vec<u8>);

impl Hex {
    pub(crate) fn array<const N: usize>(&self) -> [u8; N] {
        self.0.as_slice().try_into().unwrap()
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(Self(hex::decode(text).map_err(serde::de::Error::custom)?))
    }
}
