use bytes::Bytes;
use multibee_replica::{LocalId, Mux, MuxEvent, PeerFault, RemoteId, SendError};
use proptest::collection::vec;
use proptest::prelude::*;

fn frames(mux: &mut Mux) -> Vec<Bytes> {
    let frames = std::iter::from_fn(|| mux.poll_frame(usize::MAX)).collect();
    assert_eq!(mux.queued_len(), 0);
    frames
}

fn carry(from: &mut Mux, to: &mut Mux) {
    frames(from).into_iter().for_each(|frame| to.handle_frame(frame));
}

fn events(mux: &mut Mux) -> Vec<MuxEvent> {
    std::iter::from_fn(|| mux.poll_event().unwrap()).collect()
}

fn fault(mux: &mut Mux, frame: &'static [u8]) -> PeerFault {
    mux.handle_frame(Bytes::from_static(frame));
    loop {
        match mux.poll_event() {
            Ok(event) => assert!(event.is_some(), "no fault"),
            Err(fault) => return fault,
        }
    }
}

fn remote_open(mux: &mut Mux) -> RemoteId {
    match mux.poll_event().unwrap() {
        Some(MuxEvent::RemoteOpen { remote_id, .. }) => remote_id,
        other => panic!("{other:?}"),
    }
}

/// Both open the same name; gives the ids of both.
fn opened(a: &mut Mux, b: &mut Mux, name: &[u8]) -> (LocalId, LocalId) {
    let of_a = a.open("p", name, b"a");
    carry(a, b);
    remote_open(b);
    let of_b = b.open("p", name, b"b");
    carry(b, a);
    let handshake = Bytes::from_static(b"b");
    assert_eq!(events(a), [MuxEvent::Opened { local_id: of_a, handshake }]);
    let handshake = Bytes::from_static(b"a");
    assert_eq!(events(b), [MuxEvent::Opened { local_id: of_b, handshake }]);
    (of_a, of_b)
}

fn message(local_id: LocalId, ty: u64, payload: &'static [u8]) -> MuxEvent {
    MuxEvent::Message { local_id, ty, payload: Bytes::from_static(payload) }
}

/// Opens that cross on the wire are one channel.
#[test]
fn crossing_opens_pair() {
    let (mut a, mut b) = (Mux::new(), Mux::new());
    let (of_a, of_b) = (a.open("p", b"x", b"1"), b.open("p", b"x", b"2"));
    carry(&mut a, &mut b);
    carry(&mut b, &mut a);
    let handshake = Bytes::from_static(b"2");
    assert_eq!(events(&mut a), [MuxEvent::Opened { local_id: of_a, handshake }]);
    let handshake = Bytes::from_static(b"1");
    assert_eq!(events(&mut b), [MuxEvent::Opened { local_id: of_b, handshake }]);
    assert!(frames(&mut a).is_empty() && frames(&mut b).is_empty());
}

/// Messages that come before the answer are held, and follow the opening in their order.
#[test]
fn early_messages_are_held() {
    let (mut a, mut b) = (Mux::new(), Mux::new());
    let of_a = a.open("p", b"x", b"hi");
    a.send(of_a, 0, &b"zero"[..]).unwrap();
    a.send(of_a, 300, &b"one"[..]).unwrap();
    carry(&mut a, &mut b);
    remote_open(&mut b);
    assert_eq!(b.poll_event(), Ok(None));
    let of_b = b.open("p", b"x", b"");
    let handshake = Bytes::from_static(b"hi");
    assert_eq!(
        events(&mut b),
        [
            MuxEvent::Opened { local_id: of_b, handshake },
            message(of_b, 0, b"zero"),
            message(of_b, 300, b"one"),
        ]
    );
}

/// What is decoded later is not decoded before an open is answered: nothing has to be held when the
/// answer comes at once, however much follows in the same batch.
#[test]
fn answer_comes_before_what_follows() {
    let (mut a, mut b) = (Mux::new(), Mux::new());
    a.cork();
    let of_a = a.open("p", b"x", b"");
    for _ in 0..3 {
        a.send(of_a, 1, vec![0; 20_000]).unwrap();
    }
    a.uncork();
    carry(&mut a, &mut b);
    remote_open(&mut b);
    b.open("p", b"x", b"");
    assert_eq!(events(&mut b).len(), 4);
}

/// A channel that sends more than is held before it is answered is refused, and only that one.
#[test]
fn too_much_before_the_answer_is_refused() {
    let (mut a, mut b) = (Mux::new(), Mux::new());
    let (heavy, light) = (a.open("p", b"x", b""), a.open("p", b"y", b""));
    a.send(light, 0, &b"ok"[..]).unwrap();
    for _ in 0..4 {
        a.send(heavy, 0, vec![0; 10_000]).unwrap();
    }
    carry(&mut a, &mut b);
    let remote_id = remote_open(&mut b);
    remote_open(&mut b);
    assert_eq!(events(&mut b), [MuxEvent::Withdrawn { remote_id }]);
    let of_b = b.open("p", b"y", b"");
    assert_eq!(events(&mut b).last(), Some(&message(of_b, 0, b"ok")));
    carry(&mut b, &mut a);
    assert_eq!(events(&mut a).first(), Some(&MuxEvent::Rejected { local_id: heavy }));
    assert!(!a.is_open(heavy) && a.is_open(light));
}

/// What is held is given back to the budget, whether the answer is yes, no, or too late.
#[test]
fn held_bytes_are_given_back() {
    let (mut a, mut b) = (Mux::new(), Mux::new());
    for round in 0..30 {
        let of_a = a.open("p", b"x", &[0; 1000]);
        a.send(of_a, 0, vec![0; 20_000]).unwrap();
        carry(&mut a, &mut b);
        let remote_id = remote_open(&mut b);
        assert_eq!(b.poll_event(), Ok(None), "held, not withdrawn, in round {round}");
        match round % 3 {
            0 => {
                let of_b = b.open("p", b"x", b"");
                b.close(of_b);
            }
            1 => b.reject(remote_id),
            _ => a.close(of_a),
        }
        carry(&mut a, &mut b);
        events(&mut b);
        carry(&mut b, &mut a);
        events(&mut a);
    }
}

/// A late answer to a withdrawn open does not reach the open that has its number now.
#[test]
fn stale_answers_reach_nobody() {
    let (mut a, mut b) = (Mux::new(), Mux::new());
    let of_a = a.open("p", b"x", b"");
    carry(&mut a, &mut b);
    let stale = remote_open(&mut b);
    a.close(of_a);
    carry(&mut a, &mut b);
    assert_eq!(events(&mut b), [MuxEvent::Withdrawn { remote_id: stale }]);
    carry(&mut b, &mut a);
    events(&mut a);
    let again = a.open("p", b"y", b"");
    carry(&mut a, &mut b);
    assert_ne!(remote_open(&mut b), stale);
    b.reject(stale);
    assert!(frames(&mut b).is_empty());
    b.open("p", b"y", b"");
    carry(&mut b, &mut a);
    let handshake = Bytes::new();
    assert_eq!(events(&mut a), [MuxEvent::Opened { local_id: again, handshake }]);
}

/// An open that is taken back before the answer is void; a late answer does no harm.
#[test]
fn withdrawn_open() {
    let (mut a, mut b) = (Mux::new(), Mux::new());
    let of_a = a.open("p", b"x", b"");
    carry(&mut a, &mut b);
    let remote_id = remote_open(&mut b);
    a.close(of_a);
    carry(&mut a, &mut b);
    assert_eq!(events(&mut b), [MuxEvent::Withdrawn { remote_id }]);
    b.reject(remote_id);
    carry(&mut b, &mut a);
    assert_eq!(events(&mut a), []);
    opened(&mut a, &mut b, b"x");
}

/// A rejection frees the number for the next open, and messages on the way are dropped.
#[test]
fn rejected_open() {
    let (mut a, mut b) = (Mux::new(), Mux::new());
    let of_a = a.open("p", b"x", b"");
    carry(&mut a, &mut b);
    let remote_id = remote_open(&mut b);
    a.send(of_a, 0, &b"in vain"[..]).unwrap();
    b.reject(remote_id);
    b.reject(remote_id);
    carry(&mut a, &mut b);
    assert_eq!(events(&mut b), []);
    carry(&mut b, &mut a);
    assert_eq!(events(&mut a), [MuxEvent::Rejected { local_id: of_a }]);
    a.send(of_a, 0, &b"nowhere"[..]).unwrap();
    assert!(frames(&mut a).is_empty());
    a.open("p", b"y", b"");
    assert_eq!(frames(&mut a)[0][..3], [0, 1, 1], "number 1 again");
}

/// Closes that cross are both final, and the numbers serve again, the last freed first.
#[test]
fn crossing_closes() {
    let (mut a, mut b) = (Mux::new(), Mux::new());
    let (of_a, of_b) = opened(&mut a, &mut b, b"x");
    let (other_a, _) = opened(&mut a, &mut b, b"y");
    b.send(of_b, 0, &b"crossing"[..]).unwrap();
    a.close(of_a);
    b.close(of_b);
    a.close(other_a);
    a.close(other_a);
    let from_b = frames(&mut b);
    carry(&mut a, &mut b);
    from_b.into_iter().for_each(|frame| a.handle_frame(frame));
    assert_eq!(events(&mut a), []);
    assert_eq!(events(&mut b).len(), 1, "only the channel that b had not closed");
    a.open("p", b"z", b"");
    assert_eq!(frames(&mut a)[0][..3], [0, 1, 2], "number 2 was freed last");
}

/// An id of a closed channel does not reach the channel that has its number now.
#[test]
fn stale_ids_reach_nobody() {
    let (mut a, mut b) = (Mux::new(), Mux::new());
    let (stale, _) = opened(&mut a, &mut b, b"x");
    a.close(stale);
    let fresh = a.open("p", b"y", b"");
    frames(&mut a);
    a.send(stale, 0, &b"no"[..]).unwrap();
    a.close(stale);
    assert!(frames(&mut a).is_empty());
    assert!(a.is_open(fresh) && !a.is_open(stale));
}

/// A channel closed before it is answered keeps its number until the answer.
#[test]
fn number_waits_for_the_answer() {
    let (mut a, mut b) = (Mux::new(), Mux::new());
    let of_a = a.open("p", b"x", b"");
    carry(&mut a, &mut b);
    remote_open(&mut b);
    let of_b = b.open("p", b"x", b"");
    a.close(of_a);
    assert!(!a.is_open(of_a));
    a.open("p", b"y", b"");
    let sent = frames(&mut a);
    assert_eq!(sent.len(), 1, "one batch");
    sent.into_iter().for_each(|frame| b.handle_frame(frame));
    carry(&mut b, &mut a);
    assert_eq!(events(&mut a), []);
    assert!(events(&mut b).contains(&MuxEvent::Closed { local_id: of_b }));
    a.open("p", b"z", b"");
    assert_eq!(frames(&mut a)[0][..3], [0, 1, 1], "number 1 is free now");
}

/// Unanswered opens are bounded; the ones beyond are rejected, and the rest are unharmed.
#[test]
fn too_many_opens_are_rejected() {
    let (mut a, mut b) = (Mux::new(), Mux::new());
    let ids: Vec<_> = (0..70_u8).map(|name| a.open("p", &[name], b"")).collect();
    carry(&mut a, &mut b);
    assert_eq!(events(&mut b).len(), 64);
    carry(&mut b, &mut a);
    let rejected: Vec<_> =
        ids[64..].iter().map(|&local_id| MuxEvent::Rejected { local_id }).collect();
    assert_eq!(events(&mut a), rejected);
}

/// Answered opens are bounded too.
#[test]
fn too_many_channels_are_rejected() {
    let (mut a, mut b) = (Mux::new(), Mux::new());
    for number in 0..1030_u32 {
        a.open("p", &number.to_le_bytes(), b"");
    }
    carry(&mut a, &mut b);
    let mut accepted = 0;
    while let Some(event) = b.poll_event().unwrap() {
        if let MuxEvent::RemoteOpen { protocol, channel_id, .. } = event {
            b.open(&protocol, &channel_id, b"");
            accepted += 1;
        }
    }
    assert_eq!(accepted, 1024);
}

/// A remote that only opens what is rejected is hung up on before the rejects fill the memory.
#[test]
fn endless_rejects_are_a_fault() {
    let mut mux = Mux::new();
    let name = "p".repeat(257);
    let mut count = 0;
    let fault = loop {
        let open = [&[0, 1, 1, 0xfd, 1, 1], name.as_bytes(), &[0]].concat();
        mux.handle_frame(open.into());
        match mux.poll_event() {
            Ok(None) => count += 1,
            Ok(Some(event)) => panic!("{event:?}"),
            Err(fault) => break fault,
        }
    };
    assert_eq!(fault, PeerFault::TooManyOpens { limit: count });
}

/// Any number of opens may be rejected over time, as long as the rejects leave.
#[test]
fn rejects_that_leave_are_forgotten() {
    let (mut a, mut b) = (Mux::new(), Mux::new());
    for _ in 0..20_000 {
        a.open("p", b"x", b"");
        carry(&mut a, &mut b);
        let remote_id = remote_open(&mut b);
        b.reject(remote_id);
        carry(&mut b, &mut a);
        assert_eq!(events(&mut a).len(), 1);
    }
}

/// Names and handshakes that nobody sensible sends are refused, without a fault.
#[test]
fn long_names_are_rejected() {
    let (mut a, mut b) = (Mux::new(), Mux::new());
    a.open(&"p".repeat(257), b"", b"");
    a.open("p", &[0; 65], b"");
    a.open("p", b"x", &vec![0; 32 * 1024 + 1]);
    a.open(&"p".repeat(256), &[0; 64], b"fine");
    carry(&mut a, &mut b);
    remote_open(&mut b);
    assert_eq!(b.poll_event(), Ok(None));
    carry(&mut b, &mut a);
    assert_eq!(events(&mut a).len(), 3);
}

/// Numbers of opens follow the rules, and rejects name a channel that waits.
#[test]
fn broken_rules_are_faults() {
    let open_id = |id, next| PeerFault::OpenId { id, next };
    assert_eq!(fault(&mut Mux::new(), &[0, 1, 0, 1, b'p', 0]), open_id(0, 1));
    assert_eq!(fault(&mut Mux::new(), &[0, 1, 2, 1, b'p', 0]), open_id(2, 1));
    assert_eq!(fault(&mut Mux::new(), &[0, 2, 1]), PeerFault::UnknownReject { id: 1 });
    let (mut a, mut b) = (Mux::new(), Mux::new());
    opened(&mut a, &mut b, b"x");
    assert_eq!(fault(&mut b, &[0, 1, 1, 1, b'p', 0]), open_id(1, 2));
    assert_eq!(fault(&mut a, &[0, 2, 1]), PeerFault::UnknownReject { id: 1 });
}

/// Small messages share frames of about 64 KiB; a large one goes alone.
#[test]
fn messages_are_gathered() {
    let (mut a, mut b) = (Mux::new(), Mux::new());
    let (of_a, _) = opened(&mut a, &mut b, b"x");
    for _ in 0..100 {
        a.send(of_a, 3, vec![1; 2000]).unwrap();
    }
    a.send(of_a, 3, vec![2; 1_000_000]).unwrap();
    a.send(of_a, 3, vec![3; 10]).unwrap();
    let lens: Vec<_> = frames(&mut a).iter().map(Bytes::len).collect();
    assert_eq!(lens.len(), 6, "{lens:?}");
    assert!(lens[..3].iter().all(|len| (62_000..=65_536).contains(len)), "{lens:?}");
    assert_eq!(lens[4], 1_000_002);
    assert_eq!(lens[5], 12);
}

/// The longest message fits a frame of the secure stream; one byte more is refused.
#[test]
fn longest_message_fits() {
    let (mut a, mut b) = (Mux::new(), Mux::new());
    let (of_a, _) = opened(&mut a, &mut b, b"x");
    let limit = match a.send(of_a, u64::MAX, vec![0; 1 << 24]) {
        Err(SendError::TooLong { limit, .. }) => limit,
        other => panic!("{other:?}"),
    };
    a.cork();
    a.send(of_a, u64::MAX, vec![0; limit]).unwrap();
    a.uncork();
    assert!(frames(&mut a)[0].len() <= 16_777_198);
}

proptest! {
    /// Whatever is sent on whichever channels, it arrives there in order, however it is gathered.
    #[test]
    fn messages_arrive_in_order(
        sent in vec((0..3_usize, 0..300_u64, vec(any::<u8>(), 0..100)), 0..40),
        len_max in prop_oneof![Just(0), 1..500_usize],
    ) {
        let (mut a, mut b) = (Mux::new(), Mux::new());
        let ids: Vec<_> = (0..3_u8).map(|name| opened(&mut a, &mut b, &[name])).collect();
        let mut expected = Vec::new();
        for (channel, ty, payload) in sent {
            let (of_a, local_id) = ids[channel];
            a.send(of_a, ty, payload.clone()).unwrap();
            expected.push(MuxEvent::Message { local_id, ty, payload: payload.into() });
        }
        while let Some(frame) = a.poll_frame(len_max) {
            b.handle_frame(frame);
        }
        prop_assert_eq!(events(&mut b), expected);
    }

    /// Two muxes that open, close, reject and send at random never fault each other, and agree on
    /// what is open once everything has been carried.
    #[test]
    fn honest_muxes_never_fault(steps in vec((any::<bool>(), 0..5_u8, 0..3_u8), 0..80)) {
        let mut sides = [Side::default(), Side::default()];
        for (which, action, name) in steps {
            let [a, b] = &mut sides;
            let (this, that) = if which { (a, b) } else { (b, a) };
            match action {
                0 => this.open(name),
                1 => this.close(),
                2 => this.send(),
                _ => {
                    let one = that.mux.poll_frame(if action == 3 { 0 } else { usize::MAX });
                    one.into_iter().for_each(|frame| this.mux.handle_frame(frame));
                    this.settle(name);
                }
            }
        }
        let [a, b] = &mut sides;
        for _ in 0..4 {
            carry(&mut a.mux, &mut b.mux);
            b.settle(0);
            carry(&mut b.mux, &mut a.mux);
            a.settle(0);
        }
        prop_assert_eq!(a.paired.len(), b.paired.len());
    }

    /// No frames make the mux panic.
    #[test]
    fn arbitrary_frames_never_panic(
        frames in vec(vec(prop_oneof![0..6_u8, any::<u8>()], 0..30), 0..20),
    ) {
        let mut mux = Mux::new();
        mux.open("\u{1}", &[1], b"");
        for frame in frames {
            mux.handle_frame(frame.into());
            while let Ok(Some(event)) = mux.poll_event() {
                if let MuxEvent::RemoteOpen { protocol, channel_id, .. } = event {
                    mux.open(&protocol, &channel_id, b"");
                }
            }
            while mux.poll_frame(100).is_some() {}
        }
    }
}

/// An application on a mux that does things at random.
#[derive(Default)]
struct Side {
    mux: Mux,
    ours: Vec<LocalId>,
    paired: Vec<LocalId>,
}

impl Side {
    fn open(&mut self, name: u8) {
        let id = self.mux.open("p", &[name], b"");
        self.ours.push(id);
    }

    fn close(&mut self) {
        if let Some(id) = self.ours.pop() {
            self.mux.close(id);
            self.paired.retain(|&paired| paired != id);
        }
    }

    fn send(&mut self) {
        if let Some(&id) = self.ours.first() {
            self.mux.send(id, 0, &b"x"[..]).unwrap();
        }
    }

    /// Takes the events and answers every open: rejects those of one name, accepts the others.
    fn settle(&mut self, refused: u8) {
        while let Some(event) = self.mux.poll_event().unwrap() {
            match event {
                MuxEvent::RemoteOpen { remote_id, channel_id, .. } if channel_id[0] == refused => {
                    self.mux.reject(remote_id);
                }
                MuxEvent::RemoteOpen { channel_id, .. } => self.open(channel_id[0]),
                MuxEvent::Opened { local_id, .. } => self.paired.push(local_id),
                MuxEvent::Message { local_id, .. } => assert!(self.paired.contains(&local_id)),
                MuxEvent::Rejected { local_id } | MuxEvent::Closed { local_id } => {
                    self.ours.retain(|&id| id != local_id);
                    self.paired.retain(|&id| id != local_id);
                }
                MuxEvent::Withdrawn { .. } => panic!("every open is answered at once"),
            }
        }
    }
}
