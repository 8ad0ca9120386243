//! A connection between two devices: ordered bytes each way, late and sometimes wrong.

use multibee_replica::ConnectionId;

use crate::lies::Lies;
use crate::plan::{Flaw, FlawKind, Lie, LieKind};

/// One of the two ends of a wire: that of the device that dialled, or the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    A,
    B,
}

impl End {
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// What leaves one end, on its way to the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cargo {
    Bytes(Vec<u8>),
    /// The stream is over: closed by the sender, or broken.
    Over {
        broken: bool,
    },
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) devices: [usize; 2],
    pub(crate) ids: [ConnectionId; 2],
    latency_us: u64,
    lanes: [Lane; 2],
    pub(crate) is_over: bool,
    /// One end lies, or both: to others it is encrypted, but not in here.
    pub(crate) is_crooked: bool,
}

/// One direction.
#[derive(Debug, Default)]
struct Lane {
    sent: u64,
    /// Nothing arrives before what was sent before it.
    last_arrival: u64,
    flaws: Vec<(u64, FlawKind)>,
    /// Bytes that the next ones overtake.
    held: Option<Vec<u8>>,
    is_mute: bool,
    is_closed: bool,
    lies: Option<Lies>,
}

impl Wire {
    pub(crate) fn new(
        devices: [usize; 2],
        ids: [ConnectionId; 2],
        latency_us: u64,
        flaws: &[Flaw],
        lies: &[Lie],
    ) -> Self {
        let lane = |to_b: bool| {
            let mine = flaws.iter().filter(|flaw| flaw.to_b == to_b);
            let mut flaws: Vec<_> = mine.map(|flaw| (flaw.at, flaw.kind)).collect();
            flaws.sort_by_key(|(at, _)| *at);
            let mine = lies.iter().filter(|lie| lie.to_b == to_b);
            let told = mine.map(|lie| (lie.at, lie.kind)).collect();
            let lies = (!lies.is_empty()).then(|| Lies::new(told));
            Lane { flaws, lies, ..Lane::default() }
        };
        let lanes = [lane(true), lane(false)];
        Self { devices, ids, latency_us, lanes, is_over: false, is_crooked: !lies.is_empty() }
    }

    pub(crate) const fn device(&self, end: End) -> usize {
        let [a, b] = self.devices;
        match end {
            End::A => a,
            End::B => b,
        }
    }

    pub(crate) const fn id(&self, end: End) -> ConnectionId {
        let [a, b] = self.ids;
        match end {
            End::A => a,
            End::B => b,
        }
    }

    pub(crate) fn end_of(&self, device: usize) -> End {
        if self.device(End::A) == device { End::A } else { End::B }
    }

    const fn lane(&mut self, from: End) -> &mut Lane {
        let [a, b] = &mut self.lanes;
        match from {
            End::A => a,
            End::B => b,
        }
    }

    /// What one end sends in place of a message, and the lies in it.
    pub(crate) fn tell(
        &mut self,
        from: End,
        message: &[u8],
        digest: &[u8; 16],
    ) -> (Vec<Vec<u8>>, Vec<LieKind>) {
        match &mut self.lane(from).lies {
            Some(lies) => lies.tell(message, digest),
            None => (vec![message.to_vec()], Vec::new()),
        }
    }

    /// Sends bytes from one end. Gives what arrives at the other, and when; and the flaws met.
    pub(crate) fn send(
        &mut self,
        from: End,
        bytes: &[u8],
        now: u64,
    ) -> (Vec<(u64, Cargo)>, Vec<FlawKind>) {
        let latency = self.latency_us;
        let lane = self.lane(from);
        if lane.is_mute || lane.is_closed {
            return (Vec::new(), Vec::new());
        }
        let (start, mut met) = (lane.sent, Vec::new());
        lane.sent += bytes.len() as u64;
        let mut bytes = bytes.to_vec();
        let mut out = Vec::new();
        while let Some(&(at, kind)) = lane.flaws.first().filter(|(at, _)| *at < lane.sent) {
            lane.flaws.remove(0);
            met.push(kind);
            let offset = usize::try_from(at.saturating_sub(start)).unwrap_or_default();
            let offset = offset.min(bytes.len());
            match kind {
                FlawKind::Cut => {
                    bytes.truncate(offset);
                    lane.is_closed = true;
                    lane.push(&mut out, bytes, now + latency);
                    out.push((lane.last_arrival, Cargo::Over { broken: true }));
                    return (out, met);
                }
                FlawKind::Flip => {
                    if let Some(byte) = bytes.get_mut(offset) {
                        *byte ^= 1 << (at % 8);
                    }
                }
                FlawKind::Drop => bytes.truncate(offset),
                FlawKind::Double => {
                    let tail = bytes.get(offset..).unwrap_or_default().to_vec();
                    bytes.extend(tail);
                }
                FlawKind::Swap => {
                    lane.held = Some(bytes);
                    return (out, met);
                }
                FlawKind::Stall(us) => lane.last_arrival = lane.last_arrival.max(now) + us,
                FlawKind::Mute => lane.is_mute = true,
            }
            if lane.is_mute {
                return (out, met);
            }
        }
        lane.push(&mut out, bytes, now + latency);
        if let Some(held) = lane.held.take() {
            lane.push(&mut out, held, now + latency);
        }
        (out, met)
    }

    /// One end says no more. Gives when the other learns it, if it does.
    pub(crate) fn close(&mut self, from: End, broken: bool, now: u64) -> Option<(u64, Cargo)> {
        let latency = self.latency_us;
        let lane = self.lane(from);
        if lane.is_mute || lane.is_closed {
            return None;
        }
        lane.is_closed = true;
        lane.last_arrival = lane.last_arrival.max(now + latency);
        Some((lane.last_arrival, Cargo::Over { broken }))
    }

    /// Nothing that this end sends arrives any more, and nobody is told.
    pub(crate) fn mute(&mut self, from: End) {
        self.lane(from).is_mute = true;
    }

    /// Bytes that were sent so far, both ways.
    pub(crate) fn sent(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.sent).sum()
    }
}

impl Lane {
    fn push(&mut self, out: &mut Vec<(u64, Cargo)>, bytes: Vec<u8>, at: u64) {
        if !bytes.is_empty() {
            self.last_arrival = self.last_arrival.max(at);
            out.push((self.last_arrival, Cargo::Bytes(bytes)));
        }
    }
}
