//! What a disk may hold after the power failed: what was synced, and any of the rest.

use std::fmt;
use std::sync::Arc;
use std::vec;

use super::choice::{Choice, choices};
use super::image::Image;
use super::recording::Recording;
use super::unsynced::Unsynced;

/// How many of the possible images are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// Every set of changes is tried if there are at most so many. 12 makes 4096 sets.
    pub exhaustive: usize,
    /// If there are more: most sets of each kind. The kinds: all up to one; the same without another;
    /// single ones; pairs; all but one; all but a pair; random sets.
    pub samples: usize,
    /// Decides about all that is random.
    pub seed: u64,
}

impl Default for Effort {
    fn default() -> Self {
        Self { exhaustive: 12, samples: 64, seed: 0 }
    }
}

/// The images that a disk may hold after a power cut at one moment.
///
/// Any of the changes that were not synced may be there, whatever their order. Writes are split
/// where sectors of 512 bytes begin. Overwritten bytes are old or new, sector by sector; where the
/// part had ended there may also be zeros or any bytes, and the write may end anywhere. A part may
/// have grown without the bytes, or have been cut before older changes came.
#[derive(Debug, Clone)]
pub struct CrashImages {
    unsynced: Arc<Unsynced>,
    choices: vec::IntoIter<Choice>,
    /// Images that the first so many changes can make are left out.
    known: Option<usize>,
}

impl CrashImages {
    pub(super) fn at(recording: &Recording, at: usize, effort: Effort) -> Self {
        let mut unsynced = Unsynced::new(recording);
        recording.events.iter().take(at).for_each(|event| unsynced.add(event));
        Self::new(unsynced, None, effort)
    }

    pub(super) fn new(unsynced: Unsynced, known: Option<usize>, effort: Effort) -> Self {
        let choices = choices(unsynced.count(), unsynced.is_published(), effort).into_iter();
        Self { unsynced: Arc::new(unsynced), choices, known }
    }
}

impl Iterator for CrashImages {
    type Item = CrashImage;

    fn next(&mut self) -> Option<CrashImage> {
        let Self { unsynced, choices, known } = self;
        let choice =
            choices.find(|choice| known.is_none_or(|known| unsynced.is_news(choice, known)))?;
        Some(CrashImage { image: unsynced.image(&choice), unsynced: unsynced.clone(), choice })
    }
}

/// What a disk may hold after a power cut. Its text says which changes were lost.
#[derive(Debug, Clone)]
pub struct CrashImage {
    image: Image,
    unsynced: Arc<Unsynced>,
    choice: Choice,
}

impl CrashImage {
    /// Returns the bytes.
    pub const fn image(&self) -> &Image {
        &self.image
    }

    /// Returns whether no change is missing, as when only the program ended.
    pub fn is_whole(&self) -> bool {
        (0..self.unsynced.count()).all(|number| self.choice.keeps(number))
    }
}

impl fmt::Display for CrashImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.unsynced.describe(&self.choice, f)
    }
}
