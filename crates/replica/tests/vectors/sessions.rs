use std::collections::HashMap;

use bytes::Bytes;
use multibee_log::LogKey;
use multibee_replica::{
    ChannelHandshake, EphemeralSource, LocalId, Message, Mux, MuxEvent, PROTOCOL, Role,
    SecureStream, StaticKeys, capability, capability_matches,
};
use serde_json::Value;

use crate::{bytes, fixed, list, load, passed, text};

/// Recorded connections of two real peers: with the same secrets we write the same bytes on either
/// side, decrypt all, and every message decodes and encodes to what it was.
#[test]
fn sessions() {
    let vectors = load("sessions.json");
    let sessions = list(&vectors["sessions"]);
    for session in sessions {
        for role in [Role::Initiator, Role::Responder] {
            replay(session, role);
        }
    }
    passed("sessions.json", sessions.len());
}

/// We are the side `role`: its frames must come out of us, the other side's go in.
fn replay(session: &Value, role: Role) {
    let (us, seeds) = (name(role), &session["seeds"]);
    let keys = StaticKeys::from_seed(fixed(&seeds[format!("{us}Static")]));
    let ephemeral = fixed(&seeds[format!("{us}Ephemeral")]);
    let ephemeral = EphemeralSource::from_parts(ephemeral, fixed(&session["headers"][us]));
    let mut stream = SecureStream::new(role, &keys, ephemeral);
    let mut remote = RemoteReader::new(session, role.opposite());
    for frame in list(&session["frames"]) {
        let (framed, plaintext) = (bytes(&frame["framed"]), bytes(&frame["plaintext"]));
        let message = text(&frame["kind"]) == "message";
        if text(&frame["from"]) == us {
            if message && plaintext.is_empty() {
                stream.send_keepalive();
            } else if message {
                stream.send(&plaintext).unwrap();
            }
            assert_eq!(stream.poll_transmit().unwrap(), framed);
        } else {
            framed.chunks(7).for_each(|piece| stream.receive(piece).unwrap());
            let received = stream.poll_plaintext().unwrap();
            assert_eq!(received.as_deref().unwrap_or_default(), plaintext);
            received.into_iter().for_each(|frame| remote.read(frame));
        }
    }
    assert!(stream.is_established());
    let handshake = stream.handshake().unwrap();
    assert_eq!(handshake.hash, fixed::<64>(&session["handshakeHash"]));
    assert!(remote.message_count > 5, "the recording is of a replication");
}

/// Reads the mux frames of one side.
struct RemoteReader {
    mux: Mux,
    sender: Role,
    hash: [u8; 64],
    key: LogKey,
    open: HashMap<LocalId, ()>,
    message_count: usize,
}

impl RemoteReader {
    fn new(session: &Value, sender: Role) -> Self {
        Self {
            mux: Mux::new(),
            sender,
            hash: fixed(&session["handshakeHash"]),
            key: LogKey::from_bytes(fixed(&session["coreKey"])),
            open: HashMap::new(),
            message_count: 0,
        }
    }

    fn read(&mut self, frame: Bytes) {
        self.mux.handle_frame(frame);
        while let Some(event) = self.mux.poll_event().unwrap() {
            match event {
                MuxEvent::RemoteOpen { protocol, channel_id, handshake, .. } => {
                    assert_eq!(protocol, PROTOCOL);
                    assert_eq!(channel_id, self.key.discovery_key().as_bytes()[..]);
                    let theirs = ChannelHandshake::decode(&handshake).unwrap();
                    assert_eq!(theirs.encode(), handshake);
                    let claimed = &theirs.capability;
                    assert!(capability_matches(&self.hash, self.sender, &self.key, claimed));
                    let capability = capability(&self.hash, self.sender.opposite(), &self.key);
                    let ours = ChannelHandshake { seeks: true, capability };
                    let id = self.mux.open(&protocol, &channel_id, &ours.encode());
                    self.open.insert(id, ());
                }
                MuxEvent::Opened { local_id, .. } => assert!(self.open.contains_key(&local_id)),
                MuxEvent::Message { local_id, ty, payload } => {
                    assert!(self.open.contains_key(&local_id));
                    let message = Message::decode(ty, &payload).unwrap().unwrap();
                    assert_eq!(message.ty(), ty);
                    assert_eq!(message.encode(), payload, "{message:?}");
                    self.message_count += 1;
                }
                MuxEvent::Closed { local_id } => assert!(self.open.remove(&local_id).is_some()),
                MuxEvent::Rejected { .. } | MuxEvent::Withdrawn { .. } => panic!("{event:?}"),
            }
        }
    }
}

fn name(role: Role) -> &'static str {
    match role {
        Role::Initiator => "initiator",
        Role::Responder => "responder",
    }
}
