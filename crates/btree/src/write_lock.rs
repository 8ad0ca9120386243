use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Lets one writer at a time through. Unlike a mutex's, its guard has no lifetime, so that a batch
/// can keep it.
#[derive(Clone, Default)]
pub(crate) struct WriteLock(Arc<Turnstile>);

#[derive(Default)]
struct Turnstile {
    taken: Mutex<bool>,
    freed: Condvar,
}

/// The right to write, until dropped.
pub(crate) struct WriteGuard(WriteLock);

impl WriteLock {
    /// Waits until no one else writes.
    pub(crate) fn lock(&self) -> WriteGuard {
        let taken = self.taken();
        let waited = self.0.freed.wait_while(taken, |taken| *taken);
        *waited.unwrap_or_else(PoisonError::into_inner) = true;
        WriteGuard(self.clone())
    }

    /// No code that could panic runs while this is held, so it is never poisoned.
    fn taken(&self) -> MutexGuard<'_, bool> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for WriteGuard {
    fn drop(&mut self) {
        *self.0.taken() = false;
        self.0.0.freed.notify_one();
    }
}
