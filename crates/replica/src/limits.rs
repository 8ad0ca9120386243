//! Every bound on what a peer can make us hold or do, in one place.
//!
//! Lengths are bytes unless the name says otherwise. What a peer exceeds ends its connection or
//! is refused; nothing here depends on what a peer claims about the size of a log.

use std::time::Duration;

// Transport: frames, handshake, mux.

/// Longest body of a Noise handshake frame.
pub(crate) const HANDSHAKE_FRAME_LEN_MAX: usize = 1024;
/// Body of the frame that carries the stream id and the secretstream header.
pub(crate) const HEADER_FRAME_LEN: usize = 56;
/// Longest body of any frame: its length is a 24-bit integer.
pub(crate) const FRAME_LEN_MAX: usize = (1 << 24) - 1;
/// Longest plaintext of one frame: the tag byte and the MAC take 17 bytes.
pub(crate) const PLAINTEXT_LEN_MAX: usize = FRAME_LEN_MAX - 17;
/// Channels a remote may have open on one connection.
pub(crate) const CHANNELS_MAX: usize = 1024;
/// Opens of a remote that nobody has answered yet.
pub(crate) const UNDECIDED_OPENS_MAX: usize = 64;
/// Longest protocol name in an open.
pub(crate) const PROTOCOL_LEN_MAX: usize = 256;
/// Longest channel id in an open.
pub(crate) const CHANNEL_ID_LEN_MAX: usize = 64;
/// Bytes of messages held for channels that nobody has answered yet.
pub(crate) const HELD_LEN_MAX: usize = 32 * 1024;
/// What a held message counts beside its own bytes.
pub(crate) const HELD_MESSAGE_COST: usize = 512;
/// Words of one bitfield message: 2^21 blocks.
pub(crate) const BITFIELD_WORDS_MAX: u64 = 65_536;
/// Longest extension message.
pub(crate) const EXTENSION_LEN_MAX: usize = 1 << 20;
/// Longest message that an owner may send by an extension: its own length takes 5 bytes more.
pub(crate) const EXTENSION_PAYLOAD_LEN_MAX: usize = EXTENSION_LEN_MAX - 5;
/// Longest name of an extension.
pub(crate) const EXTENSION_NAME_LEN_MAX: usize = 128;

// What we serve.

/// Requests of one remote that wait for an answer, for each log; beyond it they get noData. Twice
/// what a remote like us asks for, since a refused block is not asked for again.
pub(crate) const PENDING_REQUESTS_MAX: usize = 4096;
/// The same for all logs of a connection together.
pub(crate) const PENDING_REQUESTS_PER_CONNECTION_MAX: usize = 16_384;
/// Stretches of a log that a remote has asked to be told about and that wait for an answer.
pub(crate) const PENDING_WANTS_MAX: usize = 64;
/// Stretches that one remote has asked to be told about and that are remembered, for each log.
/// Beyond that it is told of everything.
pub(crate) const REMOTE_WANTS_MAX: usize = 512;
/// Blocks that are pushed at once to a remote that takes pushes. Whoever lacks more asks.
pub(crate) const PUSHED_BLOCKS_MAX: u64 = 64;
/// Bytes of blocks that are pushed to a remote before it has told that it has them; and the longest
/// block that is taken unasked.
pub(crate) const PUSHED_LEN_MAX: usize = 256 * 1024;
/// Pushed blocks that do not verify before one remote's pushes are not taken any more.
pub(crate) const BAD_PUSHES_MAX: u32 = 8;
/// Stretches that a remote is asked about whose blocks would tell where its fork parts from ours, at
/// most; the last ones, since most logs are cut near their end.
pub(crate) const LACKED_PIECES_MAX: u64 = 16;
/// Longest stretch of blocks that one want may name; longer ones are not answered.
pub(crate) const WANT_BLOCKS_MAX: u64 = BITFIELD_WORDS_MAX * 32;
/// Pushes and answers are made while less than this waits to be sent: the socket's pace is the pace
/// of serving.
pub(crate) const SERVE_QUEUE_LEN: usize = 256 * 1024;
/// The same for answers alone: one gathered frame, so that the first leave before the next are made.
pub(crate) const ANSWER_QUEUE_LEN: usize = GATHERED_FRAME_LEN;
/// Above this much unsent data a connection reads nothing more from its remote.
pub(crate) const SEND_QUEUE_LEN_MAX: usize = 4 * 1024 * 1024;
/// Invalid requests after which a remote is hung up on, as Hypercore 11 does.
pub(crate) const INVALID_REQUESTS_MAX: u64 = 64;

// What we hold about remotes.

/// Heads that one remote may show of one log without being asked. Each costs the check of a
/// signature; an honest peer shows two, once there is a conflict.
pub(crate) const UNASKED_HEADS_MAX: u32 = 8;
/// Stretches of one log that are remembered to be wanted, so that they are fetched anew when the log
/// is cut. The owner's own doing, not a peer's.
pub(crate) const STANDING_RANGES_MAX: usize = 4096;
/// Pages of 4 KiB that all bitfields of one connection's remote may take.
pub(crate) const BITFIELD_PAGES_MAX: usize = 4096;
/// Announced ranges kept for one remote of one log.
pub(crate) const ANNOUNCED_RANGES_MAX: usize = 1024;
/// Announced ranges of at least so many blocks are kept as ranges, shorter ones as bits.
pub(crate) const ANNOUNCED_RANGE_BLOCKS_MIN: u64 = 1 << 16;
/// Greatest block number that fits the integers of the protocol (2^53 - 1).
pub(crate) const BLOCKS_MAX: u64 = (1 << 53) - 1;

// What we ask for.

/// Bytes whose blocks are looked for, for each log. The owner's own doing, not a peer's.
pub(crate) const SEEKS_MAX: usize = 1024;
/// Of those, how many one remote is asked about at a time.
pub(crate) const SEEKS_PER_REMOTE_MAX: usize = 16;
/// Arrived blocks of one log that are stored together, at most.
pub(crate) const STORE_BATCH_BLOCKS: usize = 1024;
/// Bytes of arrived blocks that are stored together, about.
pub(crate) const STORE_BATCH_LEN: usize = 4 * 1024 * 1024;
/// Bytes of answers that a connection may have under way, estimated from the blocks that came.
pub(crate) const IN_FLIGHT_LEN: u64 = 16 * 1024 * 1024;
/// Bytes of answers of one log that wait for an earlier one, on whose tree nodes they build.
pub(crate) const PARKED_LEN_MAX: usize = 32 * 1024 * 1024;
/// Block requests under way to one remote for one log, at most. Requests for new lengths and seeks
/// come on top.
pub(crate) const WINDOW_MAX: usize = 2048;
/// Requests that a connection may always have under way, however large the blocks are.
pub(crate) const WINDOW_FLOOR: usize = 4;
/// Blocks that a remote is asked for at once as long as nothing is known of it, at most.
pub(crate) const START_WINDOW: usize = 64;
/// The same in bytes, about.
pub(crate) const START_LEN: u64 = 256 * 1024;
/// A window is as large as if a round trip took at least this long: answers that are sent and
/// stored together cost less.
pub(crate) const BATCHING_TIME: Duration = Duration::from_millis(20);
/// Bytes of the blocks that are asked for as one run, about.
pub(crate) const RUN_LEN: u64 = 128 * 1024;
/// Blocks that are asked for as one run, at most and at least: powers of two.
pub(crate) const RUN_BLOCKS_MAX: u64 = 512;
pub(crate) const RUN_BLOCKS_MIN: u64 = 4;
/// Bytes of runs of one log that one connection has under way, estimated.
pub(crate) const RUNS_IN_FLIGHT_LEN: u64 = 4 * 1024 * 1024;
/// Stretches that a remote is not asked for in runs, since it refused that.
pub(crate) const ALONE_RANGES_MAX: usize = 256;
/// Peers of which one block may be asked at the same time.
pub(crate) const ASKERS_MAX: usize = 2;
/// A request is given up after this long even if others arrive in the meantime.
pub(crate) const REQUEST_AGE_MAX: Duration = Duration::from_secs(120);
/// A block is asked of another peer, too, after twice the usual time of an answer, but not before
/// this long: below it the machine's own pauses count.
pub(crate) const HEDGE_MIN: Duration = Duration::from_millis(100);
/// The same, at the latest.
pub(crate) const HEDGE_MAX: Duration = Duration::from_secs(5);
/// The same of a peer that has not answered anything yet.
pub(crate) const HEDGE_UNKNOWN: Duration = Duration::from_secs(1);
/// Blocks of one log that may be asked of two peers at the same time.
pub(crate) const HEDGED_MAX: usize = 64;
/// What a reader waits for is left to a nearer peer for so long at most.
pub(crate) const LEAVE_MAX: Duration = Duration::from_millis(50);
/// How soon a peer is asked again for what it has refused, at first; it doubles.
pub(crate) const REFUSAL_REST: Duration = Duration::from_secs(5);
/// The same, at most.
pub(crate) const REFUSAL_REST_MAX: Duration = Duration::from_secs(600);
/// Rounds of requests in a row that a remote may leave unanswered before it is hung up on.
pub(crate) const TIMEOUTS_MAX: u32 = 4;

// What we show to the application.

/// Bytes that arrive in one read of a connection.
pub(crate) const READ_LEN: usize = 256 * 1024;
/// Plaintext of one frame that gathers many messages, about.
pub(crate) const GATHERED_FRAME_LEN: usize = 64 * 1024;
/// Events that wait for the application before connections stop reading.
pub(crate) const EVENTS_MAX: usize = 16 * 1024;

const _: () = {
    assert!(WINDOW_MAX * 2 <= PENDING_REQUESTS_MAX);
    assert!(PENDING_REQUESTS_MAX <= PENDING_REQUESTS_PER_CONNECTION_MAX);
    assert!(SERVE_QUEUE_LEN < SEND_QUEUE_LEN_MAX);
    assert!(GATHERED_FRAME_LEN < PLAINTEXT_LEN_MAX);
    assert!(HEADER_FRAME_LEN < HANDSHAKE_FRAME_LEN_MAX);
};
