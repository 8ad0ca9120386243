//! Answers in the order in which they can be stored.

use std::collections::{BTreeMap, BTreeSet};

use multibee_log::Proof;

use super::blocks::Block;
use crate::limits::{PARKED_LEN_MAX, STORE_BATCH_BLOCKS, STORE_BATCH_LEN};

/// A block that came.
#[derive(Debug)]
pub(super) struct Arrival {
    /// The request that it answers.
    pub(super) id: u64,
    pub(super) asked: Block,
    pub(super) proof: Proof,
}

/// Answers that wait to be stored: together, for the sake of the disk, and none before the one
/// on whose tree nodes it builds.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    ready: Vec<Arrival>,
    ready_len: usize,
    /// By the request whose answer they wait for.
    parked: BTreeMap<u64, Vec<Arrival>>,
    /// The requests that they answer.
    parked_ids: BTreeSet<u64>,
    parked_len: usize,
}

impl Arrivals {
    /// Lines an answer up, or gives it back if it would have to wait and there is no room.
    /// `is_in_flight` says of a request whether its answer is still to come.
    #[must_use]
    pub(super) fn push(
        &mut self,
        arrival: Arrival,
        is_in_flight: impl Fn(u64) -> bool,
    ) -> Option<Arrival> {
        let awaited = arrival.asked.after;
        if let Some(after) = awaited.filter(|&id| is_in_flight(id) || self.parked_ids.contains(&id))
        {
            let len = arrival.len();
            if self.parked_len + len > PARKED_LEN_MAX {
                return Some(arrival);
            }
            self.parked_len += len;
            self.parked_ids.insert(arrival.id);
            self.parked.entry(after).or_default().push(arrival);
        } else {
            let id = arrival.id;
            self.put_ready(arrival);
            self.release(id);
        }
        None
    }

    /// What waited for the answer to a request waits no longer: it is lined up, or will not come.
    pub(super) fn release(&mut self, id: u64) {
        if self.parked.is_empty() {
            return;
        }
        let mut settled = vec![id];
        while let Some(id) = settled.pop() {
            for arrival in self.parked.remove(&id).unwrap_or_default() {
                self.parked_len -= arrival.len();
                self.parked_ids.remove(&arrival.id);
                settled.push(arrival.id);
                self.put_ready(arrival);
            }
        }
    }

    /// Whether so much is ready that it should be stored before more is taken.
    pub(super) fn is_full(&self) -> bool {
        self.ready.len() >= STORE_BATCH_BLOCKS || self.ready_len >= STORE_BATCH_LEN
    }

    /// Takes what can be stored, in order.
    pub(super) fn take_ready(&mut self) -> Vec<Arrival> {
        self.ready_len = 0;
        std::mem::take(&mut self.ready)
    }

    /// Takes everything, whether it can be stored or not.
    pub(super) fn take_all(&mut self) -> Vec<Arrival> {
        let mut all = self.take_ready();
        all.extend(std::mem::take(&mut self.parked).into_values().flatten());
        self.parked_ids.clear();
        self.parked_len = 0;
        all
    }

    fn put_ready(&mut self, arrival: Arrival) {
        self.ready_len += arrival.len();
        self.ready.push(arrival);
    }
}

impl Arrival {
    /// Bytes of the block.
    pub(super) fn len(&self) -> usize {
        self.proof.block.as_ref().map_or(0, |block| block.value.len())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use multibee_log::{Proof, ProofBlock};

    use super::{Arrival, Arrivals, Block};
    use crate::limits::PARKED_LEN_MAX;

    fn arrival(id: u64, after: Option<u64>, len: usize) -> Arrival {
        let block = ProofBlock { index: id, value: Bytes::from(vec![0; len]), nodes: Vec::new() };
        let proof = Proof {
            fork: 0,
            block: Some(block),
            hash: None,
            seek: None,
            upgrade: None,
            manifest: None,
        };
        Arrival { id, asked: Block { block: id, levels: 0, after }, proof }
    }

    fn ids(arrivals: &[Arrival]) -> Vec<u64> {
        arrivals.iter().map(|arrival| arrival.id).collect()
    }

    /// In whichever order answers come, each is lined up behind the one that it builds on.
    #[test]
    fn answers_line_up_behind_what_they_build_on() {
        let mut arrivals = Arrivals::default();
        let outstanding = std::cell::RefCell::new(vec![1, 2, 3, 4]);
        for (id, after) in [(4, Some(3)), (3, Some(1)), (2, None), (1, None)] {
            outstanding.borrow_mut().retain(|&other| other != id);
            let is_in_flight = |id| outstanding.borrow().contains(&id);
            assert!(arrivals.push(arrival(id, after, 5), is_in_flight).is_none());
        }
        assert_eq!(ids(&arrivals.take_ready()), [2, 1, 3, 4]);
        assert!(arrivals.take_all().is_empty());
    }

    /// What waits for an answer that will not come is tried without it.
    #[test]
    fn waiting_ends_when_the_answer_will_not_come() {
        let mut arrivals = Arrivals::default();
        assert!(arrivals.push(arrival(2, Some(1), 5), |id| id == 1).is_none());
        assert!(arrivals.push(arrival(3, Some(2), 5), |_| false).is_none());
        assert!(arrivals.take_ready().is_empty());
        arrivals.release(1);
        assert_eq!(ids(&arrivals.take_ready()), [2, 3]);
    }

    /// A bounded number of bytes waits; what is too much comes back at once.
    #[test]
    fn waiting_answers_are_bounded() {
        let mut arrivals = Arrivals::default();
        assert!(arrivals.push(arrival(2, Some(1), PARKED_LEN_MAX), |_| true).is_none());
        let refused = arrivals.push(arrival(3, Some(1), 1), |_| true).unwrap();
        assert_eq!(refused.id, 3);
        assert!(arrivals.push(arrival(4, None, 1), |_| true).is_none(), "this one need not wait");
        assert_eq!(ids(&arrivals.take_all()), [4, 2]);
        assert!(arrivals.push(arrival(5, Some(1), PARKED_LEN_MAX), |_| true).is_none());
    }
}
