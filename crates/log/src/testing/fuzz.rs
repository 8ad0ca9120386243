//! What must hold of decoders, whatever the bytes: the bodies of the fuzz targets.
//!
//! `cargo xtask fuzz` calls them with bytes that it makes up as it learns what they lead to, and
//! `cargo test` with those that were worth keeping, in the folder `fuzz/corpus`. Each panics if its
//! property does not hold.

mod parts;
mod replica;
mod signed;

use std::ops::Range;

use crate::bitfield::{Bitfield, PAGE_LEN};
use crate::conflict::Conflict;
use crate::manifest::Manifest;
use crate::oplog_codec::{Entry, FRAME_HEAD_LEN, Slot, frame_payload_len, parse_frame, put_frame};
use crate::proof::Proof;

pub use parts::{Parts, open};
pub use replica::{Age, apply, conflict, conflicts, messages, source};
pub use signed::{signature, signatures};

/// A property of arbitrary bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name of the program in `fuzz/fuzz_targets`, and of the folder in `fuzz/corpus`.
    pub name: &'static str,
    /// Panics if the property does not hold.
    pub check: fn(&[u8]),
    /// What the property is about, alone: takes the bytes in, and forgets them.
    pub decode: fn(&[u8]),
    /// Most bytes of memory that it takes for an empty input, and for each byte of one.
    memory: (usize, usize),
}

impl Target {
    /// Makes one, with the bytes of memory that `check` may take for an empty input and for each byte
    /// of one.
    #[must_use]
    pub const fn new(
        name: &'static str,
        check: fn(&[u8]),
        decode: fn(&[u8]),
        memory: (usize, usize),
    ) -> Self {
        Self { name, check, decode, memory }
    }

    /// Most bytes of memory that `check` may take for an input of `len` bytes.
    ///
    /// Decoding takes at most twice the input; the property decodes twice, and encodes.
    #[must_use]
    pub const fn memory_max(&self, len: usize) -> usize {
        let (fixed, each) = self.memory;
        fixed + each * len
    }
}

const KIB: usize = 1024;

/// All targets.
pub const TARGETS: &[Target] = &[
    Target {
        name: "apply",
        check: apply,
        decode: |data| messages(data).for_each(|message| drop(Proof::decode(message))),
        memory: (512 * KIB, 64),
    },
    Target {
        name: "bitfield",
        check: bitfield,
        decode: |data| drop(load_pages(take_changes(data).1)),
        memory: (4096 * KIB, 64),
    },
    Target {
        name: "conflict",
        check: conflict,
        decode: |data| drop(Conflict::decode(data)),
        memory: (512 * KIB, 64),
    },
    Target {
        name: "entry",
        check: entry,
        decode: |data| drop(Entry::decode(data)),
        memory: (64 * KIB, 6),
    },
    Target {
        name: "frames",
        check: frames,
        decode: |data| drop(parse_frame(data).map(|frame| Entry::decode(frame.payload))),
        memory: (64 * KIB, 8),
    },
    Target {
        name: "manifest",
        check: manifest,
        decode: |data| drop(Manifest::decode(data)),
        memory: (64 * KIB, 6),
    },
    Target { name: "open", check: open, decode: parts::only_open, memory: (512 * KIB, 64) },
    Target {
        name: "proof",
        check: proof,
        decode: |data| drop(Proof::decode(data)),
        memory: (64 * KIB, 6),
    },
    Target { name: "signature", check: signature, decode: signature, memory: (64 * KIB, 6) },
    Target {
        name: "slot",
        check: slot,
        decode: |data| drop(Slot::decode(data)),
        memory: (64 * KIB, 6),
    },
];

/// An oplog entry that decodes is encoded to bytes that decode to it.
pub fn entry(data: &[u8]) {
    let Ok(entry) = Entry::decode(data) else { return };
    let mut canonical = Vec::new();
    entry.put(&mut canonical);
    assert_eq!(Entry::decode(&canonical), Ok(entry), "what was encoded is what was decoded");
}

/// A header slot that decodes is encoded to bytes that decode to it.
pub fn slot(data: &[u8]) {
    let Ok(slot) = Slot::decode(data) else { return };
    let canonical = slot.encode();
    let again = Slot::decode(&canonical);
    // Not by `assert_eq!`: a header is never printed, since it may hold a secret key.
    assert!(again == Ok(slot), "what was encoded is what was decoded");
}

/// Each frame, as it is and with its checksum mended, is taken off whole: where the next one begins
/// is what its first bytes say, and writing it again gives the same bytes.
pub fn frames(data: &[u8]) {
    let mut mended = data.to_vec();
    parts::mend_checksums(&mut mended);
    for mut rest in [data, &mended] {
        while let Some(frame) = parse_frame(rest) {
            let head = rest.first_chunk().expect("a frame has a head");
            assert_eq!(frame_payload_len(*head), frame.payload.len() as u64);
            let (whole, after) = rest.split_at(FRAME_HEAD_LEN + frame.payload.len());
            if !frame.partial {
                let mut again = Vec::new();
                put_frame(&mut again, frame.payload, frame.header_bit);
                assert_eq!(again, whole, "a frame is written as it was read");
            }
            entry(frame.payload);
            rest = after;
        }
    }
}

/// A manifest that decodes has one canonical form, which decodes to it.
pub fn manifest(data: &[u8]) {
    let Ok(manifest) = Manifest::decode(data) else { return };
    let canonical = manifest.encode();
    assert!(canonical.len() <= data.len(), "no form is shorter than the canonical one");
    assert_eq!(Manifest::decode(&canonical), Ok(manifest));
}

/// A Data message that decodes is encoded to bytes that decode to it.
pub fn proof(data: &[u8]) {
    let Ok((id, proof)) = Proof::decode(data) else { return };
    let mut canonical = Vec::new();
    proof.encode(id, &mut canonical);
    assert!(canonical.len() <= data.len(), "no form is shorter than the canonical one");
    assert_eq!(Proof::decode(&canonical), Ok((id, proof)));
}

/// Pages of a bitfield, as they were read and after changes of ranges, are the set of blocks that
/// their bits tell, and what is written of them is that set again.
///
/// Input: up to three changes, each a byte (0 ends them, an odd one adds, an even one removes) and
/// two numbers of two bytes (first block, count up to 16383); then the pages.
pub fn bitfield(data: &[u8]) {
    let (changes, pages) = take_changes(data);
    let mut bits = load_pages(pages);
    let mut model = pages.to_vec();
    for (range, held) in changes {
        bits.set(range.clone(), held);
        set_one_by_one(&mut model, range, held);
    }
    let end = model.len() as u64 * 8;
    let runs = runs(&model);
    assert_eq!(bits.held(0..u64::MAX), runs, "the runs are the set");
    let first_gap = runs.first().filter(|run| run.start == 0).map_or(0, |run| run.end);
    assert_eq!(bits.contiguous(), first_gap, "the first block that is not held");
    for block in runs.iter().flat_map(|run| [run.start, run.end - 1]) {
        assert!(bits.get(block));
    }
    assert!(runs.iter().all(|run| !bits.get(run.end)) && !bits.get(end), "gaps are gaps");

    let mut stored = pages.to_vec();
    for (offset, page) in bits.dirty_pages() {
        let from = usize::try_from(offset).expect("changes are near");
        stored.resize(stored.len().max(from + page.len()), 0);
        stored.iter_mut().skip(from).zip(page).for_each(|(to, byte)| *to = byte);
    }
    assert_eq!(self::runs(&stored), runs, "what is written is the set");
}

fn load_pages(pages: &[u8]) -> Bitfield {
    let mut bits = Bitfield::default();
    for (number, page) in (0..).zip(pages.chunks(PAGE_LEN)) {
        let mut whole = page.to_vec();
        whole.resize(PAGE_LEN, 0);
        bits.load_page(number, &whole);
    }
    bits.finish_loading();
    bits
}

fn set_one_by_one(bits: &mut Vec<u8>, range: Range<u64>, held: bool) {
    for block in range {
        let at = usize::try_from(block / 8).expect("changes are near");
        if at >= bits.len() {
            bits.resize(at + 1, 0);
        }
        let mask = 1 << (block % 8);
        let Some(byte) = bits.get_mut(at) else { continue };
        *byte = if held { *byte | mask } else { *byte & !mask };
    }
}

fn runs(bits: &[u8]) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for (byte, first) in bits.iter().zip((0..).step_by(8)).filter(|(byte, _)| **byte != 0) {
        for block in (0..8).filter(|bit| byte >> bit & 1 != 0).map(|bit| first + bit) {
            match runs.last_mut() {
                Some(last) if last.end == block => last.end += 1,
                _ => runs.push(block..block + 1),
            }
        }
    }
    runs
}

type Change = (Range<u64>, bool);

fn take_changes(mut data: &[u8]) -> (Vec<Change>, &[u8]) {
    let mut changes = Vec::new();
    while changes.len() < 3 {
        let Some((&[kind, a, b, c, d], rest)) = data.split_first_chunk() else { break };
        if kind == 0 {
            break;
        }
        let start = u64::from(u16::from_le_bytes([a, b]));
        let count = u64::from(u16::from_le_bytes([c, d]) % (1 << 14));
        changes.push((start..start + count, kind & 1 != 0));
        data = rest;
    }
    (changes, data)
}

#[cfg(test)]
mod tests;
