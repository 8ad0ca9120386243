//! What is written to logs.

use std::ops::Range;

/// Bytes of a block that takes two frames of the encrypted stream.
const LARGE: usize = 100_000;

/// Blocks of a history of a log: of many sizes, and no two the same.
pub(super) fn blocks(history: u64, range: Range<u64>) -> Vec<Vec<u8>> {
    range.map(|seq| block(history, seq)).collect()
}

/// One block of a history.
pub(super) fn block(history: u64, seq: u64) -> Vec<u8> {
    let text = format!("block {seq} of history {history};");
    let size = match seq % 50 {
        30 => LARGE,
        rest => text.len() + usize::try_from(rest).unwrap_or_default(),
    };
    text.into_bytes().into_iter().cycle().take(size).collect()
}

/// In which of the first blocks the byte at an offset is, and where in it.
pub(super) fn place_of(byte: u64) -> (u64, u64) {
    let mut start = 0;
    for seq in 0.. {
        let end = start + block(0, seq).len() as u64;
        if byte < end {
            return (seq, byte - start);
        }
        start = end;
    }
    unreachable!("the blocks have no end");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_byte_counts_all_blocks_before_it() {
        let sizes: Vec<u64> = blocks(0, 0..3).iter().map(|block| block.len() as u64).collect();
        assert_eq!(place_of(0), (0, 0));
        assert_eq!(place_of(sizes[0] - 1), (0, sizes[0] - 1));
        assert_eq!(place_of(sizes[0]), (1, 0));
        assert_eq!(place_of(sizes[0] + sizes[1] + 5), (2, 5));
    }
}
