//! The XChaCha20-Poly1305 secret stream of libsodium, one direction each.
//!
//! Written here on the two primitives because the crate of that name does not rekey after
//! [`Tag::FINAL`], which libsodium does, and moves every message once more than needed.

use bytes::{Bytes, BytesMut};
use chacha20::ChaCha20;
use chacha20::cipher::consts::U10;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use poly1305::Poly1305;
use poly1305::universal_hash::{KeyInit, UniversalHash};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::fault::PeerFault;

/// The first, encrypted byte of a message. Peers send [`MESSAGE`](Self::MESSAGE) only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(pub u8);

impl Tag {
    /// An ordinary message.
    pub const MESSAGE: Self = Self(0);
    /// The end of a group of messages. Without consequences.
    pub const PUSH: Self = Self(1);
    /// Both sides change their keys after this message.
    pub const REKEY: Self = Self(2);
    /// The last message. Changes the keys as [`REKEY`](Self::REKEY) does.
    pub const FINAL: Self = Self(3);
}

/// Bytes that a message is longer than its plaintext: a tag and an authenticator.
pub(crate) const OVERHEAD_LEN: usize = 1 + MAC_LEN;

/// Bytes of the header from which both ends derive their first key.
pub(crate) const HEADER_LEN: usize = 24;

/// Encrypts the messages of one direction, in order.
#[derive(Debug)]
pub struct Push(State);

impl Push {
    /// Starts the direction whose key is `key`. The other end needs `header` as well.
    #[must_use]
    pub fn new(key: &[u8; 32], header: &[u8; HEADER_LEN]) -> Self {
        Self(State::new(key, header))
    }

    /// Appends `message`, encrypted and 17 bytes longer, to `out`.
    pub fn seal(&mut self, tag: Tag, message: &[u8], out: &mut BytesMut) {
        let start = out.len();
        out.reserve(message.len() + OVERHEAD_LEN);
        let (mut cipher, mac_key, mut tag_block) = self.0.first_blocks(tag.0);
        out.extend_from_slice(&[tag_block.first().copied().expect("the block has 64 bytes")]);
        out.extend_from_slice(message);
        let ciphertext = out.get_mut(start + 1..).expect("the tag byte was just appended");
        cipher.apply_keystream(ciphertext);
        let mac = authenticator(&mac_key, &tag_block, ciphertext);
        out.extend_from_slice(&mac);
        tag_block.zeroize();
        self.0.advance(tag, &mac);
    }
}

/// Decrypts the messages of one direction, in order.
#[derive(Debug)]
pub struct Pull(State);

impl Pull {
    /// Starts the direction whose key is `key` and whose sender chose `header`.
    #[must_use]
    pub fn new(key: &[u8; 32], header: &[u8; HEADER_LEN]) -> Self {
        Self(State::new(key, header))
    }

    /// Decrypts `body` in place and returns tag and plaintext, which share its allocation.
    ///
    /// # Errors
    ///
    /// [`PeerFault::ShortMessage`] or [`PeerFault::Mac`]. The state is then as it was.
    pub fn open(&mut self, mut body: BytesMut) -> Result<(Tag, Bytes), PeerFault> {
        let too_short = PeerFault::ShortMessage { len: body.len() };
        let mac_at = body.len().checked_sub(MAC_LEN).filter(|&at| at > 0).ok_or(too_short)?;
        let mac = body.split_off(mac_at);
        let mut message = body.split_off(1);
        let tag_byte = body.first().copied().expect("mac_at is above zero, so one byte is left");

        let (mut cipher, mac_key, mut tag_block) = self.0.first_blocks(0);
        let first = tag_block.first_mut().expect("the block has 64 bytes");
        // The keystream byte was there; the remote's byte goes into the authenticated block.
        let tag = Tag(*first ^ tag_byte);
        *first = tag_byte;
        let expected = authenticator(&mac_key, &tag_block, &message);
        tag_block.zeroize();
        if !bool::from(expected.ct_eq(mac.as_ref())) {
            return Err(PeerFault::Mac);
        }
        cipher.apply_keystream(&mut message);
        self.0.advance(tag, &expected);
        Ok((tag, message.freeze()))
    }
}

/// Key and nonce of the next message.
#[derive(Zeroize, ZeroizeOnDrop)]
struct State {
    key: [u8; 32],
    /// Counts messages since the last change of keys, from 1.
    counter: u32,
    inonce: [u8; INONCE_LEN],
}

impl State {
    fn new(key: &[u8; 32], header: &[u8; HEADER_LEN]) -> Self {
        let (salt, inonce) = header.split_first_chunk::<16>().expect("24 is more than 16");
        let key = chacha20::hchacha::<U10>(key.into(), salt.into()).into();
        let inonce = *inonce.first_chunk().expect("24 less 16 is 8");
        Self { key, counter: 1, inonce }
    }

    fn cipher(&self) -> ChaCha20 {
        let mut nonce = [0; 12];
        let (counter, inonce) = nonce.split_at_mut(4);
        counter.copy_from_slice(&self.counter.to_le_bytes());
        inonce.copy_from_slice(&self.inonce);
        ChaCha20::new(&self.key.into(), &nonce.into())
    }

    /// Draws the two blocks of keystream before the message: the key of the authenticator (half a
    /// block) and the block that encrypts the tag byte. The cipher is left at the message.
    fn first_blocks(&self, tag: u8) -> (ChaCha20, [u8; 32], [u8; BLOCK_LEN]) {
        let mut cipher = self.cipher();
        let mut mac_block = [0; BLOCK_LEN];
        cipher.apply_keystream(&mut mac_block);
        let mac_key = *mac_block.first_chunk().expect("64 is more than 32");
        mac_block.zeroize();
        let mut tag_block = [0; BLOCK_LEN];
        *tag_block.first_mut().expect("the block has 64 bytes") = tag;
        cipher.apply_keystream(&mut tag_block);
        (cipher, mac_key, tag_block)
    }

    fn advance(&mut self, tag: Tag, mac: &[u8; MAC_LEN]) {
        for (byte, mac_byte) in self.inonce.iter_mut().zip(mac) {
            *byte ^= mac_byte;
        }
        self.counter = self.counter.wrapping_add(1);
        if tag.0 & Tag::REKEY.0 != 0 || self.counter == 0 {
            self.rekey();
        }
    }

    fn rekey(&mut self) {
        let mut cipher = self.cipher();
        cipher.apply_keystream(&mut self.key);
        cipher.apply_keystream(&mut self.inonce);
        self.counter = 1;
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("counter", &self.counter).finish_non_exhaustive()
    }
}

/// Poly1305 over tag block, ciphertext, padding and the two lengths.
///
/// The padding is the one of libsodium, `len % 16` zeros and not what fills up a block: a slip
/// of its first release that all implementations repeat.
fn authenticator(
    mac_key: &[u8; 32],
    tag_block: &[u8; BLOCK_LEN],
    ciphertext: &[u8],
) -> [u8; MAC_LEN] {
    let mut mac = Poly1305::new(mac_key.into());
    mac.update_padded(tag_block);
    let tail_len = ciphertext.len() % MAC_LEN;
    let (blocks, tail) = ciphertext.split_at(ciphertext.len() - tail_len);
    mac.update_padded(blocks);

    let mut last = [0; 3 * MAC_LEN];
    let used = 2 * tail_len + MAC_LEN;
    let last = last.get_mut(..used).expect("a tail is under 16 bytes, so used is under 48");
    let (tail_to, rest) = last.split_at_mut(tail_len);
    tail_to.copy_from_slice(tail);
    let lengths = rest.get_mut(tail_len..).expect("rest is the padding and 16 bytes");
    let (associated, total) = lengths.split_at_mut(8);
    associated.copy_from_slice(&0_u64.to_le_bytes());
    total.copy_from_slice(&((BLOCK_LEN + ciphertext.len()) as u64).to_le_bytes());
    mac.compute_unpadded(last).into()
}

const MAC_LEN: usize = 16;
const BLOCK_LEN: usize = 64;
const INONCE_LEN: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn seal(push: &mut Push, tag: Tag, message: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        push.seal(tag, message, &mut out);
        out
    }

    /// A wrapped counter changes the keys on both sides, which libsodium does too.
    #[test]
    fn counter_that_wraps_rekeys() {
        let (mut push, mut pull) = (Push::new(&[1; 32], &[2; 24]), Pull::new(&[1; 32], &[2; 24]));
        push.0.counter = u32::MAX;
        pull.0.counter = u32::MAX;
        let key_before = push.0.key;
        let first = seal(&mut push, Tag::MESSAGE, b"last of the old key");
        assert_ne!(push.0.key, key_before);
        assert_eq!(push.0.counter, 1);
        let second = seal(&mut push, Tag::MESSAGE, b"first of the new key");
        assert_eq!(pull.open(first).unwrap().1, "last of the old key");
        assert_eq!(pull.open(second).unwrap().1, "first of the new key");
    }

    /// The keys change after every tag with the rekeying bit in it, the final one included, and after
    /// no other: libsodium looks at the bit and not at the whole tag.
    #[test]
    fn tags_with_the_bit_rekey() {
        for tag in 0..=u8::MAX {
            let mut push = Push::new(&[1; 32], &[2; 24]);
            let key_before = push.0.key;
            seal(&mut push, Tag(tag), b"x");
            assert_eq!(push.0.key != key_before, tag & 2 != 0, "tag {tag}");
        }
    }

    proptest! {
        /// What is sealed opens again, in order, whatever the tags.
        #[test]
        fn messages_round_trip(messages in vec((vec(any::<u8>(), 0..200), any::<u8>()), 0..8)) {
            let mut push = Push::new(&[7; 32], &[9; 24]);
            let mut pull = Pull::new(&[7; 32], &[9; 24]);
            for (message, tag) in messages {
                let sealed = seal(&mut push, Tag(tag), &message);
                prop_assert_eq!(sealed.len(), message.len() + OVERHEAD_LEN);
                let (got_tag, got) = pull.open(sealed).unwrap();
                prop_assert_eq!(got_tag, Tag(tag));
                prop_assert_eq!(got, message);
            }
        }

        /// A message with any one bit flipped is refused, and the true one is still taken after.
        #[test]
        fn flipped_bit_is_refused(message in vec(any::<u8>(), 0..100), at: prop::sample::Index) {
            let sealed = seal(&mut Push::new(&[7; 32], &[9; 24]), Tag::MESSAGE, &message);
            let mut pull = Pull::new(&[7; 32], &[9; 24]);
            let bit = at.index(sealed.len() * 8);
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(pull.open(changed).unwrap_err(), PeerFault::Mac);
            prop_assert_eq!(pull.open(sealed).unwrap().1, message);
        }

        /// Arbitrary bytes are refused without a panic.
        #[test]
        fn arbitrary_bytes_are_refused(bytes in vec(any::<u8>(), 0..100)) {
            let opened = Pull::new(&[7; 32], &[9; 24]).open(BytesMut::from(bytes.as_slice()));
            prop_assert!(opened.is_err());
        }
    }
}
