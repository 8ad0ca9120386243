//! The op-stream language of the vectors' README: a few numbers that stand for thousands of
//! operations.

use bytes::Bytes;
use serde::{Deserialize, Deserializer};

/// Bytes given in hex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hex(pub(crate) Bytes);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        hex::decode(text).map(|bytes| Self(bytes.into())).map_err(serde::de::Error::custom)
    }
}

/// One operation.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    pub(crate) key: Bytes,
    pub(crate) change: Change,
    pub(crate) cas: Option<Cas>,
}

#[derive(Clone, Debug)]
pub(crate) enum Change {
    Put(Option<Bytes>),
    Del,
}

/// What the caller says when asked whether to replace an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Cas {
    No,
    Yes,
    /// Yes if the stored value differs from the new one.
    Diff,
}

/// One call of the writer.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Single(Op),
    Batch { ops: Vec<Op>, flush: bool },
}

/// A step as the files list it.
#[derive(Deserialize)]
#[serde(tag = "t", rename_all = "lowercase")]
pub(crate) enum ListedStep {
    Put { key: Hex, value: Option<Hex>, cas: Option<Cas>, repeat: Option<Repeat> },
    Del { key: Hex, cas: Option<Cas> },
    Batch { ops: Vec<Self>, end: Option<String> },
}

/// A value of one byte, many times.
#[derive(Deserialize)]
pub(crate) struct Repeat {
    byte: u8,
    count: usize,
}

impl From<&ListedStep> for Step {
    fn from(step: &ListedStep) -> Self {
        match step {
            ListedStep::Batch { ops, end } => {
                let ops = ops.iter().map(|op| match Self::from(op) {
                    Self::Single(op) => op,
                    Self::Batch { .. } => panic!("a batch in a batch"),
                });
                Self::Batch { ops: ops.collect(), flush: end.as_deref() != Some("close") }
            }
            ListedStep::Put { key, value, cas, repeat } => {
                let value = match repeat {
                    Some(Repeat { byte, count }) => Some(vec![*byte; *count].into()),
                    None => value.as_ref().map(|value| value.0.clone()),
                };
                Self::Single(Op { key: key.0.clone(), change: Change::Put(value), cas: *cas })
            }
            ListedStep::Del { key, cas } => {
                Self::Single(Op { key: key.0.clone(), change: Change::Del, cas: *cas })
            }
        }
    }
}

/// A generated case.
#[derive(Deserialize)]
pub(crate) struct Program {
    seed: String,
    key: KeyKind,
    phases: Vec<Phase>,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum KeyKind {
    Dec { width: usize },
    Hash8,
    Hash16,
    Path,
    Abc,
    Long { width: usize },
}

#[derive(Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum ValueKind {
    Null,
    Empty,
    Count,
    Const { hex: Hex },
    Rand { lo: u64, hi: u64 },
    Mixed { big: usize },
}

#[derive(Deserialize)]
struct Phase {
    #[serde(flatten)]
    kind: PhaseKind,
    batch: Option<Sizes>,
}

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
enum PhaseKind {
    Fill { order: Order, from: u64, to: u64, value: ValueKind },
    Drain { order: Order, from: u64, to: u64 },
    Mix { count: u64, space: [u64; 2], weights: Weights, value: ValueKind },
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Order {
    Asc,
    Desc,
    Shuffle,
}

/// How often each kind of operation occurs, in the order in which they are drawn.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Weights {
    put: u64,
    del: u64,
    same: u64,
    cas_no: u64,
    cas_yes: u64,
    cas_diff: u64,
    del_no: u64,
    del_yes: u64,
}

#[derive(Deserialize)]
struct Sizes {
    size: Option<u64>,
    lo: Option<u64>,
    hi: Option<u64>,
    end: Option<String>,
}

/// The generator of all randomness: splitmix64.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn bytes(&mut self, len: u64) -> Bytes {
        let mut out = Vec::new();
        while out.len() < len as usize {
            out.extend_from_slice(&self.next().to_le_bytes());
        }
        out.truncate(len as usize);
        out.into()
    }
}

impl KeyKind {
    fn key(&self, i: u64) -> Bytes {
        match *self {
            Self::Dec { width } => format!("{i:0width$}").into(),
            Self::Hash8 => Rng(i).next().to_be_bytes().to_vec().into(),
            Self::Hash16 => {
                let mut rng = Rng(i);
                [rng.next(), rng.next()].map(u64::to_be_bytes).concat().into()
            }
            Self::Path => format!("user/{}/item/{i}", i % 7).into(),
            Self::Abc => {
                let (mut n, mut key) = (i, Vec::new());
                while n > 0 {
                    key.insert(0, b"abc"[((n - 1) % 3) as usize]);
                    n = (n - 1) / 3;
                }
                key.into()
            }
            Self::Long { width } => format!("{}{i:04}", "k".repeat(width)).into(),
        }
    }
}

impl ValueKind {
    fn value(&self, rng: &mut Rng, counter: u64) -> Option<Bytes> {
        match self {
            Self::Null => None,
            Self::Empty => Some(Bytes::new()),
            Self::Count => Some(counter.to_string().into()),
            Self::Const { hex } => Some(hex.0.clone()),
            Self::Rand { lo, hi } => {
                let len = lo + rng.below(hi - lo + 1);
                Some(rng.bytes(len))
            }
            Self::Mixed { big } => match rng.below(16) {
                0 => None,
                1 => Some(Bytes::new()),
                2 if *big > 0 => Some(vec![rng.below(256) as u8; *big].into()),
                _ => {
                    let len = rng.below(41);
                    Some(rng.bytes(len))
                }
            },
        }
    }
}

impl Program {
    /// All steps, in order.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let mut run =
            Run { program: self, rng: Rng(self.seed.parse().unwrap()), counter: 0, steps: vec![] };
        self.phases.iter().for_each(|phase| run.phase(phase));
        run.steps
    }
}

struct Run<'a> {
    program: &'a Program,
    rng: Rng,
    /// Operations so far, over all phases.
    counter: u64,
    steps: Vec<Step>,
}

impl Run<'_> {
    fn phase(&mut self, phase: &Phase) {
        let indexes = match phase.kind {
            PhaseKind::Fill { order, from, to, .. } | PhaseKind::Drain { order, from, to } => {
                self.order(order, from, to)
            }
            PhaseKind::Mix { count, .. } => vec![0; count as usize],
        };
        let mut indexes = indexes.into_iter().peekable();
        while indexes.peek().is_some() {
            let Some(sizes) = &phase.batch else {
                let op = self.op(phase, indexes.next().unwrap());
                self.steps.push(Step::Single(op));
                continue;
            };
            let size = sizes.size.unwrap_or_else(|| {
                let (lo, hi) = (sizes.lo.unwrap(), sizes.hi.unwrap());
                lo + self.rng.below(hi - lo + 1)
            });
            let ops =
                indexes.by_ref().take(size as usize).map(|index| self.op(phase, index)).collect();
            let flush = sizes.end.as_deref() != Some("close");
            self.steps.push(Step::Batch { ops, flush });
        }
    }

    fn order(&mut self, order: Order, from: u64, to: u64) -> Vec<u64> {
        let mut indexes: Vec<u64> = (from..to).collect();
        match order {
            Order::Asc => {}
            Order::Desc => indexes.reverse(),
            Order::Shuffle => {
                for j in (1..indexes.len()).rev() {
                    let k = self.rng.below(j as u64 + 1) as usize;
                    indexes.swap(j, k);
                }
            }
        }
        indexes
    }

    fn op(&mut self, phase: &Phase, index: u64) -> Op {
        let counter = self.counter;
        self.counter += 1;
        let key = |i| self.program.key.key(i);
        match &phase.kind {
            PhaseKind::Fill { value, .. } => {
                let value = value.value(&mut self.rng, counter);
                Op { key: key(index), change: Change::Put(value), cas: None }
            }
            PhaseKind::Drain { .. } => Op { key: key(index), change: Change::Del, cas: None },
            PhaseKind::Mix { space: [a, b], weights: w, value, .. } => {
                let kinds =
                    [w.put, w.del, w.same, w.cas_no, w.cas_yes, w.cas_diff, w.del_no, w.del_yes];
                let mut r = self.rng.below(kinds.iter().sum());
                let kind = kinds.iter().position(|weight| {
                    let found = r < *weight;
                    r = r.saturating_sub(*weight);
                    found
                });
                let key = key(a + self.rng.below(b - a));
                let (drawn, same) = (value.clone(), Some(Bytes::from_static(b"s")));
                let mut put = || Change::Put(drawn.value(&mut self.rng, counter));
                let (change, cas) = match kind.unwrap() {
                    0 => (put(), None),
                    1 => (Change::Del, None),
                    2 => (Change::Put(same), None),
                    3 => (put(), Some(Cas::No)),
                    4 => (put(), Some(Cas::Yes)),
                    5 => (Change::Put(same), Some(Cas::Diff)),
                    6 => (Change::Del, Some(Cas::No)),
                    _ => (Change::Del, Some(Cas::Yes)),
                };
                Op { key, change, cas }
            }
        }
    }
}
