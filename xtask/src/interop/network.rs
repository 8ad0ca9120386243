//! Our end of a connection: a log that is fetched from a server on this machine.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use multibee_btree::{EXTENSION_NAME, Error as TreeError, ExtensionMessage};
use multibee_log::Log;
use multibee_replica::{Endpoint, Event, EventReceiver, Replicator, ReplicatorOptions, Role};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// How long to wait for one event before calling it lost.
const LIMIT: Duration = Duration::from_secs(30);

pub(super) struct Network {
    runtime: Runtime,
    endpoint: Endpoint,
    events: EventReceiver,
    log: Log,
}

impl Network {
    /// A node that has one log.
    pub(super) fn new(log: Log) -> Result<Self> {
        let runtime = Runtime::new().context("tokio")?;
        let mut replicator = Replicator::new(ReplicatorOptions::default(), [9; 32]);
        replicator.add_log(log.clone());
        replicator.accept_extension(EXTENSION_NAME);
        let (endpoint, events) = Endpoint::new(replicator);
        Ok(Self { runtime, endpoint, events, log })
    }

    /// Connects to a server and asks for the log there.
    pub(super) fn connect(&mut self, port: u16) -> Result<()> {
        let stream = self.runtime.block_on(TcpStream::connect((Ipv4Addr::LOCALHOST, port)))?;
        stream.set_nodelay(true)?;
        let endpoint = self.endpoint.clone();
        self.runtime.spawn(async move { endpoint.drive(stream, Role::Initiator).await });
        let key = self.log.key();
        let id = self.wait(|event| match event {
            Event::Connected { id, .. } => Some(*id),
            _ => None,
        })?;
        self.endpoint.with(|replicator| replicator.offer(id, &key));
        Ok(())
    }

    /// Waits until this many blocks of the log are known to exist.
    pub(super) fn reach(&mut self, length: u64) -> Result<()> {
        let log = self.log.clone();
        if log.len() >= length {
            return Ok(());
        }
        self.wait(|_| (log.len() >= length).then_some(()))
    }

    /// Reads, and fetches the blocks that this turns out to take.
    pub(super) fn fetch<T>(&mut self, mut read: impl FnMut() -> Result<T, TreeError>) -> Result<T> {
        loop {
            let missing = match read() {
                Err(TreeError::Missing(blocks)) => blocks,
                other => return Ok(other?),
            };
            let Some(&needed) = missing.first() else { bail!("a block is missing, but not which") };
            self.want(&missing);
            let log = self.log.clone();
            if !log.has(needed) {
                self.wait(|_| log.has(needed).then_some(()))?;
            }
        }
    }

    /// Asks the other side what a read needs, and fetches all that the first part of its answer
    /// names. Returns how many blocks these were.
    pub(super) fn fetch_hinted(&mut self, ask: &ExtensionMessage) -> Result<usize> {
        let key = self.log.key();
        let ask = ask.encode();
        let asked = self.endpoint.with(|r| r.broadcast_extension(&key, EXTENSION_NAME, ask));
        ensure!(asked == 1, "the question went to {asked} peers");
        let cache = self.wait(|event| match event {
            Event::Extension { payload, .. } => ExtensionMessage::decode(payload).ok()?.cache,
            _ => None,
        })?;
        let missing = cache.missing(&self.log);
        self.want(&missing);
        let log = self.log.clone();
        let is_here = |seq: &u64| log.has(*seq);
        if !missing.iter().all(is_here) {
            self.wait(|_| missing.iter().all(is_here).then_some(()))?;
        }
        Ok(missing.len())
    }

    fn want(&self, blocks: &[u64]) {
        let key = self.log.key();
        self.endpoint.with(|replicator| {
            for block in blocks {
                replicator.want(&key, *block..block.saturating_add(1), 0);
            }
        });
    }

    /// Waits for the event of which `wanted` makes something.
    fn wait<T>(&mut self, mut wanted: impl FnMut(&Event) -> Option<T>) -> Result<T> {
        loop {
            let event = self.runtime.block_on(async { timeout(LIMIT, self.events.recv()).await });
            let Some(event) = event.context("nothing happened any more")? else {
                bail!("the endpoint is gone");
            };
            if let Some(found) = wanted(&event) {
                return Ok(found);
            }
            match event {
                Event::Fault { fault, .. } => bail!("the other side broke the protocol: {fault}"),
                Event::Closed { reason, .. } => bail!("the connection closed: {reason:?}"),
                Event::LogRejected { .. } => bail!("the other side does not have the log"),
                _ => {}
            }
        }
    }
}
