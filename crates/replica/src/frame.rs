//! Frames of the byte stream: `length: u24 little-endian || body` (docs/spec/wire.md section 2.1).

use bytes::{Buf, BytesMut};

use crate::fault::PeerFault;

/// Takes frames off a byte stream however the network cuts it.
///
/// Memory grows with the bytes that have arrived, never with the length that was announced.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    input: BytesMut,
}

impl FrameReader {
    /// Adds what was read from the stream.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Nothing has happened for a while: keeps no room for what may come, if nothing is there.
    pub(crate) fn rest(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
    }

    /// Takes one whole frame off the front, or says that it is not all there yet.
    ///
    /// The body shares the reader's allocation; nothing is copied.
    ///
    /// # Errors
    ///
    /// [`PeerFault::FrameTooLong`] as soon as more than `limit` bytes are announced.
    pub(crate) fn next_frame(&mut self, limit: usize) -> Result<Option<BytesMut>, PeerFault> {
        let Some((&[a, b, c], rest)) = self.input.split_first_chunk::<LENGTH_LEN>() else {
            return Ok(None);
        };
        let len = usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16;
        if len > limit {
            return Err(PeerFault::FrameTooLong { len, limit });
        }
        if rest.len() < len {
            return Ok(None);
        }
        self.input.advance(LENGTH_LEN);
        let body = self.input.split_to(len);
        Ok(Some(body))
    }
}

/// Appends the length of a body that follows.
///
/// # Panics
///
/// If `len` does not fit in 24 bits, which callers check where the plaintext comes in.
pub(crate) fn put_length(len: usize, out: &mut BytesMut) {
    let len = u32::try_from(len).ok().filter(|&len| len < 1 << 24);
    let [a, b, c, _] = len.expect("callers keep bodies under 2^24 bytes").to_le_bytes();
    out.extend_from_slice(&[a, b, c]);
}

const LENGTH_LEN: usize = 3;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// A length beyond the limit is refused before any of the body has come.
    #[test]
    fn too_long_is_refused_at_once() {
        let mut reader = FrameReader::default();
        reader.push(&[0x01, 0x04]);
        assert_eq!(reader.next_frame(1024), Ok(None));
        reader.push(&[0x00]);
        let fault = PeerFault::FrameTooLong { len: 1025, limit: 1024 };
        assert_eq!(reader.next_frame(1024), Err(fault));
    }

    /// An announced giant costs only what has arrived of it.
    #[test]
    fn memory_grows_with_arrival() {
        let mut reader = FrameReader::default();
        reader.push(&[0xff, 0xff, 0xff, 1, 2, 3]);
        assert_eq!(reader.next_frame((1 << 24) - 1), Ok(None));
        assert!(reader.input.capacity() < 1024);
    }

    /// While nothing happens, nothing is kept of what the last frames came in; what has come of the
    /// next one stays.
    #[test]
    fn idle_reader_has_no_buffer() {
        let mut reader = FrameReader::default();
        reader.push(&[1, 0, 0, 7, 2, 0, 0, 8]);
        assert_eq!(reader.next_frame(1024).unwrap().unwrap(), [7][..]);
        reader.rest();
        reader.push(&[9]);
        assert_eq!(reader.next_frame(1024).unwrap().unwrap(), [8, 9][..]);
        reader.rest();
        assert_eq!(reader.input.capacity(), 0);
    }

    proptest! {
        /// However the network cuts the stream into reads, the same frames come out in order.
        #[test]
        fn frames_survive_any_split(
            sent in vec(vec(any::<u8>(), 0..600), 0..8),
            cut in 1..64_usize,
        ) {
            let mut wire = BytesMut::new();
            for body in &sent {
                put_length(body.len(), &mut wire);
                wire.extend_from_slice(body);
            }
            let (mut reader, mut received) = (FrameReader::default(), Vec::new());
            for piece in wire.chunks(cut) {
                reader.push(piece);
                while let Some(body) = reader.next_frame(600).unwrap() {
                    received.push(body.to_vec());
                }
            }
            prop_assert_eq!(received, sent);
            prop_assert!(reader.input.is_empty());
        }
    }
}
