//! Writing a database, and merging what another device wrote.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use multibee::{ByHand, Durability, Home, KeyPair, Multibee, Options, Role, WallClock};
use multibee_replica::ConnectionId;

use crate::kernel::{Kernel, Work};
use crate::sample;

pub(crate) const KERNELS: &[Kernel] = &[
    Kernel {
        name: "db-put",
        what: "put a key that is there into a database of 2000",
        operations: 200,
        prepare: |_| put(),
    },
    Kernel {
        name: "db-get",
        what: "get a random one of them, all cached",
        operations: 10_000,
        prepare: |_| get(),
    },
    Kernel {
        name: "db-catch-up",
        what: "fetch and merge one of 200 commits that another device made, each of one key",
        operations: 200,
        prepare: |_| Pair::work(false),
    },
    Kernel {
        name: "db-converge",
        what: "put a key, and have another device fetch and merge it before the next",
        operations: 100,
        prepare: |_| Pair::work(true),
    },
];

const HELD: u64 = 2000;
/// Has no common factor with [`HELD`].
const STEP: u64 = 1987;

/// It always says the same.
#[derive(Debug)]
struct Clock;

impl WallClock for Clock {
    fn now_ms(&self) -> u64 {
        1_800_000_000_000
    }
}

fn create(number: u8) -> Result<Multibee> {
    let options = Options {
        durability: Durability::Buffered,
        clock: Arc::new(Clock),
        keys: Some(KeyPair::from_seed([number; 32])),
        connection_seed: Some([0x10 + number; 32]),
        ..Options::default()
    };
    Ok(Multibee::create(Home::memory(), options)?)
}

fn filled() -> Result<Multibee> {
    let database = create(1)?;
    let mut batch = database.batch();
    for number in 0..HELD {
        batch.put(sample::key(number), sample::VALUE);
    }
    batch.commit()?;
    Ok(database)
}

fn put() -> Result<Box<dyn Work>> {
    let database = filled()?;
    let mut number = 0;
    Ok(Box::new(move |count| {
        for _ in 0..count {
            number = (number + STEP) % HELD;
            database.put(sample::key(number), sample::VALUE)?;
        }
        Ok(())
    }))
}

fn get() -> Result<Box<dyn Work>> {
    let database = filled()?;
    let mut number = 0;
    Ok(Box::new(move |count| {
        for _ in 0..count {
            number = (number + STEP) % HELD;
            black_box(database.get(sample::key(number))?.context("the key is there")?);
        }
        Ok(())
    }))
}

/// A device with its end of a connection.
struct End {
    database: Multibee,
    hand: ByHand,
    connection: ConnectionId,
}

impl End {
    fn new(database: Multibee, role: Role, now: Instant) -> Result<Self> {
        let hand = ByHand::take(&database).context("nobody has its network")?;
        let connection = hand.connect(role, now);
        Ok(Self { database, hand, connection })
    }
}

/// Two devices that are connected, in a time that stands still.
struct Pair {
    writer: End,
    reader: End,
    now: Instant,
    next: u64,
    /// Each write is merged before the next one is made.
    is_one_by_one: bool,
}

impl Pair {
    fn work(is_one_by_one: bool) -> Result<Box<dyn Work>> {
        let (writer, reader) = (filled()?, create(2)?);
        writer.add_replica(reader.key())?;
        reader.add_replica(writer.key())?;
        let now = Instant::now();
        let writer = End::new(writer, Role::Initiator, now)?;
        let reader = End::new(reader, Role::Responder, now)?;
        let mut pair = Self { writer, reader, now, next: 0, is_one_by_one };
        pair.settle()?;
        Ok(Box::new(pair))
    }

    fn put(&mut self) -> Result<()> {
        self.next = (self.next + STEP) % HELD;
        Ok(self.writer.database.put(sample::key(self.next), sample::VALUE)?)
    }

    /// Carries bytes to and fro until both have the same data and nobody has anything to say.
    fn settle(&mut self) -> Result<()> {
        let (one, other) = (&mut self.writer, &mut self.reader);
        loop {
            let events = one.hand.take_in() + other.hand.take_in();
            let carried = carry(one, other, self.now) + carry(other, one, self.now);
            if events + carried == 0 {
                break;
            }
        }
        ensure!(one.hand.digest() == other.hand.digest(), "the devices differ");
        Ok(())
    }
}

/// Brings what one end has to say to the other; how many pieces there were.
fn carry(from: &End, to: &End, now: Instant) -> usize {
    let mut pieces = 0;
    while let Some(bytes) = from.hand.transmit(from.connection) {
        to.hand.receive(to.connection, &bytes, now);
        pieces += 1;
    }
    pieces
}

impl Work for Pair {
    fn make_ready(&mut self, count: u64) -> Result<()> {
        if !self.is_one_by_one {
            (0..count).try_for_each(|_| self.put())?;
        }
        Ok(())
    }

    fn run(&mut self, count: u64) -> Result<()> {
        if self.is_one_by_one {
            for _ in 0..count {
                self.put()?;
                self.settle()?;
            }
        }
        self.settle()
    }
}
