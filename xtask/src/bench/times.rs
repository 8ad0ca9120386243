//! Which result of a peer one of ours is compared with.

use super::record::Record;
use super::workload::Workload;

/// What says which measurement a result is of, whoever made it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Measurement {
    pub(super) workload: Workload,
    pub(super) variant: String,
    pub(super) durability: String,
}

impl Measurement {
    pub(super) fn of(record: &Record) -> Self {
        let (variant, durability) = (record.variant.clone(), record.durability.clone());
        Self { workload: record.workload, variant, durability }
    }

    /// Whether another one is the least that this one can take. Floors that write nothing are those of
    /// whoever writes, too.
    pub(super) fn has_floor(&self, other: &Self) -> bool {
        let floor = (self.workload.plan().floor)(&self.variant);
        other.workload == self.workload
            && floor.as_ref() == Some(&other.variant)
            && (other.durability == self.durability || other.durability == "read")
    }

    /// Whether this is a floor itself.
    pub(super) fn is_floor(&self) -> bool {
        self.workload == Workload::F || self.variant.ends_with("FLOOR")
    }

    /// The same measurement as a peer calls it, which knows nothing of our layers and threads.
    ///
    /// What is ours alone keeps its name, which no peer has.
    pub(super) fn of_peer(mut self, peer: &str) -> Self {
        if let Some(variant) = (self.workload.plan().theirs)(&self.variant, peer) {
            self.variant = variant;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers_name(workload: Workload, variant: &str, durability: &str) -> String {
        let (variant, durability) = (variant.to_owned(), durability.to_owned());
        let ours = Measurement { workload, variant, durability: durability.clone() };
        let theirs = ours.of_peer("hyperbee");
        assert_eq!((theirs.workload, theirs.durability), (workload, durability));
        theirs.variant
    }

    fn has_floor(workload: Workload, ours: (&str, &str), floor: (&str, &str)) -> bool {
        let of = |(variant, durability): (&str, &str)| {
            let (variant, durability) = (variant.to_owned(), durability.to_owned());
            Measurement { workload, variant, durability }
        };
        of(ours).has_floor(&of(floor))
    }

    /// What waits for the disk has a floor that does, too; what a floor does not stand for has none,
    /// and floors have none themselves.
    #[test]
    fn floors_stand_for_what_they_measure() {
        let (floor, durabilities) = ("batch100 FLOOR", ["immediate", "buffered"]);
        for ours in durabilities {
            for theirs in durabilities {
                let found = has_floor(Workload::W1, ("batch100", ours), (floor, theirs));
                assert_eq!(found, ours == theirs);
            }
        }
        assert!(!has_floor(Workload::W1, ("batch1", "buffered"), (floor, "buffered")));
        assert!(!has_floor(Workload::W1, (floor, "buffered"), (floor, "buffered")));
        let pread = ("pread FLOOR", "read");
        assert!(has_floor(Workload::W2, ("sequential warm", "read"), pread));
        assert!(!has_floor(Workload::W2, ("8-threads", "read"), pread));
        assert!(has_floor(Workload::W8, ("btree", "buffered"), ("btree FLOOR", "read")));
        let large = "blocks of 4096 B";
        assert!(has_floor(Workload::N3, (large, "buffered"), (&format!("{large} FLOOR"), "read")));
        assert!(!has_floor(Workload::N2, (large, "buffered"), (&format!("{large} FLOOR"), "read")));
        let of = |workload, variant: &str| {
            let (variant, durability) = (variant.to_owned(), "read".to_owned());
            Measurement { workload, variant, durability }
        };
        assert!(!of(Workload::W8, "btree").has_floor(&of(Workload::N3, "btree FLOOR")));
        let hashing = ("hashing FLOOR", "read");
        assert!(has_floor(Workload::L2, ("verify and store", "buffered"), hashing));
        assert!(!has_floor(Workload::L2, ("prove", "read"), hashing));
    }

    /// Each pass is compared with the same pass, each size with the same size.
    #[test]
    fn ours_has_the_name_that_peers_give_it() {
        assert_eq!(peers_name(Workload::W1, "batch100", "buffered"), "batch100");
        assert_eq!(peers_name(Workload::W2, "sequential", "read"), "sequential-await");
        assert_eq!(peers_name(Workload::W2, "8-threads", "read"), "64-in-flight");
        for layer in ["btree", "multibee"] {
            assert_eq!(peers_name(Workload::W3, layer, "buffered"), "hyperbee");
            assert_eq!(peers_name(Workload::W4, layer, "buffered"), "hyperbee");
        }
        for pass in ["reopened", "warm"] {
            assert_eq!(peers_name(Workload::W5, &format!("multibee-{pass}"), "read"), pass);
            assert_eq!(peers_name(Workload::W6, pass, "read"), pass);
            assert_eq!(peers_name(Workload::W7, pass, "read"), pass);
        }
        assert_eq!(peers_name(Workload::W8, "btree", "buffered"), "clone");
        assert_eq!(peers_name(Workload::W9, "20 ms sequential", "buffered"), "20 ms sequential");
        let hinted = "20 ms hints sequential";
        assert_eq!(peers_name(Workload::W9, hinted, "buffered"), "20 ms sequential");
        assert_eq!(peers_name(Workload::W11, "multibee", "read"), "open");
    }

    /// What no peer does is not compared with what one does: other passes, floors, syncs.
    #[test]
    fn ours_alone_has_no_counterpart() {
        for variant in ["sequential warm", "8-threads warm", "8-threads + writer", "pread FLOOR"] {
            assert_eq!(peers_name(Workload::W2, variant, "read"), variant);
        }
        assert_eq!(peers_name(Workload::W1, "batch1 FLOOR", "buffered"), "batch1 FLOOR");
        assert_eq!(peers_name(Workload::W8, "btree FLOOR", "read"), "btree FLOOR");
    }
}
