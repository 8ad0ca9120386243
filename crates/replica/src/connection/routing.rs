//! What happens on the channels of a connection, and whom it concerns.

use multibee_log::{DiscoveryKey, LogKey};

use super::{Connection, LogChannel, Shared, Target, Undecided};
use crate::capability::{capability, capability_matches};
use crate::channel::Channel;
use crate::event::Event;
use crate::fault::PeerFault;
use crate::limits::PENDING_REQUESTS_PER_CONNECTION_MAX;
use crate::message::{ChannelHandshake, Message, PROTOCOL};
use crate::mux::{LocalId, MuxEvent, RemoteId};

impl Connection {
    pub(super) fn handle_mux_event(
        &mut self,
        event: MuxEvent,
        shared: &mut Shared,
    ) -> Result<(), PeerFault> {
        match event {
            MuxEvent::RemoteOpen { remote_id, protocol, channel_id, handshake } => {
                if protocol == PROTOCOL {
                    self.answer_log(remote_id, &channel_id, &handshake, shared);
                } else if shared.protocols.contains(&protocol) {
                    let (id, names) = (self.id, (protocol.clone(), channel_id.clone()));
                    self.undecided.push(Undecided { remote_id, protocol, channel_id });
                    let (protocol, channel_id) = names;
                    shared.events.push_back(Event::ChannelRequested {
                        id,
                        protocol,
                        channel_id,
                        handshake,
                    });
                } else {
                    self.mux.reject(remote_id);
                }
            }
            MuxEvent::Withdrawn { remote_id } => {
                self.undecided.retain(|undecided| undecided.remote_id != remote_id);
                self.withdraw_requested(remote_id);
            }
            MuxEvent::Opened { local_id, handshake } => match self.targets.get(&local_id) {
                Some(&Target::Log(key)) => self.log_opened(key, local_id, &handshake, shared),
                Some(&Target::Own(channel)) => {
                    let id = self.id;
                    shared.events.push_back(Event::ChannelOpened { id, channel, handshake });
                }
                None => {}
            },
            MuxEvent::Message { local_id, ty, payload } => match self.targets.get(&local_id) {
                Some(&Target::Log(key)) => {
                    if let Some(message) = Message::decode(ty, &payload)? {
                        let room =
                            PENDING_REQUESTS_PER_CONNECTION_MAX.saturating_sub(self.pending_count);
                        self.with_channel(&key, shared, |channel, cx| {
                            channel.handle(message, room, cx)
                        });
                    }
                }
                Some(&Target::Own(channel)) => {
                    let id = self.id;
                    shared.events.push_back(Event::ChannelMessage { id, channel, ty, payload });
                }
                None => {}
            },
            MuxEvent::Rejected { local_id } => self.channel_ended(local_id, true, shared),
            MuxEvent::Closed { local_id } => self.channel_ended(local_id, false, shared),
        }
        Ok(())
    }

    /// Answers a remote that opens a log's channel: only if we know the log and it knows the key.
    /// Neither the answer nor its time tells which of the two is wrong.
    fn answer_log(
        &mut self,
        remote_id: RemoteId,
        channel_id: &[u8],
        handshake: &[u8],
        shared: &mut Shared,
    ) {
        let found = <[u8; 32]>::try_from(channel_id)
            .ok()
            .and_then(|id| shared.by_discovery_key.get(&DiscoveryKey::from_bytes(id)));
        let key = found.copied().unwrap_or(LogKey::from_bytes(NO_KEY));
        let shows_key = self.shows_key(&key, handshake);
        let is_new = !self.logs.contains_key(&key) && !self.requested.contains_key(&key);
        if !shows_key || found.is_none() || self.is_barred || !is_new {
            self.mux.reject(remote_id);
        } else if shared.logs.contains_key(&key) && !self.withheld.contains(&key) {
            self.open_log(key, channel_id);
        } else {
            self.request_log(key, remote_id, shared);
        }
    }

    /// Whether a remote's open proves that it knows a log's key.
    fn shows_key(&self, key: &LogKey, handshake: &[u8]) -> bool {
        let (Ok(theirs), Some(ours)) = (ChannelHandshake::decode(handshake), self.wire.handshake())
        else {
            return false;
        };
        capability_matches(&ours.hash, self.role.opposite(), key, &theirs.capability)
    }

    /// Sends our open for a log.
    pub(super) fn open_log(&mut self, key: LogKey, discovery_key: &[u8]) {
        let Some(handshake) = self.wire.handshake() else { return };
        let capability = capability(&handshake.hash, self.role, &key);
        let handshake = ChannelHandshake { seeks: true, capability }.encode();
        self.offers.remove(&key);
        let local_id = self.mux.open(PROTOCOL, discovery_key, &handshake);
        self.logs.insert(key, LogChannel { local_id, channel: None });
        self.targets.insert(local_id, Target::Log(key));
    }

    /// Both sides have opened a log's channel.
    fn log_opened(
        &mut self,
        key: LogKey,
        local_id: LocalId,
        handshake: &[u8],
        shared: &mut Shared,
    ) {
        if !self.shows_key(&key, handshake) {
            self.mux.close(local_id);
            self.drop_log(&key, local_id, shared);
            shared.events.push_back(Event::LogRejected { id: self.id, key });
            return;
        }
        let Some(log) = self.logs.get_mut(&key) else { return };
        let seeks = ChannelHandshake::decode(handshake).is_ok_and(|handshake| handshake.seeks);
        log.channel = Some(Box::new(Channel::new(seeks)));
        shared.events.push_back(Event::LogOpened { id: self.id, key });
        self.with_channel(&key, shared, |channel, cx| {
            channel.start(cx);
            Ok(())
        });
    }

    /// The remote rejected or closed one of our channels.
    fn channel_ended(&mut self, local_id: LocalId, rejected: bool, shared: &mut Shared) {
        let id = self.id;
        match self.targets.remove(&local_id) {
            Some(Target::Log(key)) => {
                self.drop_log(&key, local_id, shared);
                shared.events.push_back(if rejected {
                    Event::LogRejected { id, key }
                } else {
                    Event::LogClosed { id, key }
                });
            }
            Some(Target::Own(channel)) => {
                self.own.remove(&channel);
                shared.events.push_back(if rejected {
                    Event::ChannelRejected { id, channel }
                } else {
                    Event::ChannelClosed { id, channel }
                });
            }
            None => {}
        }
    }

    pub(super) fn drop_log(&mut self, key: &LogKey, local_id: LocalId, shared: &mut Shared) {
        self.with_channel(key, shared, |channel, cx| {
            channel.end(cx);
            Ok(())
        });
        self.targets.remove(&local_id);
        if let Some(LogChannel { channel: Some(channel), .. }) = self.logs.remove(key) {
            self.pending_count -= channel.pending_count();
        }
    }
}

/// Stands for the key of a log that we do not know, so that checking takes as long as for one that
/// we do. No log has it: it is no hash of a manifest anybody can find, and no public key.
const NO_KEY: [u8; 32] = [0xff; 32];
