use std::collections::HashSet;

/// Blocks that a read lacks, each once, in the order in which it came to need them.
#[derive(Default)]
pub(crate) struct Missing {
    seqs: Vec<u64>,
    named: HashSet<u64>,
}

impl Missing {
    pub(crate) fn add(&mut self, seq: u64) {
        if self.named.insert(seq) {
            self.seqs.push(seq);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.seqs.len()
    }

    pub(crate) fn into_seqs(self) -> Vec<u64> {
        self.seqs
    }
}

impl Extend<u64> for Missing {
    fn extend<I: IntoIterator<Item = u64>>(&mut self, seqs: I) {
        seqs.into_iter().for_each(|seq| self.add(seq));
    }
}
