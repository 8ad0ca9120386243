//! `proofs.json`: the answers that a whole log gives to requests, byte for byte.

use std::time::Instant;

use bytes::Bytes;
use multibee_log::{KeyPair, Log, LogOptions, MemoryStorage};
use multibee_replica::{
    ChannelHandshake, ChannelId, ConnectionId, Event, Message, NoDataReason, PROTOCOL, Replicator,
    ReplicatorOptions, Role, capability,
};
use serde_json::Value;

use crate::{bytes, fixed, list, load, passed, text};

/// A replicator that serves a log, and one that speaks to it by hand.
struct Asker {
    server: (Replicator, ConnectionId),
    asker: (Replicator, ConnectionId),
    channel: ChannelId,
    now: Instant,
}

impl Asker {
    fn new(log: &Log) -> Self {
        let now = Instant::now();
        let mut replicators =
            [1, 2].map(|seed| Replicator::new(ReplicatorOptions::default(), [seed; 32]));
        replicators[0].add_log(log.clone());
        let ids = [Role::Responder, Role::Initiator];
        let ids: Vec<_> =
            replicators.iter_mut().zip(ids).map(|(r, role)| r.connect(role, now)).collect();
        let [server, mut asker] = replicators;
        let channel = asker.open_channel(ids[1], "none", b"", b"");
        let mut this = Self { server: (server, ids[0]), asker: (asker, ids[1]), channel, now };
        let hash = this.run().into_iter().find_map(|event| match event {
            Event::Connected { handshake_hash, .. } => Some(handshake_hash),
            _ => None,
        });
        let key = log.key();
        let capability = capability(&hash.unwrap(), Role::Initiator, &key);
        let handshake = ChannelHandshake { seeks: true, capability }.encode();
        let (asker, id) = &mut this.asker;
        this.channel =
            asker.open_channel(*id, PROTOCOL, key.discovery_key().as_bytes(), &handshake);
        this.run();
        this
    }

    /// What the one that speaks by hand is told until nothing is under way.
    fn run(&mut self) -> Vec<Event> {
        let [(a, a_id), (b, b_id)] = [&mut self.server, &mut self.asker];
        loop {
            let forth = b.poll_transmit(*b_id);
            if let Some(bytes) = &forth {
                a.handle_bytes(*a_id, bytes, self.now);
            }
            let back = a.poll_transmit(*a_id);
            if let Some(bytes) = &back {
                b.handle_bytes(*b_id, bytes, self.now);
            }
            if forth.is_none() && back.is_none() {
                break;
            }
        }
        std::iter::from_fn(|| b.poll_event()).collect()
    }

    /// The answer to a request.
    fn ask(&mut self, request: Vec<u8>) -> Option<(u64, Bytes)> {
        let (asker, id) = &mut self.asker;
        assert!(asker.send(*id, self.channel, REQUEST, request));
        self.run().into_iter().find_map(|event| match event {
            Event::ChannelMessage { ty, payload, .. } => Some((ty, payload)),
            _ => None,
        })
    }
}

fn log_of(core: &Value) -> Log {
    let keys = KeyPair::from_seed(fixed(&core["seed"]));
    let options = LogOptions { compat: core["compat"].as_bool().unwrap(), ..LogOptions::default() };
    let log = Log::create(MemoryStorage::default(), keys, options).unwrap();
    let blocks: Vec<Vec<u8>> = list(&core["blocks"]).iter().map(bytes).collect();
    log.append(&blocks).unwrap();
    assert_eq!(log.key().as_bytes(), &fixed::<32>(&core["key"]));
    log
}

#[test]
fn answers_are_those_of_the_reference() {
    let vectors = load("proofs.json");
    let mut count = 0;
    for core in list(&vectors["cores"]) {
        let mut asker = Asker::new(&log_of(core));
        for exchange in list(&core["exchanges"]) {
            let what = text(&exchange["what"]);
            let (ty, answer) = asker.ask(bytes(&exchange["request"])).expect(what);
            if exchange["error"].is_null() {
                assert_eq!(ty, DATA, "{what}");
                assert_eq!(hex::encode(answer), text(&exchange["reply"]), "{what}");
            } else {
                let refusal = Message::decode(ty, &answer).unwrap().unwrap();
                let reason = NoDataReason::INVALID_REQUEST;
                assert!(
                    matches!(refusal, Message::NoData { reason: r, .. } if r == reason),
                    "{what}: {refusal:?}"
                );
            }
            count += 1;
        }
    }
    passed("proofs.json", count);
}

const REQUEST: u64 = 1;
const DATA: u64 = 3;
