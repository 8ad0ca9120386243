//! A server's process and a client's: what the workloads over connections share.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::Ipv4Addr;
use std::process::{Child, ChildStdout};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use multibee_btree::{Bee, EXTENSION_NAME, ExtensionMessage};
use multibee_log::Log;
use multibee_replica::{Endpoint, Event, EventReceiver, Replicator, ReplicatorOptions, Role};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::job::Job;
use super::runner;
use super::task::Task;
use super::usage::{Meter, peak_rss_kib};

/// A download in which nothing happens for this long is stuck.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// What a server tells when it can be connected to.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Offer {
    pub(super) port: u16,
    /// Of the log, in hex.
    pub(super) key: String,
    /// In blocks.
    pub(super) length: u64,
    /// In hex.
    pub(super) tree_hash: String,
}

/// What a server tells when it is over.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Account {
    pub(super) rss_kib: Option<u64>,
    pub(super) cpu_ms: Option<f64>,
}

/// Tells what is offered, and serves a log until the input ends. If it is that of a tree, readers get
/// hints.
pub(super) fn serve_log(log: &Log, bee: Option<Bee>) -> Result<()> {
    let head = log.durable_head().context("there is nothing to serve")?;
    let runtime = Runtime::new().context("tokio")?;
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    let offer = Offer {
        port: listener.local_addr()?.port(),
        key: hex::encode(log.key().as_bytes()),
        length: head.length,
        tree_hash: head.tree_hash.to_string(),
    };
    let (endpoint, events) = endpoint(log, [2; 32]);
    if let Some(bee) = bee {
        runtime.spawn(answer_hints(endpoint.clone(), events, bee));
    }
    let meter = Meter::start();
    runtime.spawn(async move {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        endpoint.drive(stream, Role::Responder).await;
        io::Result::Ok(())
    });
    tell(&offer)?;
    io::stdin().read_to_end(&mut Vec::new())?;
    let cpu_ms = meter.stop().cpu.map(|cpu| cpu.as_secs_f64() * 1e3);
    tell(&Account { rss_kib: peak_rss_kib(), cpu_ms })
}

/// Tells readers what to fetch, as they ask.
async fn answer_hints(endpoint: Endpoint, mut events: EventReceiver, bee: Bee) {
    endpoint.with(|replicator| replicator.accept_extension(EXTENSION_NAME));
    while let Some(event) = events.recv().await {
        if let Event::Extension { id, key, payload, .. } = event
            && let Ok(question) = ExtensionMessage::decode(&payload)
        {
            for part in bee.answer_hint(&question) {
                endpoint.with(|replicator| {
                    replicator.send_extension(id, &key, EXTENSION_NAME, part.encode())
                });
            }
        }
    }
}

pub(super) async fn receive_all(
    endpoint: &Endpoint,
    events: &mut EventReceiver,
    log: &Log,
    length: u64,
) -> Result<()> {
    while log.contiguous_len() < length {
        let next = timeout(PATIENCE, events.recv()).await;
        let mut event = next.context("nothing happened any more")?;
        ensure!(event.is_some(), "the endpoint is gone");
        // Looking at the log once for all that is there already.
        while let Some(happened) = event {
            react(endpoint, log, &happened)?;
            event = events.try_recv();
        }
    }
    Ok(())
}

/// What any client does about an event: asks for the log, and stops if anything is wrong.
pub(super) fn react(endpoint: &Endpoint, log: &Log, event: &Event) -> Result<()> {
    match event {
        Event::Connected { id, .. } => {
            endpoint.with(|replicator| replicator.offer(*id, &log.key()));
        }
        Event::Fault { fault, .. } => bail!("the server is faulty: {fault}"),
        Event::Closed { reason, .. } => bail!("the connection ended: {reason}"),
        Event::LogRejected { .. } => bail!("the server does not know the log"),
        Event::LogFailed { error, .. } => bail!("the log failed: {error}"),
        _ => {}
    }
    Ok(())
}

pub(super) fn endpoint(log: &Log, seed: [u8; 32]) -> (Endpoint, EventReceiver) {
    // A fixed seed makes the encryption worthless, which on this machine's loopback it may be.
    let mut replicator = Replicator::new(ReplicatorOptions::default(), seed);
    replicator.add_log(log.clone());
    Endpoint::new(replicator)
}

pub(super) fn tell(message: &impl Serialize) -> Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{}", serde_json::to_string(message)?)?;
    output.flush().context("cannot write to the client")
}

/// A server's process, as its client has it. It ends when this is dropped, since its input does.
pub(super) struct Server {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Server {
    /// As the job of a client's task needs it.
    pub(super) fn start(task: &Task) -> Result<Self> {
        let job = task.job.kind().server().with_context(|| format!("{task} needs no server"))?;
        Self::start_as(task, job)
    }

    /// For a job that the task's own kind does not name, or one of several.
    pub(super) fn start_as(task: &Task, job: Job) -> Result<Self> {
        let mut process = runner::spawn(&task.with(job))?;
        let output = process.stdout.take().context("the process has no output")?;
        Ok(Self { process, output: BufReader::new(output) })
    }

    /// Tells it something, as a line of JSON.
    pub(super) fn say(&mut self, message: &impl Serialize) -> Result<()> {
        let input = self.process.stdin.as_mut().context("the process has no input")?;
        writeln!(input, "{}", serde_json::to_string(message)?)?;
        input.flush().context("cannot write to the process")
    }

    pub(super) fn hear<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("the server said {line:?}"))
    }

    pub(super) fn stop<T: DeserializeOwned>(mut self) -> Result<T> {
        drop(self.process.stdin.take());
        let account = self.hear()?;
        let status = self.process.wait()?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(account)
    }
}
