//! Following one remote to a higher fork of one log (docs/spec/wire.md section 8.6).

use std::ops::Range;

use multibee_log::{Error, Proof, Reorg, Request, RequestUpgrade};

use super::Requests;
use super::asked::{Asked, Kind, Patience, Terms};
use super::in_flight::{InFlight, Load};
use crate::channel::{Cx, Remote};
use crate::event::{Event, Fault};
use crate::log_state::{Blame, Effect};
use crate::message::Message;
use crate::options::ReplicatorOptions;

/// What is remembered of one remote's forks.
#[derive(Debug, Default)]
pub(super) struct Reorgs {
    /// What was tried for in vain, so that it is not tried again before the remote tells something
    /// else.
    tried: Option<Head>,
    waiting: Option<Waiting>,
}

/// A search that has come to blocks of which the remote has none. It may still be downloading.
#[derive(Debug)]
struct Waiting {
    to: Head,
    search: Box<Reorg>,
    /// The version of what the remote had.
    version: u64,
}

/// Where a remote is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    fork: u64,
    length: u64,
}

/// A step on the way over to a remote's fork: its head is asked for from the start, then the point
/// at which the two histories part, by one hash for each level of the tree at most. The log stays
/// as it is until that is known.
///
/// Each remote is searched for itself, so that one which stalls or lies holds up nobody else; the
/// first that is done takes the log along.
#[derive(Debug)]
pub(super) struct Fork {
    to: Head,
    /// Once the head is here.
    search: Option<Box<Reorg>>,
}

impl Reorgs {
    /// The blocks of which the remote must have one before the search goes on, if it has none.
    pub(super) fn lacked(&self) -> Option<Range<u64>> {
        self.waiting.as_ref().and_then(|waiting| waiting.search.blocks())
    }

    /// Asks for the head of a higher fork if the remote has one, or goes on with a search that has
    /// waited.
    pub(super) fn ask(&mut self, in_flight: &mut InFlight, remote: &Remote, cx: &mut Cx<'_>) {
        let to = Head { fork: remote.sync.fork, length: remote.sync.length };
        if in_flight.tally(Kind::Fork).requests > 0 {
            let is_it =
                |asked: &Asked| matches!(asked, Asked::Fork(asked) if asked.to.fork == to.fork);
            if in_flight.find(is_it).is_some() {
                return;
            }
            // It has moved on, or we have.
            self.give_up(in_flight, cx);
        }
        let waiting = self.waiting.take();
        let is_ahead = to.fork > cx.state.log.fork() && to.length > 0;
        // An empty copy takes any head as its first.
        let is_ours_to_cut = !cx.state.log.is_empty() || !cx.state.follows();
        let may_follow = cx.options.follow_cuts || !cx.state.follows();
        let is_news = may_follow && self.tried != Some(to);
        if !(is_ahead && is_ours_to_cut && is_news) || cx.state.is_disputed {
            return;
        }
        if let Some(waiting) = waiting.filter(|waiting| waiting.to == to) {
            self.resume(waiting, in_flight, remote, cx);
            return;
        }
        let lacks_manifest = cx.state.log.manifest().is_none();
        let request = Request {
            upgrade: Some(RequestUpgrade { start: 0, length: to.length }),
            manifest: lacks_manifest && remote.sync.has_manifest,
            ..Request::default()
        };
        Fork { to, search: None }.send(request, in_flight, cx);
    }

    /// The search is not gone on with.
    pub(super) fn give_up(&mut self, in_flight: &mut InFlight, cx: &mut Cx<'_>) {
        self.waiting = None;
        for request in in_flight.ids_of(|kind| kind == Kind::Fork) {
            in_flight.remove(request, cx.pace);
            cx.out.push(Message::Cancel { request });
        }
    }

    /// Goes on if the remote has told of blocks that help.
    fn resume(
        &mut self,
        waiting: Waiting,
        in_flight: &mut InFlight,
        remote: &Remote,
        cx: &mut Cx<'_>,
    ) {
        let Waiting { to, search, version } = waiting;
        let now = remote.holdings.version();
        let held = || search.blocks().and_then(|blocks| remote.holdings.next_within(blocks));
        if version == now || held().is_none() {
            self.waiting = Some(Waiting { to, search, version: now });
        } else {
            self.look_further(to, search, in_flight, remote, cx);
        }
    }

    /// Asks for the next hashes, by a path to a block that the remote has.
    fn look_further(
        &mut self,
        to: Head,
        search: Box<Reorg>,
        in_flight: &mut InFlight,
        remote: &Remote,
        cx: &mut Cx<'_>,
    ) {
        match next_request(&search, remote) {
            Some(request) => Fork { to, search: Some(search) }.send(request, in_flight, cx),
            None => {
                let version = remote.holdings.version();
                self.waiting = Some(Waiting { to, search, version });
            }
        }
    }
}

/// The path that tells most, if the remote has the block; else one to any block that it has.
fn next_request(search: &Reorg, remote: &Remote) -> Option<Request> {
    let best = search.request();
    let has_best = |request: &Request| {
        request.hash.is_some_and(|hash| remote.holdings.contains(hash.index / 2))
    };
    if best.as_ref().is_some_and(has_best) {
        return best;
    }
    let held = remote.holdings.next_within(search.blocks()?);
    let by_held = held.and_then(|block| search.request_by(block));
    // A Multibee peer may have the hashes without the block.
    by_held.or(best.filter(|_| remote.is_kin))
}

impl Fork {
    fn send(self, request: Request, in_flight: &mut InFlight, cx: &mut Cx<'_>) {
        let fork = self.to.fork;
        in_flight.send(self, Load::default(), cx, |id| Message::Request {
            id,
            fork,
            priority: 0,
            request,
        });
    }
}

impl Terms for Fork {
    type Answer = Proof;

    const IS_SEARCH: bool = true;

    fn patience(options: &ReplicatorOptions) -> Patience {
        Patience { timeout: options.upgrade_timeout, extended_to: None }
    }

    fn answered(
        self,
        _: u64,
        proof: Proof,
        requests: &mut Requests,
        remote: &mut Remote,
        cx: &mut Cx<'_>,
    ) -> Result<(), Fault> {
        let Self { to, search } = self;
        let Requests { in_flight, reorgs, .. } = requests;
        // Until it is done it counts as tried in vain.
        reorgs.tried = Some(to);
        if proof.fork != to.fork || (search.is_none() && proof.upgrade.is_none()) {
            return Ok(());
        }
        let found = match search {
            None => cx.state.log.start_reorg(&proof).map(Box::new),
            Some(mut search) => search.add(&proof).map(|()| search),
        };
        let search = match found {
            Ok(search) => search,
            Err(error) => return fail(error, cx),
        };
        reorgs.tried = None;
        if search.blocks().is_none() {
            return apply(*search, cx);
        }
        reorgs.look_further(to, search, in_flight, remote, cx);
        Ok(())
    }

    /// If it lacks a block of its fork it may get it.
    fn refused(
        self,
        _: u64,
        requests: &mut Requests,
        remote: &mut Remote,
        _: &mut Cx<'_>,
    ) -> Result<(), Fault> {
        let Self { to, search } = self;
        let reorgs = &mut requests.reorgs;
        let version = remote.holdings.version();
        reorgs.waiting = search.map(|search| Waiting { to, search, version });
        if reorgs.waiting.is_none() {
            reorgs.tried = Some(to);
        }
        Ok(())
    }

    fn given_up(self, _: u64, _: &mut Requests, _: &mut Cx<'_>) -> Result<(), Fault> {
        Ok(())
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
    if cx.state.notice_cut() {
        cx.effects.push(Effect::Cut);
    }
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
