//! Random operations on a tree, and questions about it, as both sides are given them.

use serde_json::{Map, Value, json};

use crate::random::Random;

/// What a whole script keeps to: which keys there are, and what options the tree has.
#[derive(Debug)]
pub(super) struct Script {
    keys: Keys,
    /// Number of different keys.
    space: usize,
    pub(super) always_duplicate: bool,
    pub(super) metadata: Option<Metadata>,
    random: Random,
}

/// What the header is to say.
#[derive(Debug)]
pub(super) struct Metadata {
    pub(super) content_feed: Option<Vec<u8>>,
    pub(super) user_data: Option<Vec<u8>>,
}

/// How keys look.
#[derive(Clone, Copy, Debug)]
enum Keys {
    /// Of few letters, the empty one included.
    Short,
    /// Of 0 to 5 bytes that are often first or last of all.
    Edges,
    Path,
    /// Of 16 bytes.
    Scattered,
    /// With 700 bytes in common.
    Long,
}

/// What a condition says.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cas {
    Yes,
    No,
    /// Whether the value is another one.
    Diff,
}

#[derive(Debug)]
pub(super) enum Operation {
    Put { key: Vec<u8>, value: Option<Vec<u8>>, cas: Option<Cas> },
    Del { key: Vec<u8>, cas: Option<Cas> },
    Get { key: Vec<u8> },
    Range(Bounds),
}

#[derive(Debug)]
pub(super) enum Step {
    Single(Operation),
    Batch { operations: Vec<Operation>, close: bool },
}

#[derive(Clone, Debug, Default)]
pub(super) struct Bounds {
    pub(super) gt: Option<Vec<u8>>,
    pub(super) gte: Option<Vec<u8>>,
    pub(super) lt: Option<Vec<u8>>,
    pub(super) lte: Option<Vec<u8>>,
    pub(super) reverse: bool,
    pub(super) limit: Option<u64>,
}

/// A question about a tree.
#[derive(Debug)]
pub(super) enum Query {
    /// What an operation reads of a version.
    Read { version: u64, operation: Operation },
    /// How one version differs from another.
    Diff { left: u64, right: u64, bounds: Bounds },
    /// What was done up to the newest version.
    History { version: u64, bounds: HistoryBounds },
}

/// Bounds that are numbers of blocks; negative ones count from the end.
#[derive(Clone, Debug, Default)]
pub(super) struct HistoryBounds {
    pub(super) gt: Option<i64>,
    pub(super) gte: Option<i64>,
    pub(super) lt: Option<i64>,
    pub(super) lte: Option<i64>,
    pub(super) reverse: bool,
    pub(super) limit: Option<u64>,
}

/// Most operations in one turn.
const TURN_OPERATIONS: usize = 250;

impl Script {
    /// The script that a seed makes.
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let keys =
            random.pick(&[Keys::Short, Keys::Edges, Keys::Path, Keys::Scattered, Keys::Long]);
        let space = random.pick(&[3, 12, 60, 250, 2000]);
        let always_duplicate = !random.one_in(3);
        let metadata = random.one_in(3).then(|| {
            let mut bytes = |len| (!random.one_in(3)).then(|| vec![0x6d; len]);
            Metadata { content_feed: bytes(32), user_data: bytes(0).or_else(|| bytes(9)) }
        });
        Self { keys, space, always_duplicate, metadata, random }
    }

    /// The steps of one turn.
    pub(super) fn turn(&mut self) -> Vec<Step> {
        let del_percent = self.random.pick(&[0, 10, 30, 50, 85]);
        let batch_max = self.random.pick(&[1, 5, 40, 200]);
        let mut left = 1 + self.random.below(TURN_OPERATIONS);
        let mut steps = Vec::new();
        while left > 0 {
            if batch_max == 1 || self.random.one_in(3) {
                steps.push(Step::Single(self.operation(del_percent)));
                left -= 1;
                continue;
            }
            let count = self.random.below(batch_max + 1).min(left);
            let operations = (0..count).map(|_| self.operation(del_percent)).collect();
            steps.push(Step::Batch { operations, close: self.random.one_in(12) });
            left -= count.max(1);
        }
        steps
    }

    fn operation(&mut self, del_percent: usize) -> Operation {
        if self.random.one_in(25) {
            return Operation::Get { key: self.key() };
        }
        if self.random.one_in(50) {
            return Operation::Range(Bounds { limit: Some(9), ..self.bounds() });
        }
        let cas = self.random.one_in(8).then(|| self.random.pick(&[Cas::Yes, Cas::No, Cas::Diff]));
        let key = self.key();
        if self.random.below(100) < del_percent {
            return Operation::Del { key, cas };
        }
        let value = match self.random.below(10) {
            0 => None,
            1 => Some(Vec::new()),
            2 | 3 => Some(b"same".to_vec()),
            4 if self.random.one_in(10) => Some(vec![0x6c; 3000]),
            _ => Some(format!("value {}", self.random.below(1_000_000)).into_bytes()),
        };
        Operation::Put { key, value, cas }
    }

    fn key(&mut self) -> Vec<u8> {
        let number = self.random.below(self.space);
        let mut own = Random::new(number as u64);
        match self.keys {
            Keys::Short => {
                let mut rest = number;
                let mut letters = Vec::new();
                while rest > 0 {
                    letters.push(b'a' + ((rest - 1) % 3) as u8);
                    rest = (rest - 1) / 3;
                }
                letters
            }
            Keys::Edges => {
                let len = own.below(6);
                (0..len).map(|_| own.pick(&[0, 1, b'k', 0xfe, 0xff])).collect()
            }
            Keys::Path => format!("user/{}/item/{number}", number % 7).into_bytes(),
            Keys::Scattered => [own.next(), own.next()].map(u64::to_be_bytes).concat(),
            Keys::Long => [vec![b'k'; 700], number.to_string().into_bytes()].concat(),
        }
    }

    /// Bounds that lie anywhere; now and then both kinds at one end, or the wrong way round.
    fn bounds(&mut self) -> Bounds {
        let mut bounds = Bounds { reverse: self.random.one_in(2), ..Bounds::default() };
        let mut ends = [self.key(), self.key()];
        if !self.random.one_in(10) {
            ends.sort();
        }
        let [low, high] = ends;
        match self.random.below(4) {
            0 => {}
            1 => bounds.gt = Some(low),
            2 => bounds.gte = Some(low),
            _ if self.random.one_in(3) => (bounds.gt, bounds.gte) = (Some(low), Some(self.key())),
            _ => bounds.gte = Some(low),
        }
        match self.random.below(4) {
            0 => {}
            1 => bounds.lt = Some(high),
            2 => bounds.lte = Some(high),
            _ if self.random.one_in(3) => (bounds.lt, bounds.lte) = (Some(high), Some(self.key())),
            _ => bounds.lt = Some(high),
        }
        if self.random.one_in(3) {
            bounds.limit = Some(self.random.below(30) as u64);
        }
        bounds
    }

    /// Bounds of a history of a log of `len` blocks. (Beyond it Hyperbee waits for blocks to come, and
    /// 0 does not count as a bound.)
    fn history_bounds(&mut self, len: u64) -> HistoryBounds {
        if len < 2 {
            return HistoryBounds::default();
        }
        let most = i64::try_from(len).unwrap_or(i64::MAX);
        let mut number = || {
            let number = 1 + self.random.below(usize::try_from(most - 1).unwrap_or(1)) as i64;
            if self.random.one_in(3) { number - most } else { number }
        };
        let (low, high) = (number(), number());
        let mut bounds =
            HistoryBounds { reverse: self.random.one_in(2), ..HistoryBounds::default() };
        match self.random.below(3) {
            0 => {}
            1 => bounds.gt = Some(low),
            _ => bounds.gte = Some(low),
        }
        match self.random.below(3) {
            0 => {}
            1 => bounds.lt = Some(high),
            _ => bounds.lte = Some(high),
        }
        bounds.limit = self.random.one_in(3).then(|| self.random.below(30) as u64);
        bounds
    }

    /// Questions about a tree that has had these versions; the last one is the newest.
    pub(super) fn queries(&mut self, versions: &[u64]) -> Vec<Query> {
        let newest = versions.last().copied().unwrap_or(1);
        let mut queries = Vec::new();
        for reverse in [false, true] {
            let operation = Operation::Range(Bounds { reverse, ..Bounds::default() });
            queries.push(Query::Read { version: newest, operation });
        }
        for _ in 0..40 {
            let old = self.random.pick(&[&[1], versions].concat());
            let version = if self.random.one_in(4) { old } else { newest };
            queries.push(match self.random.below(8) {
                0 => Query::History { version: newest, bounds: self.history_bounds(newest) },
                1 => {
                    let (left, right) =
                        if self.random.one_in(2) { (version, old) } else { (old, version) };
                    // Both bounds of an end mean something else to Hyperbee's diff than to its
                    // ranges, and it does not go backwards.
                    let Bounds { gte, lt, limit, .. } = self.bounds();
                    Query::Diff {
                        left,
                        right,
                        bounds: Bounds { gte, lt, limit, ..Bounds::default() },
                    }
                }
                2 | 3 => Query::Read { version, operation: Operation::Range(self.bounds()) },
                _ => Query::Read { version, operation: Operation::Get { key: self.key() } },
            });
        }
        queries
    }
}

impl Step {
    /// How many operations it takes.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Single(_) => 1,
            Self::Batch { operations, .. } => operations.len(),
        }
    }

    /// As Node is given it.
    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::Single(operation) => operation.to_json(),
            Self::Batch { operations, close } => {
                let operations: Vec<_> = operations.iter().map(Operation::to_json).collect();
                json!({ "batch": operations, "close": close })
            }
        }
    }
}

impl Cas {
    fn name(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Diff => "diff",
        }
    }
}

impl Operation {
    /// As Node is given it.
    fn to_json(&self) -> Value {
        let name = |cas: &Option<Cas>| cas.map(Cas::name);
        match self {
            Self::Put { key, value, cas } => json!({
                "put": hex::encode(key),
                "value": value.as_ref().map(hex::encode),
                "cas": name(cas),
            }),
            Self::Del { key, cas } => json!({ "del": hex::encode(key), "cas": name(cas) }),
            Self::Get { key } => json!({ "get": hex::encode(key) }),
            Self::Range(bounds) => json!({ "range": bounds.to_json() }),
        }
    }
}

impl Bounds {
    /// As Node is given them.
    fn to_json(&self) -> Value {
        let mut all = Map::new();
        let keys = [("gt", &self.gt), ("gte", &self.gte), ("lt", &self.lt), ("lte", &self.lte)];
        for (name, key) in keys {
            all.extend(key.as_ref().map(|key| (name.to_owned(), hex::encode(key).into())));
        }
        all.insert("reverse".to_owned(), self.reverse.into());
        all.extend(self.limit.map(|limit| ("limit".to_owned(), limit.into())));
        all.into()
    }
}

impl HistoryBounds {
    /// As Node is given them.
    fn to_json(&self) -> Value {
        let Self { gt, gte, lt, lte, reverse, limit } = self;
        let mut all = Map::new();
        for (name, number) in [("gt", gt), ("gte", gte), ("lt", lt), ("lte", lte)] {
            all.extend(number.map(|number| (name.to_owned(), number.into())));
        }
        all.insert("reverse".to_owned(), (*reverse).into());
        all.extend(limit.map(|limit| ("limit".to_owned(), limit.into())));
        all.into()
    }
}

impl Query {
    /// As Node is given it.
    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::Read { version, operation } => {
                let mut query = operation.to_json();
                if let Some(fields) = query.as_object_mut() {
                    fields.insert("version".to_owned(), (*version).into());
                }
                query
            }
            Self::Diff { left, right, bounds } => {
                json!({ "diff": bounds.to_json(), "left": left, "version": right })
            }
            Self::History { version, bounds } => {
                json!({ "history": bounds.to_json(), "version": version })
            }
        }
    }
}
