//! What happens in a run: operations and faults, as data that can be cut down and kept.

use serde::{Deserialize, Serialize};

/// One run, from beginning to end. The same plan gives the same run, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Decides what the plan leaves open: keys of devices, contents of values, what a power cut takes.
    pub seed: u64,
    /// What each device is like.
    pub devices: Vec<Character>,
    /// From so many blocks of news on devices look whether absorbing is less work; 0 for the usual.
    #[serde(default)]
    pub news_min: u64,
    /// So many keys are absorbed in one commit; 0 for the usual.
    #[serde(default)]
    pub absorb_keys: usize,
    /// Each device only ever meets those before and behind it.
    #[serde(default)]
    pub is_line: bool,
    /// What is remembered of deletes is forgotten by itself.
    #[serde(default)]
    pub forget_deletes: bool,
    /// After so many blocks it is seen what may be given back; 0 for the usual.
    #[serde(default)]
    pub tidy_blocks: u64,
    /// What happens, in this order.
    pub steps: Vec<Step>,
}

/// What a device is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Character {
    /// Whether a write waits for the disk.
    pub waits_for_disk: bool,
    /// Milliseconds by which its clock is wrong at first.
    pub skew_ms: i64,
    /// It belongs to nobody until it joins.
    #[serde(default)]
    pub is_late: bool,
    /// It does not come back in the end.
    #[serde(default)]
    pub is_lost: bool,
    /// In which role others admit it.
    #[serde(default)]
    pub role: Role,
}

/// In which role others admit a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in `multibee::DeviceRole`")]
pub enum Role {
    #[default]
    Full,
    ReadOnly,
    Mirror,
}

/// Something that happens some time after what came before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Microseconds since the step before.
    pub after_us: u64,
    /// What happens.
    pub action: Action,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "`device`, `a` and `b` are numbers of devices, `key` of a key")]
pub enum Action {
    /// Keys are changed in one commit.
    Write { device: u8, changes: Vec<Change> },
    /// The rule for a prefix is set, or cleared, by numbers.
    Rule { device: u8, prefix: u8, rule: Option<u8> },
    /// What is held of a key is settled, whether or not it is in conflict.
    Resolve { device: u8, key: u16, how: Settling },
    /// All that a device shows is compared with what it should show.
    Look { device: u8 },
    /// A device and one that is there admit each other.
    Join { device: u8, by: u8 },
    /// A device is killed and loses its copies of the logs of others, or the blocks in them.
    Forget { device: u8, is_whole: bool, down_us: u64 },
    /// A device is killed, and while it is off some bits on its disk change.
    Rot { device: u8, places: Vec<Place>, down_us: u64 },
    /// A device is killed, and from then on runs twice: so does a copy of its disk.
    Clone { device: u8 },
    /// The same, but the copy can tell that it is one.
    Copy { device: u8 },
    /// A device is compacted; if so planned, its disk stops in the midst of it.
    Compact {
        device: u8,
        #[serde(default)]
        within: Option<Within>,
    },
    /// What is on a device's disk is kept.
    BackUp { device: u8 },
    /// A device is killed, and starts again from what was kept: nothing tells.
    PutBack { device: u8, down_us: u64 },
    /// A device throws another one out; if so wished, by the recovery secret.
    Remove {
        device: u8,
        by: u8,
        #[serde(default)]
        by_secret: bool,
    },
    /// A device is destroyed, and another one waits for it no longer.
    Retire { device: u8, by: u8 },
    /// A device that was thrown out begins anew, and is admitted.
    Readmit { device: u8, by: u8 },
    /// A device has a recovery secret count.
    MakeSecret { device: u8 },
    /// A device is destroyed, and a new one stands in for it, which the recovery secret admits.
    Recover { device: u8 },
    /// A device gives back what nobody needs, or even what others may need.
    Reclaim {
        device: u8,
        #[serde(default)]
        even_for_others: bool,
    },
    /// Two devices connect.
    Meet {
        a: u8,
        b: u8,
        latency_us: u64,
        flaws: Vec<Flaw>,
        #[serde(default)]
        lies: Vec<Lie>,
    },
    /// Their connection is cut, for both to see.
    Part { a: u8, b: u8 },
    /// A device's process ends, and starts again later.
    Stop { device: u8, how: Stop, down_us: u64 },
    /// The same, in the midst of what it does: after so many more changes of its disk.
    StopWithin { device: u8, changes: u64, how: Stop, down_us: u64 },
    /// A device's clock is set: so many milliseconds off.
    SetClock { device: u8, skew_ms: i64 },
}

/// When a disk stops in the midst of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Within {
    /// After so many changes.
    pub changes: u64,
    /// How the process ends by it.
    pub how: Stop,
    /// For so many microseconds.
    pub down_us: u64,
}

/// A change of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Number of the key.
    pub key: u16,
    /// What is done to it.
    pub what: What,
}

/// What is done to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// A new value is put, of about so many bytes, of the type that the rule for the key says.
    Put(u16),
    /// A number is put, if the rule for the key allows.
    Number(i32),
    /// It is deleted.
    Delete,
    /// So much is added to a counter.
    Add(i64),
    /// This number is added to a set.
    Insert(u8),
    /// This number is removed from a set.
    Remove(u8),
    /// A field of a map is set, or removed.
    Patch {
        /// Number of the field.
        field: u8,
        /// What it is set to.
        value: Option<u8>,
    },
    /// A new value is put if the key shows what is expected.
    Swap {
        /// Bytes in the value, about.
        len: u16,
        /// Whether what it shows is expected, or else another value.
        is_right: bool,
    },
}

/// Where on a disk a bit changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// In which log, counted round; 0 is the device's own.
    pub log: u8,
    /// In which part of it: 0 its oplog, 1 its tree, 2 its blocks, 3 its bitfield.
    pub part: u8,
    /// Which bit, counted round.
    pub bit: u64,
}

/// How a conflict is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Settling {
    /// By one of the versions, counted round.
    Pick(u8),
    /// By another value, of about so many bytes.
    Value(u16),
    /// By a delete.
    Delete,
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stop {
    /// After it has closed its database.
    Clean,
    /// At once. What was given to the system stays.
    Kill,
    /// The power fails: what was not synced may be gone.
    PowerCut,
    /// Its disk takes no more; the user makes room and starts it again.
    DiskFull,
}

impl Stop {
    /// How the disk fails by it.
    pub(crate) const fn kind(self) -> std::io::ErrorKind {
        match self {
            Self::DiskFull => std::io::ErrorKind::StorageFull,
            _ => std::io::ErrorKind::Other,
        }
    }
}

/// Something else is sent in place of a message, by one who can prove to be a device of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lie {
    /// On the way from `a` to `b`, or back.
    pub to_b: bool,
    /// At the message with this number.
    pub at: u32,
    /// What is sent.
    pub kind: LieKind,
}

/// What a liar sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LieKind {
    /// The message with a bit flipped.
    Flip(u32),
    /// The message with one of the worst numbers in it.
    Number {
        /// Where.
        at: u32,
        /// Which of them.
        number: u8,
    },
    /// Its beginning only.
    Cut(u32),
    /// It, and nonsense on some channel.
    Garbage {
        /// The channel's number.
        channel: u8,
        /// The type of the message.
        ty: u8,
        /// Its length.
        len: u16,
    },
    /// Nothing.
    Withhold,
    /// It so many times more.
    Again(u16),
    /// It, and an earlier one once more.
    Replay(u8),
    /// It, but after the next one.
    Late,
    /// Another digest than its own, from then on.
    Digest,
}

/// What goes wrong on a connection, in one of its directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flaw {
    /// On the way from `a` to `b`, or back.
    pub to_b: bool,
    /// After so many bytes.
    pub at: u64,
    /// What goes wrong.
    pub kind: FlawKind,
}

/// What goes wrong on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FlawKind {
    /// It breaks, perhaps in the midst of a frame.
    Cut,
    /// A bit is flipped.
    Flip,
    /// Bytes are lost.
    Drop,
    /// Bytes come twice.
    Double,
    /// Bytes overtake each other.
    Swap,
    /// Nothing moves for so many microseconds.
    Stall(u64),
    /// Nothing arrives any more, and nobody is told.
    Mute,
}

/// How a plan is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    /// At most so many devices.
    pub devices: u8,
    /// About so many steps.
    pub steps: u16,
}

impl Default for Scope {
    fn default() -> Self {
        Self { devices: 6, steps: 160 }
    }
}

impl Plan {
    /// Whether devices come and go, or may do less than others.
    pub(crate) fn has_members(&self) -> bool {
        let is_about_members = |step: &Step| {
            matches!(
                step.action,
                Action::Remove { .. }
                    | Action::Retire { .. }
                    | Action::Readmit { .. }
                    | Action::MakeSecret { .. }
                    | Action::Recover { .. }
            )
        };
        self.steps.iter().any(is_about_members)
            || self.devices.iter().any(|one| one.role != Role::Full)
    }

    /// Whether every step is about devices that are there.
    pub(crate) fn is_sound(&self) -> bool {
        let is_there = |number: u8| usize::from(number) < self.devices.len();
        !self.devices.is_empty()
            && self.steps.iter().all(|step| match &step.action {
                Action::Meet { a, b, .. }
                | Action::Part { a, b }
                | Action::Join { device: a, by: b }
                | Action::Remove { device: a, by: b, .. }
                | Action::Retire { device: a, by: b }
                | Action::Readmit { device: a, by: b } => a != b && is_there(*a) && is_there(*b),
                Action::Write { device, .. }
                | Action::Rule { device, .. }
                | Action::Resolve { device, .. }
                | Action::Look { device }
                | Action::Forget { device, .. }
                | Action::Rot { device, .. }
                | Action::Clone { device }
                | Action::Copy { device }
                | Action::Compact { device, .. }
                | Action::BackUp { device }
                | Action::PutBack { device, .. }
                | Action::MakeSecret { device }
                | Action::Recover { device }
                | Action::Reclaim { device, .. }
                | Action::Stop { device, .. }
                | Action::StopWithin { device, .. }
                | Action::SetClock { device, .. } => is_there(*device),
            })
    }
}
