//! What one remote asks of us about one log.

use std::collections::VecDeque;
use std::ops::Range;

use multibee_log::{Error, Request, RequestRun};

use crate::channel::Cx;
use crate::event::{Event, Fault};
use crate::fault::PeerFault;
use crate::kin::KinMessage;
use crate::limits::{
    EXTENSION_LEN_MAX, INVALID_REQUESTS_MAX, PENDING_REQUESTS_MAX, PENDING_WANTS_MAX,
    WANT_BLOCKS_MAX,
};
use crate::message::{Message, NoDataReason};

/// Requests that wait to be answered, at the pace at which the remote takes the answers.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    /// With a priority: a reader waits for them.
    urgent: VecDeque<Pending>,
    normal: VecDeque<Pending>,
    /// Stretches that the remote wants to be told about.
    wants: VecDeque<Range<u64>>,
    invalid_count: u64,
    /// Our storage has failed a read, and that was told.
    has_failed: bool,
}

#[derive(Debug)]
struct Pending {
    id: u64,
    fork: u64,
    wanted: Wanted,
}

/// What a remote asks for.
#[derive(Debug)]
pub(crate) enum Wanted {
    Parts(Request),
    Run(RequestRun),
}

impl From<Request> for Wanted {
    fn from(request: Request) -> Self {
        Self::Parts(request)
    }
}

impl From<RequestRun> for Wanted {
    fn from(request: RequestRun) -> Self {
        Self::Run(request)
    }
}

impl Upload {
    /// Requests and wants that wait.
    pub(crate) fn pending_count(&self) -> usize {
        self.urgent.len() + self.normal.len() + self.wants.len()
    }

    /// Whether a request waits for which a reader waits.
    pub(crate) fn has_urgent(&self) -> bool {
        !self.urgent.is_empty()
    }

    /// Queues a request, or refuses it when too many wait.
    ///
    /// `room` is how many more the connection as a whole may queue.
    pub(crate) fn push(
        &mut self,
        (id, fork, priority): (u64, u64, u64),
        wanted: impl Into<Wanted>,
        room: usize,
        out: &mut Vec<Message>,
    ) {
        self.cancel(id);
        if room == 0 || self.urgent.len() + self.normal.len() >= PENDING_REQUESTS_MAX {
            out.push(Message::NoData { request: id, reason: NoDataReason::NOT_AVAILABLE });
            return;
        }
        let queue = if priority > 0 { &mut self.urgent } else { &mut self.normal };
        queue.push_back(Pending { id, fork, wanted: wanted.into() });
    }

    /// Forgets a request: it is cancelled, or its number is used again.
    pub(crate) fn cancel(&mut self, id: u64) {
        for queue in [&mut self.urgent, &mut self.normal] {
            // Numbers mostly rise, so a new one is rarely among those that wait.
            if queue.iter().any(|pending| pending.id == id) {
                queue.retain(|pending| pending.id != id);
            }
        }
    }

    /// Queues the wish to be told about a stretch of blocks.
    pub(crate) fn push_want(&mut self, start: u64, length: u64) {
        let Some(end) = start.checked_add(length) else { return };
        if length > 0 && length <= WANT_BLOCKS_MAX && self.wants.len() < PENDING_WANTS_MAX {
            self.wants.push_back(start..end);
        }
    }

    /// Answers what waits, until about `room` bytes are to be sent or nothing waits.
    pub(crate) fn serve(&mut self, cx: &mut Cx<'_>, room: &mut usize) -> Result<(), Fault> {
        while *room > 0 {
            if let Some(pending) = self.urgent.pop_front().or_else(|| self.normal.pop_front()) {
                self.answer(&pending, cx, room)?;
            } else if let Some(stretch) = self.wants.pop_front() {
                describe(stretch, cx, room);
            } else {
                break;
            }
        }
        Ok(())
    }

    fn answer(
        &mut self,
        pending: &Pending,
        cx: &mut Cx<'_>,
        room: &mut usize,
    ) -> Result<(), Fault> {
        let reason = match self.prove(pending, cx) {
            Ok(message) => {
                *room = room.saturating_sub(cost(&message));
                cx.out.push(message);
                return Ok(());
            }
            Err(Error::InvalidRequest { .. }) => {
                self.invalid_count += 1;
                let count = self.invalid_count;
                if count >= INVALID_REQUESTS_MAX {
                    return Err(PeerFault::InvalidRequests { count }.into());
                }
                NoDataReason::INVALID_REQUEST
            }
            Err(Error::NotAvailable { .. } | Error::ForkMismatch { .. }) => {
                NoDataReason::NOT_AVAILABLE
            }
            Err(error) => {
                // One bad place on the disk does not keep us from serving the rest.
                if !std::mem::replace(&mut self.has_failed, true) {
                    cx.effect(Event::ReadFailed { key: cx.key(), error });
                }
                NoDataReason::NOT_AVAILABLE
            }
        };
        *room = room.saturating_sub(MESSAGE_COST);
        cx.out.push(Message::NoData { request: pending.id, reason });
        Ok(())
    }

    fn prove(&self, pending: &Pending, cx: &mut Cx<'_>) -> Result<Message, Error> {
        let (ours, theirs) = (cx.state.log.fork(), pending.fork);
        if ours != theirs {
            return Err(Error::ForkMismatch { ours, theirs });
        }
        let request = match &pending.wanted {
            Wanted::Parts(request) => request,
            Wanted::Run(request) => return prove_run(pending.id, request, cx),
        };
        let proof = cx.state.log.prove(request)?;
        if let Some(block) = &proof.block {
            cx.state.stats.blocks_out += 1;
            cx.state.stats.block_bytes_out += block.value.len() as u64;
        }
        Ok(Message::Data { request: pending.id, proof })
    }
}

fn prove_run(id: u64, request: &RequestRun, cx: &mut Cx<'_>) -> Result<Message, Error> {
    let run = cx.state.log.prove_run(request)?;
    let (blocks, bytes) = (run.lens.len() as u64, run.data.len() as u64);
    let message = KinMessage::Run { id, run }.encode();
    if let Message::Extension { payload, .. } = &message
        && payload.len() > EXTENSION_LEN_MAX
    {
        return Err(Error::NotAvailable { index: request.start.saturating_mul(2) });
    }
    cx.state.stats.blocks_out += blocks;
    cx.state.stats.block_bytes_out += bytes;
    Ok(message)
}

/// Tells which blocks of a stretch are here: by one range if it is all up to some block, else
/// bit by bit.
fn describe(stretch: Range<u64>, cx: &mut Cx<'_>, room: &mut usize) {
    let len = cx.state.announced_len();
    let contiguous = cx.state.announced_contiguous_len();
    let stretch = stretch.start - stretch.start % 32..stretch.end.min(len);
    if stretch.start >= stretch.end {
        return;
    }
    let beyond = cx.state.log.held(contiguous.max(stretch.start)..stretch.end);
    let message = match beyond.last() {
        None => Message::Range { drop: false, start: 0, length: contiguous },
        Some(last) => {
            let words = (last.end - stretch.start).div_ceil(32);
            let words = usize::try_from(words).expect("a stretch has at most 2^21 blocks");
            let words = cx.state.log.bitfield_words(stretch.start, words);
            Message::Bitfield { start: stretch.start, words }
        }
    };
    *room = room.saturating_sub(cost(&message));
    cx.out.push(message);
}

/// About how many bytes a message takes.
pub(crate) fn cost(message: &Message) -> usize {
    MESSAGE_COST
        + match message {
            Message::Data { proof, .. } => {
                let block = proof.block.as_ref();
                let nodes = block.map_or(0, |block| block.nodes.len());
                block.map_or(0, |block| block.value.len()) + nodes * NODE_COST
            }
            Message::Bitfield { words, .. } => words.len() * 4,
            Message::Extension { payload, .. } => payload.len(),
            _ => 0,
        }
}

const MESSAGE_COST: usize = 16;
const NODE_COST: usize = 40;
