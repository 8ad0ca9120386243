//! Connections: dialling, listening, and the task that takes in what the network tells.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use multibee_btree::EXTENSION_NAME;
use multibee_log::LogKey;
use multibee_replica::{
    ConnectionId, DialNews, DialOptions, Dialer, Endpoint, EventReceiver, Link, ListenLimits,
    Listener, RedialOptions, Replicator, ReplicatorOptions, Role, ShutdownError,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::ToSocketAddrs;
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinHandle, JoinSet};

use crate::core::Core;
use crate::peer_message::PROTOCOL;
use crate::peers::{Contact, Standing, compare};
use crate::session::{Session, own_status};
use crate::{Error, Multibee};

/// Events taken in at once, at most: one commit for many arrivals.
const EVENTS_AT_ONCE: usize = 4096;
/// How long dialling may take.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest pause between attempts to reach a device.
const REDIAL_PAUSE_MAX: Duration = Duration::from_secs(10);
/// How long other devices have to take what waits for them when the database is closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The network side of a database: works without a runtime until somebody connects.
pub(crate) struct Network {
    session: Arc<Session>,
    /// The own log has grown, and peers are not told yet.
    dirty: Arc<Notify>,
    /// The database is being closed.
    stop: Arc<Notify>,
    tasks: Mutex<Tasks>,
}

#[derive(Default)]
struct Tasks {
    /// What the network tells, until the task that takes it in was started.
    events: Option<EventReceiver>,
    taking_in: Option<JoinHandle<()>>,
    /// Connections, and those who wait for some.
    running: JoinSet<()>,
}

/// One connection to another device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    id: ConnectionId,
}

impl Network {
    /// Connections draw on `seed`, or on the system's random numbers.
    pub(crate) fn new(core: Core, seed: Option<[u8; 32]>) -> Result<Self, Error> {
        let seed = match seed {
            Some(seed) => seed,
            None => random_seed()?,
        };
        // What was merged cannot be taken back, so a log that was cut is followed no further.
        let options = ReplicatorOptions { follow_cuts: false, ..ReplicatorOptions::default() };
        let mut replicator = Replicator::new(options, seed);
        replicator.accept_protocol(PROTOCOL);
        replicator.accept_extension(EXTENSION_NAME);
        if core.refusal().is_none() {
            replicator.add_log(core.primary.log().clone());
        }
        for following in core.following().values() {
            replicator.add_log(following.follower.bee().log().clone());
        }
        core.source_logs().for_each(|log| replicator.add_log(log.clone()));
        core.mirrored().iter().for_each(|key| replicator.want_all(key));
        let (endpoint, events) = Endpoint::new(replicator);
        let session = Arc::new(Session::new(core, endpoint));
        // What was downloaded in an earlier run and not merged is merged now.
        session.process(Vec::new());
        let tasks = Mutex::new(Tasks { events: Some(events), ..Tasks::default() });
        Ok(Self { session, dirty: Arc::default(), stop: Arc::default(), tasks })
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// Has peers told that the own log grew, soon. Costs nothing while nobody is connected.
    pub(crate) fn own_log_changed(&self) {
        self.dirty.notify_one();
        self.session.changes.send_modify(|count| *count += 1);
    }

    /// Bytes sent and received over all connections.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        self.session.endpoint.with(|replicator| {
            let total = replicator.stats().total;
            (total.bytes_out, total.bytes_in)
        })
    }

    fn tasks(&self) -> std::sync::MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session and its events, for somebody who drives them in place of the tasks here.
    #[cfg(feature = "testing")]
    pub(crate) fn by_hand(&self) -> Option<(Arc<Session>, EventReceiver)> {
        let events = self.tasks().events.take()?;
        Some((self.session.clone(), events))
    }

    /// Starts the task that takes in events, once.
    fn start(&self) {
        let mut tasks = self.tasks();
        if let Some(events) = tasks.events.take() {
            let session = Arc::downgrade(&self.session);
            let work = take_in(session, events, self.dirty.clone(), self.stop.clone());
            tasks.taking_in = Some(tokio::spawn(work));
        }
    }

    fn attach<S>(&self, stream: S, link: Link) -> ConnectionId
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.start();
        let endpoint = self.session.endpoint.clone();
        let id = endpoint.connect_link(link);
        self.tasks().running.spawn(async move {
            endpoint.drive_connection(id, stream).await;
        });
        id
    }
}

fn random_seed() -> Result<[u8; 32], Error> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| Error::Unreachable {
        peer: "the system's random numbers".into(),
        why: error.to_string(),
    })?;
    Ok(seed)
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}

/// Takes in what the network tells and what the own log has become, until the database is gone.
async fn take_in(
    session: Weak<Session>,
    mut events: EventReceiver,
    dirty: Arc<Notify>,
    stop: Arc<Notify>,
) {
    loop {
        let mut batch = Vec::new();
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => batch.push(event),
                None => return,
            },
            () = dirty.notified() => {}
            () = stop.notified() => return,
        }
        while batch.len() < EVENTS_AT_ONCE
            && let Some(event) = events.try_recv()
        {
            batch.push(event);
        }
        let Some(session) = session.upgrade() else { return };
        let work = tokio::task::spawn_blocking(move || session.process(batch));
        if work.await.is_err() {
            tracing::error!("taking in events failed: a bug");
            return;
        }
    }
}

impl Multibee {
    /// Talks to another device over a byte stream that stands already. One side is the initiator,
    /// the other the responder.
    ///
    /// Needs a running tokio runtime, here and in all that follows.
    pub fn attach<S>(&self, stream: S, role: Role) -> Connection
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.attach_link(stream, Link::noise(role))
    }

    pub(crate) fn attach_link<S>(&self, stream: S, link: Link) -> Connection
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        Connection { id: self.network().attach(stream, link) }
    }

    /// Dials a device and waits until both have proven who they are. Returns who it is.
    ///
    /// The connection then stays; changes flow both ways as they happen.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] if nobody answers, or nobody of this database.
    pub async fn connect(
        &self,
        address: impl ToSocketAddrs + fmt::Display,
    ) -> Result<LogKey, Error> {
        let name = address.to_string();
        let unreachable = |why: String| Error::Unreachable { peer: name.clone(), why };
        let dialled = multibee_replica::dial(address, DIAL_TIMEOUT).await;
        let (stream, link) = dialled.map_err(|error| unreachable(error.to_string()))?;
        let connection = Connection { id: self.network().attach(stream, link) };
        self.introduced(connection).await.map_err(unreachable)
    }

    /// Waits until the other side of a connection has proven to be a device of this database.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] if it is none, or the connection ended.
    pub async fn wait_introduced(&self, connection: Connection) -> Result<LogKey, Error> {
        let peer = connection.id.to_string();
        self.introduced(connection).await.map_err(|why| Error::Unreachable { peer, why })
    }

    async fn introduced(&self, connection: Connection) -> Result<LogKey, String> {
        let session = self.network().session();
        let mut changes = session.changes.subscribe();
        loop {
            changes.borrow_and_update();
            {
                let mut state = session.lock();
                match state.peers.contact(connection.id) {
                    Some(Contact::Device(peer)) => return Ok(peer.key),
                    Some(Contact::Stranger { why, .. } | Contact::Gone { why }) => {
                        let why = why.clone();
                        if matches!(state.peers.contact(connection.id), Some(Contact::Gone { .. }))
                        {
                            state.peers.forget(connection.id);
                        }
                        drop(state);
                        session.endpoint.with(|replicator| replicator.close(connection.id));
                        return Err(why);
                    }
                    Some(Contact::Anonymous { .. } | Contact::Recognised { .. }) | None => {}
                }
            }
            if changes.changed().await.is_err() {
                return Err("the database was closed".into());
            }
        }
    }

    /// Dials a device again and again, whenever there is no connection to it. Ends when the database
    /// is closed; dropping the future ends the connection, too.
    pub async fn stay_connected(&self, address: &str) {
        self.network().start();
        let redial = RedialOptions { longest_pause: REDIAL_PAUSE_MAX, ..RedialOptions::default() };
        let dialer = Dialer::new(address, DialOptions { timeout: DIAL_TIMEOUT, redial });
        let (sender, reached) = mpsc::unbounded_channel();
        let tell = move |news| match news {
            // Nobody listens only while the future is being dropped.
            DialNews::Reached { id } => drop(sender.send(id)),
            DialNews::Failed { error, pause } => {
                tracing::info!(address, %error, "trying again in {pause:?}");
            }
            DialNews::Ended { reason, pause } => {
                tracing::info!(address, %reason, "trying again in {pause:?}");
            }
            _ => {}
        };
        let endpoint = &self.network().session().endpoint;
        tokio::join!(dialer.run(endpoint, tell), self.introduce_all(reached));
    }

    /// Waits for those who were reached to say who they are. Hangs up on who is nobody of ours, so
    /// that it is dialled again: it may have become a device of this database by then.
    async fn introduce_all(&self, mut reached: mpsc::UnboundedReceiver<ConnectionId>) {
        while let Some(id) = reached.recv().await {
            if let Err(error) = self.wait_introduced(Connection { id }).await {
                tracing::info!(%error, "a connection led to nobody of this database");
            }
        }
    }

    /// Takes connections on an address; `127.0.0.1:0` lets the system choose a port. Returns the
    /// address that it got. Ends when the database is closed.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] if the address can't be had.
    pub async fn listen(
        &self,
        address: impl ToSocketAddrs + fmt::Display,
    ) -> Result<SocketAddr, Error> {
        let name = address.to_string();
        let fail = |error: std::io::Error| Error::Unreachable {
            peer: name.clone(),
            why: error.to_string(),
        };
        let listener = Listener::bind(address, ListenLimits::default()).await.map_err(fail)?;
        let bound = listener.local_addr().map_err(fail)?;
        self.network().start();
        let endpoint = self.network().session().endpoint.clone();
        self.network().tasks().running.spawn(async move { listener.run(&endpoint).await });
        Ok(bound)
    }

    /// Ends a connection; what is queued is sent first.
    pub fn disconnect(&self, connection: Connection) {
        self.network().session().endpoint.with(|replicator| replicator.close(connection.id));
    }

    /// Whether a connection has not ended yet, as far as this side knows.
    pub fn is_connected(&self, connection: Connection) -> bool {
        let state = self.network().session().lock();
        !matches!(state.peers.contact(connection.id), Some(Contact::Gone { .. }) | None)
    }

    /// Waits until this device and every device that it is connected to have merged everything
    /// that any of them has, and hold the same data.
    ///
    /// # Errors
    ///
    /// [`Error::NotSynced`] when the time is up or nobody is connected by then;
    /// [`Error::Diverged`] if a device applied the same writes but holds other data.
    pub async fn wait_synced(&self, timeout: Duration) -> Result<(), Error> {
        let waiting = async {
            let session = self.network().session();
            let mut changes = session.changes.subscribe();
            loop {
                changes.borrow_and_update();
                match self.standing()? {
                    None => return Ok(()),
                    Some(_) if changes.changed().await.is_ok() => {}
                    Some(what) => return Err(what),
                }
            }
        };
        let waited = tokio::time::timeout(timeout, waiting).await;
        let what = match waited {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(what)) => what,
            Err(_) => match self.standing() {
                Ok(None) => return Ok(()),
                Ok(Some(what)) | Err(what) => what,
            },
        };
        self.not_synced(timeout, what)
    }

    fn not_synced(&self, timeout: Duration, what: String) -> Result<(), Error> {
        if let Some(peer) = self.diverged() {
            return Err(Error::Diverged { peer });
        }
        Err(Error::NotSynced { seconds: timeout.as_secs(), what })
    }

    fn diverged(&self) -> Option<LogKey> {
        let state = self.network().session().lock();
        state.peers.devices().find(|peer| peer.diverged).map(|peer| peer.key)
    }

    /// What still keeps this device and those connected apart; `None` if nothing does.
    /// An error is something that waiting does not mend.
    fn standing(&self) -> Result<Option<String>, String> {
        let state = self.network().session().lock();
        if let Some(failed) = &state.failed {
            return Err(failed.clone());
        }
        if !state.core.is_active(&state.core.key()) {
            return Err("this device was removed from the database".into());
        }
        let own = own_status(&state.core).map_err(|error| error.to_string())?;
        let mut count = 0;
        for peer in state.peers.devices() {
            if peer.removed {
                continue;
            }
            count += 1;
            let theirs = peer.status.as_ref();
            match theirs.map_or(Standing::Apart, |theirs| compare(&own, theirs)) {
                Standing::Same => {}
                Standing::Apart => {
                    return Ok(Some(format!("{} is not at the same point", peer.key)));
                }
                Standing::Diverged => return Err(format!("{} holds other data", peer.key)),
            }
        }
        let lonely = || Some("no device of this database is connected".to_owned());
        Ok(if count == 0 { lonely() } else { None })
    }

    /// Waits until something changed that concerns other devices, or the own data.
    pub async fn changed(&self) {
        let mut changes = self.network().session().changes.subscribe();
        // An error means that the database is gone: that is a change, too.
        let _ = changes.changed().await;
    }

    /// A counter of changes that concern other devices or the own data, to wait on.
    pub fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.network().session().changes.subscribe()
    }

    /// Ends all connections and tasks, and waits until what was written is on the disk. Other
    /// devices have 5 seconds to take what waits for them.
    ///
    /// # Errors
    ///
    /// The disk is at fault.
    pub async fn close(self) -> Result<(), Error> {
        let endpoint = &self.network().session().endpoint;
        match endpoint.shutdown_within(CLOSE_TIMEOUT).await {
            Ok(()) => {}
            Err(ShutdownError::Storage { source, .. }) => {
                self.set_closed();
                return Err(source.into());
            }
            Err(late) => tracing::info!(%late, "closed before others had taken all"),
        }
        let tasks = std::mem::take(&mut *self.network().tasks());
        let Tasks { taking_in, mut running, .. } = tasks;
        running.shutdown().await;
        self.network().stop.notify_one();
        if let Some(taking_in) = taking_in {
            // It ends by itself, after what it is doing: a merge is not left half done.
            let _ = taking_in.await;
        }
        self.set_closed();
        self.sync_to_disk()
    }

    /// Ends what waits for changes through other handles.
    fn set_closed(&self) {
        let session = self.network().session();
        session.closed.store(true, Ordering::Release);
        session.changes.send_modify(|count| *count += 1);
    }

    /// Whether somebody has closed the database, be it by another handle.
    pub(crate) fn is_closed(&self) -> bool {
        self.network().session().closed.load(Ordering::Acquire)
    }
}
