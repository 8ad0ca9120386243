//! From the handshake to the end: who is let in, what time alone brings about, closing.

use std::time::Instant;

use multibee_log::LogKey;

use super::{Connection, Life, Shared};
use crate::admission::Applicant;
use crate::event::{CloseReason, Event};
use crate::options::ReplicatorOptions;

impl Connection {
    pub(crate) fn closed(&self) -> Option<CloseReason> {
        match self.life {
            Life::Closed(reason) => Some(reason),
            _ => None,
        }
    }

    /// Lets the remote in or not, as soon as it is known who it is: before anything is sent that
    /// only those learn who are let in. Then tells the owner once the handshake is done.
    pub(crate) fn greet(&mut self, shared: &mut Shared) {
        if !matches!(self.life, Life::Handshake { .. }) {
            return;
        }
        let Some(handshake) = self.wire.handshake() else { return };
        let (remote_static, role, address) = (handshake.remote_static, self.role, self.address);
        if !self.is_admitted {
            let applicant = Applicant { remote_static, role, address };
            if !shared.options.admission.admits(&applicant) {
                self.life = Life::Closed(CloseReason::Refused);
                return;
            }
            self.is_admitted = true;
        }
        if self.wire.is_established() {
            self.life = Life::Live;
            let (id, handshake_hash) = (self.id, handshake.hash);
            shared.events.push_back(Event::Connected { id, handshake_hash, remote_static, role });
        }
    }

    /// Whether the handshake is done and the remote let in.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.life, Life::Live | Life::Closing { .. })
    }

    /// Whether the connection ends as soon as what is queued is out.
    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.life, Life::Closing { .. })
    }

    /// The byte stream has ended.
    pub(crate) fn end(&mut self, reason: CloseReason) {
        if self.closed().is_none() {
            let closing = matches!(self.life, Life::Closing { .. });
            self.life = Life::Closed(if closing { CloseReason::Local } else { reason });
        }
    }

    /// Ends the connection once what is queued is out, or at `until`.
    pub(crate) fn close(&mut self, until: Instant, shared: &mut Shared) {
        match self.life {
            Life::Handshake { .. } => self.life = Life::Closed(CloseReason::Local),
            Life::Live => {
                // Answers that can be made now still are, and blocks that are here are told.
                self.pump(shared);
                if self.life == Life::Live {
                    self.life = Life::Closing { until };
                }
                self.is_dirty = true;
            }
            Life::Closing { .. } | Life::Closed(_) => {}
        }
    }

    /// The owner has not read for a while, so that the remote's silence means nothing.
    pub(crate) fn forgive_silence(&mut self, now: Instant) {
        self.last_in = now;
    }

    /// Does what is due at `shared.now`.
    pub(crate) fn handle_timeout(&mut self, shared: &mut Shared) {
        let now = shared.now();
        match self.life {
            Life::Handshake { until } if until <= now => {
                self.life = Life::Closed(CloseReason::HandshakeTimeout);
            }
            Life::Closing { until } if until <= now => {
                self.life = Life::Closed(CloseReason::Local);
            }
            _ => {}
        }
        self.note_stall(false, now);
        if self.closed().is_none() && self.silent_at(&shared.options).is_some_and(|at| at <= now) {
            self.life = Life::Closed(CloseReason::Silence);
        }
        if self.closed().is_some() {
            return;
        }
        if self.keepalive_at(&shared.options).is_some_and(|at| at <= now) {
            self.wire.rest();
            self.wire.send_keepalive();
            self.last_out = now;
        }
        self.give_up_requested(now);
        if self.throttled_until.is_some_and(|until| until <= now) {
            self.throttled_until = None;
            self.is_dirty = true;
        }
        let due = self.logs.iter().filter_map(|(&key, log)| {
            let deadline = log.channel.as_ref()?.deadline(&shared.options)?;
            (deadline <= now).then_some(key)
        });
        let due: Vec<LogKey> = due.collect();
        for key in due {
            self.with_channel(&key, shared, |channel, cx| channel.handle_timeout(cx));
            self.is_dirty = true;
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn deadline(&self, options: &ReplicatorOptions) -> Option<Instant> {
        let life = match self.life {
            Life::Closed(_) => return None,
            Life::Handshake { until } | Life::Closing { until } => Some(until),
            Life::Live => None,
        };
        let channels = self.logs.values().filter_map(|log| log.channel.as_ref()?.deadline(options));
        let requested = self.requested.values().map(|requested| requested.until);
        let own = [life, self.throttled_until, self.silent_at(options), self.keepalive_at(options)];
        channels.chain(requested).chain(own.into_iter().flatten()).min()
    }

    /// When the remote counts as gone: it says nothing, though we listen, or takes nothing, though
    /// something waits for it.
    fn silent_at(&self, options: &ReplicatorOptions) -> Option<Instant> {
        let after = options.read_silence?;
        let heard = self.wants_read().then_some(self.last_in);
        heard.into_iter().chain(self.stalled_since).min().map(|since| since + after)
    }

    /// Notes since when the remote has taken nothing of what waits for it.
    pub(super) fn note_stall(&mut self, took_some: bool, now: Instant) {
        self.stalled_since = match self.stalled_since {
            _ if self.queued_len() == 0 => None,
            Some(since) if !took_some => Some(since),
            _ => Some(now),
        };
    }

    /// When the remote must be shown that we are still there. Not while something waits for it: that
    /// will do.
    fn keepalive_at(&self, options: &ReplicatorOptions) -> Option<Instant> {
        let after = options.keepalive.filter(|_| self.queued_len() == 0)?;
        Some(self.last_out + after)
    }
}
