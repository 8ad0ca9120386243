//! Following one remote to a higher fork of one log (docs/spec/wire.md section 8.6).

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
    tried: Option<Tried>,
}

/// A step on the way over to a remote's fork: its head is asked for from the start, then the point
/// at which the two histories part, by one hash for each level of the tree at most. The log stays
/// as it is until that is known.
///
/// Each remote is searched for itself, so that one which stalls or lies holds up nobody else; the
/// first that is done takes the log along.
#[derive(Debug)]
pub(super) struct Fork {
    fork: u64,
    length: u64,
    /// Once the head is here.
    search: Option<Box<Reorg>>,
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

impl Reorgs {
    /// Asks for the head of a higher fork if the remote has one.
    pub(super) fn ask(&self, in_flight: &mut InFlight, remote: &Remote, cx: &mut Cx<'_>) {
        let (fork, length) = (remote.sync.fork, remote.sync.length);
        if in_flight.tally(Kind::Fork).requests > 0 {
            let is_it = |asked: &Asked| matches!(asked, Asked::Fork(asked) if asked.fork == fork);
            if in_flight.find(is_it).is_some() {
                return;
            }
            // It has moved on, or we have.
            take_back(in_flight, cx);
        }
        let is_ahead = fork > cx.state.log.fork() && length > 0;
        // An empty copy takes any head as its first.
        let is_ours_to_cut = !cx.state.log.is_empty() || !cx.state.follows();
        let may_follow = cx.options.follow_cuts || !cx.state.follows();
        let was_in_vain = self.tried.is_some_and(|tried| tried.is_still(remote));
        let is_news = may_follow && !was_in_vain;
        if !(is_ahead && is_ours_to_cut && is_news) || cx.state.is_disputed {
            return;
        }
        let lacks_manifest = cx.state.log.manifest().is_none();
        let request = Request {
            upgrade: Some(RequestUpgrade { start: 0, length }),
            manifest: lacks_manifest && remote.sync.has_manifest,
            ..Request::default()
        };
        Fork { fork, length, search: None }.send(request, in_flight, cx);
    }
}

/// The search is not gone on with.
pub(super) fn take_back(in_flight: &mut InFlight, cx: &mut Cx<'_>) {
    for request in in_flight.ids_of(|kind| kind == Kind::Fork) {
        in_flight.remove(request, cx.pace);
        cx.out.push(Message::Cancel { request });
    }
}

impl Fork {
    fn send(self, request: Request, in_flight: &mut InFlight, cx: &mut Cx<'_>) {
        let fork = self.fork;
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
        let Self { fork, length, search } = self;
        let Requests { in_flight, reorgs, .. } = requests;
        // Until it is done it counts as tried in vain.
        reorgs.tried = Some(Tried { fork, length, lacked: None });
        if proof.fork != fork || (search.is_none() && proof.upgrade.is_none()) {
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
        let Some(request) = search.request() else {
            reorgs.tried = None;
            return apply(*search, cx);
        };
        if !remote.may_be_asked_for(&request) {
            // It may still be downloading.
            let lacked = Some(remote.holdings.version());
            reorgs.tried = Some(Tried { fork, length, lacked });
            return Ok(());
        }
        reorgs.tried = None;
        Self { fork, length, search: Some(search) }.send(request, in_flight, cx);
        Ok(())
    }

    fn refused(
        self,
        _: u64,
        requests: &mut Requests,
        _: &mut Remote,
        _: &mut Cx<'_>,
    ) -> Result<(), Fault> {
        let Self { fork, length, .. } = self;
        requests.reorgs.tried = Some(Tried { fork, length, lacked: None });
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
