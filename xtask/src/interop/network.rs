//! Our end of a connection: a log that is fetched from a server on this machine.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use multibee_btree::Error as TreeError;
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
            let key = self.log.key();
            self.endpoint.with(|replicator| {
                for block in &missing {
                    replicator.want(&key, *block..block.saturating_add(1), 0);
                }
            });
            let log = self.log.clone();
            if !log.has(needed) {
                self.wait(|_| log.has(needed).then_some(()))?;
            }
        }
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
