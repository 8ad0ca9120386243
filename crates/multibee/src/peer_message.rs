//! What two devices say to each other on the channel `multibee/1`, beside moving blocks.
//!
//! Written down in `docs/formats.md`. Every number in a message is a hint or is checked against
//! signed blocks before it counts.

use std::ops::Range;

use bytes::Bytes;
use multibee_log::LogKey;
use multibee_merge::{Clock, Digest, Time};
use prost::{DecodeError, Message};

use crate::commit::decode_digest;
use crate::follow::Hint;
use crate::format::{self, Applied};
use crate::inquiries::Answers;
use crate::parting::{Answer, LANDMARKS_MAX, Landmark, SAMPLES_MAX, Sample};

/// The name of the channel.
pub(crate) const PROTOCOL: &str = "multibee/1";

/// Ranges in one answer. Longer lists are asked for in turns.
pub(crate) const RANGES_MAX: usize = 16_384;

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum PeerMessage {
    /// Statements about devices, as signed.
    Statements(Vec<Bytes>),
    /// How far the sender is.
    Status(Status),
    /// Where is the news of this log from that block on?
    AskRanges { key: LogKey, since: u64 },
    /// The answer.
    Ranges { key: LogKey, hint: Hint },
    /// Who the sender is; the first message of each side.
    Proof(Bytes),
    /// Which of these own commits of a log do you have as well?
    AskCommon { number: u64, key: LogKey, question: Vec<Landmark> },
    /// The answer, with their last blocks; of another device, if it is not the sender's own.
    Common { number: u64, of: Option<LogKey>, answers: Answers },
    /// A message that only newer programs know.
    Unknown,
}

/// How far a device is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Status {
    /// Its clock, with its own log up to its last own commit.
    pub(crate) clock: Clock,
    pub(crate) digest: Digest,
    /// Length of its own log for which this holds.
    pub(crate) length: u64,
    /// What some of its records have seen beyond the clock, while it joins a state piece by piece.
    pub(crate) ahead: Clock,
    /// How much of the receiver's own log it has, told once: more than the receiver has itself if an
    /// older state was put back there.
    pub(crate) yours: Clock,
}

#[derive(Clone, PartialEq, Message)]
struct StatementsRecord {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    signed: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
struct StatusRecord {
    #[prost(message, repeated, tag = "1")]
    clock: Vec<Applied>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    digest: Option<Bytes>,
    #[prost(uint64, optional, tag = "3")]
    length: Option<u64>,
    #[prost(message, repeated, tag = "4")]
    ahead: Vec<Applied>,
    #[prost(message, repeated, tag = "5")]
    yours: Vec<Applied>,
}

#[derive(Clone, PartialEq, Message)]
struct RangesRecord {
    #[prost(bytes = "bytes", required, tag = "1")]
    key: Bytes,
    #[prost(uint64, required, tag = "2")]
    since: u64,
    #[prost(uint64, optional, tag = "3")]
    upto: Option<u64>,
    /// For each range, in order: blocks skipped since the last one's end, blocks in it.
    #[prost(uint64, repeated, tag = "4")]
    ranges: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct CommonRecord {
    /// The log, in a question; whose answer it is, in one that is passed on.
    #[prost(bytes = "bytes", optional, tag = "1")]
    key: Option<Bytes>,
    /// Last blocks of own commits.
    #[prost(uint64, repeated, tag = "2")]
    lasts: Vec<u64>,
    /// Their hashes, in a question.
    #[prost(bytes = "bytes", repeated, tag = "3")]
    hashes: Vec<Bytes>,
    /// For each of them, in an answer: 1 the same, 2 another block, 3 nothing was applied that far,
    /// 0 not known.
    #[prost(uint32, repeated, tag = "4")]
    answers: Vec<u32>,
    /// First 8 bytes of the tree hashes behind them, in a question; empty where unknown.
    #[prost(bytes = "bytes", repeated, tag = "5")]
    tags: Vec<Bytes>,
    /// Which question of the asker's it is.
    #[prost(uint64, required, tag = "6")]
    number: u64,
    /// Ends of the own commits before them, in a question.
    #[prost(uint64, repeated, tag = "7")]
    sinces: Vec<u64>,
    /// Some writes of them, in a question.
    #[prost(message, repeated, tag = "8")]
    samples: Vec<SampleRecord>,
}

#[derive(Clone, PartialEq, Message)]
struct SampleRecord {
    /// Which of the own commits that are named it is in.
    #[prost(uint32, optional, tag = "1")]
    number: Option<u32>,
    #[prost(bytes = "bytes", required, tag = "2")]
    key: Bytes,
    #[prost(uint64, required, tag = "3")]
    seq: u64,
    #[prost(fixed64, required, tag = "4")]
    time: u64,
}

const STATEMENTS: u64 = 0;
const STATUS: u64 = 1;
const ASK_RANGES: u64 = 2;
const RANGES: u64 = 3;
const PROOF: u64 = 4;
const ASK_COMMON: u64 = 5;
const COMMON: u64 = 6;

impl PeerMessage {
    /// The message's type number and payload.
    pub(crate) fn encode(&self) -> (u64, Vec<u8>) {
        match self {
            Self::Statements(signed) => {
                (STATEMENTS, StatementsRecord { signed: signed.clone() }.encode_to_vec())
            }
            Self::Status(status) => {
                let record = StatusRecord {
                    clock: format::encode_clock(&status.clock),
                    digest: Some(status.digest.to_bytes().to_vec().into()),
                    length: Some(status.length),
                    ahead: format::encode_clock(&status.ahead),
                    yours: format::encode_clock(&status.yours),
                };
                (STATUS, record.encode_to_vec())
            }
            Self::AskRanges { key, since } => {
                let record =
                    RangesRecord { key: bytes(key), since: *since, upto: None, ranges: vec![] };
                (ASK_RANGES, record.encode_to_vec())
            }
            Self::Ranges { key, hint } => {
                let record = RangesRecord {
                    key: bytes(key),
                    since: hint.since,
                    upto: Some(hint.upto),
                    ranges: pack(hint.since, &hint.ranges),
                };
                (RANGES, record.encode_to_vec())
            }
            Self::Proof(proof) => (PROOF, proof.to_vec()),
            Self::AskCommon { number, key, question } => {
                let record = CommonRecord {
                    key: Some(bytes(key)),
                    lasts: question.iter().map(|landmark| landmark.last).collect(),
                    hashes: question.iter().map(|one| one.hash.to_vec().into()).collect(),
                    answers: Vec::new(),
                    tags: question.iter().map(|one| tag_bytes(one.tag)).collect(),
                    number: *number,
                    sinces: question.iter().map(|one| one.since).collect(),
                    samples: sample_records(question),
                };
                (ASK_COMMON, record.encode_to_vec())
            }
            Self::Common { number, of, answers } => {
                let code = |answer| match answer {
                    Answer::Unknown => 0,
                    Answer::Same => 1,
                    Answer::Different => 2,
                    Answer::Beyond => 3,
                };
                let record = CommonRecord {
                    key: of.as_ref().map(bytes),
                    lasts: answers.iter().map(|(last, _)| *last).collect(),
                    hashes: Vec::new(),
                    answers: answers.iter().map(|(_, answer)| code(*answer)).collect(),
                    tags: Vec::new(),
                    number: *number,
                    sinces: Vec::new(),
                    samples: Vec::new(),
                };
                (COMMON, record.encode_to_vec())
            }
            Self::Unknown => (u64::from(u32::MAX), Vec::new()),
        }
    }

    /// Reads a message. Ranges are not yet known to come from the author.
    ///
    /// # Errors
    ///
    /// The peer sent something else.
    pub(crate) fn decode(ty: u64, payload: Bytes) -> Result<Self, DecodeError> {
        Ok(match ty {
            STATEMENTS => Self::Statements(StatementsRecord::decode(payload)?.signed),
            STATUS => {
                let record = StatusRecord::decode(payload)?;
                Self::Status(Status {
                    clock: format::decode_clock(&record.clock),
                    digest: decode_digest(record.digest.as_ref()).unwrap_or_default(),
                    length: record.length.unwrap_or_default(),
                    ahead: format::decode_clock(&record.ahead),
                    yours: format::decode_clock(&record.yours),
                })
            }
            ASK_RANGES => {
                let record = RangesRecord::decode(payload)?;
                Self::AskRanges { key: key(&record.key)?, since: record.since }
            }
            RANGES => {
                let record = RangesRecord::decode(payload)?;
                let hint = Hint {
                    since: record.since,
                    upto: record.upto.unwrap_or_default(),
                    ranges: unpack(record.since, &record.ranges)?,
                    by_author: false,
                };
                Self::Ranges { key: key(&record.key)?, hint }
            }
            PROOF => Self::Proof(payload),
            ASK_COMMON => {
                let record = CommonRecord::decode(payload)?;
                let mut question = Vec::new();
                let named = record.lasts.iter().zip(&record.hashes).take(LANDMARKS_MAX);
                for (number, (last, hash)) in named.enumerate() {
                    let hash = hash[..].try_into().map_err(|_| malformed("a hash has 32 bytes"))?;
                    let tag = record.tags.get(number).and_then(|tag| tag[..].try_into().ok());
                    // Unless it is said, an own commit may end right before its last block.
                    let since = record.sinces.get(number).copied().unwrap_or(*last);
                    let samples = record.samples.iter().filter(|one| one.is_of(number));
                    let samples = samples.take(SAMPLES_MAX).map(SampleRecord::sample).collect();
                    question.push(Landmark { since, last: *last, hash, tag, samples });
                }
                let log = record.key.unwrap_or_default();
                Self::AskCommon { number: record.number, key: key(&log)?, question }
            }
            COMMON => {
                let record = CommonRecord::decode(payload)?;
                let answer = |(last, number): (&u64, &u32)| match number {
                    1 => (*last, Answer::Same),
                    2 => (*last, Answer::Different),
                    3 => (*last, Answer::Beyond),
                    _ => (*last, Answer::Unknown),
                };
                let answers = record.lasts.iter().zip(&record.answers).take(LANDMARKS_MAX);
                let answers = answers.map(answer).collect();
                let of = record.key.map(|of| key(&of)).transpose()?;
                Self::Common { number: record.number, of, answers }
            }
            _ => Self::Unknown,
        })
    }
}

impl SampleRecord {
    fn is_of(&self, number: usize) -> bool {
        usize::try_from(self.number.unwrap_or_default()) == Ok(number)
    }

    fn sample(&self) -> Sample {
        Sample { key: self.key.clone(), seq: self.seq, time: Time::from_u64(self.time) }
    }
}

fn sample_records(question: &[Landmark]) -> Vec<SampleRecord> {
    let of_one = |(number, landmark): (u32, &Landmark)| {
        let record = |one: &Sample| {
            let (key, seq, time) = (one.key.clone(), one.seq, one.time.as_u64());
            SampleRecord { number: Some(number), key, seq, time }
        };
        landmark.samples.iter().map(record).collect::<Vec<_>>()
    };
    (0..).zip(question).flat_map(of_one).collect()
}

fn tag_bytes(tag: Option<[u8; 8]>) -> Bytes {
    tag.map_or_else(Bytes::new, |tag| Bytes::copy_from_slice(&tag))
}

fn bytes(key: &LogKey) -> Bytes {
    Bytes::copy_from_slice(key.as_bytes())
}

#[expect(deprecated, reason = "prost offers no other way to make an error of a field's length")]
fn malformed(what: &'static str) -> DecodeError {
    DecodeError::new(what)
}

fn key(bytes: &[u8]) -> Result<LogKey, DecodeError> {
    LogKey::try_from(bytes).map_err(|_| malformed("a key has 32 bytes"))
}

/// Ranges in order. One that begins before `since` is left out: only who lies asks from within a
/// commit.
fn pack(since: u64, ranges: &[Range<u64>]) -> Vec<u64> {
    let mut at = since;
    let mut packed = Vec::with_capacity(ranges.len() * 2);
    for range in ranges {
        let Some(skipped) = range.start.checked_sub(at) else { continue };
        packed.extend([skipped, range.end.saturating_sub(range.start)]);
        at = range.end;
    }
    packed
}

fn unpack(since: u64, packed: &[u64]) -> Result<Vec<Range<u64>>, DecodeError> {
    if packed.len() > RANGES_MAX * 2 {
        return Err(malformed("too many ranges"));
    }
    let mut at = since;
    let mut ranges = Vec::with_capacity(packed.len() / 2);
    for pair in packed.chunks_exact(2) {
        let &[skip, count] = pair else { continue };
        let start = at.checked_add(skip).ok_or_else(|| malformed("a range is out of bounds"))?;
        at = start.checked_add(count).ok_or_else(|| malformed("a range is out of bounds"))?;
        ranges.push(start..at);
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use multibee_merge::{Applied, DeviceId};
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What one device says, another one hears.
        #[test]
        fn messages_round_trip(
            key: [u8; 32], since in 0..1000_u64, lens in vec((0..9_u64, 1..9_u64), 0..9),
            digest: [u8; 16], length: u64, signed in vec(vec(any::<u8>(), 0..9), 0..4),
        ) {
            let key = LogKey::from_bytes(key);
            let mut at = since;
            let ranges: Vec<_> = lens.iter().map(|(skip, count)| {
                let start = at + skip;
                at = start + count;
                start..at
            }).collect();
            let clock: Clock = [(DeviceId::from_u64(length), Applied { length: since + 1, tag: None })]
                .into_iter().collect();
            let messages = [
                PeerMessage::Statements(signed.into_iter().map(Bytes::from).collect()),
                PeerMessage::Status(Status {
                    ahead: clock.clone(), yours: clock.clone(), clock, digest: Digest::from_bytes(digest), length,
                }),
                PeerMessage::AskRanges { key, since },
                PeerMessage::Proof(digest.to_vec().into()),
                PeerMessage::AskCommon { number: length, key, question: vec![
                    Landmark { since: 0, last: since, hash: [7; 32], tag: None, samples: Vec::new() },
                    Landmark { since: length, last: 0, hash: [8; 32], tag: Some([9; 8]), samples: vec![
                        Sample { key: Bytes::from_static(b"milk"), seq: since, time: Time::from_u64(length) },
                    ] },
                ] },
                PeerMessage::Common { number: length, of: Some(key).filter(|_| since % 2 == 0), answers: vec![
                    (since, Answer::Same), (9, Answer::Different), (0, Answer::Unknown), (3, Answer::Beyond),
                ] },
                PeerMessage::Ranges { key, hint: Hint { since, upto: at, ranges, by_author: false } },
            ];
            for message in messages {
                let (ty, payload) = message.encode();
                prop_assert_eq!(PeerMessage::decode(ty, payload.into()).unwrap(), message);
            }
        }

        /// Arbitrary bytes are a message or an error, never a panic.
        #[test]
        fn arbitrary_payloads_do_not_panic(ty in 0..7_u64, payload in vec(any::<u8>(), 0..40)) {
            let _ = PeerMessage::decode(ty, payload.into());
        }
    }

    /// Whoever asks from within a commit gets what comes after it, and nothing breaks.
    #[test]
    fn a_question_from_within_a_commit_is_answered() {
        assert_eq!(unpack(5, &pack(5, &[3..7, 8..9])).unwrap(), vec![8..9; 1]);
    }
}
