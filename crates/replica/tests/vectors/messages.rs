use bytes::Bytes;
use multibee_log::{
    Hash, Manifest, Node, Proof, ProofBlock, ProofHash, ProofSeek, ProofUpgrade, Request,
    RequestBlock, RequestHash, RequestSeek, RequestUpgrade,
};
use multibee_replica::{ChannelHandshake, Message, NoDataReason, Sync};
use serde_json::Value;

use crate::{bytes, fixed, list, load, passed, text};

/// Each value encodes to the recorded bytes and back; the forms of version 10 read as what they can
/// say; odd inputs read or are refused as recorded.
#[test]
fn messages() {
    let vectors = load("messages.json");
    let (cases, decoding) = (list(&vectors["cases"]), list(&vectors["decoding"]));
    for case in cases {
        let ty = text(&case["type"]);
        if ty == "handshake" {
            let seeks = case["value"]["seeks"].as_bool().unwrap();
            let capability = fixed(&case["value"]["capability"]);
            let handshake = ChannelHandshake { seeks, capability };
            assert_eq!(hex::encode(handshake.encode()), text(&case["hex"]));
            assert_eq!(ChannelHandshake::decode(&bytes(&case["hex"])).unwrap(), handshake);
            continue;
        }
        let manifest = manifest_bytes(case);
        let expected = message(ty, &case["value"], manifest.as_deref());
        assert_eq!(Some(expected.ty()), case["typeId"].as_u64(), "{case}");
        assert_eq!(hex::encode(expected.encode()), text(&case["hex"]), "{case}");
        assert_eq!(decode(expected.ty(), &bytes(&case["hex"])), Some(expected.clone()), "{case}");
        // Later versions may append fields.
        if ty != "extension" {
            let mut longer = bytes(&case["hex"]);
            if !matches!(ty, "noData" | "want" | "unwant") {
                longer.extend_from_slice(&[0xff; 3]);
                assert_eq!(decode(expected.ty(), &longer), Some(expected.clone()), "{case}");
            }
        }
        check_version_10(case, &expected);
    }
    for case in decoding {
        check_decoding(case);
    }
    passed("messages.json", cases.len() + decoding.len());
}

fn check_version_10(case: &Value, expected: &Message) {
    let Some(v10) = case["v10Hex"].as_str() else {
        return;
    };
    let mut poorer = expected.clone();
    match &mut poorer {
        Message::Sync(sync) => sync.allow_push = false,
        Message::NoData { reason, .. } => *reason = NoDataReason::UNSTATED,
        Message::Want { any, .. } | Message::Unwant { any, .. } => *any = false,
        // A manifest of version 2 without what version 10 does not know: another manifest.
        Message::Data { .. } => return,
        other => panic!("version 10 writes {other:?} differently?"),
    }
    assert_eq!(decode(expected.ty(), &hex::decode(v10).unwrap()), Some(poorer), "{case}");
}

fn check_decoding(case: &Value) {
    let (ty, payload) = (text(&case["type"]), bytes(&case["hex"]));
    let refused = case["rejected"].as_bool().unwrap_or(false);
    if ty == "handshake" {
        assert_eq!(ChannelHandshake::decode(&payload).is_err(), refused, "{case}");
        return;
    }
    let expected = (!refused).then(|| message(ty, &case["reads"], None));
    assert_eq!(decode(type_id(ty), &payload), expected, "{case}");
}

fn decode(ty: u64, payload: &[u8]) -> Option<Message> {
    let decoded = Message::decode(ty, &Bytes::copy_from_slice(payload));
    decoded.ok().map(|message| message.expect("the type is known"))
}

fn type_id(ty: &str) -> u64 {
    match ty {
        "sync" => 0,
        "request" => 1,
        "cancel" => 2,
        "data" => 3,
        "noData" => 4,
        "want" => 5,
        "unwant" => 6,
        "bitfield" => 7,
        "range" => 8,
        "extension" => 9,
        other => panic!("unknown type {other}"),
    }
}

/// The manifest is the last field of a data message. Its own codec is the log's business and has
/// vectors there, so its bytes are taken from behind the other fields.
fn manifest_bytes(case: &Value) -> Option<Vec<u8>> {
    if case["type"] != "data" || case["value"]["manifest"].is_null() {
        return None;
    }
    let Message::Data { request, proof } = message("data", &case["value"], None) else {
        panic!("a data message");
    };
    let mut without = Vec::new();
    proof.encode(request, &mut without);
    Some(bytes(&case["hex"])[without.len()..].to_vec())
}

fn message(ty: &str, value: &Value, manifest: Option<&[u8]>) -> Message {
    let number = |name: &str| number(&value[name]);
    let flag = |name: &str| value[name].as_bool().unwrap();
    match ty {
        "sync" => Message::Sync(Sync {
            fork: number("fork"),
            length: number("length"),
            remote_length: number("remoteLength"),
            can_upgrade: flag("canUpgrade"),
            uploading: flag("uploading"),
            downloading: flag("downloading"),
            has_manifest: flag("hasManifest"),
            allow_push: flag("allowPush"),
        }),
        "request" => Message::Request {
            id: number("id"),
            fork: number("fork"),
            priority: number("priority"),
            request: request(value),
        },
        "cancel" => Message::Cancel { request: number("request") },
        "data" => Message::Data { request: number("request"), proof: proof(value, manifest) },
        "noData" => {
            let reason = NoDataReason(number("reason"));
            Message::NoData { request: number("request"), reason }
        }
        "want" => {
            Message::Want { start: number("start"), length: number("length"), any: flag("any") }
        }
        "unwant" => {
            Message::Unwant { start: number("start"), length: number("length"), any: flag("any") }
        }
        "bitfield" => Message::Bitfield {
            start: number("start"),
            words: list(&value["bitfield"]).iter().map(word).collect(),
        },
        "range" => {
            Message::Range { drop: flag("drop"), start: number("start"), length: number("length") }
        }
        "extension" => Message::Extension {
            name: text(&value["name"]).to_owned(),
            payload: bytes(&value["message"]).into(),
        },
        other => panic!("unknown type {other}"),
    }
}

fn request(value: &Value) -> Request {
    let pair = |part: &str, first: &str, second: &str| {
        let part = &value[part];
        (!part.is_null()).then(|| (number(&part[first]), number(&part[second])))
    };
    Request {
        block: pair("block", "index", "nodes").map(|(index, nodes)| RequestBlock { index, nodes }),
        hash: pair("hash", "index", "nodes").map(|(index, nodes)| RequestHash { index, nodes }),
        seek: pair("seek", "bytes", "padding")
            .map(|(bytes, padding)| RequestSeek { bytes, padding }),
        upgrade: pair("upgrade", "start", "length")
            .map(|(start, length)| RequestUpgrade { start, length }),
        manifest: value["manifest"].as_bool().unwrap(),
    }
}

fn proof(value: &Value, manifest: Option<&[u8]>) -> Proof {
    let part = |name: &str| (!value[name].is_null()).then(|| &value[name]);
    Proof {
        fork: number(&value["fork"]),
        block: part("block").map(|block| ProofBlock {
            index: number(&block["index"]),
            value: bytes(&block["value"]).into(),
            nodes: nodes(&block["nodes"]),
        }),
        hash: part("hash")
            .map(|hash| ProofHash { index: number(&hash["index"]), nodes: nodes(&hash["nodes"]) }),
        seek: part("seek")
            .map(|seek| ProofSeek { bytes: number(&seek["bytes"]), nodes: nodes(&seek["nodes"]) }),
        upgrade: part("upgrade").map(|upgrade| ProofUpgrade {
            start: number(&upgrade["start"]),
            length: number(&upgrade["length"]),
            nodes: nodes(&upgrade["nodes"]),
            additional_nodes: nodes(&upgrade["additionalNodes"]),
            signature: bytes(&upgrade["signature"]).into(),
        }),
        manifest: manifest.map(|bytes| Manifest::decode(bytes).unwrap()),
    }
}

fn nodes(value: &Value) -> Vec<Node> {
    let node = |node: &Value| Node {
        index: number(&node["index"]),
        size: number(&node["size"]),
        hash: Hash::from_bytes(fixed(&node["hash"])),
    };
    list(value).iter().map(node).collect()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn word(value: &Value) -> u32 {
    u32::try_from(number(value)).unwrap()
}
