//! Blocks that are sent, and taken, unasked (docs/spec/wire.md section 8.7).

use multibee_log::{Proof, Request, RequestBlock, RequestUpgrade, flat_tree};

use crate::channel::{Cx, Remote};
use crate::event::{Event, Fault};
use crate::limits::{BAD_PUSHES_MAX, PUSHED_BLOCKS_MAX, PUSHED_LEN_MAX};
use crate::log_state::{Blame, Effect};
use crate::message::Message;
use crate::ranges::RangeSet;
use crate::upload::cost;

/// What is pushed to one remote of one log, and what it pushes.
///
/// To a remote that was up to date and takes pushes, new blocks go as soon as they are here, the
/// first with the head that covers them all. So they take one way instead of three. What does not
/// arrive so is asked for as ever.
#[derive(Debug, Default)]
pub(crate) struct Pushes {
    /// The length in blocks that the remote has if it has taken everything.
    len: u64,
    /// Bytes pushed since the remote was last known to have taken everything.
    open_len: usize,
    /// The remote has been as long as we are, and was not left behind since.
    is_live: bool,
    bad_count: u32,
}

impl Pushes {
    /// Whether pushes are still taken.
    pub(crate) fn is_welcome(&self) -> bool {
        self.bad_count < BAD_PUSHES_MAX
    }

    /// The log was cut: begins anew once the remote has followed.
    pub(crate) fn reset(&mut self) {
        *self = Self { bad_count: self.bad_count, ..Self::default() };
    }

    /// Pushes what is new.
    pub(crate) fn send(&mut self, remote: &Remote, room: &mut usize, cx: &mut Cx<'_>) {
        let (theirs, len) = (remote.sync.length, cx.state.announced_len());
        if remote.sync.fork != cx.state.log.fork() || cx.state.is_disputed {
            return;
        }
        if theirs >= self.len {
            self.open_len = 0;
        }
        if theirs >= len {
            (self.len, self.is_live) = (len, true);
            return;
        }
        let from = self.len.max(theirs);
        if !self.is_live || !remote.sync.allow_push || !remote.sync.downloading || from >= len {
            return;
        }
        self.is_live = len - from <= PUSHED_BLOCKS_MAX && self.push(from..len, remote, room, cx);
    }

    /// Pushes the blocks that are held. Returns whether the remote gets all of them so.
    fn push(
        &mut self,
        blocks: std::ops::Range<u64>,
        remote: &Remote,
        room: &mut usize,
        cx: &mut Cx<'_>,
    ) -> bool {
        let len = blocks.end;
        let mut upgrade = Some(RequestUpgrade { start: blocks.start, length: len - blocks.start });
        for index in blocks {
            if !cx.state.log.has(index) || remote.holdings.contains(index) {
                continue;
            }
            // Until the first one is taken, only the old length's roots are there.
            let root = flat_tree::full_roots(len).find(|&root| {
                (flat_tree::left_span(root)..=flat_tree::right_span(root)).contains(&(2 * index))
            });
            let nodes = u64::from(root.map_or(0, flat_tree::depth));
            let request = Request {
                block: Some(RequestBlock { index, nodes }),
                upgrade,
                manifest: upgrade.is_some() && remote.sync.length == 0,
                ..Request::default()
            };
            // What cannot be read or proven is not pushed; if it is asked for, that is told.
            let Ok(proof) = cx.state.log.prove(&request) else { return false };
            let value_len = proof.block.as_ref().map_or(0, |block| block.value.len());
            if self.open_len + value_len > PUSHED_LEN_MAX || *room == 0 {
                return false;
            }
            (self.open_len, self.len) = (self.open_len + value_len, len);
            upgrade = None;
            cx.state.stats.blocks_out += 1;
            cx.state.stats.block_bytes_out += value_len as u64;
            let message = Message::Data { request: 0, proof };
            *room = room.saturating_sub(cost(&message));
            cx.out.push(message);
        }
        true
    }

    /// Takes a pushed block if it is wanted and verifies, else drops it.
    ///
    /// # Errors
    ///
    /// It shows another history, signed like ours: to be looked into.
    pub(crate) fn take(&mut self, proof: &Proof, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let Some(block) = &proof.block else { return Ok(()) };
        let (seq, len) = (block.index, block.value.len());
        let is_more = proof.hash.is_some() || proof.seek.is_some();
        if is_more
            || proof.fork != cx.state.log.fork()
            || len > PUSHED_LEN_MAX
            || cx.state.log.has(seq)
            || !cx.state.wants.is_wanted(seq)
        {
            return Ok(());
        }
        let applied = match cx.state.log.apply(proof) {
            Ok(applied) => applied,
            Err(error) => match Blame::of(&error) {
                Blame::Writer => return Err(Fault::BadData(error)),
                Blame::Machine => {
                    cx.effects.push(Effect::Failed(error));
                    return Ok(());
                }
                // It may rest on one that was dropped.
                Blame::Peer | Blame::Nobody => {
                    self.bad_count += 1;
                    return Ok(());
                }
            },
        };
        let (key, from) = (cx.key(), cx.connection);
        if let Some((old, new)) = applied.upgraded {
            cx.effect(Event::Upgraded { key, old, new, from });
            cx.effects.push(Effect::Upgraded);
        }
        cx.state.stats.blocks_in += 1;
        cx.state.stats.block_bytes_in += len as u64;
        cx.state.stats.nodes_in += block.nodes.len() as u64;
        cx.state.plain.remove(&seq);
        for asked in cx.state.wants.stored(seq, None) {
            cx.effects.push(Effect::Cancel(asked, seq));
        }
        cx.effect(Event::Stored { key, blocks: seq..seq + 1, from });
        let mut stored = RangeSet::default();
        stored.insert(seq..seq + 1);
        cx.effects.push(Effect::Stored(stored));
        Ok(())
    }
}
