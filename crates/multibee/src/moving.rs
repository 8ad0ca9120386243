//! Moving to a fresh log: another log takes over, and the old one is another device's.
//!
//! The fresh log absorbs the old one's state, so it holds what is alive and none of what has been
//! superseded, and nothing in it is news to anybody. Its author is a new device, which the old one's
//! statement admits in its own place. Three need this: whoever wants a smaller log, a copy or
//! restored backup, which must not write where others may have read on, and a device that was
//! removed and returns.

use std::sync::Arc;

use multibee_btree::Bee;
use multibee_log::{Log, LogKey, Storage};
use multibee_merge::{Renaming, State, Version};

use crate::Error;
use crate::absorb::{Absorb, AbsorbStep, Batch, Origin, Ours};
use crate::follow::FollowError;
use crate::home::{Home, Primaries, is_restored};
use crate::primary::Primary;
use crate::record::Held;
use crate::resolver::Resolver;
use crate::setup::Setup;
use crate::statement::{Branch, Claim, Extent, Statement};
use crate::view::View;

/// What gets another author, and the log as it was before.
#[derive(Debug)]
pub(crate) struct Renamed {
    pub(crate) renaming: Renaming,
    pub(crate) before: View,
    pub(crate) resolver: Arc<Resolver>,
}

impl Renamed {
    fn apply(&self, batch: &mut Batch) -> Result<(), Error> {
        batch.clock = self.renaming.clock(&batch.clock);
        batch.ahead = self.renaming.clock(&batch.ahead);
        for (key, state) in &mut batch.keys {
            *state = self.state(state, || self.before.held(key))?;
        }
        for (stored, state) in &mut batch.shared {
            *state = self.state(state, || self.before.held_shared(stored))?;
        }
        Ok(())
    }

    fn state(
        &self,
        state: &State,
        before: impl FnOnce() -> Result<Held, Error>,
    ) -> Result<State, Error> {
        let is_concerned = |version: &Version| {
            // What a type's state says of its own can't be told from here.
            version.state.is_some() || self.renaming.concerns(version.dot)
        };
        if !state.versions().iter().any(is_concerned) {
            return self.renaming.state(state, |version| Ok(version.clone()));
        }
        let before = before()?.versions;
        let types = &self.resolver.types;
        self.renaming.state(state, |version| Ok(types.rename(version, &self.renaming, &before)))
    }
}

/// A log in the making that is to take over.
#[derive(Debug)]
pub(crate) struct Successor {
    pub(crate) primary: Primary,
    /// The version of the old log that was absorbed last.
    covered: u64,
    /// What is here may be more than the old log holds.
    is_doubtful: bool,
    /// Keys that were joined.
    pub(crate) keys: u64,
    /// Other names for what was written where nobody else knows of it.
    renamed: Option<Renamed>,
}

impl Successor {
    /// Begins an empty log beside that of `former`.
    pub(crate) fn begin(home: &Home, setup: &Setup, former: &Bee) -> Result<Self, Error> {
        let keys = setup.new_keys(former.log());
        // One that had the same key was not finished, and nobody else has seen it.
        let log = home.create_successor(keys, setup.log_options())?;
        Ok(Self { is_doubtful: false, ..Self::over(setup, log)? })
    }

    /// Goes on with a log that was begun in an earlier run.
    pub(crate) fn over(setup: &Setup, log: Log) -> Result<Self, Error> {
        let primary = setup.open_primary(setup.open_bee(log)?)?;
        Ok(Self { primary, covered: 0, is_doubtful: true, keys: 0, renamed: None })
    }

    /// Takes over what the old log holds under other names, as far as it was written since the log's
    /// histories part.
    pub(crate) fn renaming(self, renamed: Renamed) -> Self {
        Self { renamed: Some(renamed), ..self }
    }

    /// Takes over what the old log holds at a version. `told` is called now and then, with the part
    /// of it that is done.
    ///
    /// # Errors
    ///
    /// This machine failed.
    pub(crate) fn absorb(
        &mut self,
        former: &Bee,
        version: u64,
        keys_at_once: usize,
        wall_ms: u64,
        mut told: impl FnMut(f64),
    ) -> Result<(), Error> {
        if version <= self.covered.max(1) {
            return Ok(());
        }
        let hints = vec![self.covered];
        let mut absorb = Absorb::new(former.clone(), Origin::Device, version, hints, None)
            .in_batches_of(keys_at_once);
        if self.is_doubtful {
            absorb = absorb.comparing_all();
        }
        loop {
            let clock = self.primary.whole_clock()?;
            let ours =
                Ours { clock: &clock, bee: self.primary.bee(), device: self.primary.device() };
            match absorb.next(&ours) {
                Ok(AbsorbStep::Target(_)) => {}
                Ok(AbsorbStep::Ready(mut batch)) => {
                    if let Some(renamed) = &self.renamed {
                        renamed.apply(&mut batch)?;
                    }
                    self.keys += self.primary.absorb(&batch, wall_ms, |_| None)?.keys;
                    told(absorb.fraction());
                }
                Ok(AbsorbStep::Done) => break,
                Ok(AbsorbStep::Need(_) | AbsorbStep::TooFar) => {
                    let what =
                        "blocks of the own log are gone: a version that is needed is not whole";
                    return Err(Error::bad_record(version, &what));
                }
                Err(FollowError::Here(error)) => return Err(error),
                Err(FollowError::Author(bad)) => return Err(Error::bad_record(bad.seq, &bad.what)),
            }
        }
        (self.covered, self.is_doubtful) = (version, false);
        Ok(())
    }

    /// Ends it: from now on this is the database's own log.
    pub(crate) fn enthrone(self, home: &Home, former: &Log) -> Result<Primary, Error> {
        home.enthrone(self.primary.log(), former)?;
        Ok(self.primary)
    }
}

/// A database's own log, opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) bee: Bee,
    /// All statements in it: they are read once.
    pub(crate) statements: Vec<Statement>,
}

/// Opens a database's own log. If that is a copy, or was left in the midst of a move, another one has
/// taken over when this returns.
///
/// # Errors
///
/// As opening the log. A copy stays as it was if the move fails.
pub(crate) fn open(
    home: &Home,
    setup: &Setup,
    open: impl Fn(Arc<dyn Storage>) -> multibee_log::Result<Log>,
) -> Result<Opened, Error> {
    let Primaries { log, unfinished } = home.open_primaries(&open)?;
    let bee = setup.open_bee(log)?;
    let log = bee.log().clone();
    let statements = crate::primary::statements(&bee)?;
    let heirs = heirs(log.key(), &statements);
    let mut promised = None;
    for begun in unfinished {
        let key = begun.key();
        if heirs.contains(&key) {
            promised = Some(begun);
        } else {
            drop(begun);
            home.forget_successor(&key)?;
        }
    }
    if promised.is_none() && heirs.is_empty() && !log.is_copy() && !is_restored(&log) {
        return Ok(Opened { bee, statements });
    }
    let is_new = promised.is_none();
    let mut successor = match promised {
        Some(begun) => Successor::over(setup, begun)?,
        None => Successor::begin(home, setup, &bee)?,
    };
    let now_ms = setup.clock.now_ms();
    successor.absorb(
        &bee,
        log.len(),
        crate::catch_up::Limits::default().absorb_keys,
        now_ms,
        |_| {},
    )?;
    if is_new {
        successor.succeed(&log, None, None, now_ms)?;
    }
    drop(successor.enthrone(home, &log)?);
    drop((log, bee));
    // What it took over from is renamed by this.
    let bee = setup.open_bee(home.open_primaries(open)?.log)?;
    let statements = crate::primary::statements(&bee)?;
    Ok(Opened { bee, statements })
}

impl Successor {
    /// States that this log takes over from `former`, and which history of that it goes on from if there
    /// are several, as an own commit of its own: what nobody must
    /// append to can't say so itself.
    pub(crate) fn succeed(
        &mut self,
        former: &Log,
        end: Option<Extent>,
        branch: Option<Branch>,
        wall_ms: u64,
    ) -> Result<(), Error> {
        let mut statements = vec![self.succession(former, end, wall_ms)?];
        if let Some(branch) = branch {
            let time = self.primary.stamp(wall_ms);
            let claim = Claim::Branch { key: former.key(), branch };
            statements.extend(Statement::sign(former, time, claim));
        }
        self.primary.state(&statements, wall_ms)
    }

    /// The statement that this log takes over from `former`, signed by both.
    pub(crate) fn succession(
        &mut self,
        former: &Log,
        end: Option<Extent>,
        wall_ms: u64,
    ) -> Result<Statement, Error> {
        let time = self.primary.stamp(wall_ms);
        Statement::succeed(former, self.primary.log(), end, time)
            .ok_or(Error::Log(multibee_log::Error::NotWritable))
    }
}

/// Who took over from a log, as it says itself.
fn heirs(me: LogKey, statements: &[Statement]) -> Vec<LogKey> {
    let own = statements.iter().filter(|statement| statement.author == me);
    let heir = |statement: &Statement| match statement.claim {
        Claim::Succeed { key, .. } => Some(key),
        _ => None,
    };
    own.filter_map(heir).collect()
}
