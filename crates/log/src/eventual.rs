//! The thread that brings changes to disk within a delay.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use crate::durability::Durability;
use crate::log::{Log, Shared};

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

impl Pacemaker {
    /// Starts the thread for a log whose durability asks for one.
    pub(crate) fn start(log: &Log) {
        let Durability::Eventual { max_delay } = log.shared.options.durability else {
            return;
        };
        if log.shared.keys.is_none() {
            return;
        }
        let pacemaker = Arc::new(Self::default());
        let shared = Arc::downgrade(&log.shared);
        let ours = pacemaker.clone();
        let name = "multibee-log-sync".to_owned();
        match thread::Builder::new().name(name).spawn(move || ours.run(&shared, max_delay)) {
            Ok(_) => drop(log.shared.pacemaker.set(pacemaker)),
            // Each change is then synced at once: more than what was asked for.
            Err(error) => tracing::warn!(%error, "no thread for syncing could be started"),
        }
    }

    pub(crate) fn request(&self) {
        let mut wishes = self.wishes();
        if !wishes.is_due {
            wishes.is_due = true;
            self.changed.notify_one();
        }
    }

    pub(crate) fn close(&self) {
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

    /// Ends what goes on in the background, when the last handle goes.
    pub(crate) fn close(&self) {
        if let Some(pacemaker) = self.pacemaker.get() {
            pacemaker.close();
            self.sync_or_warn();
        }
    }
}
