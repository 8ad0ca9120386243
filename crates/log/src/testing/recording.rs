//! Storage that writes down what is done to it.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::crash_images::{CrashImages, Effort};
use super::image::Image;
use crate::head::Head;
use crate::storage::{Part, Storage};

/// Storage in memory that records each change and each wait for the disk.
///
/// Clones are the same disk: a test keeps one, and gives another to the log.
#[derive(Debug, Clone, Default)]
pub struct RecordingStorage {
    tape: Arc<Mutex<Tape>>,
}

#[derive(Debug, Default)]
struct Tape {
    recording: Recording,
    /// What a program reads.
    now: Image,
    keeps_discarded: bool,
}

impl RecordingStorage {
    /// Makes storage without any bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes storage that holds an image, all of it synced and published.
    pub fn over(image: Image) -> Self {
        let recording = Recording { start: image.clone(), events: Vec::new(), is_published: true };
        let tape = Tape { recording, now: image, keeps_discarded: false };
        Self { tape: Arc::new(Mutex::new(tape)) }
    }

    /// Makes storage on which happened what was recorded, but nothing was waited for.
    pub(super) fn over_unsynced(recording: &Recording, now: Image) -> Self {
        let mut recording = recording.clone();
        recording.is_published = true;
        recording.events.retain(Event::is_change);
        Self { tape: Arc::new(Mutex::new(Tape { recording, now, keeps_discarded: false })) }
    }

    /// Chooses what a discard does: nothing, or zeros, as from the start. Both are allowed, so a
    /// program must get along with either.
    pub fn keep_discarded(&self, keeps: bool) {
        self.lock().keeps_discarded = keeps;
    }

    /// Notes that a log of this length was told to be safe.
    pub fn ack(&self, len: u64) {
        self.lock().recording.events.push(Event::Ack(len));
    }

    /// Notes that others have seen this head.
    pub fn share(&self, head: &Head) {
        self.lock().recording.events.push(Event::Share(head.clone()));
    }

    /// Returns how many events there were.
    pub fn event_count(&self) -> usize {
        self.lock().recording.events.len()
    }

    /// Returns all that was recorded so far.
    pub fn recording(&self) -> Recording {
        self.lock().recording.clone()
    }

    /// Returns another disk, to which the same happened.
    pub(super) fn copy(&self) -> Self {
        let Tape { recording, now, keeps_discarded } = &*self.lock();
        let (recording, now) = (recording.clone(), now.clone());
        let tape = Tape { recording, now, keeps_discarded: *keeps_discarded };
        Self { tape: Arc::new(Mutex::new(tape)) }
    }

    /// Returns what a program reads now.
    pub fn image(&self) -> Image {
        self.lock().now.clone()
    }

    /// What a program read at first.
    pub(super) fn start(&self) -> Image {
        self.lock().recording.start.clone()
    }

    // Nothing is left half changed by a panic, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, Tape> {
        self.tape.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for RecordingStorage {
    fn read_at(&self, part: Part, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        Ok(self.lock().now.read(part, offset, buf))
    }

    fn write_at(&self, part: Part, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut tape = self.lock();
        tape.now.write(part, offset, bytes)?;
        let bytes = Bytes::copy_from_slice(bytes);
        tape.recording.events.push(Event::Write { part, offset, bytes });
        Ok(())
    }

    fn len(&self, part: Part) -> io::Result<u64> {
        Ok(self.lock().now.len(part))
    }

    fn truncate(&self, part: Part, len: u64) -> io::Result<()> {
        let mut tape = self.lock();
        tape.now.set_len(part, len)?;
        tape.recording.events.push(Event::Truncate { part, len });
        Ok(())
    }

    fn discard(&self, part: Part, offset: u64, len: u64) -> io::Result<()> {
        let mut tape = self.lock();
        let zeroed = !tape.keeps_discarded;
        if zeroed {
            tape.now.zero(part, offset, len);
        }
        tape.recording.events.push(Event::Discard { part, offset, len, zeroed });
        Ok(())
    }

    fn sync(&self, part: Part) -> io::Result<()> {
        self.lock().recording.events.push(Event::Sync { part });
        Ok(())
    }

    fn publish(&self) -> io::Result<()> {
        self.lock().recording.events.push(Event::Publish);
        Ok(())
    }
}

/// What was done to a [`RecordingStorage`], in order.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    pub(super) start: Image,
    pub(super) events: Vec<Event>,
    /// Whether the log was in its place from the start.
    pub(super) is_published: bool,
}

impl Recording {
    /// Returns what happened.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The number of the first event that is not the same in another recording.
    pub(super) fn first_difference(&self, other: &Self) -> Option<usize> {
        let same = self.events.iter().zip(&other.events).take_while(|(a, b)| a == b).count();
        (same < self.events.len().max(other.events.len())).then_some(same)
    }

    /// Returns what the disk may hold if the power fails when the first `at` events are done.
    ///
    /// Each image stands for a set of changes since the last sync that reached the disk. There are
    /// all such sets if the changes are few, otherwise a choice of them, as `effort` says.
    pub fn crash(&self, at: usize, effort: Effort) -> CrashImages {
        CrashImages::at(self, at, effort)
    }
}

/// Something that happened to storage.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the arguments of the operation")]
#[non_exhaustive]
pub enum Event {
    /// As [`Storage::write_at`].
    Write { part: Part, offset: u64, bytes: Bytes },
    /// As [`Storage::truncate`].
    Truncate { part: Part, len: u64 },
    /// As [`Storage::discard`]. `zeroed`: whether the bytes read as zeros afterwards.
    Discard { part: Part, offset: u64, len: u64, zeroed: bool },
    /// As [`Storage::sync`].
    Sync { part: Part },
    /// As [`Storage::publish`].
    Publish,
    /// A log of this length was told to be safe.
    Ack(u64),
    /// Others have seen this head.
    Share(Head),
}

impl Event {
    /// Returns whether the event changed bytes.
    pub fn is_change(&self) -> bool {
        matches!(self, Self::Write { .. } | Self::Truncate { .. } | Self::Discard { .. })
    }
}
