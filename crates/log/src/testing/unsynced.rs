//! The changes that a power cut may take back, one by one.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use super::choice::{Choice, Fill};
use super::image::{Image, PerPart};
use super::random::{Random, mix2};
use super::recording::{Event, Recording};
use crate::storage::Part;

/// What a disk keeps whole of a write, at least.
const SECTOR_LEN: u64 = 512;

/// A disk: what is safe on it, and the changes since.
#[derive(Debug, Clone)]
pub(super) struct Unsynced {
    safe: Image,
    /// In order of time.
    atoms: Vec<Atom>,
    /// Lengths as a program sees them.
    lens: PerPart<u64>,
    is_published: bool,
}

/// A change that reaches the disk whole or not at all.
#[derive(Debug, Clone)]
struct Atom {
    part: Part,
    change: Change,
}

#[derive(Debug, Clone)]
enum Change {
    /// Bytes within one sector. They do not make the part longer.
    Bytes { offset: u64, bytes: Bytes },
    /// The part has at least this length.
    Extend { to: u64 },
    /// The part has this length.
    Cut { to: u64 },
    /// Bytes that nobody needs. `for_good`: whether they are gone once synced.
    Discard { offset: u64, len: u64, for_good: bool },
}

impl Unsynced {
    pub(super) fn new(recording: &Recording) -> Self {
        let safe = recording.start.clone();
        let mut lens = PerPart::default();
        for part in Part::ALL {
            *lens.get_mut(part) = safe.len(part);
        }
        Self { safe, atoms: Vec::new(), lens, is_published: recording.is_published }
    }

    pub(super) fn count(&self) -> usize {
        self.atoms.len()
    }

    pub(super) const fn is_published(&self) -> bool {
        self.is_published
    }

    /// Takes in what happened next.
    pub(super) fn add(&mut self, event: &Event) {
        match *event {
            Event::Write { part, offset, ref bytes } => self.write(part, offset, bytes),
            Event::Truncate { part, len } if len > *self.lens.get(part) => self.extend(part, len),
            Event::Truncate { part, len } => {
                *self.lens.get_mut(part) = len;
                self.atoms.push(Atom { part, change: Change::Cut { to: len } });
            }
            Event::Discard { part, offset, len, zeroed } => {
                let change = Change::Discard { offset, len, for_good: zeroed };
                self.atoms.push(Atom { part, change });
            }
            Event::Sync { part } => self.sync(part),
            Event::Publish => self.is_published = true,
            Event::Ack(_) | Event::Share(_) => {}
        }
    }

    fn write(&mut self, part: Part, offset: u64, bytes: &Bytes) {
        let mut rest = bytes.clone();
        let mut at = offset;
        while !rest.is_empty() {
            let room = SECTOR_LEN - at % SECTOR_LEN;
            let piece = rest.split_to(rest.len().min(room as usize));
            let len = piece.len() as u64;
            if !self.changes_nothing(part, at, &piece) {
                let change = Change::Bytes { offset: at, bytes: piece };
                self.atoms.push(Atom { part, change });
            }
            at += len;
        }
        self.extend(part, at);
    }

    fn extend(&mut self, part: Part, to: u64) {
        if to > *self.lens.get(part) {
            *self.lens.get_mut(part) = to;
            self.atoms.push(Atom { part, change: Change::Extend { to } });
        }
    }

    /// Whether bytes are safe where they are written to, and no other change is on its way there.
    fn changes_nothing(&self, part: Part, offset: u64, bytes: &[u8]) -> bool {
        let end = offset + bytes.len() as u64;
        let is_apart = |atom: &Atom| match atom.change {
            _ if atom.part != part => true,
            Change::Bytes { offset: at, ref bytes } => {
                at + bytes.len() as u64 <= offset || end <= at
            }
            Change::Discard { offset: at, len, .. } => {
                at.saturating_add(len) <= offset || end <= at
            }
            Change::Cut { to } => end <= to,
            Change::Extend { .. } => true,
        };
        self.safe.has(part, offset, bytes) && self.atoms.iter().all(is_apart)
    }

    fn sync(&mut self, part: Part) {
        let mut building = Building::new(self.safe.clone());
        self.atoms.retain(|atom| {
            let is_here = atom.part == part;
            let is_lost = matches!(atom.change, Change::Discard { for_good: false, .. });
            if is_here && !is_lost {
                building.keep(atom);
            }
            !is_here
        });
        self.safe = building.finish();
    }

    /// Whether an image shows more than what the first `known` changes can make.
    pub(super) fn is_news(&self, choice: &Choice, known: usize) -> bool {
        (known..self.atoms.len()).any(|number| choice.keeps(number) || choice.fill != Fill::Old)
    }

    /// What the disk holds if a power cut goes out as chosen.
    pub(super) fn image(&self, choice: &Choice) -> Image {
        if choice.is_nowhere() {
            return Image::default();
        }
        let mut building = Building::new(self.safe.clone());
        for (number, atom) in self.atoms.iter().enumerate() {
            if choice.keeps(number) {
                building.keep(atom);
            } else if choice.fill != Fill::Old {
                building.lose(atom, choice.fill, mix2(choice.salt, number as u64));
            }
        }
        building.finish()
    }

    /// Says which changes are lost, for people.
    pub(super) fn describe(&self, choice: &Choice, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if choice.is_nowhere() {
            return write!(f, "the log never came to its place");
        }
        let lost = |(number, _): &(usize, &Atom)| !choice.keeps(*number);
        let count = self.atoms.iter().enumerate().filter(lost).count();
        write!(f, "{count} of {} changes lost", self.atoms.len())?;
        for (_, atom) in self.atoms.iter().enumerate().filter(lost) {
            write!(f, "; {atom}")?;
        }
        match choice.fill {
            _ if count == 0 => Ok(()),
            Fill::Old => write!(f, "; old bytes in their place"),
            Fill::Zeros => write!(f, "; zeros in their place"),
            Fill::Random => write!(f, "; random bytes in their place"),
            Fill::Torn => write!(f, "; torn bytes in their place"),
        }
    }
}

impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = self.part;
        match self.change {
            Change::Bytes { offset, ref bytes } => {
                write!(f, "{part} {offset}..{}", offset + bytes.len() as u64)
            }
            Change::Extend { to } => write!(f, "{part} grown to {to}"),
            Change::Cut { to } => write!(f, "{part} cut to {to}"),
            Change::Discard { offset, len, .. } => {
                write!(f, "{part} {offset}..{} discarded", offset.saturating_add(len))
            }
        }
    }
}

/// An image on its way: the bytes that are there, and apart from them how long the parts are.
struct Building {
    image: Image,
    /// `None`: as in the image.
    lens: PerPart<Option<u64>>,
    /// From here on a part was not always there. Disks are free to show anything.
    ends: PerPart<Option<u64>>,
}

impl Building {
    fn new(image: Image) -> Self {
        Self { image, lens: PerPart::default(), ends: PerPart::default() }
    }

    fn keep(&mut self, atom: &Atom) {
        let part = atom.part;
        match atom.change {
            Change::Bytes { offset, ref bytes } => self.put(part, offset, bytes),
            Change::Extend { to } => {
                let len = self.len(part).max(to);
                self.set_len(part, len);
            }
            Change::Cut { to } => {
                let end = self.end(part).min(to);
                self.set_len(part, to);
                *self.ends.get_mut(part) = Some(end);
                if self.image.len(part) > to {
                    self.image.set_len(part, to).expect("parts only shrink here");
                }
            }
            Change::Discard { offset, len, .. } => self.image.zero(part, offset, len),
        }
    }

    /// Does what a change leaves that did not reach the disk.
    fn lose(&mut self, atom: &Atom, fill: Fill, seed: u64) {
        let part = atom.part;
        let mut random = Random::new(seed);
        match atom.change {
            Change::Bytes { offset, ref bytes } => {
                // What was there before is overwritten whole or not at all.
                let skipped = self.end(part).saturating_sub(offset).min(bytes.len() as u64);
                let mut left = bytes.get(skipped as usize..).unwrap_or_default().to_vec();
                scribble(&mut left, fill, &mut random);
                self.put(part, offset + skipped, &left);
            }
            Change::Extend { to } if fill == Fill::Torn => {
                let len = self.len(part);
                self.set_len(part, len + random.below(to.saturating_sub(len)));
            }
            Change::Extend { .. } | Change::Cut { .. } | Change::Discard { .. } => {}
        }
    }

    fn finish(mut self) -> Image {
        for part in Part::ALL {
            if let Some(len) = *self.lens.get(part) {
                self.image.set_len(part, len).expect("recorded lengths fit into memory");
            }
        }
        self.image
    }

    /// Puts bytes where they go, even beyond the end: the part may turn out longer.
    fn put(&mut self, part: Part, offset: u64, bytes: &[u8]) {
        let len = self.len(part);
        self.set_len(part, len);
        let end = self.end(part);
        *self.ends.get_mut(part) = Some(end);
        self.image.write(part, offset, bytes).expect("recorded writes fit into memory");
    }

    fn len(&self, part: Part) -> u64 {
        self.lens.get(part).unwrap_or_else(|| self.image.len(part))
    }

    fn set_len(&mut self, part: Part, len: u64) {
        let end = self.end(part);
        *self.ends.get_mut(part) = Some(end);
        *self.lens.get_mut(part) = Some(len);
    }

    fn end(&self, part: Part) -> u64 {
        self.ends.get(part).unwrap_or_else(|| self.image.len(part))
    }
}

/// Turns bytes that were to be written into what may stand there instead.
fn scribble(bytes: &mut [u8], fill: Fill, random: &mut Random) {
    let lost: Range<usize> = match fill {
        Fill::Torn => random.below(bytes.len() as u64) as usize..bytes.len(),
        _ => 0..bytes.len(),
    };
    let Some(lost) = bytes.get_mut(lost) else { return };
    match fill {
        Fill::Random => random.fill(lost),
        Fill::Torn if random.chance(1, 2) => random.fill(lost),
        _ => lost.fill(0),
    }
}
