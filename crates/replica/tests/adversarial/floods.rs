//! Far too much of something.

use bytes::Bytes;
use multibee_log::{Request, RequestBlock, RequestUpgrade};
use multibee_replica::{Message, NoDataReason, Sync};

use crate::case::{Case, Verdict, check};
use crate::stage::{Stage, Start, frame, kin, numbers};

use Verdict::{HungUpOn, Ignored};

/// What there is too much of, what becomes of it, and the message with a number.
type Flood = (&'static str, Verdict, fn(u64) -> Message);

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = channels();
    let each: Vec<Flood> = vec![
        ("the same sync", Ignored, |_| sync(0, 4)),
        ("growing syncs", Ignored, |n| sync(0, n)),
        ("syncs of ever higher forks", HungUpOn("no answer"), |n| sync(n, 4)),
        ("requests for a block", Ignored, |n| ask(n, block(n % 4))),
        ("requests for a block that is not there", HungUpOn("invalid requests"), |n| {
            ask(n, block(n + 99))
        }),
        ("requests for nothing", Ignored, |n| ask(n, Request::default())),
        ("requests with one id", Ignored, |_| ask(1, block(1))),
        ("requests for absurd heads", HungUpOn("invalid requests"), |n| ask(n, absurd_head())),
        ("cancels", Ignored, |n| Message::Cancel { request: n }),
        ("noData that nobody asked for", Ignored, |n| no_data(n + 1000)),
        ("wants", Ignored, |n| Message::Want { start: n << 21, length: 1 << 21, any: false }),
        ("wants of everything", HungUpOn("undecodable want"), |_| Message::Want {
            start: 0,
            length: 1 << 53,
            any: true,
        }),
        ("unwants", Ignored, |n| Message::Unwant { start: 64 * n, length: 32, any: false }),
        ("short ranges", Ignored, |n| range(false, n << 16, 1)),
        ("long ranges", Ignored, |n| range(false, n << 21, 1 << 20)),
        ("drops", Ignored, |n| range(true, n << 16, 100)),
        ("ranges without end", HungUpOn("undecodable range"), |n| range(n % 2 == 0, n, u64::MAX)),
        ("bitfields far apart", Ignored, |n| bits(n << 25, 1)),
        ("bitfields of the same place", Ignored, |_| bits(0, 100)),
        ("messages of unknown extensions", Ignored, |n| extension(&format!("x{n}"), 40)),
        ("hellos of Multibee", Ignored, |n| kin(1 + (n % 15) as u8, &[])),
        ("unknown messages of Multibee's extension", Ignored, |n| kin(0x80 | n as u8, &[1; 9])),
        ("requests for runs", Ignored, |n| kin(0x10, &numbers(&[n, 0, 0, 2, 0]))),
        ("requests for absurd runs", HungUpOn("invalid requests"), |n| {
            kin(0x10, &numbers(&[n, 0, n, 60, n]))
        }),
    ];
    for (name, verdict, message) in each {
        // In few frames, and with an answer to each.
        let (all, some) = (format!("10,000 {name} at once"), format!("200 {name}, one by one"));
        cases.push(Case::new(all, Start::Half, verdict, move |stage| {
            stage.open();
            stage.say_all((0..10_000).map(message));
        }));
        cases.push(Case::new(some, Start::Half, verdict, move |stage| {
            stage.open();
            (0..200).for_each(|n| stage.say(&message(n)));
        }));
    }
    cases.extend(large());
    cases
}

fn channels() -> Vec<Case> {
    let case = |name, verdict, act: fn(&mut Stage)| Case::new(name, Start::Half, verdict, act);
    vec![
        case("1,000 opens of unknown protocols", Ignored, |stage| {
            stage.frames((1..=1000).map(|id| open(id, b"unknown", b"")));
        }),
        case("20,000 opens, and no answer is taken", HungUpOn("opens to reject"), |stage| {
            // They come in one piece, as a batch.
            let mut batch = numbers(&[0, 0, 0]);
            for id in 1..=20_000 {
                let entry = &open(id, b"unknown", b"")[1..];
                batch.extend(numbers(&[entry.len() as u64]));
                batch.extend_from_slice(entry);
            }
            stage.frame(&batch);
        }),
        case("200 opens that the owner does not answer", Ignored, |stage| {
            stage.frames((1..=200).map(|id| open(id, b"own", &id.to_le_bytes())));
        }),
        case("200 opens of the same log", Ignored, |stage| {
            let key = stage.logs[0].key().discovery_key();
            stage.frames((1..=200).map(|id| open(id, b"hypercore/alpha", key.as_bytes())));
        }),
        case("10,000 closes of nothing", Ignored, |stage| {
            stage.frames((1..=10_000).map(|id| frame(0, 3, &numbers(&[id]))));
        }),
        case("a reject of nothing", HungUpOn("reject of channel"), |stage| {
            stage.frame(&frame(0, 2, &[7]));
        }),
        case("10,000 messages on no channel", Ignored, |stage| {
            stage.frames((1..=10_000).map(|channel| frame(channel, 0, &[1; 9])));
        }),
        case("1 MiB on a channel that nobody answers", Ignored, |stage| {
            stage.frame(&open(1, b"own", b"a"));
            stage.frames((1..=1000).map(|_| frame(1, 0, &[1; 1000])));
        }),
        case("a log opened and closed 200 times", Verdict::Closed, |stage| {
            for _ in 0..200 {
                stage.open();
                stage.frame(&frame(0, 3, &[1]));
            }
        }),
        case("10,000 keepalives", Ignored, |stage| {
            stage.frames((1..=10_000).map(|_| Vec::new()));
        }),
        case("500,000 messages of one byte in one frame", Ignored, |stage| {
            stage.open();
            stage.frame(&[&[0, 0, 1][..], &[1, 99].repeat(500_000)].concat());
        }),
        case("500,000 changes of the channel in one frame", Ignored, |stage| {
            stage.frame(&[&[0, 0, 1][..], &[0, 1].repeat(500_000)].concat());
        }),
        case("a batch in a batch", HungUpOn("nested batch"), |stage| {
            stage.frame(&[0, 0, 0, 3, 0, 1, 0]);
        }),
        case("an open of channel 0", HungUpOn("open of channel"), |stage| {
            stage.frame(&open(0, b"own", b""));
        }),
        case("an open far ahead", HungUpOn("open of channel"), |stage| {
            stage.frame(&open(1 << 40, b"own", b""));
        }),
        case("an open of a channel that is in use", HungUpOn("open of channel"), |stage| {
            stage.open();
            stage.frame(&open(1, b"own", b""));
        }),
    ]
}

fn large() -> Vec<Case> {
    let case = |name, verdict, act: fn(&mut Stage)| {
        Case::new(name, Start::Half, verdict, move |stage| {
            stage.open();
            act(stage);
        })
    };
    vec![
        case("the longest bitfields", Ignored, |stage| {
            (0..20).for_each(|n| stage.say(&bits(n << 21, 65_536)));
        }),
        case("a bitfield that is too long", HungUpOn("words of bitfield"), |stage| {
            stage.say(&bits(0, 65_537));
        }),
        case("bitfields in the middle of a word", HungUpOn("not a multiple of 32"), |stage| {
            stage.say(&bits(33, 1));
        }),
        case("the longest extension message", Ignored, |stage| {
            (0..4).for_each(|_| stage.say(&extension("x", 1 << 20)));
        }),
        case("an extension message that is too long", HungUpOn("extension of"), |stage| {
            stage.say(&extension("x", (1 << 20) + 1));
        }),
        case("an extension's name that is too long", HungUpOn("extension name"), |stage| {
            stage.say(&extension(&"x".repeat(129), 1));
        }),
        case("the longest frame, of no known type", Ignored, |stage| {
            let mut longest = frame(1, 99, &[]);
            longest.resize((1 << 24) - 100, 1);
            stage.frames([longest]);
        }),
        case("a frame that is too long", HungUpOn("frame of"), |stage| {
            stage.frame(&vec![1; 1 << 24]);
        }),
    ]
}

fn open(id: u64, protocol: &[u8], channel_id: &[u8]) -> Vec<u8> {
    let mut payload = numbers(&[id, protocol.len() as u64]);
    payload.extend_from_slice(protocol);
    payload.extend(numbers(&[channel_id.len() as u64]));
    payload.extend_from_slice(channel_id);
    frame(0, 1, &payload)
}

fn sync(fork: u64, length: u64) -> Message {
    Message::Sync(Sync { fork, length, ..Sync::default() })
}

fn ask(id: u64, request: Request) -> Message {
    Message::Request { id: id + 1, fork: 0, priority: 0, request }
}

fn block(index: u64) -> Request {
    Request { block: Some(RequestBlock { index, nodes: 0 }), ..Request::default() }
}

fn absurd_head() -> Request {
    let upgrade = Some(RequestUpgrade { start: 3, length: 1000 });
    Request { upgrade, ..Request::default() }
}

fn no_data(request: u64) -> Message {
    Message::NoData { request, reason: NoDataReason::NOT_AVAILABLE }
}

fn range(drop: bool, start: u64, length: u64) -> Message {
    Message::Range { drop, start, length }
}

fn bits(start: u64, words: usize) -> Message {
    Message::Bitfield { start, words: vec![0x5555_5555; words] }
}

fn extension(name: &str, len: usize) -> Message {
    Message::Extension { name: name.to_owned(), payload: Bytes::from(vec![7; len]) }
}

/// However much of anything comes: memory and time are bounded, and the others go on.
#[test]
fn no_flood_does_harm() {
    check(cases);
}
