//! Hypercore on Node, which does what it is told.

use std::ops::Range;

use anyhow::{Context, Result, ensure};
use multibee_log::LogKey;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Kind;
use crate::interop::program::Program;

/// A process with any number of cores, by name.
pub(super) struct Theirs {
    node: Program,
}

/// What a core is.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct State {
    pub(super) key: String,
    pub(super) length: u64,
    pub(super) byte_length: u64,
    pub(super) fork: u64,
    pub(super) tree_hash: String,
    /// The blocks that it holds.
    pub(super) held: Vec<u64>,
}

impl State {
    pub(super) fn log_key(&self) -> Result<LogKey> {
        self.key.parse().context("a core's key")
    }
}

#[derive(Deserialize)]
struct Listening {
    port: u16,
}

#[derive(Deserialize)]
struct Got {
    block: String,
}

#[derive(Deserialize)]
struct Found {
    at: (u64, u64),
}

impl Theirs {
    pub(super) fn start(version: &str) -> Result<Self> {
        Self::run(&["--version", version])
    }

    /// With a Corestore, which there is for version 11.
    pub(super) fn with_store() -> Result<Self> {
        Self::run(&["--version", "11", "--store"])
    }

    fn run(arguments: &[&str]) -> Result<Self> {
        Ok(Self { node: Program::node("cores.mjs", arguments)? })
    }

    pub(super) fn listen(&mut self) -> Result<u16> {
        let answer: Listening = self.node.ask(&json!({ "listen": true }))?;
        Ok(answer.port)
    }

    pub(super) fn dial(&mut self, port: u16) -> Result<()> {
        self.node.ask(&json!({ "dial": port })).map(|_: Value| ())
    }

    /// A new core of theirs.
    pub(super) fn write(&mut self, name: &str, seed: [u8; 32], kind: Kind) -> Result<State> {
        let (seed, compat) = (hex::encode(seed), kind.is_compat());
        self.node.ask(&json!({ "open": name, "seed": seed, "compat": compat }))
    }

    /// An empty copy of somebody else's log.
    pub(super) fn copy(&mut self, name: &str, key: &LogKey) -> Result<State> {
        self.node.ask(&json!({ "open": name, "key": hex::encode(key.as_bytes()) }))
    }

    /// As [`copy`](Self::copy), for one that takes blocks unasked.
    pub(super) fn pushed_copy(&mut self, name: &str, key: &LogKey) -> Result<State> {
        self.node.ask(&json!({ "open": name, "key": hex::encode(key.as_bytes()), "push": true }))
    }

    pub(super) fn append(&mut self, name: &str, blocks: &[Vec<u8>]) -> Result<State> {
        let blocks: Vec<_> = blocks.iter().map(hex::encode).collect();
        self.order(name, &json!({ "append": blocks }))
    }

    pub(super) fn truncate(&mut self, name: &str, length: u64) -> Result<State> {
        self.order(name, &json!({ "truncate": length }))
    }

    pub(super) fn clear(&mut self, name: &str, range: Range<u64>) -> Result<State> {
        self.order(name, &json!({ "clear": [range.start, range.end] }))
    }

    /// Closes a core, which a store finds again on its disk.
    pub(super) fn close(&mut self, name: &str) -> Result<()> {
        self.order(name, &json!({ "close": true })).map(|_: Value| ())
    }

    /// Waits until a core has this fork, and at least this length.
    pub(super) fn reach(&mut self, name: &str, length: u64, fork: u64) -> Result<State> {
        self.order(name, &json!({ "reach": [length, fork] }))
    }

    /// Waits until these blocks are there.
    pub(super) fn download(&mut self, name: &str, range: Range<u64>) -> Result<State> {
        self.order(name, &json!({ "download": [range.start, range.end] }))
    }

    /// Has all blocks downloaded that there are and will be.
    pub(super) fn follow(&mut self, name: &str) -> Result<State> {
        self.order(name, &json!({ "follow": true }))
    }

    pub(super) fn get(&mut self, name: &str, seq: u64) -> Result<Vec<u8>> {
        self.begin_get(name, seq)?;
        self.end_get()
    }

    /// Asks for a block that may not exist yet; [`end_get`](Self::end_get) waits for it.
    pub(super) fn begin_get(&mut self, name: &str, seq: u64) -> Result<()> {
        self.node.tell(&json!({ "on": name, "get": seq }))
    }

    pub(super) fn end_get(&mut self) -> Result<Vec<u8>> {
        let answer: Got = self.node.line()?;
        Ok(hex::decode(answer.block)?)
    }

    /// The block with the byte at an offset, and where in it.
    pub(super) fn seek(&mut self, name: &str, byte: u64) -> Result<(u64, u64)> {
        let answer: Found = self.order(name, &json!({ "seek": byte }))?;
        Ok(answer.at)
    }

    pub(super) fn state(&mut self, name: &str) -> Result<State> {
        self.order(name, &json!({ "state": true }))
    }

    /// Ends the process, which must have nothing more to say.
    pub(super) fn finish(self) -> Result<()> {
        let rest: Vec<Value> = self.node.finish()?;
        ensure!(rest.is_empty(), "not asked for: {rest:?}");
        Ok(())
    }

    fn order<T: DeserializeOwned>(&mut self, name: &str, order: &Value) -> Result<T> {
        let mut order = order.clone();
        if let Some(fields) = order.as_object_mut() {
            fields.insert("on".to_owned(), name.into());
        }
        self.node.ask(&order)
    }
}
