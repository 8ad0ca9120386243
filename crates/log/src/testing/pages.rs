//! Bytes in pages, which copies share until one of them is written.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::random::{hash, mix, mix2};

const PAGE_LEN: usize = 4096;

/// Most bytes of one part. A log that asks for more in a test has lost its way.
const LEN_MAX: u64 = 1 << 30;

/// Bytes of a part. Bytes beyond the length are zeros.
#[derive(Debug, Clone, Default)]
pub(super) struct Pages {
    len: u64,
    /// `None`: all zeros, as are pages beyond the end.
    pages: Vec<Option<Arc<Page>>>,
}

#[derive(Debug)]
struct Page {
    /// 0: not known.
    hash: AtomicU64,
    bytes: [u8; PAGE_LEN],
}

impl Clone for Page {
    fn clone(&self) -> Self {
        Self { hash: AtomicU64::new(0), bytes: self.bytes }
    }
}

impl Page {
    const fn zeros() -> Self {
        Self { hash: AtomicU64::new(0), bytes: [0; PAGE_LEN] }
    }

    /// A page of zeros has the hash of a page that is not there.
    fn hash(&self) -> u64 {
        match self.hash.load(Ordering::Relaxed) {
            0 if self.bytes == [0; PAGE_LEN] => 0,
            0 => {
                let hash = hash(&self.bytes).max(1);
                self.hash.store(hash, Ordering::Relaxed);
                hash
            }
            known => known,
        }
    }
}

impl Pages {
    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// As [`Storage::read_at`](crate::Storage::read_at).
    pub(super) fn read(&self, offset: u64, buf: &mut [u8]) -> usize {
        let count = self.len.saturating_sub(offset).min(buf.len() as u64) as usize;
        let buf = buf.get_mut(..count).unwrap_or_default();
        for_each_page(offset, count, |page, within, range| {
            let Some(to) = buf.get_mut(range) else { return };
            match self.page(page).and_then(|page| page.bytes.get(within..within + to.len())) {
                Some(from) => to.copy_from_slice(from),
                None => to.fill(0),
            }
        });
        count
    }

    /// Writes, and grows if need be.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let end = offset.checked_add(bytes.len() as u64).filter(|end| *end <= LEN_MAX);
        self.len = self.len.max(end.ok_or(io::ErrorKind::FileTooLarge)?);
        for_each_page(offset, bytes.len(), |page, within, range| {
            let Some(from) = bytes.get(range) else { return };
            let page = self.page_mut(page);
            if let Some(to) = page.bytes.get_mut(within..within + from.len()) {
                to.copy_from_slice(from);
            }
        });
        Ok(())
    }

    /// Makes the bytes of a range zeros, as far as it goes.
    pub(super) fn zero(&mut self, offset: u64, len: u64) {
        let count = self.len.saturating_sub(offset).min(len) as usize;
        for_each_page(offset, count, |number, within, range| {
            // What is not there is zeros already.
            if self.page(number).is_some() {
                let page = self.page_mut(number);
                if let Some(to) = page.bytes.get_mut(within..within + range.len()) {
                    to.fill(0);
                }
            }
        });
    }

    pub(super) fn set_len(&mut self, len: u64) -> io::Result<()> {
        if len > LEN_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if len < self.len {
            self.zero(len, self.len - len);
            self.pages.truncate((len as usize).div_ceil(PAGE_LEN));
        }
        self.len = len;
        Ok(())
    }

    /// A hash of length and bytes. What was hashed before costs nothing until it is written.
    pub(super) fn hash(&self) -> u64 {
        let mut sum = mix(self.len);
        for (page, number) in self.pages.iter().zip(1_u64..) {
            let hash = page.as_deref().map_or(0, Page::hash);
            if hash != 0 {
                sum = sum.wrapping_add(mix2(number, hash));
            }
        }
        sum
    }

    /// Whether these bytes stand at `offset`.
    pub(super) fn has(&self, offset: u64, bytes: &[u8]) -> bool {
        if offset.saturating_add(bytes.len() as u64) > self.len {
            return false;
        }
        let mut same = true;
        for_each_page(offset, bytes.len(), |page, within, range| {
            let Some(bytes) = bytes.get(range) else { return };
            same &= match self.page(page) {
                Some(page) => page.bytes.get(within..within + bytes.len()) == Some(bytes),
                None => bytes.iter().all(|byte| *byte == 0),
            };
        });
        same
    }

    fn page(&self, number: usize) -> Option<&Page> {
        self.pages.get(number)?.as_deref()
    }

    fn page_mut(&mut self, number: usize) -> &mut Page {
        if self.pages.len() <= number {
            self.pages.resize(number + 1, None);
        }
        let slot = self.pages.get_mut(number).expect("the pages reach this far by now");
        let page = Arc::make_mut(slot.get_or_insert_with(|| Arc::new(Page::zeros())));
        *page.hash.get_mut() = 0;
        page
    }
}

/// Calls `f` for each page that a range touches: its number, where in it the piece begins, and which
/// of the range's bytes the piece has.
fn for_each_page(
    offset: u64,
    count: usize,
    mut f: impl FnMut(usize, usize, std::ops::Range<usize>),
) {
    let mut done = 0;
    while done < count {
        // Offsets of bytes that exist are at most `LEN_MAX`.
        let at = offset as usize + done;
        let within = at % PAGE_LEN;
        let piece = (PAGE_LEN - within).min(count - done);
        f(at / PAGE_LEN, within, done..done + piece);
        done += piece;
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Write(usize, Vec<u8>),
        Zero(usize, usize),
        SetLen(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..20_000_usize, vec(any::<u8>(), 0..9000)).prop_map(|(at, b)| Step::Write(at, b)),
            (0..20_000_usize, 0..9000_usize).prop_map(|(at, len)| Step::Zero(at, len)),
            (0..20_000_usize).prop_map(Step::SetLen),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Pages are a `Vec` of bytes, a copy stays as it was, and equal bytes have equal hashes
        /// however they came about.
        #[test]
        fn are_bytes(steps in vec(step(), 0..12)) {
            let (mut pages, mut model) = (Pages::default(), Vec::new());
            for step in steps {
                let (copy, before) = (pages.clone(), model.clone());
                match step {
                    Step::Write(at, bytes) => {
                        pages.write(at as u64, &bytes).unwrap();
                        if !bytes.is_empty() {
                            model.resize(model.len().max(at + bytes.len()), 0);
                            model[at..at + bytes.len()].copy_from_slice(&bytes);
                        }
                    }
                    Step::Zero(at, len) => {
                        pages.zero(at as u64, len as u64);
                        let end = model.len().min(at + len);
                        model[at.min(end)..end].fill(0);
                    }
                    Step::SetLen(len) => {
                        pages.set_len(len as u64).unwrap();
                        model.resize(len, 0);
                    }
                }
                prop_assert!(pages.has(0, &model));
                prop_assert!(copy.has(0, &before));
                prop_assert_eq!(copy.len(), before.len() as u64);
            }
            let mut read = vec![1; model.len() + 10];
            prop_assert_eq!(pages.read(0, &mut read), model.len());
            prop_assert_eq!(&read[..model.len()], &model);
            let mut anew = Pages::default();
            anew.set_len(model.len() as u64).unwrap();
            anew.write(0, &model).unwrap();
            prop_assert_eq!(anew.hash(), pages.hash());
            if !model.is_empty() {
                anew.write(model.len() as u64 / 2, &[!model[model.len() / 2]]).unwrap();
                prop_assert_ne!(anew.hash(), pages.hash());
            }
        }
    }

    /// A place that no log has is refused instead of taking memory.
    #[test]
    fn far_places_are_refused() {
        let mut pages = Pages::default();
        assert!(pages.write(LEN_MAX, &[1]).is_err());
        assert!(pages.write(u64::MAX, &[1]).is_err());
        assert!(pages.set_len(u64::MAX).is_err());
        assert_eq!(pages.read(u64::MAX, &mut [0; 4]), 0);
        assert!(!pages.has(u64::MAX, &[0; 4]));
    }
}
