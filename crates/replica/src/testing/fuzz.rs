//! What must hold of a session, whatever a peer sends: the bodies of the fuzz targets, as in
//! `multibee_log::testing::fuzz`. Their names begin with `peer-`.

mod session;

use bytes::{Bytes, BytesMut};
use multibee_log::testing::fuzz::{Target, messages};

use crate::fault::PeerFault;
use crate::frame::{FrameReader, put_length};
use crate::kin::KinMessage;
use crate::limits::{HELD_LEN_MAX, UNDECIDED_OPENS_MAX};
use crate::message::Message;
use crate::mux::{Mux, MuxEvent};
use crate::mux_frame::{CONTROL, Control, FrameEntries};

pub use session::{follower, follower_inputs, source, source_inputs};

const KIB: usize = 1024;

/// A bitfield of a few bytes may take a page of memory, up to a number of pages.
const SESSION_MEMORY: (usize, usize) = (8192 * KIB, 2048);

/// All targets.
pub const TARGETS: &[Target] = &[
    Target::new("peer-follower", follower, |data| messages(data).for_each(drop), SESSION_MEMORY),
    Target::new("peer-frames", frames, |data| drop(read_frames(data, data.len())), (64 * KIB, 64)),
    Target::new("peer-kin", kin, |data| drop(decode_kin(data)), (64 * KIB, 256)),
    Target::new("peer-message", message, |data| drop(decode(data)), (64 * KIB, 256)),
    Target::new("peer-mux", mux, |data| messages(data).for_each(drop), (256 * KIB, 2048)),
    Target::new("peer-source", source, |data| messages(data).for_each(drop), SESSION_MEMORY),
];

/// Frames are the same however the stream is cut, and written again they are the stream. Only one that
/// is too long ends it.
///
/// Input: how many bytes come at once, and the stream.
pub fn frames(data: &[u8]) {
    let Some((&cut, stream)) = data.split_first() else { return };
    let (whole, outcome) = read_frames(stream, stream.len());
    assert_eq!((&whole, &outcome), (&read_frames(stream, cut.into()).0, &outcome));
    let mut again = BytesMut::new();
    for body in &whole {
        assert!(body.len() <= FRAME_LIMIT, "a frame that is too long");
        put_length(body.len(), &mut again);
        again.extend_from_slice(body);
    }
    assert!(stream.starts_with(&again), "what was read is what was sent");
    if let Err(fault) = outcome {
        assert!(matches!(fault, PeerFault::FrameTooLong { .. }), "{fault}");
    }
}

/// Longest frame that the target takes.
const FRAME_LIMIT: usize = 300;

/// All frames of a stream that comes in pieces, and how it ended.
fn read_frames(stream: &[u8], cut: usize) -> (Vec<BytesMut>, Result<(), PeerFault>) {
    let (mut reader, mut frames) = (FrameReader::default(), Vec::new());
    for piece in stream.chunks(cut.max(1)) {
        reader.push(piece);
        loop {
            match reader.next_frame(FRAME_LIMIT) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(fault) => return (frames, Err(fault)),
            }
        }
    }
    (frames, Ok(()))
}

/// A message that decodes is encoded to bytes that decode to it.
///
/// Input: the type, and the payload.
pub fn message(data: &[u8]) {
    let Some(message) = decode(data) else { return };
    let canonical = Bytes::from(message.encode());
    // What a noData leaves out, ours has as a byte.
    assert!(canonical.len() <= data.len(), "no form is longer than what came, with its type");
    assert_eq!(Message::decode(message.ty(), &canonical), Ok(Some(message)));
}

fn decode(data: &[u8]) -> Option<Message> {
    let (&ty, payload) = data.split_first()?;
    Message::decode(ty.into(), &Bytes::copy_from_slice(payload)).ok()?
}

/// A message of our extension that decodes is encoded to bytes that decode to it.
pub fn kin(data: &[u8]) {
    let Some(message) = decode_kin(data) else { return };
    let Message::Extension { payload, .. } = message.encode() else {
        unreachable!("it is encoded as an extension message");
    };
    assert!(payload.len() <= data.len(), "no form is shorter than the canonical one");
    assert_eq!(KinMessage::decode(&payload), Ok(Some(message)));
}

fn decode_kin(data: &[u8]) -> Option<KinMessage> {
    KinMessage::decode(&Bytes::copy_from_slice(data)).ok()?
}

/// A mux on which a channel is open, and another about to be, survives any frames: what it holds for
/// channels that nobody answers is bounded, events name channels that it told before, and each control
/// message that decodes is encoded to what decodes to it.
///
/// Input: frames, as in [`messages`].
pub fn mux(data: &[u8]) {
    let mut mux = Mux::new();
    let ours = [mux.open("first", b"1", b""), mux.open("second", b"2", b"")];
    let (mut undecided, mut held_len) = (Vec::new(), 0);
    for frame in messages(data) {
        let frame = Bytes::copy_from_slice(frame);
        if !read_controls(&frame) {
            // The connection ends at the first frame that is none.
            let _ = drain(&mut mux, frame, &mut |_| {});
            return;
        }
        held_len += frame.len();
        let is_done = drain(&mut mux, frame, &mut |event| match event {
            MuxEvent::RemoteOpen { remote_id, .. } => undecided.push(remote_id),
            MuxEvent::Withdrawn { remote_id } => {
                assert!(undecided.contains(&remote_id), "withdrawn before it came");
                undecided.retain(|id| *id != remote_id);
            }
            MuxEvent::Opened { local_id, .. }
            | MuxEvent::Message { local_id, .. }
            | MuxEvent::Rejected { local_id }
            | MuxEvent::Closed { local_id } => assert!(ours.contains(&local_id), "not ours"),
        });
        assert!(undecided.len() <= UNDECIDED_OPENS_MAX, "{} opens wait", undecided.len());
        if is_done.is_err() {
            return;
        }
    }
    while let Some(frame) = mux.poll_frame(usize::MAX) {
        assert!(read_controls(&frame), "ours are read");
    }
    assert_eq!(mux.queued_len(), 0);
    undecided.into_iter().for_each(|remote_id| mux.reject(remote_id));
    assert!(mux.queued_len() <= HELD_LEN_MAX + held_len);
}

/// Gives a frame to a mux, and its events to `tell`.
fn drain(mux: &mut Mux, frame: Bytes, tell: &mut impl FnMut(MuxEvent)) -> Result<(), PeerFault> {
    mux.handle_frame(frame);
    while let Some(event) = mux.poll_event()? {
        tell(event);
    }
    Ok(())
}

/// Whether a frame reads to its end; checks what it has of control messages.
fn read_controls(frame: &Bytes) -> bool {
    let mut entries = FrameEntries::new(frame.clone());
    loop {
        match entries.next_entry() {
            Ok(Some(entry)) if entry.channel == CONTROL => {
                if let Ok(Some(control)) = Control::decode(entry.ty, &entry.payload) {
                    let again = control.to_entry();
                    assert_eq!(Control::decode(again.ty, &again.payload), Ok(Some(control)));
                }
            }
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests;
