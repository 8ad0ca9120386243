//! A peer whose messages are written by hand.

use bytes::Bytes;
use multibee_log::{Log, Proof, Request};
use multibee_replica::{
    ChannelHandshake, ChannelId, ConnectionId, Event, Message, PROTOCOL, ReplicatorOptions, Role,
    Sync, capability,
};

use crate::network::Network;

/// Node 1 of a network, which speaks a log's protocol by hand to node 0.
pub(crate) struct Hand {
    pub(crate) net: Network,
    pub(crate) near: ConnectionId,
    pub(crate) far: ConnectionId,
    pub(crate) channel: ChannelId,
    /// What node 0 has sent and was not taken yet.
    seen: usize,
}

impl Hand {
    /// Node 0 has the log, and all of it that it lacks is wanted.
    pub(crate) fn new(log: &Log) -> Self {
        Self::to(Network::new(2), log)
    }

    /// The same, and node 0 asks for many blocks at once.
    pub(crate) fn asking_for_runs(log: &Log) -> Self {
        Self::to(Network::with_options(2, &ReplicatorOptions::default()), log)
    }

    fn to(mut net: Network, log: &Log) -> Self {
        net.nodes[0].replicator.add_log(log.clone());
        net.nodes[0].replicator.want_all(&log.key());
        let wire = net.connect(1, 0);
        let (near, far) = (net.id(wire, 0), net.id(wire, 1));
        net.run();
        let hash = net.nodes[1].events.iter().find_map(|event| match event {
            Event::Connected { handshake_hash, .. } => Some(*handshake_hash),
            _ => None,
        });
        let capability = capability(&hash.unwrap(), Role::Initiator, &log.key());
        let handshake = ChannelHandshake { seeks: true, capability }.encode();
        let discovery_key = log.discovery_key();
        let channel = net.nodes[1].replicator.open_channel(
            far,
            PROTOCOL,
            discovery_key.as_bytes(),
            &handshake,
        );
        net.run();
        Self { net, near, far, channel, seen: 0 }
    }

    /// Sends a message to node 0.
    pub(crate) fn say(&mut self, message: &Message) {
        self.say_raw(message.ty(), message.encode());
    }

    /// As [`say`](Self::say), any bytes.
    pub(crate) fn say_raw(&mut self, ty: u64, payload: Vec<u8>) {
        self.net.nodes[1].replicator.send(self.far, self.channel, ty, payload);
        self.net.run();
    }

    /// Says what one says who has all of a log.
    pub(crate) fn announce(&mut self, log: &Log) {
        self.say(&Message::Range { drop: false, start: 0, length: log.len() });
        self.say(&Message::Sync(Sync {
            length: log.len(),
            can_upgrade: true,
            uploading: true,
            has_manifest: true,
            ..Sync::default()
        }));
    }

    /// What node 0 has said since the last call.
    pub(crate) fn heard(&mut self) -> Vec<Message> {
        let all = self.net.nodes[1].events.iter();
        let payloads = all.filter_map(|event| match event {
            Event::ChannelMessage { ty, payload, .. } => Some((*ty, payload.clone())),
            _ => None,
        });
        let payloads: Vec<(u64, Bytes)> = payloads.collect();
        let new = payloads[self.seen..].iter();
        let messages =
            new.filter_map(|(ty, payload)| Message::decode(*ty, payload).unwrap()).collect();
        self.seen = payloads.len();
        messages
    }

    /// The requests that node 0 has sent since the last call.
    pub(crate) fn requests(&mut self) -> Vec<(u64, Request)> {
        let heard = self.heard().into_iter();
        heard
            .filter_map(|message| match message {
                Message::Request { id, request, .. } => Some((id, request)),
                _ => None,
            })
            .collect()
    }

    /// Answers the request for the head honestly.
    pub(crate) fn upgrade(&mut self, log: &Log) {
        self.announce(log);
        let (id, proof) = self.requests_answered(log).remove(0);
        self.say(&Message::Data { request: id, proof });
    }

    /// The honest answers to what was asked since the last call.
    pub(crate) fn requests_answered(&mut self, log: &Log) -> Vec<(u64, Proof)> {
        let requests = self.requests().into_iter();
        requests.map(|(id, request)| (id, log.prove(&request).unwrap())).collect()
    }

    /// Whether node 0 has hung up.
    pub(crate) fn is_hung_up_on(&self) -> bool {
        self.net.nodes[0].replicator.is_closed(self.near)
    }
}
