//! What is done to a log before the power fails.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::random::{Random, mix2};
use crate::durability::Durability;

/// Something that a program does with a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Op {
    /// Appends a short block.
    Append,
    /// Appends three blocks at once.
    Batch,
    /// Appends twenty blocks at once. Only in random workloads, as all that are not
    /// [basic](Self::BASIC).
    Many,
    /// Appends a block of 64 KiB.
    Big,
    /// Moves entries to their places.
    Flush,
    /// Goes back by a few blocks.
    Truncate,
    /// Drops the data of a few blocks.
    Clear,
    /// Appends a block and sets a value, in one batch.
    Put,
    /// Has a replica take over the head and a block.
    Download,
    /// Closes the log and opens it again.
    Reopen,
    /// Makes durable what was accepted.
    Sync,
    /// Sets a value that is too long for a header in its slot.
    Notes,
    /// Appends two blocks, one after the other, without waiting.
    Submit,
    /// Gives back the room of blocks that are not held.
    Reclaim,
    /// Ends the program in the midst of an operation, and opens the log again.
    Kill,
    /// Shows the replica another history that the writer signed.
    Twin,
}

impl Op {
    /// What short workloads are made of.
    pub const BASIC: [Self; 9] = [
        Self::Append,
        Self::Batch,
        Self::Big,
        Self::Flush,
        Self::Truncate,
        Self::Clear,
        Self::Put,
        Self::Download,
        Self::Reopen,
    ];

    /// All, with how often they come up in random workloads.
    const ALL: [(Self, u64); 16] = [
        (Self::Append, 20),
        (Self::Batch, 10),
        (Self::Many, 2),
        (Self::Big, 1),
        (Self::Flush, 8),
        (Self::Truncate, 4),
        (Self::Clear, 6),
        (Self::Put, 12),
        (Self::Download, 12),
        (Self::Reopen, 5),
        (Self::Sync, 6),
        (Self::Notes, 2),
        (Self::Submit, 6),
        (Self::Reclaim, 2),
        (Self::Kill, 6),
        (Self::Twin, 1),
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Batch => "batch",
            Self::Many => "many",
            Self::Big => "big",
            Self::Flush => "flush",
            Self::Truncate => "truncate",
            Self::Clear => "clear",
            Self::Put => "put",
            Self::Download => "download",
            Self::Reopen => "reopen",
            Self::Sync => "sync",
            Self::Notes => "notes",
            Self::Submit => "submit",
            Self::Reclaim => "reclaim",
            Self::Kill => "kill",
            Self::Twin => "twin",
        }
    }

    fn random(random: &mut Random) -> Self {
        let sum = Self::ALL.iter().map(|(_, weight)| weight).sum();
        let mut pick = random.below(sum);
        for (op, weight) in Self::ALL {
            if pick < weight {
                return op;
            }
            pick -= weight;
        }
        Self::Append
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a workload begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Start {
    /// With creating the log.
    Nothing,
    /// With a log and a replica that have been in use for a while.
    Settled,
    /// With such a log, left by a program that waited for nothing. It begins with opening it.
    Unsynced,
    /// With a settled log, and a replica to which a program that waited for nothing told of another
    /// history. It begins with opening the replica.
    Disputed,
}

/// A series of operations, and all else that decides what they do.
///
/// Its text can be read back: `immediate settled 0: append flush`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// The log's durability.
    pub durability: Durability,
    /// Where it begins.
    pub start: Start,
    /// Decides about sizes and places.
    pub seed: u64,
    /// What is done.
    pub ops: Vec<Op>,
}

/// All modes. The thread of `Eventual` never wakes up by itself, so that each run is the same.
pub(super) const MODES: [(&str, Durability); 4] = [
    ("immediate", Durability::Immediate),
    ("eventual", Durability::Eventual { max_delay: Duration::from_secs(1 << 20) }),
    ("buffered", Durability::Buffered),
    ("none", Durability::None),
];

const STARTS: [(&str, Start); 4] = [
    ("nothing", Start::Nothing),
    ("settled", Start::Settled),
    ("unsynced", Start::Unsynced),
    ("disputed", Start::Disputed),
];

/// Operations of the shortest random workload, and how many more there may be.
const RANDOM_LEN: (u64, u64) = (24, 177);

impl Workload {
    /// Returns every series of `len` of the [basic](Op::BASIC) operations, in every mode, from every
    /// start. Of those that begin [`Unsynced`](Start::Unsynced) or [`Disputed`](Start::Disputed),
    /// none longer than 1: opening the log makes it like any other.
    pub fn all_of_len(len: u32) -> impl Iterator<Item = Self> {
        let series = (0..Op::BASIC.len().pow(len)).map(move |number| {
            let digit = |at| number / Op::BASIC.len().pow(at) % Op::BASIC.len();
            (0..len).rev().filter_map(|at| Op::BASIC.get(digit(at)).copied()).collect::<Vec<_>>()
        });
        let mut starts = vec![(Start::Nothing, 0), (Start::Settled, 0)];
        if len < 2 {
            starts.extend([(Start::Unsynced, 0), (Start::Unsynced, 1), (Start::Disputed, 0)]);
        }
        series.flat_map(move |ops| {
            let circumstances =
                starts.clone().into_iter().flat_map(|start| MODES.map(|mode| (start, mode)));
            circumstances.map(move |((start, seed), (_, durability))| Self {
                durability,
                start,
                seed,
                ops: ops.clone(),
            })
        })
    }

    /// Returns a series of 24 to 200 operations, the same for the same seed.
    pub fn random(seed: u64) -> Self {
        let mut random = Random::new(mix2(seed, 0x7761_7473));
        let [(_, immediate), modes @ ..] = MODES;
        // Half of them in the default mode.
        let mode = modes.get(random.below(6) as usize);
        let durability = mode.map_or(immediate, |(_, durability)| *durability);
        let start = match random.below(8) {
            0 => Start::Unsynced,
            1 | 2 => Start::Nothing,
            _ => Start::Settled,
        };
        let (shortest, more) = RANDOM_LEN;
        // Short ones oftener: they are looked at more closely.
        let len = shortest + random.below(more).min(random.below(more)).min(random.below(more));
        let ops = (0..len).map(|_| Op::random(&mut random)).collect();
        Self { durability, start, seed, ops }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = MODES.iter().find(|(_, durability)| *durability == self.durability);
        let start = STARTS.iter().find(|(_, start)| *start == self.start);
        let (mode, start) = (mode.map_or("?", |mode| mode.0), start.map_or("?", |start| start.0));
        write!(f, "{mode} {start} {}:", self.seed)?;
        self.ops.iter().try_for_each(|op| write!(f, " {op}"))
    }
}

impl FromStr for Workload {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = |word: &str| format!("unknown word {word:?} in a workload");
        let (circumstances, ops) = text.split_once(':').ok_or("a workload has a colon")?;
        let words: Vec<&str> = circumstances.split_whitespace().collect();
        let [mode, start, seed] = *words else {
            return Err("a workload begins with mode, start and seed".to_owned());
        };
        let durability = MODES.into_iter().find(|(name, _)| *name == mode);
        let start_found = STARTS.into_iter().find(|(name, _)| *name == start);
        let op = |word: &str| {
            let found = Op::ALL.into_iter().find(|(op, _)| op.name() == word);
            found.map(|(op, _)| op).ok_or_else(|| unknown(word))
        };
        Ok(Self {
            durability: durability.ok_or_else(|| unknown(mode))?.1,
            start: start_found.ok_or_else(|| unknown(start))?.1,
            seed: seed.parse().map_err(|_| unknown(seed))?,
            ops: ops.split_whitespace().map(op).collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// A workload is its text.
    #[test]
    fn texts_are_read_back() {
        let some = Workload::all_of_len(2).step_by(7).chain((0..20).map(Workload::random));
        for workload in some {
            assert_eq!(workload.to_string().parse(), Ok(workload));
        }
        assert!("immediate settled 0: append fly".parse::<Workload>().is_err());
        assert!("append".parse::<Workload>().is_err());
    }

    /// Every series is there once in each mode and from each start.
    #[test]
    fn all_series_are_there() {
        for len in 0..=3 {
            let all: HashSet<String> = Workload::all_of_len(len).map(|w| w.to_string()).collect();
            let starts = if len < 2 { 5 } else { 2 };
            assert_eq!(all.len(), 9_usize.pow(len) * starts * 4);
        }
    }

    /// Random workloads have the lengths that they should have, and each operation comes up.
    #[test]
    fn random_workloads_differ() {
        let all: Vec<Workload> = (0..200).map(Workload::random).collect();
        assert!(all.iter().all(|workload| (24..=200).contains(&workload.ops.len())));
        let ops: HashSet<Op> = all.iter().flat_map(|workload| workload.ops.clone()).collect();
        assert_eq!(ops.len(), Op::ALL.len());
        assert_eq!(Workload::random(3), Workload::random(3));
    }
}
