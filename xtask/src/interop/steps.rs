//! A log on disk in the hands of Hypercore 10, and what either side sees of it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use multibee_log::Log;
use serde::Deserialize;
use serde_json::{Value, json};

use super::program::Program;

/// The running `core-steps.mjs`.
pub(super) struct Steps(Program);

impl Steps {
    pub(super) fn start() -> Result<Self> {
        Ok(Self(Program::node("core-steps.mjs", &[])?))
    }

    /// Does one thing to the log that is open, or opens one. Returns what the log is then.
    pub(super) fn step(&mut self, step: &Value) -> Result<Seen> {
        self.0.ask(step).with_context(|| format!("in step {step}"))
    }

    pub(super) fn close(&mut self) -> Result<()> {
        self.0.ask::<Value>(&json!({ "close": true })).map(drop)
    }

    /// Makes a copy of the open log in `folder`, or adds to the one that is there.
    pub(super) fn fetch(&mut self, folder: &Path, blocks: &[u64]) -> Result<()> {
        self.0.ask::<Value>(&json!({ "fetch": [text(folder)?, blocks] })).map(drop)
    }

    /// Opens the logs of these folders one by one, for what Hypercore makes of them.
    pub(super) fn judge(&mut self, folders: &[&Path]) -> Result<Vec<Verdict>> {
        let folders = folders.iter().map(|folder| text(folder)).collect::<Result<Vec<_>>>()?;
        let answer: Verdicts = self.0.ask(&json!({ "judge": folders }))?;
        Ok(answer.verdicts)
    }

    pub(super) fn finish(self) -> Result<()> {
        self.0.finish::<Value>().map(drop)
    }
}

/// A path as text, as JSON has it.
pub(super) fn text(path: &Path) -> Result<&str> {
    path.to_str().context("the temporary folder's name is not UTF-8")
}

#[derive(Deserialize)]
struct Verdicts {
    verdicts: Vec<Verdict>,
}

/// What Hypercore makes of a folder.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum Verdict {
    Refused { error: String },
    Opened(Seen),
}

/// A block as somebody reads it. Bytes are in hex.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum Block {
    Held(String),
    Unreadable { error: String },
    Missing,
}

/// A log as somebody sees it. Bytes are in hex.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Seen {
    pub(super) key: String,
    pub(super) length: u64,
    pub(super) byte_length: u64,
    pub(super) fork: u64,
    pub(super) tree_hash: String,
    pub(super) signature: Option<String>,
    pub(super) user_data: BTreeMap<String, String>,
    pub(super) blocks: Vec<Block>,
    /// Whether Node can write it without being given the key pair.
    #[serde(default)]
    pub(super) writable: bool,
    /// Whether the secret key lies where Node keeps it.
    #[serde(default)]
    pub(super) header_secret: bool,
}

impl Seen {
    /// What we see; of user data those with these keys.
    pub(super) fn of(log: &Log, user_data: &[&str]) -> Result<Self> {
        let read = |seq| match log.get(seq) {
            Ok(Some(block)) => Block::Held(hex::encode(block)),
            Ok(None) => Block::Missing,
            Err(error) => Block::Unreadable { error: error.to_string() },
        };
        let value = |key: &&str| Some(((*key).to_owned(), hex::encode(log.user_data(key)?)));
        let hash = log.tree_hash_at(log.len())?.context("the tree's roots are missing")?;
        Ok(Self {
            key: hex::encode(log.key().as_bytes()),
            length: log.len(),
            byte_length: log.byte_len(),
            fork: log.fork(),
            tree_hash: hash.to_string(),
            signature: log.head().map(|head| hex::encode(head.signature)),
            user_data: user_data.iter().filter_map(value).collect(),
            blocks: (0..log.len()).map(read).collect(),
            writable: log.is_writable(),
            header_secret: false,
        })
    }

    /// Fails unless `other` sees the same log, whoever may write it.
    pub(super) fn agrees_with(&self, other: &Self, when: &str) -> Result<()> {
        let (mut ours, mut theirs) = (self.clone(), other.clone());
        for seen in [&mut ours, &mut theirs] {
            (seen.writable, seen.header_secret) = (false, false);
            // Node shows none at length 0, whatever is stored.
            seen.signature.take_if(|_| seen.length == 0);
        }
        ensure!(ours == theirs, "{when}:\nseen was {ours:?}\nand then {theirs:?}");
        Ok(())
    }
}
