use bytes::Bytes;
use multibee_replica::{LocalId, Mux, MuxEvent, PeerFault};
use serde_json::{Value, json};

use crate::{bytes, list, load, passed, text};

/// The frames that the reference writes for a sequence of calls, and what it makes of frames.
#[test]
fn protomux() {
    let vectors = load("protomux.json");
    let (sending, receiving) = (list(&vectors["sending"]), list(&vectors["receiving"]));
    check_sending(sending);
    for case in receiving {
        check_receiving(case, &bytes(&vectors["ids"]["dk1"]));
    }
    passed("protomux.json", sending.len() + receiving.len());
}

/// One mux does all the steps. Names and payloads are taken from the frames, the calls from what
/// the step says in words; the numbers of channels are the mux's own.
fn check_sending(steps: &[Value]) {
    let mut mux = Mux::new();
    let mut channels: Vec<LocalId> = Vec::new();
    for step in steps {
        let sent: Vec<_> = list(&step["sent"]).iter().map(bytes).collect();
        let corked = text(&step["what"]).starts_with("corked");
        if corked {
            mux.cork();
        }
        for frame in &sent {
            for (channel, body) in split(frame) {
                call(&mut mux, &mut channels, channel, &body);
            }
            if corked {
                assert_eq!(mux.poll_frame(usize::MAX), None);
            }
        }
        if corked {
            mux.uncork();
        }
        let frames: Vec<_> = std::iter::from_fn(|| mux.poll_frame(usize::MAX)).collect();
        assert_eq!(frames, sent, "{}", text(&step["what"]));
        assert_eq!(mux.queued_len(), 0);
    }
}

/// Does what leads to a message in the frames of a step.
fn call(mux: &mut Mux, channels: &mut Vec<LocalId>, channel: u64, body: &[u8]) {
    let (ty, rest) = (body[0], &body[1..]);
    match (channel, ty) {
        (0, 1) => {
            let (protocol, rest) = buffer(&rest[1..]);
            let (id, handshake) = buffer(rest);
            channels.push(mux.open(std::str::from_utf8(protocol).unwrap(), id, handshake));
        }
        (0, 3) => mux.close(channels[usize::from(rest[0]) - 1]),
        (0, other) => panic!("no call makes control type {other}"),
        (channel, ty) => {
            let channel = channels[usize::try_from(channel).unwrap() - 1];
            mux.send(channel, ty.into(), rest.to_vec()).unwrap();
        }
    }
}

/// A fresh mux gets the frames. Protocol "known" with the one id is answered with handshake aa.
fn check_receiving(case: &Value, known_id: &[u8]) {
    let what = text(&case["what"]);
    let mut mux = Mux::new();
    let (mut events, mut sent, mut fault) = (Vec::new(), Vec::new(), None);
    for frame in list(&case["receives"]) {
        mux.handle_frame(bytes(frame).into());
        fault = run(&mut mux, known_id, &mut events).err().or(fault);
        sent.extend(std::iter::from_fn(|| mux.poll_frame(usize::MAX)));
    }
    // The reference takes such a batch for what is there of it. We do not.
    let stricter = what == "a batch entry longer than the frame is clamped to it";
    let destroyed = case["destroyed"].as_bool().unwrap() || stricter;
    assert_eq!(fault.is_some(), destroyed, "{what}: {fault:?}");
    let mut expected = list(&case["events"]).to_vec();
    if stricter {
        assert_eq!(fault, Some(PeerFault::BatchEntry { len: 9, left: 2 }));
        expected.pop();
    }
    assert_eq!(events, expected, "{what}");
    // Whether replies are gathered is the caller's choice, so only what is in the frames counts.
    let entries = |frames: &[Bytes]| frames.iter().flat_map(|f| split(f)).collect::<Vec<_>>();
    let wanted: Vec<Bytes> = list(&case["sends"]).iter().map(|f| bytes(f).into()).collect();
    assert_eq!(entries(&sent), entries(&wanted), "{what}");
}

fn run(mux: &mut Mux, known_id: &[u8], events: &mut Vec<Value>) -> Result<(), PeerFault> {
    while let Some(event) = mux.poll_event()? {
        match event {
            MuxEvent::RemoteOpen { remote_id, protocol, channel_id, .. } => {
                if protocol == "known" && channel_id == known_id {
                    mux.open(&protocol, &channel_id, &[0xaa]);
                } else {
                    mux.reject(remote_id);
                }
            }
            MuxEvent::Opened { handshake, .. } => {
                events.push(json!({ "open": hex::encode(handshake) }));
            }
            // The reference's test channel has the types 0 and 1 only, and ignores others.
            MuxEvent::Message { ty, .. } if ty > 1 => {}
            MuxEvent::Message { ty, payload, .. } => {
                events.push(json!({ "message": ty, "payload": hex::encode(payload) }));
            }
            MuxEvent::Closed { .. } => events.push(json!({ "close": "remote" })),
            MuxEvent::Withdrawn { .. } | MuxEvent::Rejected { .. } => panic!("nobody did that"),
        }
    }
    Ok(())
}

/// Channel and `type || payload` of each message in a frame. A reading of the format of its own,
/// for frames whose numbers are small.
fn split(frame: &[u8]) -> Vec<(u64, Vec<u8>)> {
    if frame[..2] != [0, 0] {
        return vec![(frame[0].into(), frame[1..].to_vec())];
    }
    let (mut channel, mut rest, mut all) = (u64::from(frame[2]), &frame[3..], Vec::new());
    while !rest.is_empty() {
        if rest[0] == 0 {
            channel = rest[1].into();
            rest = &rest[2..];
        } else {
            let (body, after) = buffer(rest);
            all.push((channel, body.to_vec()));
            rest = after;
        }
    }
    all
}

fn buffer(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes[0] {
        0xfd => bytes[3..].split_at(usize::from(u16::from_le_bytes([bytes[1], bytes[2]]))),
        len => bytes[1..].split_at(len.into()),
    }
}
