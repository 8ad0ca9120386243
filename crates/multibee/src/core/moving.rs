//! Another log takes over while the database is open.

use multibee_btree::Bee;
use multibee_log::{LogKey, WeakLog};

use super::{Advance, Core, Following};
use crate::Error;
use crate::event::Event;
use crate::follow::Follower;
use crate::home::Home;
use crate::moving::Successor;
use crate::setup::Setup;
use crate::statement::{Claim, Extent};

/// A log that nobody needs any more.
#[derive(Debug)]
pub(super) struct Leaver {
    key: LogKey,
    log: WeakLog,
}

impl Core {
    /// Begins a planned move: nobody else may begin one until [`end_move`](Self::end_move). Returns
    /// the tree that is to be moved.
    pub(crate) fn begin_move(&mut self) -> Result<(Bee, (Home, Setup)), Error> {
        if std::mem::replace(&mut self.is_moving, true) {
            return Err(Error::Moving);
        }
        let place = (self.place.home.clone(), self.place.setup.clone());
        Ok((self.primary.bee().clone(), place))
    }

    pub(crate) const fn end_move(&mut self) {
        self.is_moving = false;
    }

    /// Keys in one commit of what is absorbed.
    pub(crate) const fn absorb_keys(&self) -> usize {
        self.limits.absorb_keys
    }

    /// The last step of a planned move: the own log says that it ends, what the successor lacks is
    /// absorbed, and from then on that is written.
    ///
    /// # Errors
    ///
    /// This machine failed. If the own log has said that it ends, the move is finished when the
    /// database is opened next, and nothing can be written before.
    pub(crate) fn move_to(&mut self, mut successor: Successor) -> Result<Advance, Error> {
        let now_ms = self.now_ms();
        let former = self.primary.bee().clone();
        // The statement is one block, and the last one.
        let end = Extent { length: former.log().len() + 1, tag: None };
        let log = former.log().clone();
        successor.primary.set_time(self.primary.time().clone());
        let statement = successor.succession(&log, Some(end), now_ms)?;
        self.primary.state(&[statement], now_ms)?;
        log.sync()?;
        successor.absorb(&former, log.len(), self.limits.absorb_keys, now_ms, |_| {})?;
        self.take_over(successor, Some(former))
    }

    /// `followed` is the old log as it is followed from now on; without it, it is fetched anew.
    pub(super) fn take_over(
        &mut self,
        successor: Successor,
        followed: Option<Bee>,
    ) -> Result<Advance, Error> {
        let former = self.primary.bee().clone();
        let primary = successor.enthrone(&self.place.home, former.log())?;
        former.log().renounce()?;
        let mut advance = Advance { committed: true, ..Advance::default() };
        advance.new_logs.push(primary.log().clone());
        let (from, to) = (former.log().key(), primary.log().key());
        advance.grown.push(from);
        advance.events.push(Event::Moved { from, to });
        if let Some(followed) = followed {
            self.follow_former(followed);
        }
        self.place.current.set(primary.bee().clone(), primary.device());
        self.primary = primary;
        self.reread_statements(&mut advance)?;
        Ok(advance)
    }

    /// Whether a log is finished, has been applied to its end, and nobody else lacks any of it. A mirror
    /// is done with none.
    pub(super) fn is_done_with(&self, key: &LogKey) -> bool {
        let Some(member) = self.member(key).filter(|member| !member.successors.is_empty()) else {
            return false;
        };
        let mut ends = self.statements().filter(|one| one.author == *key);
        let is_over = ends.all(|statement| match &statement.claim {
            Claim::Succeed { end: Some(end), .. } => self.applied(member.device) >= end.length,
            Claim::Succeed { end: None, .. } => false,
            _ => true,
        });
        is_over && !self.is_mirror() && !self.is_lacked(key)
    }

    /// Whether another device may lack something of a log.
    fn is_lacked(&self, _key: &LogKey) -> bool {
        let me = self.key();
        self.members().iter().any(|member| member.key != me && member.is_active())
    }

    /// Follows a log no longer, and gives back its room once nobody reads it.
    pub(super) fn part_with(&mut self, key: LogKey, advance: &mut Advance) -> Result<(), Error> {
        match self.following.remove(&key) {
            Some(following) => {
                let log = following.follower.bee().log().downgrade();
                self.leaving.push(Leaver { key, log });
                advance.old_logs.push(key);
                Ok(())
            }
            None => self.place.home.forget(&key),
        }
    }

    /// Gives back the room of logs that nobody reads any more.
    pub(super) fn forget_leavers(&mut self, advance: &mut Advance) -> Result<(), Error> {
        let (closed, open) = self.leaving.drain(..).partition(|one| one.log.is_closed());
        self.leaving = open;
        let closed: Vec<Leaver> = closed;
        for leaver in &closed {
            self.place.home.forget(&leaver.key)?;
        }
        // Some of them are followed anew.
        if closed.is_empty() { Ok(()) } else { self.refresh_members(advance) }
    }

    /// Whether somebody may still read what is here of a log that is to be forgotten.
    pub(super) fn is_leaving(&self, key: &LogKey) -> bool {
        self.leaving.iter().any(|leaver| leaver.key == *key)
    }

    /// The old log is followed as any other device's from now on: a copy of it may have gone on.
    fn follow_former(&mut self, followed: Bee) {
        let key = followed.log().key();
        let opened_at = followed.log().len();
        let following = Following {
            follower: Follower::new(followed),
            stuck: None,
            said: None,
            opened_at,
            covered: opened_at,
            absorbed: 0,
            waits: false,
        };
        self.following.insert(key, following);
    }
}
