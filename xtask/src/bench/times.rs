//! Which result of a peer one of ours is compared with.

use super::job::{Durability, IN_FLIGHT, Layer, Workload};
use super::record::Record;

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

    /// The same measurement as peers call it, who know nothing of our layers and threads.
    ///
    /// What is ours alone keeps its name, which no peer has.
    pub(super) fn of_peers(mut self) -> Self {
        let is_layer = |name: &str| {
            [Layer::Tree, Layer::Database].iter().any(|layer| layer.to_string() == name)
        };
        let is_buffered = self.durability == Durability::Buffered.to_string();
        self.variant = match (self.workload, self.variant.as_str()) {
            (Workload::W2, "sequential") => "sequential-await".to_owned(),
            (Workload::W2, "8-threads") => format!("{IN_FLIGHT}-in-flight"),
            (Workload::W3 | Workload::W4, layer) if is_layer(layer) && is_buffered => {
                "hyperbee".to_owned()
            }
            (Workload::W5 | Workload::W6, variant) => {
                let database = format!("{}-", Layer::Database);
                variant.strip_prefix(&database).unwrap_or(variant).to_owned()
            }
            (_, variant) => variant.to_owned(),
        };
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers_name(workload: Workload, variant: &str, durability: &str) -> String {
        let (variant, durability) = (variant.to_owned(), durability.to_owned());
        let theirs = Measurement { workload, variant, durability: durability.clone() }.of_peers();
        assert_eq!((theirs.workload, theirs.durability), (workload, durability));
        theirs.variant
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
    }

    /// What no peer does is not compared with what one does: other passes, floors, syncs.
    #[test]
    fn ours_alone_has_no_counterpart() {
        for variant in ["sequential warm", "8-threads warm", "8-threads + writer", "pread FLOOR"] {
            assert_eq!(peers_name(Workload::W2, variant, "read"), variant);
        }
        assert_eq!(peers_name(Workload::W1, "batch1 FLOOR", "buffered"), "batch1 FLOOR");
        assert_eq!(peers_name(Workload::W4, "btree", "immediate"), "btree");
        assert_eq!(peers_name(Workload::W8, "btree", "buffered"), "btree");
    }
}
