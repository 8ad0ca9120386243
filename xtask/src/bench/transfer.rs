//! What the machine takes to get blocks from one process to another, encrypted and checked, if one
//! thread does it all.

use std::io::{self, Read as _, Write as _};
use std::iter;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::BytesMut;
use multibee_replica::{Pull, Push, Tag};

use super::merkle::Tree;
use super::record::Record;
use super::usage::{Meter, Span};

/// Bytes and blocks of one message, at most: blocks are asked for in runs of so many, and the answer
/// to that is one message.
const MESSAGE_LEN: usize = 128 * 1024;
const MESSAGE_BLOCKS: usize = 512;

/// Blocks that are sent together.
pub(super) struct Message {
    bytes: Vec<u8>,
    /// Of each block in it, in bytes.
    lens: Vec<usize>,
}

impl Message {
    /// All blocks in order, in messages that are as long as they may be.
    pub(super) fn gather<'a>(blocks: impl Iterator<Item = &'a [u8]>) -> Vec<Self> {
        let mut messages: Vec<Self> = Vec::new();
        for block in blocks {
            let fits = |last: &Self| {
                last.bytes.len() + block.len() <= MESSAGE_LEN && last.lens.len() < MESSAGE_BLOCKS
            };
            if !messages.last().is_some_and(fits) {
                messages.push(Self { bytes: Vec::new(), lens: Vec::new() });
            }
            if let Some(last) = messages.last_mut() {
                last.bytes.extend_from_slice(block);
                last.lens.push(block.len());
            }
        }
        messages
    }
}

/// The messages of a log whose blocks are all the same.
pub(super) struct Repeated {
    /// As long as they get.
    whole: Option<Message>,
    whole_count: usize,
    rest: Vec<Message>,
}

impl Repeated {
    /// Of a log of `count` such blocks.
    pub(super) fn new(block: &[u8], count: usize) -> Self {
        let of = |count| Message::gather(iter::repeat_n(block, count));
        let whole = of(MESSAGE_BLOCKS).into_iter().next();
        let len = whole.as_ref().map_or(1, |whole| whole.lens.len());
        Self { whole, whole_count: count / len, rest: of(count % len) }
    }

    pub(super) fn messages(&self) -> impl Iterator<Item = &Message> {
        self.whole.iter().cycle().take(self.whole_count).chain(&self.rest)
    }
}

/// What the parts of a transfer take, one after the other.
pub(super) struct Costs {
    /// All of them together.
    pub(super) span: Span,
    hash: Duration,
    seal: Duration,
    copy: Duration,
    open: Duration,
    messages: u64,
    bytes: u64,
    /// Of what has arrived.
    pub(super) tree_hash: [u8; 32],
}

impl Costs {
    /// Encrypts each message, copies it through a socket, decrypts it, and hashes the blocks in it;
    /// then hashes the tree above them.
    pub(super) fn measure<'a>(messages: impl IntoIterator<Item = &'a Message>) -> Result<Self> {
        let (key, header) = ([4; 32], [5; 24]);
        let (mut push, mut pull) = (Push::new(&key, &header), Pull::new(&key, &header));
        let mut wire = Wire::new()?;
        let mut tree = Tree::default();
        let [mut hash, mut seal, mut copy, mut open] = [Duration::ZERO; 4];
        let (mut count, mut bytes) = (0, 0);
        let mut sealed = BytesMut::new();
        let meter = Meter::start();
        let mut lap = Lap(Instant::now());
        for message in messages {
            sealed.clear();
            push.seal(Tag::MESSAGE, &message.bytes, &mut sealed);
            seal += lap.end();
            let received = wire.copy(&sealed)?;
            copy += lap.end();
            let (_, plaintext) = pull.open(received)?;
            open += lap.end();
            tree.add(&plaintext, &message.lens);
            hash += lap.end();
            count += 1;
            bytes += plaintext.len() as u64;
        }
        let tree_hash = tree.finish();
        hash += lap.end();
        let span = meter.stop();
        Ok(Self { span, hash, seal, copy, open, messages: count, bytes, tree_hash })
    }

    /// Adds the parts to the record of the whole.
    pub(super) fn tell(&self, record: Record) -> Record {
        let ms = |part: Duration| (part.as_secs_f64() * 1e6).round() / 1e3;
        record
            .and("hashMs", ms(self.hash))
            .and("sealMs", ms(self.seal))
            .and("copyMs", ms(self.copy))
            .and("openMs", ms(self.open))
            .and("messages", self.messages)
            .and("bytes", self.bytes)
    }
}

/// A clock for parts that follow each other.
struct Lap(Instant);

impl Lap {
    /// What has passed since the last part ended.
    fn end(&mut self) -> Duration {
        let now = Instant::now();
        let passed = now - self.0;
        self.0 = now;
        passed
    }
}

/// Both ends of a TCP connection on loopback.
pub(super) struct Wire {
    near: TcpStream,
    far: TcpStream,
}

impl Wire {
    pub(super) fn new() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let near = TcpStream::connect(listener.local_addr()?)?;
        let (far, _) = listener.accept()?;
        for end in [&near, &far] {
            end.set_nodelay(true)?;
            // One thread has both ends, so none of them may wait for the other.
            end.set_nonblocking(true)?;
        }
        Ok(Self { near, far })
    }

    /// Sends bytes from one end and receives them at the other.
    pub(super) fn copy(&mut self, bytes: &[u8]) -> io::Result<BytesMut> {
        let mut received = BytesMut::zeroed(bytes.len());
        let (mut unsent, mut missing) = (bytes, &mut received[..]);
        while !missing.is_empty() {
            if !unsent.is_empty() {
                let len = if_ready(self.near.write(unsent))?;
                unsent = unsent.get(len..).unwrap_or_default();
            }
            let len = if_ready(self.far.read(missing))?;
            missing = missing.split_at_mut(len).1;
        }
        Ok(received)
    }
}

/// No bytes, if the system has no room or nothing there.
fn if_ready(moved: io::Result<usize>) -> io::Result<usize> {
    match moved {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        moved => moved,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages hold all blocks in their order, and none has room for the block after it.
    #[test]
    fn messages_are_as_long_as_they_may_be() {
        let block = |len| vec![len as u8; len];
        let mut blocks: Vec<Vec<u8>> = (0..300).map(|number| block(number * 977 % 9000)).collect();
        blocks.extend([block(10), block(MESSAGE_LEN + 1)]);
        blocks.extend((0..1200).map(|number| block(number % 3)));
        let messages = Message::gather(blocks.iter().map(Vec::as_slice));
        let bytes: Vec<u8> = messages.iter().flat_map(|message| message.bytes.clone()).collect();
        let lens: Vec<usize> = messages.iter().flat_map(|message| message.lens.clone()).collect();
        assert_eq!(bytes, blocks.concat());
        assert!(lens.iter().copied().eq(blocks.iter().map(Vec::len)));
        for message in &messages {
            assert_eq!(message.bytes.len(), message.lens.iter().sum::<usize>());
            assert!(message.bytes.len() <= MESSAGE_LEN || message.lens.len() == 1);
            assert!(message.lens.len() <= MESSAGE_BLOCKS);
        }
        for pair in messages.windows(2) {
            let is_long = pair[0].bytes.len() + pair[1].lens[0] > MESSAGE_LEN;
            assert!(is_long || pair[0].lens.len() == MESSAGE_BLOCKS);
        }
    }

    /// A log of equal blocks takes the same messages as any other, without taking their memory.
    #[test]
    fn equal_blocks_share_messages() {
        for (len, count) in [(4096, 100), (4096, 96), (4096, 5), (100, 1300), (1 << 20, 3)] {
            let block = vec![7; len];
            let repeated = Repeated::new(&block, count);
            let told: Vec<_> = repeated.messages().map(|message| message.lens.clone()).collect();
            let gathered = Message::gather(iter::repeat_n(block.as_slice(), count));
            let expected: Vec<_> = gathered.into_iter().map(|message| message.lens).collect();
            assert_eq!(told, expected, "{count} blocks of {len}");
        }
    }

    /// The parts are all there is to the whole, and what arrives is what was sent.
    #[test]
    fn parts_make_up_the_whole() {
        let blocks: Vec<[u8; 100]> = (0..5000_u32).map(|number| [number as u8; 100]).collect();
        let messages = Message::gather(blocks.iter().map(<[u8; 100]>::as_slice));
        let costs = Costs::measure(&messages).unwrap();
        assert_eq!((costs.bytes, costs.messages), (500_000, 10));
        let mut tree = Tree::default();
        tree.add(&blocks.concat(), &[100; 5000]);
        assert_eq!(costs.tree_hash, tree.finish());
        let parts = [costs.hash, costs.seal, costs.copy, costs.open];
        assert!(parts.iter().all(|part| *part > Duration::ZERO));
        assert!(parts.iter().sum::<Duration>() <= costs.span.wall);
    }
}
