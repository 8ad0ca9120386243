//! Blocks that are dropped here, and blocks that are looked for by the place of a byte.

use std::ops::Range;

use multibee_log::LogKey;

use super::Replicator;
use crate::limits::SEEKS_MAX;
use crate::log_state::Effect;
use crate::ranges::RangeSet;

impl Replicator {
    /// Blocks of a log were dropped here, by [`Log::clear`](multibee_log::Log::clear): the remotes
    /// are told not to ask for them, and what of them was wanted and had come is not wanted any
    /// more.
    pub fn cleared(&mut self, key: &LogKey, blocks: Range<u64>) {
        let Some(state) = self.shared.logs.get_mut(key) else { return };
        let mut gone = RangeSet::default();
        gone.insert(blocks.start..blocks.end.min(state.log.len()));
        for held in state.log.held(blocks) {
            gone.remove(held);
        }
        gone.iter().for_each(|stretch| state.forget(stretch));
        for (&id, connection) in &mut self.connections {
            connection.with_channel(key, &mut self.shared, |channel, cx| {
                gone.iter().for_each(|stretch| channel.note_cleared(stretch, cx));
                Ok(())
            });
            connection.mark_dirty();
            self.wake.insert(id);
        }
        self.settle(None);
    }

    /// Looks for the block that holds the byte at an offset from the start of a log.
    /// [`Event::Sought`](crate::Event::Sought) tells it, at once if it can be told from what is
    /// here, else when remotes have shown the way there or the log has grown so long; a block next
    /// to it may be fetched for that. Returns whether it is looked for: not if the log is not
    /// known, or 1024 others are looked for already.
    pub fn seek(&mut self, key: &LogKey, byte_offset: u64) -> bool {
        let Some(state) = self.shared.logs.get_mut(key) else { return false };
        if state.sought.len() >= SEEKS_MAX && !state.sought.contains_key(&byte_offset) {
            return false;
        }
        state.sought.entry(byte_offset).or_default();
        match state.find_sought() {
            Ok(found) => self.shared.events.extend(found),
            Err(error) => self.shared.effects.push((*key, Effect::Failed(error))),
        }
        self.mark_dirty(key, None);
        self.settle(None);
        true
    }

    /// Looks no longer for a byte.
    pub fn unseek(&mut self, key: &LogKey, byte_offset: u64) {
        if let Some(state) = self.shared.logs.get_mut(key) {
            state.sought.remove(&byte_offset);
        }
    }
}
