//! What an honest peer says, for others to spoil.

use multibee_replica::{
    Event, Handshake, Link, Mux, MuxEvent, PROTOCOL, Replicator, ReplicatorOptions, Role,
};

use crate::network::{replica, writer};
use crate::stage::BLOCKS;

/// A message on the log's channel.
pub(crate) type Said = (u64, Vec<u8>);

/// All that is said to node 0 of an empty stage by one who has the log; and to one who has it by
/// another who copies it.
pub(crate) fn sync(ask_for_runs: bool) -> [Vec<Said>; 2] {
    let log = writer(1, BLOCKS);
    let copy = replica(log.key());
    let options = ReplicatorOptions { ask_for_runs, ..ReplicatorOptions::default() };
    let now = std::time::Instant::now();
    let discovery_key = log.discovery_key();
    let mut ends = [(Role::Responder, &copy), (Role::Initiator, &log)].map(|(role, log)| {
        let mut replicator = Replicator::new(options.clone(), [3; 32]);
        replicator.add_log(log.clone());
        replicator.want_all(&log.key());
        let handshake = Handshake { hash: [8; 64], remote_static: [3; 32] };
        let id = replicator.connect_link(Link::framed(role, handshake), now);
        let mut listener = Mux::new();
        listener.open(PROTOCOL, discovery_key.as_bytes(), &[]);
        (replicator, id, listener, Vec::new())
    });
    let id = ends[1].1;
    ends[1].0.offer(id, &log.key());
    while let Some((from, frame)) =
        (0..2).rev().find_map(|end| Some((end, ends[end].0.poll_transmit(ends[end].1)?)))
    {
        let (_, _, listener, said) = &mut ends[from];
        listener.handle_frame(frame.clone());
        while let Ok(Some(event)) = listener.poll_event() {
            if let MuxEvent::Message { ty, payload, .. } = event {
                said.push((ty, payload.to_vec()));
            }
        }
        let to = &mut ends[1 - from];
        to.0.handle_bytes(to.1, &frame, now);
    }
    for end in &mut ends {
        let is_fault = |event| matches!(event, Event::Fault { .. });
        assert!(!std::iter::from_fn(|| end.0.poll_event()).any(is_fault));
    }
    assert_eq!(copy.contiguous_len(), BLOCKS, "the recording is of a whole sync");
    let [(_, _, _, by_copy), (_, _, _, by_source)] = ends;
    [by_source, by_copy]
}
