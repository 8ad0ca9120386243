use multibee_replica::{
    EphemeralSource, PeerFault, Role, SecureStream, SendError, SessionKeys, StaticKeys,
};
use proptest::collection::vec;
use proptest::prelude::*;

const PLAINTEXT_LEN_MAX: usize = 16_777_198;

fn end(role: Role) -> SecureStream {
    let number = if role == Role::Initiator { 1 } else { 2 };
    let keys = StaticKeys::from_seed([number; 32]);
    SecureStream::new(role, &keys, EphemeralSource::from_seed([number + 10; 32]))
}

fn pair() -> (SecureStream, SecureStream) {
    (end(Role::Initiator), end(Role::Responder))
}

fn take_output(stream: &mut SecureStream) -> Vec<u8> {
    let pieces: Vec<_> = std::iter::from_fn(|| stream.poll_transmit()).collect();
    assert_eq!(stream.transmit_len(), 0);
    pieces.concat()
}

/// Carries bytes back and forth, `cut` at a time, until both are silent.
fn drive(a: &mut SecureStream, b: &mut SecureStream, cut: usize) -> Result<(), PeerFault> {
    loop {
        let (from_a, from_b) = (take_output(a), take_output(b));
        if from_a.is_empty() && from_b.is_empty() {
            return Ok(());
        }
        from_a.chunks(cut).try_for_each(|piece| b.receive(piece))?;
        from_b.chunks(cut).try_for_each(|piece| a.receive(piece))?;
    }
}

fn established() -> (SecureStream, SecureStream) {
    let (mut a, mut b) = pair();
    drive(&mut a, &mut b, usize::MAX).unwrap();
    assert!(a.is_established() && b.is_established());
    (a, b)
}

fn received(stream: &mut SecureStream) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| stream.poll_plaintext().unwrap()).map(|bytes| bytes.to_vec()).collect()
}

/// Each side learns who the other is, and both the same hash.
#[test]
fn handshake_identifies_both() {
    let (a, b) = established();
    let (of_a, of_b) = (a.handshake().unwrap(), b.handshake().unwrap());
    assert_eq!(of_a.hash, of_b.hash);
    assert_eq!(of_a.remote_static, StaticKeys::from_seed([2; 32]).public_key());
    assert_eq!(of_b.remote_static, StaticKeys::from_seed([1; 32]).public_key());
}

/// Same seeds, same bytes: a simulation can be run again.
#[test]
fn same_seeds_same_bytes() {
    let run = || {
        let (mut a, mut b) = established();
        a.send(b"hello").unwrap();
        b.send_keepalive();
        (take_output(&mut a), take_output(&mut b))
    };
    assert_eq!(run(), run());
}

/// Two initiators, or a peer that sends back what it gets, never get through.
#[test]
fn equal_roles_fail() {
    let mut initiator = end(Role::Initiator);
    let own = take_output(&mut initiator);
    assert_eq!(initiator.receive(&own), Err(PeerFault::Handshake));
    assert_eq!(initiator.receive(&[]), Err(PeerFault::Handshake));
    assert_eq!(initiator.poll_plaintext(), Err(PeerFault::Handshake));
}

/// Nothing can be sent before keys are agreed on; a keepalive then is no error.
#[test]
fn sending_early_is_refused() {
    let mut responder = end(Role::Responder);
    assert_eq!(responder.send(b"x"), Err(SendError::NotReady));
    responder.send_keepalive();
    assert_eq!(responder.transmit_len(), 0);
}

/// Keepalives authenticate and vanish; what comes between them arrives.
#[test]
fn keepalives_are_dropped() {
    let (mut a, mut b) = established();
    a.send_keepalive();
    a.send(b"one").unwrap();
    a.send_keepalive();
    assert_eq!(a.transmit_len(), 20 + 23 + 20);
    b.receive(&take_output(&mut a)).unwrap();
    assert_eq!(received(&mut b), [b"one"]);
}

/// The longest message passes; a longer one is refused by the sender.
#[test]
fn longest_message() {
    let (mut a, mut b) = established();
    let longest = vec![7; PLAINTEXT_LEN_MAX];
    a.send(&longest).unwrap();
    let too_long = SendError::TooLong { len: PLAINTEXT_LEN_MAX + 1, limit: PLAINTEXT_LEN_MAX };
    assert_eq!(a.send(&[longest.as_slice(), &[7]].concat()), Err(too_long));
    take_output(&mut a).chunks(1 << 16).for_each(|piece| b.receive(piece).unwrap());
    assert!(b.poll_plaintext().unwrap().unwrap() == longest);
}

/// A frame of the handshake that announces more than it may ends the stream at once.
#[test]
fn long_handshake_frames_are_refused() {
    let mut responder = end(Role::Responder);
    let fault = PeerFault::FrameTooLong { len: 1025, limit: 1024 };
    assert_eq!(responder.receive(&[1, 4, 0]), Err(fault));
}

/// The header frame has one length, and the id of the other direction is not taken for it.
#[test]
fn wrong_headers_are_refused() {
    let keys = SessionKeys { tx: [1; 32], rx: [2; 32], hash: [3; 64], remote_static: [4; 32] };
    let stream = |role| SecureStream::with_keys(role, &keys, [5; 24]);
    let mut reflected = stream(Role::Initiator);
    let own = take_output(&mut reflected);
    assert_eq!(reflected.receive(&own), Err(PeerFault::StreamId));

    let short = PeerFault::HeaderLength { len: 55 };
    assert_eq!(stream(Role::Initiator).receive(&[&[55, 0, 0], &[0; 55][..]].concat()), Err(short));
    let long = PeerFault::FrameTooLong { len: 57, limit: 56 };
    assert_eq!(stream(Role::Initiator).receive(&[57, 0, 0]), Err(long));
}

/// A repeated message is refused: the state has gone on.
#[test]
fn repetition_is_refused() {
    let (mut a, mut b) = established();
    a.send(b"pay").unwrap();
    let wire = take_output(&mut a);
    b.receive(&wire).unwrap();
    assert_eq!(received(&mut b), [b"pay"]);
    b.receive(&wire).unwrap();
    assert_eq!(b.poll_plaintext(), Err(PeerFault::Mac));
    assert_eq!(b.receive(&[]), Err(PeerFault::Mac));
}

/// A message that is left out is noticed at the next one.
#[test]
fn omission_is_refused() {
    let (mut a, mut b) = established();
    a.send(b"one").unwrap();
    take_output(&mut a);
    a.send(b"two").unwrap();
    b.receive(&take_output(&mut a)).unwrap();
    assert_eq!(b.poll_plaintext(), Err(PeerFault::Mac));
}

proptest! {
    /// However the network cuts the bytes, and however much is sent ahead, the same messages come
    /// out in order, both ways.
    #[test]
    fn messages_survive_any_split(
        to_b in vec(vec(any::<u8>(), 1..300), 0..6),
        to_a in vec(vec(any::<u8>(), 1..300), 0..6),
        cut in 1..200_usize,
    ) {
        let (mut a, mut b) = pair();
        // The initiator sends as soon as it may: behind its last handshake message.
        b.receive(&take_output(&mut a)).unwrap();
        a.receive(&take_output(&mut b)).unwrap();
        to_b.iter().for_each(|message| a.send(message).unwrap());
        drive(&mut a, &mut b, cut).unwrap();
        to_a.iter().for_each(|message| b.send(message).unwrap());
        drive(&mut a, &mut b, cut).unwrap();
        prop_assert_eq!(received(&mut a), to_a);
        prop_assert_eq!(received(&mut b), to_b);
    }

    /// One flipped bit anywhere in what the initiator sends, and the responder takes nothing
    /// from there on: it faults, or (a longer frame announced) waits for the rest.
    #[test]
    fn flipped_bits_are_noticed(at: prop::sample::Index) {
        let (mut a, mut b) = pair();
        let mut sent = take_output(&mut a);
        b.receive(&sent).unwrap();
        a.receive(&take_output(&mut b)).unwrap();
        let first_len = sent.len();
        a.send(b"first").unwrap();
        a.send(b"second").unwrap();
        sent.extend(take_output(&mut a));

        let bit = at.index(sent.len() * 8);
        sent[bit / 8] ^= 1 << (bit % 8);
        let mut b = end(Role::Responder);
        let outcome = b.receive(&sent[..first_len]).and_then(|()| b.receive(&sent[first_len..]));
        let mut got = Vec::new();
        let fault = loop {
            match outcome.clone().and_then(|()| b.poll_plaintext()) {
                Ok(Some(message)) => got.push(message.to_vec()),
                Ok(None) => break None,
                Err(fault) => break Some(fault),
            }
        };
        let true_ones: [&[u8]; 2] = [b"first", b"second"];
        prop_assert!(got.len() < 2, "the changed message was taken");
        prop_assert!(got.iter().zip(true_ones).all(|(got, sent)| got == sent));
        if fault.is_none() {
            // Only a length can make it wait, and then more bytes end it.
            let more = b.receive(&vec![0; 1 << 24]).and_then(|()| b.poll_plaintext().map(drop));
            prop_assert!(more.is_err());
        }
    }

    /// Arbitrary bytes in any phase end in a fault or in waiting, never in a message or a panic.
    #[test]
    fn arbitrary_bytes_give_no_message(bytes in vec(any::<u8>(), 0..400), begun: bool) {
        let (mut a, mut b) = if begun { established() } else { pair() };
        for stream in [&mut a, &mut b] {
            let outcome = stream.receive(&bytes).and_then(|()| stream.poll_plaintext());
            prop_assert!(!matches!(outcome, Ok(Some(_))));
        }
    }
}
