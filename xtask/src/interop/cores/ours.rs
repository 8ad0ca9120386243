//! Our end: a replicator with any number of logs and connections.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use multibee_log::{Log, LogKey};
use multibee_replica::{
    ConnectionId, Endpoint, Event, EventReceiver, ListenLimits, Listener, Replicator,
    ReplicatorOptions, Role,
};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, timeout_at};

/// How long a case may take in all. Nothing waits for this time to pass: it ends what hangs.
const LIMIT: Duration = Duration::from_secs(60);

pub(super) struct Ours {
    runtime: Runtime,
    endpoint: Endpoint,
    events: EventReceiver,
    seen: Seen,
    deadline: Instant,
}

/// What events have told.
#[derive(Default)]
struct Seen {
    connected: Vec<(ConnectionId, Role)>,
    /// How many of them a case has taken note of.
    met: usize,
    /// Places of bytes.
    sought: BTreeMap<(LogKey, u64), (u64, u64)>,
    /// Blocks that arrived.
    stored: u64,
}

impl Ours {
    pub(super) fn new() -> Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let replicator = Replicator::new(ReplicatorOptions::default(), [0x17; 32]);
        let (endpoint, events) = Endpoint::new(replicator);
        let deadline = Instant::now() + LIMIT;
        Ok(Self { runtime, endpoint, events, seen: Seen::default(), deadline })
    }

    pub(super) fn add(&self, log: &Log) {
        self.with(|replicator| replicator.add_log(log.clone()));
    }

    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Replicator) -> T) -> T {
        self.endpoint.with(act)
    }

    /// Serves everybody who connects. Returns the port.
    pub(super) fn listen(&self) -> Result<u16> {
        let address = (Ipv4Addr::LOCALHOST, 0);
        let bound = Listener::bind(address, ListenLimits::default());
        let listener = self.runtime.block_on(bound)?;
        let port = listener.local_addr()?.port();
        let endpoint = self.endpoint.clone();
        self.runtime.spawn(async move { listener.run(&endpoint).await });
        Ok(port)
    }

    /// Connects to a server, and offers it all logs.
    pub(super) fn dial(&mut self, port: u16) -> Result<()> {
        let connecting = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
        let stream = self.runtime.block_on(connecting)?;
        stream.set_nodelay(true)?;
        let endpoint = self.endpoint.clone();
        self.runtime.spawn(async move { endpoint.drive(stream, Role::Initiator).await });
        let id = self.next_connection(Role::Initiator)?;
        self.with(|replicator| {
            let keys: Vec<_> = replicator.logs().collect();
            keys.iter().for_each(|key| replicator.offer(id, key));
        });
        Ok(())
    }

    /// Waits for somebody to have connected.
    pub(super) fn met(&mut self) -> Result<()> {
        self.next_connection(Role::Responder).map(|_| ())
    }

    fn next_connection(&mut self, expected: Role) -> Result<ConnectionId> {
        let index = self.seen.met;
        self.until("a connection", |seen| seen.connected.len() > index)?;
        self.seen.met += 1;
        let (id, role) = *self.seen.connected.get(index).context("just seen")?;
        ensure!(role == expected, "we are {role:?} in the handshake");
        Ok(id)
    }

    /// Appends to a log of ours and tells everybody.
    pub(super) fn append(&self, log: &Log, blocks: &[Vec<u8>]) -> Result<()> {
        log.append(blocks)?;
        self.with(|replicator| replicator.log_changed(&log.key()));
        Ok(())
    }

    /// Cuts a log of ours and tells everybody.
    pub(super) fn truncate(&self, log: &Log, length: u64) -> Result<()> {
        log.truncate(length)?;
        self.with(|replicator| replicator.log_changed(&log.key()));
        Ok(())
    }

    /// Drops blocks of a log and tells everybody.
    pub(super) fn clear(&self, log: &Log, range: Range<u64>) -> Result<()> {
        log.clear(range.clone())?;
        self.with(|replicator| replicator.cleared(&log.key(), range));
        Ok(())
    }

    /// Waits until a copy has this fork, and at least this length.
    pub(super) fn reach(&mut self, log: &Log, length: u64, fork: u64) -> Result<()> {
        self.until("a new head", |_| log.fork() == fork && log.len() >= length)
    }

    /// Has blocks fetched, and waits for them.
    pub(super) fn fetch(&mut self, log: &Log, range: Range<u64>) -> Result<()> {
        self.with(|replicator| replicator.want(&log.key(), range.clone(), 1));
        self.hold(log, &[range])
    }

    /// Waits until a log holds these blocks; at that moment it must hold no others.
    pub(super) fn hold(&mut self, log: &Log, ranges: &[Range<u64>]) -> Result<()> {
        let holds = |range: &Range<u64>| log.held(range.clone()) == std::slice::from_ref(range);
        self.until("blocks", |_| ranges.iter().all(holds))
    }

    /// Finds the block with the byte at an offset, and where in it.
    pub(super) fn seek(&mut self, log: &Log, byte: u64) -> Result<(u64, u64)> {
        let place = (log.key(), byte);
        ensure!(self.with(|replicator| replicator.seek(&place.0, byte)), "it isn't looked for");
        self.until("the place of a byte", |seen| seen.sought.contains_key(&place))?;
        self.seen.sought.remove(&place).context("just seen")
    }

    /// How many blocks arrived, of all logs, as far as events were taken.
    pub(super) fn stored(&self) -> u64 {
        self.seen.stored
    }

    /// Takes events until something holds.
    fn until(&mut self, what: &str, holds: impl Fn(&Seen) -> bool) -> Result<()> {
        while !holds(&self.seen) {
            let next = self.events.recv();
            let event = self.runtime.block_on(async { timeout_at(self.deadline, next).await });
            let event = event.with_context(|| format!("{what} did not come in time"))?;
            self.seen.note(event.context("the endpoint is gone")?)?;
        }
        Ok(())
    }
}

impl Seen {
    fn note(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Connected { id, role, .. } => self.connected.push((id, role)),
            Event::Sought { key, byte, seq, within } => {
                self.sought.insert((key, byte), (seq, within));
            }
            Event::Stored { blocks, .. } => self.stored += blocks.end - blocks.start,
            Event::Fault { fault, .. } => bail!("the other side broke the protocol: {fault}"),
            Event::Closed { reason, .. } => bail!("the connection closed: {reason:?}"),
            Event::LogRejected { .. } => bail!("the other side does not have the log"),
            Event::LogClosed { .. } => bail!("the other side closed the log"),
            Event::Conflict { .. } | Event::WrittenElsewhere { .. } => bail!("{event:?}"),
            _ => {}
        }
        Ok(())
    }
}
