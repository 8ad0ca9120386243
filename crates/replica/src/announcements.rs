//! What one remote gets told of our copy of one log.

use std::ops::Range;

use crate::channel::{Cx, Remote};
use crate::limits::{LACKED_PIECES_MAX, WANT_BLOCKS_MAX};
use crate::log_state::Effect;
use crate::message::{Message, Sync};
use crate::ranges::RangeSet;
use crate::remote_wants::RemoteWants;

/// What a remote was told, what it is to be told next, and what it wants to be told about.
#[derive(Debug, Default)]
pub(crate) struct Announcements {
    wanted: RemoteWants,
    /// The last sync that was sent.
    said: Option<Sync>,
    /// The contiguous length that was told.
    said_contiguous: u64,
    /// Blocks stored since the last [`send`](Self::send) that the remote has not announced.
    news: RangeSet,
    /// From this block on the remote was told that nothing is here: its fork is above ours, and
    /// what we have may not be of its fork.
    withdrawn: Option<u64>,
    /// Our state may differ from what was said.
    is_sync_due: bool,
}

impl Announcements {
    /// The first messages of a channel.
    pub(crate) fn start(&mut self, allow_push: bool, remote: &Remote, cx: &mut Cx<'_>) {
        self.send_sync(allow_push, remote, cx);
        self.send_contiguous(remote, cx);
    }

    /// Sends what is due. `allow_push` is whether blocks may come unasked.
    pub(crate) fn send(&mut self, allow_push: bool, remote: &Remote, cx: &mut Cx<'_>) {
        if remote.sync.fork <= cx.state.cuts.fork() {
            self.tell_again(cx);
            self.send_contiguous(remote, cx);
            self.send_news(cx);
        }
        // Else it has no use for what is here.
        self.is_sync_due |= self.said.is_some_and(|said| said.allow_push != allow_push);
        if std::mem::take(&mut self.is_sync_due) {
            self.send_sync(allow_push, remote, cx);
        }
    }

    /// Our log is longer or durable for longer, or the remote has said how long its own is.
    pub(crate) fn note_change(&mut self) {
        self.is_sync_due = true;
    }

    /// Blocks of our fork were stored that the remote has not sent.
    pub(crate) fn note_stored(&mut self, blocks: Range<u64>, fork: u64, remote: &Remote) {
        for block in blocks {
            // What it has of another fork may be another block.
            if remote.sync.fork != fork || !remote.holdings.contains(block) {
                self.news.insert(block..block + 1);
            }
        }
    }

    /// The search for where the remote's fork parts from ours rests until the remote tells that it
    /// has one of these blocks: has it tell.
    ///
    /// A Hypercore tells of no block that we have told it of ourselves, and what we have told is
    /// still of our own fork. So that is taken back first, and then asked for.
    pub(crate) fn withdraw(&mut self, lacked: Range<u64>, cx: &mut Cx<'_>) {
        let start = lacked.start;
        if self.withdrawn.is_some_and(|from| from <= start) {
            return;
        }
        self.withdrawn = Some(start);
        let told_len = self.said.map_or(0, |said| said.length).max(self.said_contiguous);
        if told_len > start {
            cx.out.push(Message::Range { drop: true, start, length: told_len - start });
        }
        let end = lacked.end.div_ceil(WANT_BLOCKS_MAX);
        let first = (start / WANT_BLOCKS_MAX).max(end.saturating_sub(LACKED_PIECES_MAX));
        for piece in first..end {
            let (start, length) = (piece.saturating_mul(WANT_BLOCKS_MAX), WANT_BLOCKS_MAX);
            cx.out.push(Message::Want { start, length, any: false });
        }
    }

    /// Blocks are no longer here.
    pub(crate) fn note_cleared(&mut self, blocks: Range<u64>, cx: &mut Cx<'_>) {
        self.said_contiguous = self.said_contiguous.min(blocks.start);
        self.news.remove(blocks.clone());
        let (start, length) = (blocks.start, blocks.end - blocks.start);
        cx.out.push(Message::Range { drop: true, start, length });
    }

    /// Our log was cut: takes back what was told of what is cut off.
    pub(crate) fn note_cut(&mut self, cx: &mut Cx<'_>) {
        let Some(said) = self.said else { return };
        let start = cx.state.cuts.shared_len_since(said.fork);
        let told_len = said.length.max(self.said_contiguous);
        if told_len > start {
            cx.out.push(Message::Range { drop: true, start, length: told_len - start });
        }
        self.said_contiguous = self.said_contiguous.min(start);
        self.news.remove(start..u64::MAX);
        self.is_sync_due = true;
    }

    /// The remote wants to be told about blocks, from now on.
    pub(crate) fn want(&mut self, start: u64, length: u64) {
        self.wanted.add(start, length);
    }

    /// It no longer does.
    pub(crate) fn unwant(&mut self, start: u64, length: u64) {
        self.wanted.remove(start, length);
    }

    /// Whether anything was told.
    pub(crate) fn has_begun(&self) -> bool {
        self.said.is_some()
    }

    /// Whether the remote was told that blocks may come unasked.
    pub(crate) fn allow_push(&self) -> bool {
        self.said.is_some_and(|said| said.allow_push)
    }

    /// Tells the remote our head, and that we have heard its own, unless it knows both.
    fn send_sync(&mut self, allow_push: bool, remote: &Remote, cx: &mut Cx<'_>) {
        let (fork, length) = (cx.state.log.fork(), cx.state.announced_len());
        let theirs = &remote.sync;
        let same_fork = theirs.fork == fork;
        let can_upgrade = match cx.state.log.can_prove_upgrade(theirs.length) {
            _ if theirs.length == 0 => true,
            Ok(can) => can && same_fork && theirs.length < length,
            Err(error) => {
                cx.effects.push(Effect::Failed(error));
                false
            }
        };
        let sync = Sync {
            fork,
            length,
            remote_length: if same_fork { theirs.length } else { 0 },
            can_upgrade,
            uploading: true,
            // A replica always waits for news, and a remote with nothing to download itself would
            // close the channel of one that does not.
            downloading: true,
            has_manifest: cx.state.has_manifest(),
            allow_push,
        };
        if let Some(said) = self.said {
            // Only one who is behind waits for the acknowledgement.
            let acknowledges = Sync { remote_length: said.remote_length, ..sync } == said;
            if said == sync || (acknowledges && length <= theirs.length) {
                return;
            }
        }
        self.said = Some(sync);
        cx.out.push(Message::Sync(sync));
    }

    /// Tells of what was withdrawn and is here on the fork that both have now.
    fn tell_again(&mut self, cx: &mut Cx<'_>) {
        let Some(from) = self.withdrawn.take() else { return };
        self.said_contiguous = self.said_contiguous.min(from);
        let len = cx.state.announced_len();
        cx.state.log.held(from..len).into_iter().for_each(|held| self.news.insert(held));
    }

    fn send_news(&mut self, cx: &mut Cx<'_>) {
        if self.news.is_empty() {
            return;
        }
        self.news.remove(0..self.said_contiguous);
        let len = cx.state.log.len();
        for stretch in self.news.iter() {
            if !self.wanted.tells(stretch.clone(), len) {
                continue;
            }
            let (start, length) = (stretch.start, stretch.end - stretch.start);
            cx.out.push(Message::Range { drop: false, start, length });
        }
        self.news.clear();
    }

    /// Tells how far our blocks go without a gap, unless the remote has them all itself and would
    /// learn nothing.
    fn send_contiguous(&mut self, remote: &Remote, cx: &mut Cx<'_>) {
        let contiguous = cx.state.announced_contiguous_len();
        let is_whole = contiguous == cx.state.announced_len();
        if contiguous > self.said_contiguous
            && (is_whole || remote.holdings.contiguous_len() < contiguous)
        {
            self.said_contiguous = contiguous;
            cx.out.push(Message::Range { drop: false, start: 0, length: contiguous });
        }
    }
}
