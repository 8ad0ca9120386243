//! Who serves one log, and who of them should be asked.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::event::ConnectionId;
use crate::holdings::Holdings;
use crate::limits::{HEDGE_UNKNOWN, LEAVE_MAX};

/// The remotes of one log, as far as choosing among them takes.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    seats: BTreeMap<ConnectionId, Seat>,
}

/// What is known of one remote.
#[derive(Debug)]
struct Seat {
    /// Usual time to an answer; unknown before the first.
    round_trip: Option<Duration>,
    patience: Duration,
    /// More can be asked of it.
    has_room: bool,
    /// What was wanted when it last looked for something to be asked for.
    looked_at: Option<u64>,
    left: Option<Left>,
    misses: u32,
    map: Map,
    /// The region from which it gets blocks that nobody waits for.
    region: Option<u32>,
}

/// A remote has left something to a nearer one.
#[derive(Clone, Copy, Debug)]
struct Left {
    /// What was wanted then.
    wanted: u64,
    until: Instant,
    /// It was told to look again.
    is_told: bool,
}

/// In which regions of the log a remote has anything. Coarse: counting how many remotes have each
/// block would cost more than the order is worth.
#[derive(Clone, Copy, Debug, Default)]
struct Map {
    regions: u64,
    /// Length of a region, in blocks.
    region_len: u64,
    /// The remote's holdings then.
    version: u64,
    at: Option<Instant>,
}

impl Roster {
    /// A remote is about to be asked. What it has told of its blocks is looked at now and then.
    pub(crate) fn enter(
        &mut self,
        id: ConnectionId,
        round_trip: Option<Duration>,
        patience: Duration,
        (holdings, limit): (&Holdings, u64),
        now: Instant,
    ) {
        let is_shared = self.seats.keys().any(|other| *other != id);
        let seat = self.seats.entry(id).or_insert_with(Seat::new);
        (seat.round_trip, seat.patience) = (round_trip, patience);
        let region_len = region_len(limit);
        let is_stale = (seat.map.version, seat.map.region_len) != (holdings.version(), region_len)
            && seat.map.at.is_none_or(|at| now.saturating_duration_since(at) >= MAP_AGE);
        if is_shared && is_stale {
            seat.map = Map::of(holdings, limit, region_len, now);
        }
    }

    /// A remote has looked at what is wanted, and whether more can be asked of it.
    pub(crate) fn looked(&mut self, id: ConnectionId, wanted: u64, has_room: bool) {
        if let Some(seat) = self.seats.get_mut(&id) {
            (seat.looked_at, seat.has_room) = (Some(wanted), has_room);
        }
    }

    /// A remote is gone, or nothing is asked of it any more.
    pub(crate) fn leave(&mut self, id: ConnectionId) {
        self.seats.remove(&id);
    }

    /// A remote has refused a block, or let time run out. It counts as farther away from now on.
    pub(crate) fn note_miss(&mut self, id: ConnectionId) {
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.misses = (seat.misses + MISS).min(MISSES_MAX);
        }
    }

    /// A remote has delivered a block.
    pub(crate) fn note_hit(&mut self, id: ConnectionId) {
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.misses = seat.misses.saturating_sub(1);
        }
    }

    /// How long to wait for a remote before another one is asked too.
    pub(crate) fn patience(&self, id: ConnectionId) -> Duration {
        self.seats.get(&id).map_or(HEDGE_UNKNOWN, |seat| seat.patience)
    }

    /// Until when a remote leaves what readers wait for to a nearer one, which has room and has not
    /// looked at it yet. Not for longer than the nearer one gains.
    pub(crate) fn leaves_until(
        &mut self,
        id: ConnectionId,
        wanted: u64,
        now: Instant,
    ) -> Option<Instant> {
        let own = self.seats.get(&id)?.nearness();
        let better = self.seats.iter().filter(|(other, seat)| {
            **other != id && seat.has_room && seat.looked_at != Some(wanted)
        });
        let nearest = better.map(|(_, seat)| seat.nearness()).min()?;
        // Who is about as near is not waited for.
        if nearest * 3 > own * 2 {
            return None;
        }
        let seat = self.seats.get_mut(&id)?;
        let before = seat.left.filter(|left| left.wanted == wanted);
        let until = now + (own - nearest).min(LEAVE_MAX);
        let left = before.unwrap_or(Left { wanted, until, is_told: false });
        seat.left = Some(left);
        (now < left.until).then_some(left.until)
    }

    /// Whether somebody has left blocks to others and is to look again, now that those have looked.
    /// Tells so once.
    pub(crate) fn take_leavers(&mut self, id: ConnectionId, wanted: u64) -> bool {
        let mut any = false;
        for (_, seat) in self.seats.iter_mut().filter(|(other, _)| **other != id) {
            if let Some(left) = seat.left.as_mut().filter(|left| left.wanted == wanted) {
                any |= !std::mem::replace(&mut left.is_told, true);
            }
        }
        any
    }

    /// Where a remote that is not alone should get blocks that nobody waits for: `find` finds the
    /// first in a stretch. It stays in its region as long as that has any; then it goes to the one
    /// that fewest others have, of those to one that nobody works on, and of those to the first.
    pub(crate) fn place(
        &mut self,
        id: ConnectionId,
        find: impl Fn(Range<u64>) -> Option<u64>,
    ) -> Option<u64> {
        if self.seats.len() < 2 {
            return None;
        }
        let map = self.seats.get(&id)?.map;
        let stay = self.seats.get(&id)?.region.and_then(|region| find(map.stretch(region)));
        if stay.is_some() {
            return stay;
        }
        let others = self.seats.iter().filter(|(other, _)| **other != id);
        let others: Vec<&Seat> =
            others.map(|(_, seat)| seat).filter(|s| s.map.region_len == map.region_len).collect();
        let mut regions: Vec<(usize, bool, u32)> = (0..REGIONS)
            .filter(|region| map.has(*region))
            .map(|region| {
                let holders = others.iter().filter(|seat| seat.map.has(region)).count();
                (holders, others.iter().any(|seat| seat.region == Some(region)), region)
            })
            .collect();
        regions.sort_unstable();
        let found =
            regions.into_iter().find_map(|(.., region)| Some((region, find(map.stretch(region))?)));
        self.seats.get_mut(&id)?.region = found.map(|(region, _)| region);
        found.map(|(_, block)| block)
    }
}

impl Seat {
    fn new() -> Self {
        Self {
            round_trip: None,
            patience: HEDGE_UNKNOWN,
            has_room: false,
            looked_at: None,
            left: None,
            misses: 0,
            map: Map::default(),
            region: None,
        }
    }

    /// How long an answer takes that is asked for now, about.
    fn nearness(&self) -> Duration {
        let round_trip = self.round_trip.unwrap_or(UNKNOWN_ROUND_TRIP).max(NEAR);
        round_trip * (MISS + self.misses) / MISS
    }
}

impl Map {
    fn of(holdings: &Holdings, limit: u64, region_len: u64, now: Instant) -> Self {
        let mut map = Self { regions: 0, region_len, version: holdings.version(), at: Some(now) };
        for region in 0..REGIONS {
            let stretch = map.stretch(region);
            if holdings.next_within(stretch.start..stretch.end.min(limit)).is_some() {
                map.regions |= 1 << region;
            }
        }
        map
    }

    fn has(&self, region: u32) -> bool {
        self.regions >> region & 1 == 1
    }

    fn stretch(&self, region: u32) -> Range<u64> {
        let start = u64::from(region).saturating_mul(self.region_len);
        start..start.saturating_add(self.region_len)
    }
}

/// A power of two, so that a region is a subtree, and no less than is worth a place of its own.
fn region_len(limit: u64) -> u64 {
    let len = limit.div_ceil(u64::from(REGIONS)).max(REGION_LEN_MIN);
    len.checked_next_power_of_two().unwrap_or(u64::MAX)
}

/// Parts of a log of which it is known who has anything.
const REGIONS: u32 = u64::BITS;
const REGION_LEN_MIN: u64 = 64;
/// How often a remote's regions are found out, at most.
const MAP_AGE: Duration = Duration::from_millis(250);
/// Round trips below this are equally good.
const NEAR: Duration = Duration::from_millis(2);
/// Of one that has not answered yet.
const UNKNOWN_ROUND_TRIP: Duration = Duration::from_millis(100);
/// What one miss counts, in hits; as many as this double the distance.
const MISS: u32 = 32;
const MISSES_MAX: u32 = 15 * MISS;

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Roster;
    use crate::event::ConnectionId;
    use crate::holdings::{Holdings, PageBudget};

    const A: ConnectionId = ConnectionId(1);
    const B: ConnectionId = ConnectionId(2);
    const C: ConnectionId = ConnectionId(3);
    const MS: Duration = Duration::from_millis(1);

    fn holder(len: u64) -> Holdings {
        let mut held = Holdings::default();
        held.add(0..len, &mut PageBudget::default());
        held
    }

    /// A far remote leaves what readers wait for to a near one that can take more and has not
    /// looked yet, for as long as that gains; not to one that has refused much lately.
    #[test]
    fn the_near_one_goes_first() {
        let (now, held) = (Instant::now(), holder(10));
        let mut roster = Roster::default();
        roster.enter(A, Some(100 * MS), MS, (&held, 10), now);
        assert_eq!(roster.leaves_until(A, 1, now), None, "nobody else is there");
        roster.enter(B, Some(70 * MS), MS, (&held, 10), now);
        roster.looked(B, 0, true);
        assert_eq!(roster.leaves_until(A, 1, now), None, "about as near");
        roster.enter(B, Some(80 * MS / 4), MS, (&held, 10), now);
        assert_eq!(roster.leaves_until(A, 1, now), Some(now + 50 * MS));
        assert_eq!(roster.leaves_until(B, 1, now), None);
        assert!(roster.take_leavers(B, 1) && !roster.take_leavers(B, 1), "told once");
        assert_eq!(roster.leaves_until(A, 1, now + 50 * MS), None, "long enough");
        roster.looked(B, 2, true);
        assert_eq!(roster.leaves_until(A, 2, now), None, "it has looked");
        roster.looked(B, 2, false);
        assert_eq!(roster.leaves_until(A, 3, now), None, "it is busy");
        roster.looked(B, 3, true);
        (0..5).for_each(|_| roster.note_miss(B));
        assert_eq!(roster.leaves_until(A, 4, now), None, "it refuses");
        (0..150).for_each(|_| roster.note_hit(B));
        assert!(roster.leaves_until(A, 5, now).is_some(), "it delivers again");
        roster.leave(B);
        assert_eq!(roster.leaves_until(A, 6, now), None, "it is gone");
    }

    /// Each gets what fewest others have, then what nobody works on; one that is alone is told
    /// nothing, and gets blocks in order.
    #[test]
    fn the_rare_comes_first() {
        let now = Instant::now();
        let (all, half) = (holder(6400), holder(3200));
        let mut roster = Roster::default();
        roster.enter(A, None, MS, (&all, 6400), now);
        let first = |range: std::ops::Range<u64>| (range.start < 6400).then_some(range.start);
        assert_eq!(roster.place(A, first), None);
        roster.enter(B, None, MS, (&half, 6400), now);
        roster.enter(A, None, MS, (&all, 6400), now);
        let len = 128;
        assert_eq!(roster.place(A, first), Some(25 * len), "what B has not");
        assert_eq!(roster.place(A, first), Some(25 * len), "and stays there");
        assert_eq!(roster.place(B, first), Some(0));
        roster.enter(C, None, MS, (&half, 6400), now);
        assert_eq!(roster.place(C, first), Some(len), "B works on the first");
        let rest = |range: std::ops::Range<u64>| (range.end <= 2 * len).then_some(range.start);
        assert_eq!(roster.place(A, rest), Some(0), "nothing else is left");
    }
}
