//! Single messages.

use bytes::Bytes;
use multibee_btree::{
    Block, CacheHint, DecodeError, ExtensionMessage, GetHint, Header, Level, RangeHint,
    RangeOptions,
};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Case {
    name: String,
    r#type: String,
    hex: Option<String>,
    encode: Option<Value>,
    result: Option<Value>,
    #[serde(default)]
    error: bool,
}

/// Blocks, indexes and headers are read as Hyperbee reads them, unknown fields included; what it
/// refuses is refused. It lets a last field run past the end, which is refused here.
#[test]
fn wire() {
    let cases: Vec<Case> = crate::cases("wire.json");
    let (mut passed, mut strict) = (0, 0);
    for case in &cases {
        let Some(bytes) = case.hex.as_ref().map(|hex| Bytes::from(hex::decode(hex).unwrap()))
        else {
            encoded(case);
            passed += 1;
            continue;
        };
        let decoded = match case.r#type.as_str() {
            "Node" => node(bytes),
            "YoloIndex" => index(&bytes),
            "Header" => header(&bytes),
            "Extension" => extension(&bytes),
            other => panic!("{other}"),
        };
        let name = &case.name;
        if name.ends_with("-truncated") {
            assert!(matches!(decoded, Err(DecodeError::Truncated { .. })), "{name}: {decoded:?}");
            strict += 1;
        } else if case.error {
            assert!(decoded.is_err(), "{name}: {decoded:?}");
        } else {
            assert_eq!(decoded.as_ref().ok(), case.result.as_ref(), "{name}: {decoded:?}");
        }
        passed += 1;
    }
    println!("wire.json: {strict} cut short and refused");
    crate::passed("wire.json", passed);
}

fn node(bytes: Bytes) -> Result<Value, DecodeError> {
    let block = Block::decode(bytes.clone())?;
    // A block shows its index as levels; the bytes follow from them.
    let index: Vec<u8> = block.levels()?.iter().flat_map(encode).collect();
    Ok(json!({
        "index": bytes_of(Some(&index)),
        "key": bytes_of(Some(block.key())),
        "value": bytes_of(block.value()),
    }))
}

fn index(bytes: &[u8]) -> Result<Value, DecodeError> {
    let mut block = field(0x0a, bytes);
    block.extend(field(0x12, b"key"));
    let levels = Block::decode(block.into())?.levels()?;
    let levels: Vec<Value> = levels
        .iter()
        .map(|Level { keys, children }| json!({ "keys": keys, "children": children }))
        .collect();
    Ok(json!({ "levels": levels }))
}

fn header(bytes: &[u8]) -> Result<Value, DecodeError> {
    let header = Header::decode(bytes)?;
    let metadata = header.metadata.as_ref().map(|metadata| {
        json!({
            "contentFeed": bytes_of(metadata.content_feed.as_deref()),
            "userData": bytes_of(metadata.user_data.as_deref()),
        })
    });
    assert_eq!(Header::decode(&header.encode()), Ok(header.clone()));
    Ok(json!({ "protocol": header.protocol, "metadata": metadata }))
}

fn extension(bytes: &Bytes) -> Result<Value, DecodeError> {
    let message = ExtensionMessage::decode(bytes)?;
    if message != ExtensionMessage::default() {
        assert_eq!(message.encode(), *bytes);
    }
    let get = message.get.map(|get| {
        let GetHint { version, key } = get;
        json!({ "version": version, "key": bytes_of(Some(&key)) })
    });
    assert!(message.cache.is_none() && message.iterator.is_none(), "no such cases");
    Ok(json!({ "cache": null, "get": get, "iterator": null }))
}

/// A message of the extension comes out with the bytes that Hyperbee gives it, and is read back.
fn encoded(case: &Case) {
    let message = case.encode.as_ref().unwrap();
    let bytes =
        |value: &Value| value["hex"].as_str().map(|hex| Bytes::from(hex::decode(hex).unwrap()));
    let numbers = |list: &Value| -> Vec<u64> { serde_json::from_value(list.clone()).unwrap() };
    let message = match message.as_object().unwrap().iter().next().unwrap() {
        (kind, cache) if kind == "cache" => ExtensionMessage::from(CacheHint {
            start: cache["start"].as_u64().unwrap(),
            end: cache["end"].as_u64().unwrap(),
            blocks: numbers(&cache["blocks"]),
        }),
        (kind, get) if kind == "get" => ExtensionMessage::from(GetHint {
            version: get["version"].as_u64().unwrap(),
            key: bytes(&get["key"]).unwrap(),
        }),
        (_, iterator) => ExtensionMessage::from(RangeHint {
            version: iterator["version"].as_u64().unwrap(),
            range: RangeOptions {
                gt: bytes(&iterator["gt"]),
                gte: bytes(&iterator["gte"]),
                lt: bytes(&iterator["lt"]),
                lte: bytes(&iterator["lte"]),
                reverse: iterator["reverse"].as_bool().unwrap(),
                limit: iterator["limit"].as_u64().filter(|limit| *limit > 0),
            },
            checkpoint: numbers(&iterator["checkpoint"]),
        }),
    };
    let result = case.result.as_ref().unwrap().as_str().unwrap();
    assert_eq!(crate::hex(message.encode()), result, "{}", case.name);
    assert_eq!(ExtensionMessage::decode(&message.encode().into()), Ok(message), "{}", case.name);
}

fn bytes_of(bytes: Option<&[u8]>) -> Value {
    bytes.map_or(Value::Null, |bytes| json!({ "hex": crate::hex(bytes) }))
}

/// A level as the format has it, for the small numbers that occur here.
fn encode(level: &Level) -> Vec<u8> {
    let mut body = Vec::new();
    for (tag, numbers) in [(0x0a, &level.keys), (0x12, &level.children)] {
        let packed: Vec<u8> = numbers.iter().map(|n| u8::try_from(*n).unwrap()).collect();
        if !packed.is_empty() {
            body.extend(field(tag, &packed));
        }
    }
    field(0x0a, &body)
}

fn field(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag, u8::try_from(body.len()).unwrap()], body].concat()
}
