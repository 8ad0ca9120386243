//! A simulated device: a disk and a clock that stay, and a process that comes and goes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use multibee::{
    AddOptions, ByHand, Durability, Event, Home, KeyPair, LogKey, Multibee, Options,
    RecoverySecret, WallClock,
};
use multibee_replica::ConnectionId;

use crate::disk::Disk;
use crate::model::Lengths;
use crate::moves::Backup;
use crate::plan::{Character, Plan, Stop};
use crate::writes::Pending;

/// The wall clock of a device. The world sets it.
#[derive(Debug, Default)]
pub(crate) struct SimClock(AtomicU64);

impl WallClock for SimClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A device.
pub(crate) struct Device {
    pub(crate) key: LogKey,
    /// The number of the log that it writes.
    pub(crate) author: usize,
    /// That of what it wrote since an earlier state was put back, until it has moved.
    pub(crate) branch: Option<usize>,
    pub(crate) character: Character,
    pub(crate) disk: Disk,
    clock: Arc<SimClock>,
    keys: KeyPair,
    /// Tells connections' keys of one run of the process from those of the next.
    pub(crate) starts: u64,
    pub(crate) running: Option<Running>,
    /// How the process ends when the disk stops in the midst of something, and for how long.
    pub(crate) doom: Option<(Stop, u64)>,
    /// What it was doing when it failed.
    pub(crate) pending: Option<Pending>,
    /// The end of its last own commit, as far as it was told.
    pub(crate) own_end: u64,
    /// Its clock when it was looked at last.
    pub(crate) known: Lengths,
    /// The latest that its wall clock ever said.
    pub(crate) latest_wall_ms: u64,
    /// The stamp of its last write that was not pushed on by what it superseded.
    pub(crate) last_stamp: u64,
    limits: Limits,
    pub(crate) absorbing: Absorbing,
    /// It was connected with one who lied.
    pub(crate) is_deceived: bool,
    /// The lengths of others' logs when it was looked at last.
    pub(crate) heads: BTreeMap<usize, u64>,
    /// What was kept of its disk.
    pub(crate) backup: Option<Backup>,
    /// The device that it is a copy of.
    pub(crate) original: Option<usize>,
    /// How often it was compacted, and whether that was interrupted last.
    pub(crate) compactions: u32,
    pub(crate) is_compacting: bool,
    /// It was told that its state is an old one.
    pub(crate) was_outdated: bool,
    /// It does not come back.
    pub(crate) is_gone: bool,
    /// It says that it was thrown out.
    pub(crate) is_out: bool,
}

/// How much is done at once, and what by itself.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// From how much news on it looks whether to absorb, and how many keys at a time.
    news_min: u64,
    absorb_keys: usize,
    /// After how many blocks it looks what may be given back, and whether that is deletes, too.
    tidy_blocks: u64,
    forget_deletes: bool,
}

/// What is known of a device that absorbs the state of another one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Absorbing {
    /// It did when it was looked at last.
    pub(crate) is_on: bool,
    pub(crate) is_whole: Option<bool>,
    /// How much it had absorbed then.
    pub(crate) absorbed: u64,
    /// It absorbed a state and followed nobody since.
    pub(crate) is_done: bool,
}

/// A device's process.
pub(crate) struct Running {
    pub(crate) db: Multibee,
    pub(crate) hand: ByHand,
    /// Its ends of connections: which wire each belongs to.
    pub(crate) ends: BTreeMap<ConnectionId, usize>,
    /// When it wants to be woken.
    pub(crate) alarm: Option<u64>,
    /// Gives the next of what it tells its user.
    pub(crate) told: Box<dyn FnMut() -> Option<Event>>,
}

/// The wall clock at the beginning of time.
const START_MS: i64 = 1_800_000_000_000;

impl Device {
    /// A new device, and its process; the secret admits it, if there is one.
    pub(crate) fn new(
        plan: &Plan,
        number: u8,
        character: Character,
        now_us: u64,
        secret: Option<&RecoverySecret>,
    ) -> Result<Self, multibee::Error> {
        let mut bytes = [number; 32];
        for (byte, of_seed) in bytes.iter_mut().zip(plan.seed.to_le_bytes()) {
            *byte = of_seed;
        }
        let keys = KeyPair::from_seed(bytes);
        let (disk, clock) = (Disk::default(), Arc::new(SimClock::default()));
        set_clock(&clock, now_us, character.skew_ms);
        let limits = Limits {
            news_min: plan.news_min,
            absorb_keys: plan.absorb_keys,
            tidy_blocks: plan.tidy_blocks,
            forget_deletes: plan.forget_deletes,
        };
        let options = options(&keys, &clock, character, 0, limits);
        let home = Home::own(Arc::new(disk.clone()));
        let db = match secret {
            Some(secret) => Multibee::recover(home, secret, options, AddOptions::default())?,
            None => Multibee::create(home, options)?,
        };
        let key = db.key();
        let running = Some(Running::new(db));
        let (doom, pending) = (None, None);
        Ok(Self {
            key,
            author: number.into(),
            branch: None,
            character,
            disk,
            clock,
            keys,
            starts: 0,
            running,
            doom,
            pending,
            own_end: 0,
            known: Lengths::new(),
            latest_wall_ms: 0,
            last_stamp: 0,
            limits,
            absorbing: Absorbing::default(),
            is_deceived: false,
            heads: BTreeMap::new(),
            backup: None,
            original: None,
            compactions: 0,
            is_compacting: false,
            was_outdated: false,
            is_gone: false,
            is_out: false,
        })
    }

    /// A device that begins as a copy of one that does not run, and can tell.
    pub(crate) fn copy(original: &Self, of: usize, number: usize) -> Self {
        let disk = original.disk.copy();
        disk.mark_as_copy();
        Self {
            disk,
            starts: (number as u64) << 32,
            original: Some(original.original.unwrap_or(of)),
            known: original.known.clone(),
            heads: original.heads.clone(),
            ..Self::twin(original)
        }
    }

    /// A copy of a device that does not run, with all that is on its disk.
    pub(crate) fn twin(original: &Self) -> Self {
        Self {
            disk: original.disk.copy(),
            clock: Arc::new(SimClock::default()),
            keys: original.keys.clone(),
            // Its connections have keys of their own.
            starts: 1 << 32,
            running: None,
            doom: None,
            pending: None,
            known: Lengths::new(),
            absorbing: Absorbing::default(),
            heads: BTreeMap::new(),
            backup: None,
            ..*original
        }
    }

    /// By how much a clock is wrong that shows `wall_ms` at `now_us`.
    pub(crate) fn skew_to(wall_ms: u64, now_us: u64) -> i64 {
        let right = START_MS.saturating_add_unsigned(now_us / 1_000);
        i64::try_from(wall_ms).unwrap_or(i64::MAX).saturating_sub(right)
    }

    /// Where its database lives.
    pub(crate) fn home(&self) -> Home {
        Home::own(Arc::new(self.disk.clone()))
    }

    /// Starts the process again.
    pub(crate) fn start(&mut self) -> Result<(), multibee::Error> {
        self.starts += 1;
        let options = options(&self.keys, &self.clock, self.character, self.starts, self.limits);
        let db = Multibee::open(self.home(), options)?;
        self.running = Some(Running::new(db));
        Ok(())
    }

    /// Moves its wall clock with the world's.
    pub(crate) fn tick(&mut self, now_us: u64) {
        set_clock(&self.clock, now_us, self.character.skew_ms);
        self.latest_wall_ms = self.latest_wall_ms.max(self.clock.now_ms());
    }
}

impl Running {
    fn new(db: Multibee) -> Self {
        let hand = ByHand::take(&db).expect("a database that was just opened is in nobody's hands");
        let mut events = db.events();
        let told = Box::new(move || events.try_recv().ok());
        Self { db, hand, ends: BTreeMap::new(), alarm: None, told }
    }
}

fn set_clock(clock: &SimClock, now_us: u64, skew_ms: i64) {
    let now = START_MS.saturating_add(skew_ms).saturating_add_unsigned(now_us / 1_000);
    clock.0.store(u64::try_from(now).unwrap_or_default(), Ordering::Relaxed);
}

fn options(
    keys: &KeyPair,
    clock: &Arc<SimClock>,
    character: Character,
    starts: u64,
    limits: Limits,
) -> Options {
    let Limits { news_min, absorb_keys, tidy_blocks, forget_deletes } = limits;
    let durability = match character.waits_for_disk {
        true => Durability::Immediate,
        false => Durability::Buffered,
    };
    let mut seed = keys.public_key();
    for (byte, start) in seed.iter_mut().zip(starts.to_le_bytes()) {
        *byte ^= start;
    }
    Options {
        durability,
        clock: clock.clone(),
        keys: Some(keys.clone()),
        connection_seed: Some(seed),
        cache_bytes: 1 << 20,
        news_min: (news_min > 0).then_some(news_min),
        absorb_keys: (absorb_keys > 0).then_some(absorb_keys),
        tidy_blocks: (tidy_blocks > 0).then_some(tidy_blocks),
        forget_deletes,
        ..Options::default()
    }
}
