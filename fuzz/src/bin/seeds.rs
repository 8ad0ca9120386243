//! Writes the inputs to begin with, made from the golden vectors: `seeds VECTORS OUT`.
//!
//! They go to `OUT/<target>/`, called by their number. Run by `cargo xtask fuzz --seeds`.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use multibee_btree::testing::fuzz::raw;
use multibee_log::testing::fuzz::{Age, Parts, conflicts, messages, signatures, source};
use multibee_log::{
    Conflict, Log, LogOptions, MemoryStorage, Part, Request, RequestBlock, RequestHash,
    RequestSeek, RequestUpgrade, Storage, compact,
};
use multibee_replica::testing::fuzz::{follower_inputs, source_inputs};
use serde_json::Value;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Longer files of a vector's directory make no useful input.
const PART_LEN_MAX: usize = 16 * 1024;

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(vectors), Some(out), None) = (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("usage: seeds VECTORS OUT".into());
    };
    let mut seeds = Seeds::default();
    add_encodings(&mut seeds, &load(&vectors.join("log/encodings.json"))?)?;
    add_manifests(&mut seeds, &load(&vectors.join("log/keys.json"))?)?;
    add_proofs(&mut seeds, &load(&vectors.join("log/proofs.json"))?)?;
    add_directories(&mut seeds, &vectors.join("log/storage"))?;
    add_conversations(&mut seeds)?;
    add_conflicts(&mut seeds)?;
    add_trees(&mut seeds, &load(&vectors.join("btree/small.json"))?)?;
    add_tree_messages(&mut seeds, &load(&vectors.join("btree/wire.json"))?)?;
    add_messages(&mut seeds, &load(&vectors.join("wire/messages.json"))?)?;
    add_sessions(&mut seeds);
    signatures().into_iter().for_each(|input| seeds.add("signature", input));
    seeds.write(&out)
}

/// Inputs by target.
#[derive(Default)]
struct Seeds(BTreeMap<&'static str, Vec<Vec<u8>>>);

impl Seeds {
    fn add(&mut self, target: &'static str, input: Vec<u8>) {
        let inputs = self.0.entry(target).or_default();
        if !inputs.contains(&input) {
            inputs.push(input);
        }
    }

    fn write(&self, out: &Path) -> Result<()> {
        for (target, inputs) in &self.0 {
            let folder = out.join(target);
            fs::create_dir_all(&folder)?;
            for (number, input) in inputs.iter().enumerate() {
                fs::write(folder.join(format!("seed-{number:03}")), input)?;
            }
            println!("{target}: {} seeds", inputs.len());
        }
        Ok(())
    }
}

fn load(path: &Path) -> Result<Value> {
    let text = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(serde_json::from_slice(&text)?)
}

/// The items of an array, or of none.
fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn bytes(value: &Value) -> Result<Vec<u8>> {
    Ok(hex::decode(value.as_str().ok_or("not hex")?)?)
}

fn add_encodings(seeds: &mut Seeds, vectors: &Value) -> Result<()> {
    for (name, target) in
        [("oplogEntry", "entry"), ("oplogHeader", "slot"), ("manifest", "manifest")]
    {
        for case in items(&vectors[name]) {
            seeds.add(target, bytes(&case["encoded"])?);
        }
    }
    Ok(())
}

fn add_manifests(seeds: &mut Seeds, vectors: &Value) -> Result<()> {
    for key in items(&vectors["keys"]) {
        for identity in items(&key["identities"]) {
            seeds.add("manifest", bytes(&identity["manifest"])?);
        }
    }
    Ok(())
}

fn add_proofs(seeds: &mut Seeds, vectors: &Value) -> Result<()> {
    for session in items(&vectors["sessions"]) {
        for step in items(&session["steps"]).iter().filter(|step| step["wire"].is_string()) {
            seeds.add("proof", bytes(&step["wire"])?);
        }
    }
    Ok(())
}

/// Whole directories, and from them headers, entries and pages.
fn add_directories(seeds: &mut Seeds, folder: &Path) -> Result<()> {
    let mut cases = fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?;
    cases.sort_by_key(fs::DirEntry::file_name);
    for case in cases {
        let storage = MemoryStorage::new();
        for part in Part::ALL {
            if let Ok(content) = fs::read(case.path().join(part.name()))
                && content.len() <= PART_LEN_MAX
            {
                storage.write_at(part, 0, &content)?;
            }
        }
        let mut parts = Parts::of(&storage);
        for slot in &parts.slots {
            seeds.add("slot", slot.get(8..).unwrap_or(&[]).to_vec());
        }
        seeds.add("frames", parts.entries.clone());
        let [_, _, bitfield, ..] = &mut parts.others;
        let len = bitfield.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        bitfield.truncate(len);
        // No change, and then the page; and with the first and some middle blocks changed.
        seeds.add("bitfield", [&[0], &bitfield[..]].concat());
        seeds.add("bitfield", [&[1, 0, 0, 5, 0, 2, 3, 0, 40, 0, 0], &bitfield[..]].concat());
        seeds.add("open", parts.encode());
    }
    Ok(())
}

/// What a replica is told that copies a log whole, one that copies some of it, and one that follows a
/// log that was cut.
fn add_conversations(seeds: &mut Seeds) -> Result<()> {
    let [young, grown, cut] = [Age::Young, Age::Grown, Age::Cut].map(source);
    let upgrade = |start, length| Request {
        upgrade: Some(RequestUpgrade { start, length }),
        manifest: true,
        ..Request::default()
    };
    let block =
        |index, nodes| Request { block: Some(RequestBlock { index, nodes }), ..Request::default() };
    let hash =
        |index, nodes| Request { hash: Some(RequestHash { index, nodes }), ..Request::default() };
    let seek = Some(RequestSeek { bytes: 20, padding: 0 });
    let both = Request { upgrade: upgrade(0, 11).upgrade, manifest: true, ..block(7, 0) };
    let blocks = |nodes| (0..11).map(move |index| block(index, nodes)).collect::<Vec<_>>();
    let conversations = [
        vec![(&young, vec![upgrade(0, 5)]), (&grown, [vec![upgrade(5, 6)], blocks(3)].concat())],
        vec![(&grown, vec![both, block(6, 0), block(9, 1)])],
        vec![(&grown, vec![Request { seek, ..upgrade(0, 11) }, block(3, 3), hash(5, 1)])],
        vec![(&grown, vec![upgrade(0, 11), Request { seek, ..hash(0, 3) }, block(10, 0)])],
        vec![(&grown, vec![upgrade(0, 11), block(2, 3)]), (&cut, reorg(&grown, &cut)?)],
    ];
    for conversation in conversations {
        let mut input = Vec::new();
        for (source, requests) in conversation {
            for request in requests {
                // What cannot be answered as asked is left out.
                let Ok(proof) = source.prove(&request) else { continue };
                let mut message = Vec::new();
                proof.encode(1, &mut message);
                compact::put_buffer(&mut input, &message);
                seeds.add("proof", message);
            }
        }
        seeds.add("apply", input);
    }
    Ok(())
}

/// What a copy of `before` asks to go over to `after`, and then a block of it.
fn reorg(before: &Log, after: &Log) -> Result<Vec<Request>> {
    let head = |log: &Log| Request {
        upgrade: Some(RequestUpgrade { start: 0, length: log.len() }),
        manifest: true,
        ..Request::default()
    };
    let storage = MemoryStorage::new();
    let replica = Log::create_replica(storage, before.key(), LogOptions::default())?;
    replica.apply(&before.prove(&head(before))?)?;
    let mut requests = vec![head(after)];
    let mut reorg = replica.start_reorg(&after.prove(&head(after))?)?;
    while let Some(request) = reorg.request() {
        requests.push(request);
        reorg.add(&after.prove(&request)?)?;
    }
    let block = Some(RequestBlock { index: 5, nodes: 3 });
    requests.push(Request { block, ..Request::default() });
    Ok(requests)
}

/// Conflicts, alone and in the log of a writer who was told of one.
fn add_conflicts(seeds: &mut Seeds) -> Result<()> {
    for input in conflicts() {
        let conflict = Conflict::decode(&input)?;
        let storage = MemoryStorage::new();
        let log = Log::create_replica(storage.clone(), *conflict.key(), LogOptions::default())?;
        log.apply(conflict.ours())?;
        log.accept_conflict(&conflict)?;
        seeds.add("open", Parts::of(&storage).encode());
        seeds.add("conflict", input);
    }
    Ok(())
}

/// Whole trees, and their blocks.
fn add_trees(seeds: &mut Seeds, vectors: &Value) -> Result<()> {
    for case in items(vectors) {
        let blocks = items(&case["blocks"]).iter().map(bytes).collect::<Result<Vec<_>>>()?;
        let Some((header, blocks)) = blocks.split_first() else { continue };
        seeds.add("tree-header", header.clone());
        // The last ones have the most levels.
        for block in blocks.iter().rev().take(4) {
            seeds.add("tree-block", block.clone());
        }
        let blocks: Vec<_> = blocks.iter().cloned().map(Bytes::from).collect();
        if let Some(input) = raw(&blocks).filter(|input| input.len() <= PART_LEN_MAX) {
            seeds.add("tree-walk", input);
        }
    }
    // Three keys and a root with two leaves, in the short form.
    let sketch = [1, b'x', 0, b'y', 0, b'z', 3, 1, 2, 4, 3, 1, 3, 2, 1, 1, 0, 1, 3, 0];
    seeds.add("tree-walk", sketch.to_vec());
    Ok(())
}

/// Messages with all kinds of fields.
fn add_tree_messages(seeds: &mut Seeds, vectors: &Value) -> Result<()> {
    for case in items(vectors).iter().filter(|case| case["hex"].is_string()) {
        seeds.add("tree-block", bytes(&case["hex"])?);
        seeds.add("tree-header", bytes(&case["hex"])?);
    }
    Ok(())
}

/// Messages of each type, and each in a frame and as one of a batch.
fn add_messages(seeds: &mut Seeds, vectors: &Value) -> Result<()> {
    for case in items(&vectors["cases"]) {
        let (Some(ty), true) = (case["typeId"].as_u64(), case["hex"].is_string()) else { continue };
        let message = [&[u8::try_from(ty).unwrap_or(99)], &bytes(&case["hex"])?[..]].concat();
        if let Ok(len) = u8::try_from(message.len()) {
            seeds.add("peer-frames", [&[3, len, 0, 0], &message[..]].concat());
        }
        seeds.add("peer-message", message);
    }
    // Opens of both our channels, a batch on the first, an own open, a close, a reject.
    let open = |id, name: &str, body: &[u8]| {
        [&[0, 1, id][..], &[name.len() as u8], name.as_bytes(), body].concat()
    };
    let frames = [
        open(1, "first", &[1, b'1']),
        vec![0, 0, 1, 3, 8, 1, 1, 0, 2, 2, 9, 9],
        open(2, "other", &[0, 7]),
        vec![2, 0, 5],
        open(3, "second", &[1, b'2']),
        vec![0, 3, 2],
        vec![0, 3, 1],
        vec![0, 2, 2],
    ];
    let mut input = Vec::new();
    frames.iter().for_each(|frame| compact::put_buffer(&mut input, frame));
    seeds.add("peer-mux", input);
    let mut input = Vec::new();
    frames.iter().take(5).for_each(|frame| compact::put_buffer(&mut input, frame));
    seeds.add("peer-mux", input);
    Ok(())
}

/// What both sides of a session say.
fn add_sessions(seeds: &mut Seeds) {
    for (target, inputs) in [("peer-source", source_inputs()), ("peer-follower", follower_inputs())]
    {
        for input in inputs {
            for message in messages(&input) {
                // Type 9, a name of 16 bytes, and then a message of our extension.
                if let [9, 16, rest @ ..] = message
                    && let Some(message) = rest.get(16..)
                {
                    seeds.add("peer-kin", message.to_vec());
                }
                seeds.add("peer-message", message.to_vec());
            }
            seeds.add(target, input);
        }
    }
}
