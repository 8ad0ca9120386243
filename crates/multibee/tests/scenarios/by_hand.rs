//! Devices whose network is driven by the test, frame by frame.

use std::time::Instant;

use multibee::{ByHand, Role};
use multibee_replica::{ConnectionId, Handshake, Link};

use crate::devices::Group;

/// The networks of all devices of a group.
pub(crate) struct Hands(Vec<ByHand>);

/// A connection between two of them.
#[derive(Clone, Copy)]
pub(crate) struct Wire {
    ends: [(usize, ConnectionId); 2],
}

impl Hands {
    pub(crate) fn take(group: &Group) -> Self {
        Self(group.devices.iter().map(|device| ByHand::take(&device.db).unwrap()).collect())
    }

    /// One device dials another one. Nothing has been said yet.
    pub(crate) fn dial(&self, one: usize, other: usize) -> Wire {
        let connect = |number: usize, role| {
            let handshake = Handshake { hash: [7; 64], remote_static: [0; 32] };
            let id = self.0[number].connect_link(Link::framed(role, handshake), Instant::now());
            (number, id)
        };
        Wire { ends: [connect(one, Role::Initiator), connect(other, Role::Responder)] }
    }

    /// Lets both devices act, and brings one frame to the other side, if any is to be sent. Says
    /// whether anything happened.
    pub(crate) fn step(&mut self, wire: Wire) -> bool {
        let [one, other] = wire.ends;
        let acted = self.0[one.0].take_in() + self.0[other.0].take_in();
        for ((from, out), (to, into)) in [(one, other), (other, one)] {
            if let Some(frame) = self.0[from].transmit(out) {
                self.0[to].receive(into, &frame, Instant::now());
                return true;
            }
        }
        acted > 0
    }

    /// Until nobody has anything to say any more.
    pub(crate) fn settle(&mut self, wires: &[Wire]) {
        while wires.iter().any(|wire| self.step(*wire)) {}
    }

    pub(crate) fn cut(&mut self, wire: Wire) {
        for (number, id) in wire.ends {
            self.0[number].close(id);
        }
        self.settle(&[wire]);
    }

    /// Whether a device takes the connection for ended.
    pub(crate) fn is_closed(&self, wire: Wire, number: usize) -> bool {
        wire.ends.iter().all(|&(at, id)| at != number || self.0[at].is_closed(id))
    }
}
