//! Sums to which every device adds.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::codec::{Reader, Writer};
use crate::limits::{MAX_COUNT, MAX_SHARE, MAX_STATE_LEN};
use crate::{DeviceId, Dot, MergeType, Renaming, StateError, Time, WriteError};

/// A whole number that several devices count up and down, exactly.
///
/// Its value is JSON: an integer. Each device has shares of its own, and only it changes them;
/// the value is the sum of all shares. A put adds the difference to what was seen. A device goes
/// on with its last share unless it, or someone it knows of, has deleted the key in between:
/// then it starts another one, so that counts that a delete has ended stay apart from those that
/// live on in a concurrent edit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counter;

/// What one device has added in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Share {
    /// Its last write that counts here.
    last: u64,
    total: i128,
}

#[derive(Debug, Default)]
struct Shares {
    /// The last write of each device to this key, deletes included.
    latest: BTreeMap<DeviceId, u64>,
    /// By the share's first write.
    shares: BTreeMap<Dot, Share>,
}

impl Counter {
    /// The type's number in records.
    pub const KIND: u32 = 3;

    /// The state after `delta` has been added to what was seen: what a put of the sum does,
    /// without asking what the sum is.
    ///
    /// # Errors
    ///
    /// A number is out of range, or `base` is unreadable.
    pub fn add(&self, base: Option<&[u8]>, delta: i128, dot: Dot) -> Result<Bytes, WriteError> {
        let mut shares = read(base)?;
        shares.add(delta, dot)?;
        Ok(shares.encode())
    }
}

impl MergeType for Counter {
    fn kind(&self) -> u32 {
        Self::KIND
    }

    fn value(&self, state: &[u8]) -> Result<Bytes, StateError> {
        Ok(Shares::decode(state)?.sum().to_string().into())
    }

    fn join(&self, a: &[u8], b: &[u8]) -> Result<Bytes, StateError> {
        let mut joined = Shares::decode(a)?;
        joined.join(Shares::decode(b)?);
        Ok(joined.encode())
    }

    fn write(
        &self,
        base: Option<&[u8]>,
        value: &[u8],
        dot: Dot,
        _time: Time,
    ) -> Result<Bytes, WriteError> {
        let mut shares = read(base)?;
        let delta = integer(value)? - shares.sum();
        shares.add(delta, dot)?;
        Ok(shares.encode())
    }

    fn delete(&self, base: Option<&[u8]>, dot: Dot) -> Result<Bytes, StateError> {
        let mut shares = read(base)?;
        shares.shares.clear();
        shares.note(dot);
        Ok(shares.encode())
    }

    fn renames_from_before(&self) -> bool {
        true
    }

    fn rename(
        &self,
        state: &[u8],
        renaming: &Renaming,
        base: Option<&[u8]>,
    ) -> Result<Bytes, StateError> {
        let mut shares = Shares::decode(state)?;
        shares.rename(renaming, &read(base)?);
        Ok(shares.encode())
    }
}

impl Shares {
    /// Cannot overflow: a state has room for far fewer than 2^26 shares below 2^100.
    fn sum(&self) -> i128 {
        self.shares.values().map(|share| share.total).sum()
    }

    fn note(&mut self, dot: Dot) {
        let latest = self.latest.entry(dot.device).or_default();
        *latest = dot.seq.max(*latest);
    }

    fn add(&mut self, delta: i128, dot: Dot) -> Result<(), WriteError> {
        if delta.abs() > 2 * MAX_COUNT {
            return Err(WriteError::OutOfRange);
        }
        let latest = self.latest.get(&dot.device).copied();
        let own = Dot { device: dot.device, seq: 0 }..=Dot { device: dot.device, seq: u64::MAX };
        let running = self.shares.range_mut(own).next_back().map(|(_, share)| share);
        match running.filter(|share| Some(share.last) == latest) {
            Some(share) => {
                let total = share.total + delta;
                if total.abs() > MAX_SHARE {
                    return Err(WriteError::OutOfRange);
                }
                *share = Share { last: dot.seq, total };
            }
            None => {
                self.shares.insert(dot, Share { last: dot.seq, total: delta });
            }
        }
        self.note(dot);
        Ok(())
    }

    /// Of one share, whoever knows more writes of it knows all that the other one does.
    fn join(&mut self, other: Self) {
        for (start, theirs) in other.shares {
            let ours = self.shares.entry(start).or_insert(theirs);
            *ours = theirs.max(*ours);
        }
        for (device, seq) in other.latest {
            self.note(Dot { device, seq });
        }
    }

    /// What was added from where the histories part is a share of the branch.
    fn rename(&mut self, renaming: &Renaming, base: &Self) {
        let Renaming { device, from, to, .. } = *renaming;
        if let Some(latest) = self.latest.get_mut(&device).filter(|latest| **latest >= from) {
            let seq = std::mem::replace(latest, from.saturating_sub(1));
            self.note(Dot { device: to, seq });
        }
        for (start, share) in std::mem::take(&mut self.shares) {
            let is_touched = start.device == device && share.last >= from;
            let moved = Dot { device: if is_touched { to } else { start.device }, ..start };
            match base.shares.get(&start).filter(|_| is_touched && start.seq < from) {
                Some(before) => {
                    self.shares.insert(start, *before);
                    let total = share.total - before.total;
                    self.shares.insert(moved, Share { total, ..share });
                }
                None => {
                    self.shares.insert(moved, share);
                }
            }
        }
    }

    fn encode(&self) -> Bytes {
        let mut out = Writer::new();
        out.count(self.latest.len());
        for (device, seq) in &self.latest {
            out.device(*device);
            out.varint(*seq);
        }
        out.count(self.shares.len());
        for (start, share) in &self.shares {
            out.device(start.device);
            out.varint(start.seq);
            out.varint(share.last);
            out.i128(share.total);
        }
        out.into_bytes().into()
    }

    fn decode(state: &[u8]) -> Result<Self, StateError> {
        let mut reader = Reader::new(state)?;
        let mut shares = Self::default();
        for _ in 0..reader.varint()? {
            shares.latest.insert(reader.device()?, reader.varint()?);
        }
        for _ in 0..reader.varint()? {
            let start = Dot { device: reader.device()?, seq: reader.varint()? };
            let share = Share { last: reader.varint()?, total: reader.i128()? };
            if share.total.unsigned_abs() > MAX_SHARE.unsigned_abs() {
                return Err(StateError::Malformed { what: "a share out of range" });
            }
            shares.shares.insert(start, share);
        }
        reader.end()?;
        if shares.encode() != state { Err(StateError::NotCanonical) } else { Ok(shares) }
    }
}

fn read(base: Option<&[u8]>) -> Result<Shares, StateError> {
    base.map_or_else(|| Ok(Shares::default()), Shares::decode)
}

/// Decimal digits, with a sign perhaps: what JSON calls a number, when it is whole.
fn integer(value: &[u8]) -> Result<i128, WriteError> {
    let text = std::str::from_utf8(value).map_err(|_| WriteError::NotJson)?.trim_ascii();
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !plain || (digits.len() > 1 && digits.starts_with('0')) {
        return Err(WriteError::WrongShape { expected: "a JSON integer" });
    }
    let number: i128 = text.parse().map_err(|_| WriteError::OutOfRange)?;
    if number.abs() > MAX_COUNT { Err(WriteError::OutOfRange) } else { Ok(number) }
}

const _: () = assert!(MAX_STATE_LEN / 26 < 1 << 26, "sums of shares fit 128 bits");

#[cfg(test)]
mod tests {
    use super::*;

    fn dot(device: u64, seq: u64) -> Dot {
        Dot { device: DeviceId::from_u64(device), seq }
    }

    /// Concurrent steps add up, however often they are joined.
    #[test]
    fn concurrent_steps_add_up() {
        let base = Counter.add(None, 5, dot(1, 0)).unwrap();
        let up = Counter.write(Some(&base), b"8", dot(1, 1), Time::default()).unwrap();
        let down = Counter.add(Some(&base), -2, dot(2, 0)).unwrap();
        let both = Counter.join(&up, &down).unwrap();
        assert_eq!(both, Counter.join(&Counter.join(&both, &down).unwrap(), &up).unwrap());
        assert_eq!(Counter.value(&both).unwrap(), "6");
    }

    /// A device that takes up what a concurrent edit saved from its own delete does not go on
    /// with its old share: more of that may live on elsewhere.
    #[test]
    fn a_share_that_a_delete_ended_is_not_taken_up() {
        let one = Counter.add(None, 1, dot(1, 5)).unwrap();
        let two = Counter.add(Some(&one), 1, dot(1, 7)).unwrap();
        let gone = Counter.delete(Some(&two), dot(1, 8)).unwrap();
        let saved = Counter.add(Some(&one), 10, dot(2, 0)).unwrap();
        let seen = Counter.join(&gone, &saved).unwrap();
        let again = Counter.add(Some(&seen), 1, dot(1, 9)).unwrap();
        let more = Counter.add(Some(&two), 100, dot(3, 0)).unwrap();
        let all = Counter.join(&again, &more).unwrap();
        assert_eq!(Counter.value(&all).unwrap(), "113");
    }

    /// What is no whole number, or none that fits, is refused.
    #[test]
    fn only_whole_numbers_are_taken() {
        for bad in ["", "-", "1.5", "01", "+1", "1e3", "\"1\"", "null"] {
            let result = Counter.write(None, bad.as_bytes(), dot(1, 0), Time::default());
            assert!(matches!(result, Err(WriteError::WrongShape { .. })), "{bad}");
        }
        let huge = i128::MAX.to_string();
        let result = Counter.write(None, huge.as_bytes(), dot(1, 0), Time::default());
        assert_eq!(result, Err(WriteError::OutOfRange));
    }
}
