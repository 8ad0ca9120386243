//! What a compaction would do: what there is, by kind, and what would stay.

use multibee_btree::{Entry as Block, RangeOptions};
use prost::Message as _;

use crate::collecting::Amount;
use crate::format::{self, Dot, Meta};
use crate::keyspace::{self, Place};
use crate::reclaim::{HoldReason, ReclaimOptions, Reclaimed};
use crate::{Error, Multibee};

/// What a [compaction](Multibee::compact) would do, as [`compact_dry_run`](Multibee::compact_dry_run)
/// says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompactEstimate {
    /// Bytes of blocks in the log as it is.
    pub bytes_before: u64,
    /// Bytes of blocks in the fresh log, about: those of all kinds together.
    pub bytes_after: u64,
    /// Entries that are shown.
    pub live: Weight,
    /// Versions that are not shown, and the lists of keys that have such.
    pub conflicts: Weight,
    /// What is remembered of deleted keys.
    pub tombstones: Weight,
    /// Statements about devices.
    pub statements: Weight,
    /// Rules, and what else of few records there is.
    pub rules: Weight,
    /// What of the tombstones [`reclaim`](Multibee::reclaim) could forget before, and what has to stay.
    pub forgettable: Reclaimed,
    /// Blocks of the old log whose room is given back by and by once it is another device's, and those
    /// that stay until others have seen them.
    pub old_blocks: Reclaimed,
}

/// How much there is of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Weight {
    /// Records.
    pub count: u64,
    /// Bytes that they take in a fresh log, about.
    pub bytes: u64,
}

impl CompactEstimate {
    /// Bytes of blocks that are not taken over: earlier versions, and the way to them.
    pub const fn history_bytes(&self) -> u64 {
        self.bytes_before.saturating_sub(self.bytes_after)
    }

    fn add(&mut self, place: &Place, bytes: u64) {
        let kind = match place {
            Place::User(_) => &mut self.live,
            Place::Tombstone(_) => &mut self.tombstones,
            Place::Statement => &mut self.statements,
            Place::Conflict(_) | Place::Opaque(_) | Place::Aside => &mut self.conflicts,
            Place::Shared(_) | Place::ShownBy | Place::Unknown => &mut self.rules,
        };
        kind.count += 1;
        kind.bytes = kind.bytes.saturating_add(bytes);
    }

    /// Adds what each record says of what it has seen, if it is not in the last commit, and sums up.
    fn finish(&mut self, seen_bytes: u64, keys_at_once: u64) {
        let kinds = [
            &mut self.live,
            &mut self.conflicts,
            &mut self.tombstones,
            &mut self.statements,
            &mut self.rules,
        ];
        let count: u64 = kinds.iter().map(|kind| kind.count).sum();
        let before_last = count.saturating_sub(1) / keys_at_once.max(1) * keys_at_once;
        for kind in kinds {
            let with = u128::from(kind.count) * u128::from(before_last) / u128::from(count.max(1));
            let seen = with.saturating_mul(seen_bytes.into());
            kind.bytes = kind.bytes.saturating_add(u64::try_from(seen).unwrap_or(u64::MAX));
            self.bytes_after = self.bytes_after.saturating_add(kind.bytes);
        }
    }
}

impl Multibee {
    /// Says what [`compact`](Self::compact) would do, and does nothing. Reads all that is alive.
    ///
    /// ```
    /// # use multibee::{Home, Multibee, Options};
    /// let db = Multibee::create(Home::memory(), Options::default())?;
    /// for n in 0..100 {
    ///     db.put("count", n.to_string())?;
    /// }
    /// let estimate = db.compact_dry_run()?;
    /// assert_eq!(estimate.live.count, 1);
    /// assert!(estimate.history_bytes() > estimate.bytes_after);
    /// # Ok::<(), multibee::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// This machine's disk, or its content, is at fault.
    pub fn compact_dry_run(&self) -> Result<CompactEstimate, Error> {
        let bee = self.bee();
        let device = self.device().as_u64();
        let tree = bee.snapshot()?;
        let seq_len = varint_len(tree.version());
        let mut estimate =
            CompactEstimate { bytes_before: bee.log().byte_len(), ..CompactEstimate::default() };
        let mut range = tree.range(RangeOptions::default());
        while let Some(block) = range.next()? {
            let meta = Meta::decode_extra(&block.extra)
                .map_err(|error| Error::bad_record(block.seq, &error))?;
            let bytes = weigh(&block, meta, device) + seq_len * 5 / 4 + INDEX_BYTES;
            estimate.add(&keyspace::place(&block.key), bytes);
        }
        let (clock, keys_at_once) = {
            let state = self.network().session().lock();
            (state.core.primary.whole_clock()?, state.core.absorb_keys())
        };
        // Until the last commit, each record names all that it has seen.
        let seen = Meta { seen: format::encode_clock(&clock), ..Meta::default() };
        estimate.finish(seen.encoded_len() as u64, keys_at_once as u64);
        self.hear_heads()?;
        let options = ReclaimOptions { dry_run: true, ..ReclaimOptions::default() };
        self.reclaim_tombstones(&options, &mut estimate.forgettable)?;
        self.weigh_old_blocks(&mut estimate.old_blocks)?;
        Ok(estimate)
    }

    /// What of the own log others have seen, and what not.
    fn weigh_old_blocks(&self, old: &mut Reclaimed) -> Result<(), Error> {
        let state = self.network().session().lock();
        let core = &state.core;
        let log = core.primary.log();
        let bound = core.own_clearing_bound()?;
        let amount = |range: std::ops::Range<u64>| {
            let count = range.end.saturating_sub(range.start);
            Ok::<_, Error>(Amount { count, bytes: log.held_bytes(range)? })
        };
        old.went(amount(0..bound.length)?);
        if let Some(device) = bound.held_back_by {
            let is_mirror = device == core.key();
            let reason = if is_mirror { HoldReason::Mirror } else { HoldReason::NotSeen };
            old.stayed(reason, Some(device), amount(bound.length..log.len())?);
        }
        Ok(())
    }
}

/// Bytes of an entry's own block in a fresh log, without its part of the index. What this device wrote
/// names its author there.
fn weigh(block: &Block, mut meta: Meta, device: u64) -> u64 {
    meta.commit = None;
    if meta.time.is_some() && meta.dot.is_none() {
        meta.dot = Some(Dot { device, seq: block.seq });
    }
    let field = |len: usize| 1 + varint_len(len as u64) + len as u64;
    let value = block.value.as_ref().map_or(0, |value| field(value.len()));
    // The number of the field takes two bytes.
    field(block.key.len()) + value + field(meta.encoded_len()) + 1
}

/// Bytes of a number in an index.
const fn varint_len(number: u64) -> u64 {
    (64 - (number | 1).leading_zeros() as u64).div_ceil(7)
}

/// Bytes of an index for each entry beside the entry's own number in it, about: what frames it, and its
/// part of the numbers of children, in nodes that are half full as where keys come in their order.
const INDEX_BYTES: u64 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Home, Options};

    /// What is foretold comes true, but for a tenth; and nothing is done.
    #[test]
    fn what_is_foretold_comes_true() {
        for (keys, value_len) in [(3000_u32, 10), (3000, 200), (50, 5000)] {
            let db = Multibee::create(Home::memory(), Options::default()).unwrap();
            for round in 0..3_u8 {
                let mut batch = db.batch();
                for key in 0..keys {
                    batch.put(format!("key/{key}"), vec![round; value_len]);
                }
                batch.commit().unwrap();
            }
            for key in 0..keys / 10 {
                db.del(format!("key/{key}")).unwrap();
            }
            let version = db.view().unwrap().version();
            let foretold = db.compact_dry_run().unwrap();
            assert_eq!(db.view().unwrap().version(), version);
            let done = db.compact(|_| {}).unwrap();
            assert_eq!(foretold.bytes_before, done.bytes_before);
            let (least, most) = (done.bytes_after * 9 / 10, done.bytes_after * 11 / 10);
            assert!((least..most).contains(&foretold.bytes_after), "{foretold:?}, {done:?}");
            assert_eq!(foretold.live.count, u64::from(keys - keys / 10));
            assert_eq!(foretold.tombstones.count, u64::from(keys / 10));
            assert_eq!(foretold.forgettable.count, u64::from(keys / 10));
            assert!(foretold.old_blocks.held_back.is_empty(), "nobody else is there");
        }
    }

    /// Whoever has not seen what was written holds the old blocks up, and is named.
    #[test]
    fn who_holds_it_up_is_named() {
        let db = Multibee::create(Home::memory(), Options::default()).unwrap();
        let phone = Multibee::create(Home::memory(), Options::default()).unwrap();
        db.add_replica(phone.key()).unwrap();
        db.put("milk", "two").unwrap();
        db.del("milk").unwrap();
        let estimate = db.compact_dry_run().unwrap();
        for held in [&estimate.old_blocks.held_back, &estimate.forgettable.held_back] {
            assert_eq!(held.len(), 1, "{estimate:?}");
            assert_eq!((held[0].reason, held[0].device), (HoldReason::NotSeen, Some(phone.key())));
        }
        let bytes = estimate.old_blocks.held_back[0].bytes + estimate.old_blocks.bytes;
        assert_eq!((estimate.old_blocks.bytes, bytes), (0, estimate.bytes_before));
        assert_eq!((estimate.statements.count, estimate.live.count), (1, 0));
    }
}
