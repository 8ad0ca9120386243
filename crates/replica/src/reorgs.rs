//! Following one remote to a higher fork of one log (docs/spec/wire.md section 8.6).

use std::time::Instant;

use multibee_log::{Error, Proof, Reorg, Request, RequestUpgrade};

use crate::channel::{Cx, Remote};
use crate::event::{Event, Fault};
use crate::log_state::{Blame, Effect};
use crate::message::Message;

/// The way over to a remote's fork: its head is asked for from the start, then the point at which
/// the two histories part, by one hash for each level of the tree at most. The log stays as it is
/// until that is known.
///
/// Each remote is searched for itself, so that one which stalls or lies holds up nobody else; the
/// first that is done takes the log along.
#[derive(Debug, Default)]
pub(crate) struct Reorgs {
    asked: Option<Asked>,
    tried: Option<Tried>,
}

/// The fork and length that was tried for in vain, so that it is not tried again before the remote
/// tells something else.
#[derive(Clone, Copy, Debug)]
struct Tried {
    fork: u64,
    length: u64,
    /// The version of the remote's blocks, if that ended because it lacked one.
    lacked: Option<u64>,
}

impl Tried {
    /// Whether a try would come to the same end.
    fn is_still(self, remote: &Remote) -> bool {
        let is_same = (self.fork, self.length) == (remote.sync.fork, remote.sync.length);
        is_same && self.lacked.is_none_or(|version| version == remote.holdings.version())
    }
}

#[derive(Debug)]
struct Asked {
    id: u64,
    at: Instant,
    fork: u64,
    length: u64,
    /// Once the head is here.
    search: Option<Box<Reorg>>,
}

impl Reorgs {
    /// When the request under way was sent.
    pub(crate) fn asked_at(&self) -> Option<Instant> {
        self.asked.as_ref().map(|asked| asked.at)
    }

    /// Whether `id` is the request under way.
    pub(crate) fn is_asked(&self, id: u64) -> bool {
        self.asked.as_ref().is_some_and(|asked| asked.id == id)
    }

    /// Asks for the head of a higher fork, by the request number `id`, if the remote has one.
    /// Returns whether it did.
    pub(crate) fn ask(&mut self, id: u64, remote: &Remote, cx: &mut Cx<'_>) -> bool {
        let (fork, length) = (remote.sync.fork, remote.sync.length);
        if self.asked.as_ref().is_some_and(|asked| asked.fork == fork) {
            return false;
        }
        // It has moved on, or we have.
        let before = self.give_up();
        cx.out.extend(before.map(|request| Message::Cancel { request }));
        let is_ahead = fork > cx.state.log.fork() && length > 0;
        // An empty copy takes any head as its first.
        let is_ours_to_cut = !cx.state.log.is_empty() || !cx.state.follows();
        let may_follow = cx.options.follow_cuts || !cx.state.follows();
        let was_in_vain = self.tried.is_some_and(|tried| tried.is_still(remote));
        let is_news = may_follow && !was_in_vain;
        if !(is_ahead && is_ours_to_cut && is_news) || cx.state.is_disputed {
            return false;
        }
        let lacks_manifest = cx.state.log.manifest().is_none();
        let request = Request {
            upgrade: Some(RequestUpgrade { start: 0, length }),
            manifest: lacks_manifest && remote.sync.has_manifest,
            ..Request::default()
        };
        self.asked = Some(Asked { id, at: cx.now, fork, length, search: None });
        cx.out.push(Message::Request { id, fork, priority: 0, request });
        true
    }

    /// Takes the answer. The next request gets the number `next_id`; returns whether there is one.
    ///
    /// # Errors
    ///
    /// What the remote did wrong: hang up.
    pub(crate) fn handle_data(
        &mut self,
        proof: &Proof,
        next_id: u64,
        remote: &Remote,
        cx: &mut Cx<'_>,
    ) -> Result<bool, Fault> {
        let Some(Asked { fork, length, search, .. }) = self.asked.take() else { return Ok(false) };
        // Until it is done it counts as tried in vain.
        self.tried = Some(Tried { fork, length, lacked: None });
        if proof.fork != fork || (search.is_none() && proof.upgrade.is_none()) {
            return Ok(false);
        }
        let found = match search {
            None => cx.state.log.start_reorg(proof).map(Box::new),
            Some(mut search) => search.add(proof).map(|()| search),
        };
        let search = match found {
            Ok(search) => search,
            Err(error) => return fail(error, cx).map(|()| false),
        };
        let Some(request) = search.request() else {
            self.tried = None;
            return apply(*search, cx).map(|()| false);
        };
        if !remote.may_be_asked_for(&request) {
            // It may still be downloading.
            let lacked = Some(remote.holdings.version());
            self.tried = Some(Tried { fork, length, lacked });
            return Ok(false);
        }
        cx.out.push(Message::Request { id: next_id, fork, priority: 0, request });
        self.asked = Some(Asked { id: next_id, at: cx.now, fork, length, search: Some(search) });
        self.tried = None;
        Ok(true)
    }

    /// The remote refused.
    pub(crate) fn fail(&mut self) {
        let tried = |Asked { fork, length, .. }| Tried { fork, length, lacked: None };
        self.tried = self.asked.take().map(tried);
    }

    /// Asks nothing more. Returns the number of the request under way.
    pub(crate) fn give_up(&mut self) -> Option<u64> {
        self.asked.take().map(|asked| asked.id)
    }
}

fn apply(search: Reorg, cx: &mut Cx<'_>) -> Result<(), Fault> {
    let reorged = match cx.state.log.apply_reorg(search) {
        Ok(reorged) => reorged,
        Err(error) => return fail(error, cx),
    };
    let (key, from) = (cx.key(), cx.connection);
    cx.effect(Event::Truncated {
        key,
        fork: reorged.fork,
        len: reorged.len,
        shared_len: reorged.shared_len,
        from,
    });
    Ok(())
}

fn fail(error: Error, cx: &mut Cx<'_>) -> Result<(), Fault> {
    if let Error::OwnLog { ours, theirs } = error {
        let (key, from) = (cx.key(), cx.connection);
        cx.effect(Event::WrittenElsewhere { key, ours, theirs, from });
        return Ok(());
    }
    match Blame::of(&error) {
        Blame::Peer => Err(Fault::BadData(error)),
        // Another remote was first, or the log has changed: asked anew if there is still a reason.
        Blame::Nobody | Blame::Writer => Ok(()),
        Blame::Machine => {
            cx.effects.push(Effect::Failed(error));
            Ok(())
        }
    }
}
