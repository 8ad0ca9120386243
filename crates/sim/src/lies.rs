//! What a peer says that lies: a device of the group whose messages are changed before they leave.
//!
//! Its connection is one that others encrypt, so that whole messages can be changed. To the remote
//! it is the device: it has proven that.

use crate::plan::LieKind;

/// One direction of a connection with a liar.
#[derive(Debug, Default)]
pub(crate) struct Lies {
    /// By the number of the message that they begin with.
    planned: Vec<(u32, LieKind)>,
    count: u32,
    /// Messages that were sent, to be sent again.
    sent: Vec<Vec<u8>>,
    held: Option<Vec<u8>>,
    /// It says that its data is other than it is.
    is_digest_wrong: bool,
}

/// Messages that are remembered.
const SENT_MAX: usize = 32;
/// Numbers that parsers like least.
const NUMBERS: [u64; 8] = [0, 1, 0xfc, 0xfd, 1 << 32, (1 << 53) + 1, 1 << 63, u64::MAX];

impl Lies {
    pub(crate) fn new(mut planned: Vec<(u32, LieKind)>) -> Self {
        planned.sort_by_key(|(at, _)| *at);
        Self { planned, ..Self::default() }
    }

    /// What is sent in place of a message, and the lies that are told by it.
    pub(crate) fn tell(
        &mut self,
        message: &[u8],
        digest: &[u8; 16],
    ) -> (Vec<Vec<u8>>, Vec<LieKind>) {
        let at = self.count;
        self.count += 1;
        let due = self.planned.partition_point(|(one, _)| *one <= at);
        let kinds: Vec<LieKind> = self.planned.drain(..due).map(|(_, kind)| kind).collect();
        let mut out = vec![message.to_vec()];
        for &kind in &kinds {
            self.apply(kind, &mut out);
        }
        if self.is_digest_wrong {
            out.iter_mut().for_each(|message| change_digest(message, digest));
        }
        if self.sent.len() < SENT_MAX {
            self.sent.push(message.to_vec());
        }
        if !kinds.iter().any(|kind| matches!(kind, LieKind::Late)) {
            out.extend(self.held.take());
        }
        (out, kinds)
    }

    fn apply(&mut self, kind: LieKind, out: &mut Vec<Vec<u8>>) {
        let Some(message) = out.first_mut() else { return };
        let place = |offset: u32| offset as usize % message.len().max(1);
        match kind {
            LieKind::Flip(bit) => {
                let at = place(bit / 8);
                if let Some(byte) = message.get_mut(at) {
                    *byte ^= 1 << (bit % 8);
                }
            }
            LieKind::Number { at, number } => {
                let number = NUMBERS[usize::from(number) % NUMBERS.len()];
                let at = place(at);
                let mut new = message[..at].to_vec();
                put(&mut new, number, at % 2 == 0);
                new.extend(message.get(at + 1..).unwrap_or_default());
                *message = new;
            }
            LieKind::Cut(len) => {
                let len = place(len);
                message.truncate(len);
            }
            LieKind::Garbage { channel, ty, len } => {
                let mut garbage = vec![channel, ty];
                garbage.extend((0..len).map(|n| (n as u8).wrapping_mul(167).wrapping_add(ty)));
                out.push(garbage);
            }
            LieKind::Withhold => out.clear(),
            LieKind::Again(times) => {
                let again = message.clone();
                out.extend((0..times).map(|_| again.clone()));
            }
            LieKind::Replay(which) => {
                out.extend(self.sent.get(usize::from(which) % SENT_MAX).cloned());
            }
            LieKind::Digest => self.is_digest_wrong = true,
            LieKind::Late => {
                if !out.is_empty() {
                    self.held = Some(out.remove(0));
                }
            }
        }
    }
}

fn change_digest(message: &mut [u8], digest: &[u8; 16]) {
    let found = message.windows(digest.len()).position(|bytes| bytes == digest);
    if let Some(byte) = found.and_then(|at| message.get_mut(at)) {
        *byte ^= 1;
    }
}

/// A number as the protocol's own messages have it, or as those of protobuf.
fn put(out: &mut Vec<u8>, mut number: u64, is_compact: bool) {
    if is_compact {
        out.push(0xff);
        out.extend(number.to_le_bytes());
        return;
    }
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
