//! Who is at the other end of a connection: recognising, proving, and what becomes of strangers.

use std::collections::BTreeMap;

use bytes::Bytes;
use multibee_log::LogKey;
use multibee_replica::{ChannelId, ConnectionId, Role};

use crate::broken::BrokenRule;
use crate::core::Core;
use crate::event::Event;
use crate::hello::{self, Introduced, Side};
use crate::peer_message::{PROTOCOL, PeerMessage};
use crate::peers::{Contact, Peer, Shown};
use crate::session::{Session, State};

impl Session {
    /// The side that dialled says first who it is, to those who know it.
    pub(crate) fn connected(&self, state: &mut State, id: ConnectionId, side: Side) {
        if side.role == Role::Initiator {
            let tags = hello::tags(state.core.names(), side);
            self.endpoint.with(|r| r.open_channel(id, PROTOCOL, b"", &tags));
            state.peers.reached(id);
        }
        state.peers.set(id, Contact::Anonymous { side });
    }

    /// The side that was dialled answers members only: a stranger learns nothing.
    pub(crate) fn requested(
        &self,
        state: &mut State,
        id: ConnectionId,
        protocol: &str,
        theirs: Bytes,
    ) {
        if let Some(&Contact::Anonymous { side: side @ Side { role: Role::Responder, .. } }) =
            state.peers.contact(id)
        {
            if let Some(known) = recognise(&state.core, &theirs, side.other()) {
                let tags = hello::tags(state.core.names(), side);
                let channel = self.endpoint.with(|r| r.open_channel(id, PROTOCOL, b"", &tags));
                self.recognised(state, id, side, channel, known);
                return;
            }
            let why = "it is no device of this database".into();
            let shown = Some(Shown { tags: theirs, side: side.other() });
            state.peers.set(id, Contact::Stranger { why, shown });
        }
        self.endpoint.with(|r| r.reject_channel(id, protocol, b""));
    }

    /// The side that dialled learns whom it reached, and proves first who it is: whoever only
    /// listened and knows one key learns no other.
    pub(crate) fn opened(
        &self,
        state: &mut State,
        id: ConnectionId,
        channel: ChannelId,
        theirs: &[u8],
    ) {
        let Some(&Contact::Anonymous { side: side @ Side { role: Role::Initiator, .. } }) =
            state.peers.contact(id)
        else {
            return;
        };
        if let Some(known) = recognise(&state.core, theirs, side.other()) {
            self.recognised(state, id, side, channel, known);
            self.prove(&state.core, id, channel, side);
        } else {
            let why = "the device that answered is none of this database: add it first".into();
            self.turn_away(state, id, why);
        }
    }

    fn recognised(
        &self,
        state: &mut State,
        id: ConnectionId,
        side: Side,
        channel: ChannelId,
        known: LogKey,
    ) {
        // What it knows of our own log is heard first: it may be more than we do.
        let own = state.core.key();
        self.endpoint.with(|r| r.withhold_log(id, own));
        let is_barred = state.core.is_removed(&known);
        if is_barred {
            self.bar(id);
        }
        state.peers.set(id, Contact::Recognised { side, channel, known, own, is_barred });
    }

    /// Proves who we are to somebody who knows one of our keys.
    fn prove(&self, core: &Core, id: ConnectionId, channel: ChannelId, side: Side) {
        let log = core.primary.log();
        if let Some(proof) = hello::prove(log, &core.names(), core.statements(), side) {
            self.send(id, channel, &PeerMessage::Proof(proof.into()));
        }
    }

    /// Proves who we are now, if another log goes on for ours since we did.
    pub(crate) fn prove_again(&self, core: &Core, id: ConnectionId, peer: &mut Peer) {
        if peer.known_as.replace(core.key()).is_some_and(|key| key != core.key()) {
            self.prove(core, id, peer.channel, peer.side);
            // Until then this is a log that is finished for it: what was said and asked may have been ignored.
            (peer.our_status, peer.asked) = (None, BTreeMap::new());
        }
    }

    /// From here on the peer is a device of this database, if it proves what it said; or another one,
    /// if its log was one that another goes on for.
    pub(crate) fn take_proof(&self, state: &mut State, id: ConnectionId, payload: Bytes) {
        let (side, known) = match state.peers.contact(id) {
            Some(Contact::Recognised { side, known, .. }) => (*side, *known),
            Some(Contact::Device(peer)) => (peer.side, peer.key),
            _ => return,
        };
        let Some(introduced) = hello::introduced(known, payload, side.other()) else {
            let why = "it does not prove to be the device that it says it is".to_owned();
            let _ = self.events.send(Event::PeerFault { why: format!("{known}: {why}") });
            self.turn_away(state, id, why);
            return;
        };
        let Introduced { key, chain } = introduced;
        // Nothing that a removed device has to say is heard, and what goes on for it is removed, too.
        let key = if state.core.is_removed(&known) { known } else { key };
        if key != known {
            let learnt = state.core.learn(chain);
            self.settle(state, learnt);
        }
        if key == state.core.key() {
            self.turn_away(state, id, "it is this device itself, or a copy of it".to_owned());
        } else if state.core.member(&key).is_none() {
            let why = "what leads to its key does not make it a device of this database";
            self.turn_away(state, id, why.to_owned());
        } else {
            self.introduce(state, id, key);
        }
    }

    fn introduce(&self, state: &mut State, id: ConnectionId, key: LogKey) {
        let removed = !state.core.is_active(&key);
        if state.core.is_removed(&key) {
            self.bar(id);
        }
        match state.peers.contact(id) {
            // Its removal turns out not to count: it dials again, or is dialled.
            Some(&Contact::Recognised { is_barred: true, .. }) if !removed => {
                self.endpoint.with(|r| r.close(id));
                return;
            }
            Some(&Contact::Recognised { side, channel, mut own, .. }) => {
                if side.role == Role::Responder {
                    self.prove(&state.core, id, channel, side);
                    own = state.core.key();
                }
                let known_as = Some(own);
                let peer = Peer { removed, known_as, ..Peer::new(key, channel, side) };
                state.peers.set(id, Contact::Device(Box::new(peer)));
            }
            Some(Contact::Device(_)) => {
                if let Some(peer) = state.peers.peer_mut(id) {
                    // What it said last of itself was about the other log. Of that it may have no more.
                    (peer.key, peer.removed, peer.status) = (key, removed, None);
                    peer.asked.clear();
                }
            }
            _ => return,
        }
        let _ = self.events.send(Event::Connected { peer: key });
    }

    fn turn_away(&self, state: &mut State, id: ConnectionId, why: String) {
        state.peers.set(id, Contact::Stranger { why, shown: None });
        self.endpoint.with(|r| r.close(id));
    }

    /// Who was a stranger and is one no longer is hung up on, so that it is dialled again, or dials.
    pub(crate) fn look_again(&self, state: &State) {
        for (id, Shown { tags, side }) in state.peers.shown() {
            if recognise(&state.core, tags, *side).is_some() {
                self.endpoint.with(|r| r.close(id));
            }
        }
    }

    pub(crate) fn closed(&self, state: &mut State, id: ConnectionId, why: &str) {
        let was = state.peers.set(id, Contact::Gone { why: why.to_owned() });
        match was {
            Some(Contact::Device(peer)) => {
                // What it was to hand out is to be had of others now, or not at all: ask again.
                for (_, other) in state.peers.devices_mut() {
                    other.asked.retain(|_, asked| !asked.is_answered);
                }
                let _ = self.events.send(Event::Disconnected { peer: peer.key });
            }
            // Why it was no device says more than that it then hung up.
            Some(Contact::Stranger { why, .. }) => {
                state.peers.set(id, Contact::Gone { why });
            }
            _ => {}
        }
    }

    /// Removed devices get no logs any more, only the news of their removal. Whose removal turns out not
    /// to count is hung up on, so that it is dialled again, or dials.
    pub(crate) fn part_with_removed(&self, state: &mut State) {
        let State { core, peers, .. } = state;
        for (id, peer) in peers.devices_mut() {
            let is_active = core.is_active(&peer.key);
            if peer.removed && is_active {
                self.endpoint.with(|r| r.close(id));
            }
            peer.removed |= !is_active;
            if core.is_removed(&peer.key) {
                self.bar(id);
            }
        }
    }

    /// No log moves on a connection with a removed device.
    fn bar(&self, id: ConnectionId) {
        if !BrokenRule::TakeBeyondCut.is_broken() {
            self.endpoint.with(|r| r.bar_logs(id));
        }
    }
}

/// Which key of this database tags are for, if any: that of a device, be it removed or this one, or of a
/// recovery secret.
fn recognise(core: &Core, tags: &[u8], side: Side) -> Option<LogKey> {
    let devices = core.members().iter().map(|member| member.key);
    hello::recognise(tags, devices.chain(core.recovery().iter().copied()), side)
}
