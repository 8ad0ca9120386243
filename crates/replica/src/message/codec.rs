//! The bytes of the messages of a `hypercore/alpha` channel.

use bytes::Bytes;
use multibee_log::compact::{Reader, put_string, put_u32, put_uint};
use multibee_log::{
    DecodeError, Proof, Request, RequestBlock, RequestHash, RequestSeek, RequestUpgrade,
};

use super::{ChannelHandshake, Message, NoDataReason, Sync};
use crate::fault::PeerFault;
use crate::limits::{BITFIELD_WORDS_MAX, EXTENSION_LEN_MAX, EXTENSION_NAME_LEN_MAX};

impl ChannelHandshake {
    /// The handshake as it stands in an open.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1 + self.capability.len());
        put_flags(&mut out, &[self.seeks]);
        out.extend_from_slice(&self.capability);
        out
    }

    /// Reads the handshake of an open. Bytes behind it are ignored.
    ///
    /// # Errors
    ///
    /// [`PeerFault::Decode`] if it is cut short.
    pub fn decode(handshake: &[u8]) -> Result<Self, PeerFault> {
        let read = |mut reader: Reader<'_>| {
            let seeks = reader.uint()? & 1 != 0;
            Ok(Self { seeks, capability: reader.fixed()? })
        };
        read(Reader::new(handshake)).map_err(PeerFault::decode("channel handshake"))
    }
}

impl Message {
    /// The type under which the message is sent.
    #[must_use]
    pub fn ty(&self) -> u64 {
        match self {
            Self::Sync(_) => TYPE_SYNC,
            Self::Request { .. } => TYPE_REQUEST,
            Self::Cancel { .. } => TYPE_CANCEL,
            Self::Data { .. } => TYPE_DATA,
            Self::NoData { .. } => TYPE_NO_DATA,
            Self::Want { .. } => TYPE_WANT,
            Self::Unwant { .. } => TYPE_UNWANT,
            Self::Bitfield { .. } => TYPE_BITFIELD,
            Self::Range { .. } => TYPE_RANGE,
            Self::Extension { .. } => TYPE_EXTENSION,
        }
    }

    /// The payload, without channel and type.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len_estimate());
        match self {
            Self::Sync(sync) => sync.put(&mut out),
            Self::Request { id, fork, priority, request } => {
                put_request(&mut out, *id, *fork, *priority, request);
            }
            Self::Cancel { request } => put_uint(&mut out, *request),
            Self::Data { request, proof } => proof.encode(*request, &mut out),
            Self::NoData { request, reason } => {
                put_uint(&mut out, *request);
                put_flags(&mut out, &[*reason != NoDataReason::UNSTATED]);
                if *reason != NoDataReason::UNSTATED {
                    put_uint(&mut out, reason.0);
                }
            }
            Self::Want { start, length, any } | Self::Unwant { start, length, any } => {
                put_uint(&mut out, *start);
                put_uint(&mut out, *length);
                if *any {
                    put_flags(&mut out, &[true]);
                }
            }
            Self::Bitfield { start, words } => {
                put_uint(&mut out, *start);
                put_uint(&mut out, words.len() as u64);
                words.iter().for_each(|&word| put_u32(&mut out, word));
            }
            Self::Range { drop, start, length } => {
                put_flags(&mut out, &[*drop, *length == 1]);
                put_uint(&mut out, *start);
                if *length != 1 {
                    put_uint(&mut out, *length);
                }
            }
            Self::Extension { name, payload } => {
                put_string(&mut out, name);
                out.extend_from_slice(payload);
            }
        }
        out
    }

    /// Reads a payload of type `ty`. `None` is a type that is not known and to be ignored, as are
    /// unknown flags and bytes behind the last field: that is how the protocol grows.
    ///
    /// # Errors
    ///
    /// [`PeerFault::Decode`] if it is cut short or holds what cannot be, [`PeerFault::TooLong`] or
    /// [`PeerFault::UnalignedBitfield`] for bitfields and extensions beyond what is taken.
    pub fn decode(ty: u64, payload: &Bytes) -> Result<Option<Self>, PeerFault> {
        let mut reader = Reader::new(payload);
        let decoded = match ty {
            TYPE_SYNC => Sync::read(&mut reader).map(Self::Sync),
            TYPE_REQUEST => read_request(&mut reader),
            TYPE_CANCEL => reader.uint().map(|request| Self::Cancel { request }),
            TYPE_DATA => read_data(payload),
            TYPE_NO_DATA => read_no_data(&mut reader),
            TYPE_WANT => {
                read_want(&mut reader).map(|(start, length, any)| Self::Want { start, length, any })
            }
            TYPE_UNWANT => read_want(&mut reader).map(|(start, length, any)| Self::Unwant {
                start,
                length,
                any,
            }),
            TYPE_BITFIELD => return read_bitfield(&mut reader).map(Some),
            TYPE_RANGE => read_range(&mut reader),
            TYPE_EXTENSION => return read_extension(payload).map(Some),
            _ => return Ok(None),
        };
        decoded.map(Some).map_err(PeerFault::decode(type_name(ty)))
    }

    /// Bytes to set aside for encoding; only blocks are worth being exact about.
    fn len_estimate(&self) -> usize {
        match self {
            Self::Data { proof, .. } => {
                let block = proof.block.as_ref();
                let upgrade = proof.upgrade.as_ref();
                let nodes = block.map_or(0, |block| block.nodes.len())
                    + proof.hash.as_ref().map_or(0, |hash| hash.nodes.len())
                    + proof.seek.as_ref().map_or(0, |seek| seek.nodes.len())
                    + upgrade.map_or(0, |up| up.nodes.len() + up.additional_nodes.len());
                block.map_or(0, |block| block.value.len()) + 48 * nodes + 192
            }
            Self::Bitfield { words, .. } => 4 * words.len() + 16,
            Self::Extension { name, payload } => name.len() + payload.len() + 8,
            _ => 32,
        }
    }
}

impl Sync {
    fn put(&self, out: &mut Vec<u8>) {
        put_flags(
            out,
            &[
                self.can_upgrade,
                self.uploading,
                self.downloading,
                self.has_manifest,
                self.allow_push,
            ],
        );
        put_uint(out, self.fork);
        put_uint(out, self.length);
        put_uint(out, self.remote_length);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let flags = reader.uint()?;
        Ok(Self {
            fork: reader.uint()?,
            length: reader.uint()?,
            remote_length: reader.uint()?,
            can_upgrade: flags & 1 != 0,
            uploading: flags & 2 != 0,
            downloading: flags & 4 != 0,
            has_manifest: flags & 8 != 0,
            // Bit 16 alone: version 11 sends the higher ones to nobody.
            allow_push: flags & 16 != 0,
        })
    }
}

fn put_request(out: &mut Vec<u8>, id: u64, fork: u64, priority: u64, request: &Request) {
    let Request { block, hash, seek, upgrade, manifest } = request;
    put_flags(
        out,
        &[
            block.is_some(),
            hash.is_some(),
            seek.is_some(),
            upgrade.is_some(),
            *manifest,
            priority != 0,
        ],
    );
    put_uint(out, id);
    put_uint(out, fork);
    let pairs = [
        block.as_ref().map(|block| (block.index, block.nodes)),
        hash.as_ref().map(|hash| (hash.index, hash.nodes)),
        seek.as_ref().map(|seek| (seek.bytes, seek.padding)),
        upgrade.as_ref().map(|upgrade| (upgrade.start, upgrade.length)),
    ];
    for (first, second) in pairs.into_iter().flatten() {
        put_uint(out, first);
        put_uint(out, second);
    }
    if priority != 0 {
        put_uint(out, priority);
    }
}

fn read_request(reader: &mut Reader<'_>) -> Result<Message, DecodeError> {
    let flags = reader.uint()?;
    let (id, fork) = (reader.uint()?, reader.uint()?);
    let mut pair = |flag: u64| -> Result<Option<(u64, u64)>, DecodeError> {
        if flags & flag == 0 {
            return Ok(None);
        }
        Ok(Some((reader.uint()?, reader.uint()?)))
    };
    let request = Request {
        block: pair(1)?.map(|(index, nodes)| RequestBlock { index, nodes }),
        hash: pair(2)?.map(|(index, nodes)| RequestHash { index, nodes }),
        seek: pair(4)?.map(|(bytes, padding)| RequestSeek { bytes, padding }),
        upgrade: pair(8)?.map(|(start, length)| RequestUpgrade { start, length }),
        manifest: flags & 16 != 0,
    };
    let priority = if flags & 32 == 0 { 0 } else { reader.uint()? };
    Ok(Message::Request { id, fork, priority, request })
}

/// The codec of proofs takes neither unknown flags nor bytes behind the last field, because what it
/// takes it writes again. On the wire both are how later versions add fields, so they are cut off.
fn read_data(payload: &[u8]) -> Result<Message, DecodeError> {
    let mut reader = Reader::new(payload);
    let flags = reader.uint()?;
    let masked;
    let mut known = payload;
    if flags & !DATA_FLAGS != 0 {
        let mut bytes = Vec::with_capacity(payload.len());
        put_uint(&mut bytes, flags & DATA_FLAGS);
        bytes.extend_from_slice(reader.rest());
        masked = bytes;
        known = &masked;
    }
    let decoded = match Proof::decode(known) {
        Err(DecodeError::Trailing { len }) => {
            let len = usize::try_from(len).ok().and_then(|len| known.len().checked_sub(len));
            let fields = len.and_then(|len| known.get(..len));
            Proof::decode(fields.ok_or(DecodeError::Invalid { what: "data" })?)
        }
        decoded => decoded,
    };
    decoded.map(|(request, proof)| Message::Data { request, proof })
}

fn read_no_data(reader: &mut Reader<'_>) -> Result<Message, DecodeError> {
    let request = reader.uint()?;
    let flags = if reader.is_empty() { 0 } else { reader.uint()? };
    let reason = if flags & 1 == 0 { 0 } else { reader.uint()? };
    Ok(Message::NoData { request, reason: NoDataReason(reason) })
}

fn read_want(reader: &mut Reader<'_>) -> Result<(u64, u64, bool), DecodeError> {
    let (start, length) = (reader.uint()?, reader.uint()?);
    let flags = if reader.is_empty() { 0 } else { reader.uint()? };
    Ok((start, length, flags & 1 != 0))
}

fn read_bitfield(reader: &mut Reader<'_>) -> Result<Message, PeerFault> {
    let cut = PeerFault::decode("bitfield");
    let start = reader.uint().map_err(&cut)?;
    if start % 32 != 0 {
        return Err(PeerFault::UnalignedBitfield { start });
    }
    let count = reader.count(size_of::<u32>()).map_err(&cut)?;
    check_len("words of bitfield", count, BITFIELD_WORDS_MAX)?;
    let words = (0..count).map(|_| reader.u32()).collect::<Result<_, _>>().map_err(&cut)?;
    Ok(Message::Bitfield { start, words })
}

fn read_range(reader: &mut Reader<'_>) -> Result<Message, DecodeError> {
    let flags = reader.uint()?;
    let start = reader.uint()?;
    let length = if flags & 2 == 0 { reader.uint()? } else { 1 };
    Ok(Message::Range { drop: flags & 1 != 0, start, length })
}

fn read_extension(payload: &Bytes) -> Result<Message, PeerFault> {
    let mut reader = Reader::new(payload);
    let name = reader.string().map_err(PeerFault::decode("extension"))?;
    check_len("extension name", name.len(), EXTENSION_NAME_LEN_MAX as u64)?;
    let message = payload.slice_ref(reader.rest());
    check_len("extension", message.len(), EXTENSION_LEN_MAX as u64)?;
    Ok(Message::Extension { name: name.to_owned(), payload: message })
}

fn check_len(what: &'static str, len: usize, limit: u64) -> Result<(), PeerFault> {
    let len = len as u64;
    if len > limit { Err(PeerFault::TooLong { what, len, limit }) } else { Ok(()) }
}

/// Appends flags, the first one in the lowest bit.
fn put_flags(out: &mut Vec<u8>, flags: &[bool]) {
    let bits = flags.iter().rev().fold(0, |bits, &flag| bits << 1 | u64::from(flag));
    put_uint(out, bits);
}

fn type_name(ty: u64) -> &'static str {
    match ty {
        TYPE_SYNC => "sync",
        TYPE_REQUEST => "request",
        TYPE_CANCEL => "cancel",
        TYPE_DATA => "data",
        TYPE_NO_DATA => "noData",
        TYPE_WANT => "want",
        TYPE_UNWANT => "unwant",
        TYPE_RANGE => "range",
        _ => "message",
    }
}

const TYPE_SYNC: u64 = 0;
const TYPE_REQUEST: u64 = 1;
const TYPE_CANCEL: u64 = 2;
const TYPE_DATA: u64 = 3;
const TYPE_NO_DATA: u64 = 4;
const TYPE_WANT: u64 = 5;
const TYPE_UNWANT: u64 = 6;
const TYPE_BITFIELD: u64 = 7;
const TYPE_RANGE: u64 = 8;
const TYPE_EXTENSION: u64 = 9;

/// The flags of a data message that the codec of proofs knows.
const DATA_FLAGS: u64 = 31;

#[cfg(test)]
mod tests {
    use multibee_log::{Hash, Node, ProofBlock};
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    fn number() -> impl Strategy<Value = u64> {
        (0..1_u64 << 53, 0..53_u32).prop_map(|(number, shift)| number >> shift)
    }

    fn request() -> impl Strategy<Value = Request> {
        let pair = || option::of((number(), number()));
        (pair(), pair(), pair(), pair(), any::<bool>()).prop_map(
            |(block, hash, seek, upgrade, manifest)| Request {
                block: block.map(|(index, nodes)| RequestBlock { index, nodes }),
                hash: hash.map(|(index, nodes)| RequestHash { index, nodes }),
                seek: seek.map(|(bytes, padding)| RequestSeek { bytes, padding }),
                upgrade: upgrade.map(|(start, length)| RequestUpgrade { start, length }),
                manifest,
            },
        )
    }

    prop_compose! {
        fn sync()(numbers in [number(), number(), number()], flags: [bool; 5]) -> Sync {
            let [fork, length, remote_length] = numbers;
            let [can_upgrade, uploading, downloading, has_manifest, allow_push] = flags;
            Sync {
                fork, length, remote_length, can_upgrade, uploading, downloading, has_manifest,
                allow_push,
            }
        }
    }

    prop_compose! {
        fn proof()(
            fork in number(), index in number(), value in vec(any::<u8>(), 0..300),
            nodes in vec((number(), number(), any::<[u8; 32]>()), 0..4),
        ) -> Proof {
            let node = |(index, size, hash)| Node { index, size, hash: Hash::from_bytes(hash) };
            let nodes = nodes.into_iter().map(node).collect();
            let block = Some(ProofBlock { index, value: value.into(), nodes });
            Proof { fork, block, ..Proof::default() }
        }
    }

    fn message() -> impl Strategy<Value = Message> {
        prop_oneof![
            sync().prop_map(Message::Sync),
            (number(), number(), number(), request()).prop_map(|(id, fork, priority, request)| {
                Message::Request { id, fork, priority, request }
            }),
            number().prop_map(|request| Message::Cancel { request }),
            (number(), proof()).prop_map(|(request, proof)| Message::Data { request, proof }),
            (number(), number()).prop_map(|(request, reason)| {
                Message::NoData { request, reason: NoDataReason(reason) }
            }),
            (number(), number(), any::<bool>()).prop_map(|(start, length, any)| Message::Want {
                start,
                length,
                any
            }),
            (number(), number(), any::<bool>()).prop_map(|(start, length, any)| Message::Unwant {
                start,
                length,
                any
            }),
            (number(), vec(any::<u32>(), 0..40))
                .prop_map(|(start, words)| Message::Bitfield { start: start & !31, words }),
            (any::<bool>(), number(), number()).prop_map(|(drop, start, length)| Message::Range {
                drop,
                start,
                length
            }),
            (".{0,30}", vec(any::<u8>(), 0..40)).prop_map(|(name, payload)| {
                Message::Extension { name, payload: payload.into() }
            }),
        ]
    }

    /// A type of a later version is not an error.
    #[test]
    fn unknown_types_are_none() {
        assert_eq!(Message::decode(10, &Bytes::from_static(&[1])), Ok(None));
    }

    /// A bitfield is refused for its count, before its words are there.
    #[test]
    fn long_bitfields_are_refused() {
        let words = vec![0; 65_537];
        let long = Message::Bitfield { start: 0, words }.encode();
        let limit = BITFIELD_WORDS_MAX;
        let fault = PeerFault::TooLong { what: "words of bitfield", len: limit + 1, limit };
        assert_eq!(Message::decode(TYPE_BITFIELD, &long.into()), Err(fault));
        let announced = Bytes::from_static(&[0, 0xfe, 0, 0, 1, 0]);
        assert!(Message::decode(TYPE_BITFIELD, &announced).is_err());
    }

    /// Blocks of a bitfield are counted from its start, so that must be the start of a word.
    #[test]
    fn unaligned_bitfields_are_refused() {
        for start in [1, 16, 31, 33] {
            let bitfield = Bytes::copy_from_slice(&[start, 0]);
            let fault = PeerFault::UnalignedBitfield { start: start.into() };
            assert_eq!(Message::decode(TYPE_BITFIELD, &bitfield), Err(fault));
        }
    }

    proptest! {
        /// Every message survives the wire, and one with fields of a later version behind it too.
        #[test]
        fn messages_round_trip(message in message(), later in vec(any::<u8>(), 1..20)) {
            let payload = message.encode();
            let decoded = Message::decode(message.ty(), &payload.clone().into()).unwrap();
            prop_assert_eq!(decoded.as_ref(), Some(&message));
            if let Message::Extension { .. } | Message::Want { .. } | Message::Unwant { .. } = message {
                return Ok(());
            }
            let longer = [payload, later].concat();
            let decoded = Message::decode(message.ty(), &longer.into()).unwrap();
            prop_assert_eq!(decoded, Some(message));
        }

        /// Flags of a later version are ignored together with their fields.
        #[test]
        fn later_flags_are_ignored(
            request in number(), proof in proof(), flag in 5..50_u32, later in vec(any::<u8>(), 0..20),
        ) {
            let message = Message::Data { request, proof };
            let payload = message.encode();
            let mut longer = Vec::new();
            put_uint(&mut longer, u64::from(payload[0]) | 1 << flag);
            longer.extend_from_slice(&payload[1..]);
            longer.extend_from_slice(&later);
            prop_assert_eq!(Message::decode(TYPE_DATA, &longer.into()).unwrap(), Some(message));
        }

        /// No payload makes the decoder panic.
        #[test]
        fn arbitrary_payloads_never_panic(
            ty in 0..12_u64,
            payload in vec(prop_oneof![0..40_u8, any::<u8>()], 0..200),
        ) {
            let payload = Bytes::from(payload);
            let _ = ChannelHandshake::decode(&payload);
            let _ = Message::decode(ty, &payload);
        }
    }
}
