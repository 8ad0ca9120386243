//! The frames of the mux: single messages, batches of them, and the control messages that open,
//! reject and close channels (docs/spec/wire.md section 3.1).

use std::collections::VecDeque;

use bytes::Bytes;
use multibee_log::compact::{self, Reader, put_uint, uint_len};

use crate::fault::PeerFault;

/// The channel that opens, rejects and closes the others.
pub(crate) const CONTROL: u64 = 0;

/// One message as it stands in a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The sender's number of the channel.
    pub(crate) channel: u64,
    pub(crate) ty: u64,
    pub(crate) payload: Bytes,
}

impl Entry {
    /// The longest that `payload` may be so that the entry fits in any kind of frame.
    pub(crate) const PAYLOAD_OVERHEAD_LEN_MAX: usize = 2 + 3 * UINT_LEN_MAX;

    fn is_reject(&self) -> bool {
        (self.channel, self.ty) == (CONTROL, TYPE_REJECT)
    }

    fn body_len(&self) -> usize {
        uint_len(self.ty) + self.payload.len()
    }

    /// Bytes that the entry adds to a batch whose last entry was on `channel`.
    fn len_in_batch(&self, channel: u64) -> usize {
        let switch = if self.channel == channel { 0 } else { 1 + uint_len(self.channel) };
        let body = self.body_len();
        switch + uint_len(body as u64) + body
    }
}

/// Reads a received frame entry by entry, so that what one entry brings about is decided before
/// the next is looked at.
#[derive(Debug)]
pub(crate) struct FrameEntries {
    rest: Bytes,
    /// In a batch: the channel of the next entry. `None` before the start and in single frames.
    batch_channel: Option<u64>,
    started: bool,
}

impl FrameEntries {
    pub(crate) fn new(frame: Bytes) -> Self {
        Self { rest: frame, batch_channel: None, started: false }
    }

    /// The next message; `None` at the end of the frame.
    ///
    /// # Errors
    ///
    /// If the frame is cut short, or a batch holds a batch or an entry that is longer than it.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>, PeerFault> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        if !self.started {
            self.started = true;
            let mut reader = Reader::new(&self.rest);
            let channel = reader.uint().map_err(cut)?;
            let ty = reader.uint().map_err(cut)?;
            if (channel, ty) != (CONTROL, TYPE_BATCH) {
                let payload = self.rest.slice_ref(reader.rest());
                self.rest = Bytes::new();
                return Ok(Some(Entry { channel, ty, payload }));
            }
            self.batch_channel = Some(reader.uint().map_err(cut)?);
            self.rest = self.rest.slice_ref(reader.rest());
        }
        self.next_in_batch()
    }

    fn next_in_batch(&mut self) -> Result<Option<Entry>, PeerFault> {
        while !self.rest.is_empty() {
            let mut reader = Reader::new(&self.rest);
            let len = reader.uint().map_err(cut)?;
            if len == 0 {
                self.batch_channel = Some(reader.uint().map_err(cut)?);
                self.rest = self.rest.slice_ref(reader.rest());
                continue;
            }
            let rest = reader.rest();
            let split = usize::try_from(len).ok().and_then(|len| rest.split_at_checked(len));
            let (body, rest) = split.ok_or(PeerFault::BatchEntry { len, left: rest.len() })?;
            let mut body = Reader::new(body);
            let ty = body.uint().map_err(cut)?;
            let channel = self.batch_channel.unwrap_or(CONTROL);
            if (channel, ty) == (CONTROL, TYPE_BATCH) {
                return Err(PeerFault::NestedBatch);
            }
            let payload = self.rest.slice_ref(body.rest());
            self.rest = self.rest.slice_ref(rest);
            return Ok(Some(Entry { channel, ty, payload }));
        }
        Ok(None)
    }
}

/// Messages that wait to be sent, and their gathering into frames.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    entries: VecDeque<Entry>,
    /// Payload bytes in `entries`, and `ENTRY_COST` for each.
    len: usize,
    reject_count: usize,
    cork_depth: u32,
    /// Whether what waits was gathered on purpose, so that even one message makes a batch.
    corked_on_purpose: bool,
}

impl Outbox {
    pub(crate) fn put(&mut self, entry: Entry) {
        self.len += entry.payload.len() + ENTRY_COST;
        self.reject_count += usize::from(entry.is_reject());
        self.entries.push_back(entry);
        self.corked_on_purpose |= self.cork_depth > 0;
    }

    /// Bytes that wait, about.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Rejects that wait.
    pub(crate) fn reject_count(&self) -> usize {
        self.reject_count
    }

    pub(crate) fn cork(&mut self) {
        self.cork_depth += 1;
    }

    pub(crate) fn uncork(&mut self) {
        self.cork_depth = self.cork_depth.checked_sub(1).expect("every uncork follows a cork");
    }

    /// Makes the next frame: as many messages as fit in `len_max` bytes, but at least one.
    pub(crate) fn take_frame(&mut self, len_max: usize) -> Option<Bytes> {
        if self.cork_depth > 0 {
            return None;
        }
        let (count, len) = self.measure_batch(len_max)?;
        let first = self.take()?;
        let frame = if count == 1 && !self.corked_on_purpose {
            single_frame(&first)
        } else {
            let mut batch = Batch::new(&first, len);
            for _ in 1..count {
                batch.push(&self.take()?);
            }
            batch.out.into()
        };
        self.corked_on_purpose &= !self.entries.is_empty();
        Some(frame)
    }

    /// How many messages the next frame takes, and its length in bytes as a batch.
    fn measure_batch(&self, len_max: usize) -> Option<(usize, usize)> {
        let mut last = self.entries.front()?;
        let (mut count, mut len) = (1, Batch::len_with(last));
        for entry in self.entries.iter().skip(1) {
            let longer = len + entry.len_in_batch(last.channel);
            if longer > len_max {
                break;
            }
            (count, len, last) = (count + 1, longer, entry);
        }
        Some((count, len))
    }

    fn take(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.len -= entry.payload.len() + ENTRY_COST;
        self.reject_count -= usize::from(entry.is_reject());
        Some(entry)
    }
}

/// A frame with one message in it.
fn single_frame(entry: &Entry) -> Bytes {
    let mut out = Vec::with_capacity(uint_len(entry.channel) + entry.body_len());
    put_uint(&mut out, entry.channel);
    put_uint(&mut out, entry.ty);
    out.extend_from_slice(&entry.payload);
    out.into()
}

/// A frame of several messages in the making.
struct Batch {
    out: Vec<u8>,
    channel: u64,
}

impl Batch {
    /// Starts with one message. `len` is how long the batch is going to be.
    fn new(first: &Entry, len: usize) -> Self {
        let mut out = Vec::with_capacity(len);
        put_uint(&mut out, CONTROL);
        put_uint(&mut out, TYPE_BATCH);
        put_uint(&mut out, first.channel);
        let mut batch = Self { out, channel: first.channel };
        batch.push(first);
        batch
    }

    /// Length of a batch with only `entry` in it, in bytes.
    fn len_with(entry: &Entry) -> usize {
        2 + uint_len(entry.channel) + entry.len_in_batch(entry.channel)
    }

    fn push(&mut self, entry: &Entry) {
        if entry.channel != self.channel {
            put_uint(&mut self.out, 0);
            put_uint(&mut self.out, entry.channel);
            self.channel = entry.channel;
        }
        put_uint(&mut self.out, entry.body_len() as u64);
        put_uint(&mut self.out, entry.ty);
        self.out.extend_from_slice(&entry.payload);
    }
}

/// A message of the control channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// The sender opens its channel `id`.
    Open { id: u64, protocol: String, channel_id: Bytes, handshake: Bytes },
    /// The sender does not want the receiver's channel `id`.
    Reject { id: u64 },
    /// The sender closes its channel `id`.
    Close { id: u64 },
}

impl Control {
    /// Decodes a message of the control channel; `None` is a type that is to be ignored.
    pub(crate) fn decode(ty: u64, payload: &Bytes) -> Result<Option<Self>, PeerFault> {
        let mut reader = Reader::new(payload);
        let control = match ty {
            TYPE_OPEN => {
                let id = reader.uint().map_err(PeerFault::decode("open"))?;
                let protocol = reader.string().map_err(PeerFault::decode("open"))?.to_owned();
                let channel_id = reader.buffer().map_err(PeerFault::decode("open"))?;
                let channel_id = payload.slice_ref(channel_id);
                let handshake = payload.slice_ref(reader.rest());
                Self::Open { id, protocol, channel_id, handshake }
            }
            TYPE_REJECT => Self::Reject { id: reader.uint().map_err(PeerFault::decode("reject"))? },
            TYPE_CLOSE => Self::Close { id: reader.uint().map_err(PeerFault::decode("close"))? },
            _ => return Ok(None),
        };
        Ok(Some(control))
    }

    /// The message as an entry of the control channel.
    pub(crate) fn to_entry(&self) -> Entry {
        let mut payload = Vec::new();
        let ty = match self {
            Self::Open { id, protocol, channel_id, handshake } => {
                put_uint(&mut payload, *id);
                compact::put_string(&mut payload, protocol);
                compact::put_buffer(&mut payload, channel_id);
                payload.extend_from_slice(handshake);
                TYPE_OPEN
            }
            Self::Reject { id } => {
                put_uint(&mut payload, *id);
                TYPE_REJECT
            }
            Self::Close { id } => {
                put_uint(&mut payload, *id);
                TYPE_CLOSE
            }
        };
        Entry { channel: CONTROL, ty, payload: payload.into() }
    }
}

fn cut(source: multibee_log::DecodeError) -> PeerFault {
    PeerFault::Decode { what: "mux frame", source }
}

/// What a message counts in [`Outbox::len`] beside its payload, so that a remote cannot make us
/// queue any number of empty answers.
const ENTRY_COST: usize = 64;

const UINT_LEN_MAX: usize = 9;
const TYPE_BATCH: u64 = 0;
const TYPE_OPEN: u64 = 1;
const TYPE_REJECT: u64 = 2;
const TYPE_CLOSE: u64 = 3;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn entry() -> impl Strategy<Value = Entry> {
        let channel = prop_oneof![1..3_u64, 250..300_u64, 65_000..66_000_u64];
        (channel, 0..300_u64, vec(any::<u8>(), 0..300)).prop_map(|(channel, ty, payload)| Entry {
            channel,
            ty,
            payload: payload.into(),
        })
    }

    fn read_all(frame: Bytes) -> Result<Vec<Entry>, PeerFault> {
        let (mut entries, mut all) = (FrameEntries::new(frame), Vec::new());
        while let Some(entry) = entries.next_entry()? {
            all.push(entry);
        }
        Ok(all)
    }

    fn control() -> impl Strategy<Value = Control> {
        let id = 0..1_u64 << 53;
        prop_oneof![
            (id.clone(), ".{0,20}", vec(any::<u8>(), 0..40), vec(any::<u8>(), 0..40)).prop_map(
                |(id, protocol, channel_id, handshake)| Control::Open {
                    id,
                    protocol,
                    channel_id: channel_id.into(),
                    handshake: handshake.into(),
                }
            ),
            id.clone().prop_map(|id| Control::Reject { id }),
            id.prop_map(|id| Control::Close { id }),
        ]
    }

    /// A batch in a batch cannot be told from an endless one, so it is refused.
    #[test]
    fn nested_batch_is_refused() {
        let frame = Bytes::from_static(&[0, 0, 0, 3, 0, 1, 0]);
        assert_eq!(read_all(frame), Err(PeerFault::NestedBatch));
    }

    proptest! {
        /// Frames give back the entries that went in, in order. None is longer than allowed unless
        /// it is of one message, and then by no more than the overhead that is allowed for.
        #[test]
        fn frames_round_trip(
            entries in vec(entry(), 1..10), len_max in 0..1000_usize, corked: bool,
        ) {
            let mut outbox = Outbox::default();
            if corked {
                outbox.cork();
            }
            entries.iter().for_each(|entry| outbox.put(entry.clone()));
            if corked {
                prop_assert_eq!(outbox.take_frame(len_max), None);
                outbox.uncork();
            }
            let mut read = Vec::new();
            while let Some(frame) = outbox.take_frame(len_max) {
                let len = frame.len();
                prop_assert_eq!(corked, corked && frame[..2] == [0, 0]);
                let of_frame = read_all(frame).unwrap();
                let payload_len = of_frame.iter().map(|entry| entry.payload.len()).sum::<usize>();
                let alone = of_frame.len() == 1;
                prop_assert!(len <= len_max || alone);
                prop_assert!(!alone || len - payload_len <= Entry::PAYLOAD_OVERHEAD_LEN_MAX);
                read.extend(of_frame);
            }
            prop_assert_eq!(read, entries);
            prop_assert_eq!(outbox.len(), 0);
        }

        /// The length of a batch is foretold exactly, so that its buffer never grows.
        #[test]
        fn batch_length_is_foretold(entries in vec(entry(), 1..10)) {
            let mut outbox = Outbox::default();
            outbox.cork();
            entries.iter().for_each(|entry| outbox.put(entry.clone()));
            outbox.uncork();
            let (count, len) = outbox.measure_batch(usize::MAX).unwrap();
            prop_assert_eq!(count, entries.len());
            prop_assert_eq!(outbox.take_frame(usize::MAX).unwrap().len(), len);
        }

        /// Control messages round trip.
        #[test]
        fn control_round_trips(control in control()) {
            let entry = control.to_entry();
            prop_assert_eq!(Control::decode(entry.ty, &entry.payload).unwrap(), Some(control));
        }

        /// Arbitrary bytes end in entries or a fault, never in a panic.
        #[test]
        fn arbitrary_frames_never_panic(
            frame in vec(prop_oneof![0..4_u8, any::<u8>()], 0..100),
        ) {
            if let Ok(entries) = read_all(frame.into()) {
                for entry in entries {
                    let _ = Control::decode(entry.ty, &entry.payload);
                }
            }
        }
    }
}
