//! The thread that brings changes to disk within a delay.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::durability::Durability;
use crate::log::Shared;

/// Wakes the thread, and ends it.
#[derive(Debug, Default)]
pub(crate) struct Pacemaker {
    wishes: Mutex<Wishes>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Wishes {
    /// There are changes that await a sync.
    is_due: bool,
    is_closing: bool,
}

/// Ends the thread when the last handle of a log goes, and waits for that: the log's storage is
/// free when its last handle is gone.
pub(crate) struct Closer {
    pacemaker: Arc<Pacemaker>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Closer {
    fn drop(&mut self) {
        self.pacemaker.close();
        if let Some(thread) = self.thread.take() {
            // It has said so itself if it panicked.
            let _ = thread.join();
        }
    }
}

impl Pacemaker {
    /// Starts the thread for a log whose durability asks for one.
    pub(crate) fn start(shared: &Arc<Shared>) -> Option<Arc<Closer>> {
        let Durability::Eventual { max_delay } = shared.options.durability else {
            return None;
        };
        shared.keys()?;
        let pacemaker = Arc::new(Self::default());
        let (ours, weak) = (pacemaker.clone(), Arc::downgrade(shared));
        let name = "multibee-log-sync".to_owned();
        match thread::Builder::new().name(name).spawn(move || ours.run(&weak, max_delay)) {
            Ok(thread) => {
                let _ = shared.pacemaker.set(pacemaker.clone());
                Some(Arc::new(Closer { pacemaker, thread: Some(thread) }))
            }
            Err(error) => {
                // Each change is then synced at once: more than what was asked for.
                tracing::warn!(%error, "no thread for syncing could be started");
                None
            }
        }
    }

    pub(crate) fn request(&self) {
        let mut wishes = self.wishes();
        if !wishes.is_due {
            wishes.is_due = true;
            self.changed.notify_one();
        }
    }

    fn close(&self) {
        self.wishes().is_closing = true;
        self.changed.notify_one();
    }

    fn run(&self, shared: &Weak<Shared>, max_delay: Duration) {
        loop {
            let mut wishes = self.wishes();
            while !wishes.is_due && !wishes.is_closing {
                wishes = self.changed.wait(wishes).unwrap_or_else(PoisonError::into_inner);
            }
            let waited = self.changed.wait_timeout_while(wishes, max_delay, |w| !w.is_closing);
            let (mut wishes, _) = waited.unwrap_or_else(PoisonError::into_inner);
            if wishes.is_closing {
                return;
            }
            wishes.is_due = false;
            drop(wishes);
            let Some(shared) = shared.upgrade() else {
                return;
            };
            shared.sync_or_warn();
        }
    }

    fn wishes(&self) -> MutexGuard<'_, Wishes> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Sees to it that what was accepted is synced within the delay.
    pub(crate) fn sync_later(&self) {
        match self.pacemaker.get() {
            Some(pacemaker) => pacemaker.request(),
            None => self.sync_or_warn(),
        }
    }

    fn sync_or_warn(&self) {
        let change = self.state().change;
        if let Err(error) = self.wait_durable(change) {
            // The next write tells its caller.
            tracing::warn!(key = %self.key, %error, "syncing the log failed");
        }
    }

    /// Brings a log that is written here to its places if much waits, when the last handle goes, and
    /// syncs what would have been synced later.
    pub(crate) fn close(&self) {
        if self.keys().is_some() {
            self.flush_if_much(self.options.left_bytes_max());
        }
        if self.pacemaker.get().is_some() {
            self.sync_or_warn();
        }
    }
}
