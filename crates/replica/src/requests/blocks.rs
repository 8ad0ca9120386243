//! Asking one remote for single blocks of one log.

use multibee_log::{Error, Proof, Request, RequestBlock};

use super::Requests;
use super::arrivals::Arrival;
use super::asked::{Patience, Terms};
use super::download::Download;
use super::in_flight::{InFlight, Load};
use crate::channel::{Cx, Remote};
use crate::event::Fault;
use crate::limits::REQUEST_AGE_MAX;
use crate::log_state::{Blame, Effect};
use crate::message::Message;
use crate::options::ReplicatorOptions;
use crate::ranges::RangeSet;

/// A block that was asked for alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) block: u64,
    /// Siblings that were asked for with it.
    pub(super) levels: u64,
    /// The earlier request whose answer makes this one's verifiable.
    pub(super) after: Option<u64>,
}

impl Block {
    /// Its answer has brought what it would, or will not come.
    pub(super) fn settle(&self, id: u64, download: &mut Download) {
        download.forecast.settle(id, self.block, self.levels);
    }

    /// It does not come from this remote. Returns whether it is queued again.
    fn miss(&self, id: u64, download: &mut Download, cx: &mut Cx<'_>) -> bool {
        self.settle(id, download);
        download.arrivals.release(id);
        cx.state.wants.roster().note_miss(cx.connection);
        cx.state.wants.give_back(self.block, cx.connection)
    }
}

impl Terms for Block {
    type Answer = Proof;

    fn patience(options: &ReplicatorOptions) -> Patience {
        Patience { timeout: options.request_timeout, extended_to: Some(REQUEST_AGE_MAX) }
    }

    fn answered(
        self,
        id: u64,
        proof: Proof,
        requests: &mut Requests,
        remote: &mut Remote,
        cx: &mut Cx<'_>,
    ) -> Result<(), Fault> {
        let Some(block) = proof.block.as_ref().filter(|_| proof.fork == cx.state.log.fork()) else {
            return self.refused(id, requests, remote, cx);
        };
        let Requests { in_flight, download, .. } = requests;
        if block.index != self.block || proof.upgrade.is_some() {
            self.miss(id, download, cx);
            return Err(Fault::WrongData { what: "block" });
        }
        download.note_len(block.value.len() as u64);
        let arrival = Arrival { id, asked: self, proof };
        if let Some(arrival) = download.arrivals.push(arrival, |id| in_flight.contains(id)) {
            // Not worth the memory: asked for again, later.
            download.retry(&arrival, cx);
            download.arrivals.release(id);
        }
        if download.arrivals.is_full() { requests.store(remote, cx) } else { Ok(()) }
    }

    fn refused(
        self,
        id: u64,
        requests: &mut Requests,
        remote: &mut Remote,
        cx: &mut Cx<'_>,
    ) -> Result<(), Fault> {
        remote.holdings.refuse(self.block, cx.now, cx.budget);
        if self.miss(id, &mut requests.download, cx) {
            cx.effects.push(Effect::Freed);
        }
        Ok(())
    }

    fn given_up(self, id: u64, requests: &mut Requests, cx: &mut Cx<'_>) -> Result<(), Fault> {
        self.miss(id, &mut requests.download, cx);
        Ok(())
    }
}

impl Download {
    /// Asks for a block.
    pub(super) fn ask_block(
        &mut self,
        (block, priority): (u64, u64),
        in_flight: &mut InFlight,
        cx: &mut Cx<'_>,
    ) -> Result<(), Error> {
        let (levels, after) = self.levels(block, priority, cx)?;
        let request = Request {
            block: Some(RequestBlock { index: block, nodes: levels }),
            ..Request::default()
        };
        let load = Load { blocks: 1, len: self.mean(cx) };
        let fork = cx.state.log.fork();
        let id = in_flight.send(Block { block, levels, after }, load, cx, |id| Message::Request {
            id,
            fork,
            priority,
            request,
        });
        self.forecast.expect(id, block, levels);
        cx.state.stats.requests_out += 1;
        Ok(())
    }

    /// How many siblings to ask for with a block, and the request under way that this relies on.
    ///
    /// Urgent requests rely on none, because they are answered before others.
    fn levels(&self, block: u64, priority: u64, cx: &Cx<'_>) -> Result<(u64, Option<u64>), Error> {
        let may_forecast = priority == 0 && !cx.state.plain.contains(&block);
        let stop = if may_forecast { self.forecast.stop(block) } else { None };
        match stop {
            // A stored node could only be lower by a level or two: not worth a look.
            Some(stop) if stop.levels <= 2 => Ok((stop.levels, Some(stop.request))),
            stop => {
                let stored = cx.state.log.missing_nodes(block.saturating_mul(2))?;
                Ok(match stop {
                    Some(stop) if stop.levels < stored => (stop.levels, Some(stop.request)),
                    _ => (stored, None),
                })
            }
        }
    }

    /// Stores the blocks that have come alone. Returns those that were.
    pub(super) fn store_blocks(&mut self, cx: &mut Cx<'_>) -> (RangeSet, Result<(), Fault>) {
        let mut stored = RangeSet::default();
        let mut outcome = Ok(());
        let ready = self.arrivals.take_ready();
        if ready.is_empty() {
            return (stored, outcome);
        }
        let (late, fresh): (Vec<_>, Vec<_>) =
            ready.into_iter().partition(|arrival| cx.state.log.has(arrival.asked.block));
        for arrival in late {
            self.settle(&arrival, cx);
        }
        let (mut asked, mut proofs) = (Vec::new(), Vec::new());
        for arrival in fresh {
            asked.push((arrival.id, arrival.asked));
            proofs.push(arrival.proof);
        }
        let results = match cx.state.log.apply_all(&proofs) {
            Ok(results) => results,
            Err(error) => {
                // The log leaves this replicator, and with it all that is under way.
                cx.effects.push(Effect::Failed(error));
                return (stored, outcome);
            }
        };
        for (((id, asked), proof), result) in asked.into_iter().zip(proofs).zip(results) {
            let arrival = Arrival { id, asked, proof };
            match result {
                Ok(_) => {
                    self.settle(&arrival, cx);
                    stored.insert(asked.block..asked.block + 1);
                    self.note_block(&arrival, cx);
                }
                Err(error) => outcome = outcome.and(self.not_stored(&arrival, error, cx)),
            }
        }
        (stored, outcome)
    }

    /// A block is here: nothing of its request is under way any more.
    fn settle(&mut self, arrival: &Arrival, cx: &mut Cx<'_>) {
        let block = arrival.asked.block;
        arrival.asked.settle(arrival.id, self);
        cx.state.plain.remove(&block);
        cx.state.wants.roster().note_hit(cx.connection);
        for other in cx.state.wants.stored(block, Some(cx.connection)) {
            cx.effects.push(Effect::Cancel(other, block));
        }
    }

    fn note_block(&mut self, arrival: &Arrival, cx: &mut Cx<'_>) {
        let (block, len) = (arrival.proof.block.as_ref(), arrival.len() as u64);
        self.meter.note(1, len, cx.now);
        cx.state.meter.note(1, len, cx.now);
        cx.state.stats.blocks_in += 1;
        cx.state.stats.block_bytes_in += len;
        cx.state.stats.nodes_in += block.map_or(0, |block| block.nodes.len() as u64);
    }

    fn not_stored(
        &mut self,
        arrival: &Arrival,
        error: Error,
        cx: &mut Cx<'_>,
    ) -> Result<(), Fault> {
        let relied = arrival.asked.after.is_some();
        self.retry(arrival, cx);
        match Blame::of(&error) {
            // It may have been right for the nodes that an earlier answer should have brought.
            Blame::Peer if relied => Ok(()),
            Blame::Peer | Blame::Writer => Err(Fault::BadData(error)),
            Blame::Nobody => Ok(()),
            Blame::Machine => {
                cx.effects.push(Effect::Failed(error));
                Ok(())
            }
        }
    }

    /// Asks for a block anew, relying on nothing.
    fn retry(&mut self, arrival: &Arrival, cx: &mut Cx<'_>) {
        let block = arrival.asked.block;
        arrival.asked.settle(arrival.id, self);
        cx.state.plain.insert(block);
        cx.state.stats.retries += 1;
        if cx.state.wants.give_back(block, cx.connection) {
            cx.effects.push(Effect::Freed);
        }
    }

    /// Blocks that have come and are not stored may be asked of others.
    pub(super) fn drop_arrivals(&mut self, cx: &mut Cx<'_>) {
        for arrival in self.arrivals.take_all() {
            cx.state.wants.give_back(arrival.asked.block, cx.connection);
        }
    }
}
