//! Waiting for a log's head to change.

use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::RwLockWriteGuard;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use event_listener::{Event, EventListener, Listener};

use crate::commit::State;
use crate::log::Log;

/// A wait for the next change of a log's head. Made by [`Log::listen`].
///
/// As a future it is ready when the head has changed; any executor will do.
pub struct HeadListener {
    listener: EventListener,
}

impl Log {
    /// Begins to wait for a change of the head that readers see: appended, downloaded or
    /// [refreshed](Self::refresh) blocks, a cut, a reorg.
    ///
    /// Begin first, then look at the log, then wait: whatever changes after this call ends the
    /// wait, so nothing is missed in between.
    ///
    /// ```
    /// # use multibee_log::{KeyPair, Log, LogOptions, MemoryStorage};
    /// let log = Log::create(MemoryStorage::new(), KeyPair::generate(), LogOptions::default())?;
    /// let listener = log.listen();
    /// assert_eq!(log.len(), 0);
    /// let writer = std::thread::spawn({
    ///     let log = log.clone();
    ///     move || log.append(&["rain"])
    /// });
    /// listener.wait();
    /// assert_eq!(log.len(), 1);
    /// # writer.join().unwrap()?;
    /// # Ok::<(), multibee_log::Error>(())
    /// ```
    pub fn listen(&self) -> HeadListener {
        HeadListener { listener: self.shared.head_changed.listen() }
    }
}

impl HeadListener {
    /// Blocks the thread until the head has changed.
    pub fn wait(self) {
        self.listener.wait();
    }

    /// As [`wait`](Self::wait), but no longer than `timeout`. Returns whether the head has changed.
    pub fn wait_timeout(self, timeout: Duration) -> bool {
        self.listener.wait_timeout(timeout).is_some()
    }
}

impl Future for HeadListener {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.listener).poll(cx)
    }
}

impl fmt::Debug for HeadListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeadListener").finish_non_exhaustive()
    }
}

/// The right to change the state. When it ends, those who wait for another head are woken if there
/// is one.
pub(crate) struct StateMut<'a> {
    /// Gone only while this is dropped.
    state: Option<RwLockWriteGuard<'a, State>>,
    before: (u64, u64),
    head_changed: &'a Event,
    seen_fork: &'a AtomicU64,
}

impl<'a> StateMut<'a> {
    pub(crate) fn new(
        state: RwLockWriteGuard<'a, State>,
        head_changed: &'a Event,
        seen_fork: &'a AtomicU64,
    ) -> Self {
        Self { before: seen(&state), state: Some(state), head_changed, seen_fork }
    }
}

/// What tells heads of one log apart.
fn seen(state: &State) -> (u64, u64) {
    let commit = state.commit();
    (commit.fork, commit.length())
}

impl Deref for StateMut<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        self.state.as_deref().expect("it is there until this is dropped")
    }
}

impl DerefMut for StateMut<'_> {
    fn deref_mut(&mut self) -> &mut State {
        self.state.as_deref_mut().expect("it is there until this is dropped")
    }
}

impl Drop for StateMut<'_> {
    fn drop(&mut self) {
        let Some(state) = self.state.take() else { return };
        let (fork, len) = seen(&state);
        let is_changed = (fork, len) != self.before;
        // Whoever sees another history sees its number, too.
        self.seen_fork.store(fork, Ordering::Release);
        drop(state);
        if is_changed {
            self.head_changed.notify(usize::MAX);
        }
    }
}
