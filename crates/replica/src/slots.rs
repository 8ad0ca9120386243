//! How many connections a listener takes, and from whom.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

/// Bounds on the connections that a [`Listener`](crate::Listener) takes. One beyond a bound is
/// closed at once; none waits.
///
/// Fields are set with struct update syntax.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenLimits {
    /// Connections whose handshake is not done.
    pub half_open: usize,
    /// The same from one address.
    pub half_open_per_address: usize,
    /// Connections in all.
    pub connections: usize,
    /// Connections from one address. All of a 64-bit IPv6 network count as one: whoever has one
    /// address of it has them all.
    pub connections_per_address: usize,
}

impl Default for ListenLimits {
    fn default() -> Self {
        Self {
            half_open: 64,
            half_open_per_address: 16,
            connections: 1024,
            connections_per_address: 64,
        }
    }
}

/// The connections that a listener has.
#[derive(Debug)]
pub(crate) struct Slots {
    limits: ListenLimits,
    all: Count,
    by_address: HashMap<IpAddr, Count>,
}

/// One of the connections.
#[derive(Debug)]
pub(crate) struct Slot {
    address: IpAddr,
    is_half_open: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    half_open: usize,
    connections: usize,
}

impl Slots {
    pub(crate) fn new(limits: ListenLimits) -> Self {
        Self { limits, all: Count::default(), by_address: HashMap::new() }
    }

    /// Takes a connection whose handshake is still to come, if there is room.
    pub(crate) fn take(&mut self, address: IpAddr) -> Option<Slot> {
        let (limits, address) = (self.limits, network_of(address));
        let own = self.by_address.get(&address).copied().unwrap_or_default();
        let has_room = self.all.half_open < limits.half_open
            && self.all.connections < limits.connections
            && own.half_open < limits.half_open_per_address
            && own.connections < limits.connections_per_address;
        if !has_room {
            return None;
        }
        for count in [&mut self.all, self.by_address.entry(address).or_default()] {
            count.half_open += 1;
            count.connections += 1;
        }
        Some(Slot { address, is_half_open: true })
    }

    /// The handshake of a connection is done.
    pub(crate) fn establish(&mut self, slot: &mut Slot) {
        if std::mem::take(&mut slot.is_half_open) {
            self.change(slot.address, |count| count.half_open -= 1);
        }
    }

    /// A connection has ended. Its slot is not to be used any more.
    pub(crate) fn free(&mut self, slot: &mut Slot) {
        self.establish(slot);
        self.change(slot.address, |count| count.connections -= 1);
    }

    fn change(&mut self, address: IpAddr, change: impl Fn(&mut Count)) {
        change(&mut self.all);
        if let Some(own) = self.by_address.get_mut(&address) {
            change(own);
            if own.connections == 0 {
                self.by_address.remove(&address);
            }
        }
    }
}

/// What counts as one address.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn slots() -> Slots {
        Slots::new(ListenLimits {
            half_open: 3,
            half_open_per_address: 2,
            connections: 5,
            connections_per_address: 4,
        })
    }

    /// One address cannot take all half-open places, and finished handshakes make room.
    #[test]
    fn half_open_ones_are_bounded() {
        let (mut slots, one, other) = (slots(), ip("192.0.2.1"), ip("192.0.2.2"));
        let mut first = slots.take(one).unwrap();
        let _second = slots.take(one).unwrap();
        assert!(slots.take(one).is_none(), "two of one address");
        let _third = slots.take(other).unwrap();
        assert!(slots.take(other).is_none(), "three in all");
        slots.establish(&mut first);
        slots.establish(&mut first);
        assert!(slots.take(one).is_some());
    }

    /// Connections are bounded by address and in all; one that ends makes room, and nothing is kept
    /// of an address without any.
    #[test]
    fn connections_are_bounded() {
        let (mut slots, one, other) = (slots(), ip("192.0.2.1"), ip("192.0.2.2"));
        let mut live = |address| {
            let mut slot = slots.take(address)?;
            slots.establish(&mut slot);
            Some(slot)
        };
        let mut held: Vec<Slot> = (0..4).map(|_| live(one).unwrap()).collect();
        assert!(live(one).is_none(), "four of one address");
        held.push(live(other).unwrap());
        assert!(live(other).is_none(), "five in all");
        slots.free(&mut held.remove(0));
        held.push(slots.take(one).unwrap());
        held.iter_mut().for_each(|slot| slots.free(slot));
        assert!(slots.by_address.is_empty());
        assert_eq!((slots.all.half_open, slots.all.connections), (0, 0));
    }

    /// Somebody with a whole IPv6 network is one address, and an IPv4 address in IPv6 form is itself.
    #[test]
    fn networks_count_as_one_address() {
        assert_eq!(network_of(ip("2001:db8::1")), network_of(ip("2001:db8::ffff:1:2:3")));
        assert_ne!(network_of(ip("2001:db8::1")), network_of(ip("2001:db8:0:1::1")));
        assert_eq!(network_of(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
        assert_ne!(network_of(ip("192.0.2.1")), network_of(ip("192.0.2.2")));
    }
}
