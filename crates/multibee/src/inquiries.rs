//! Questions where histories of a log part, from device to device.
//!
//! Whoever can't answer for certain asks those whom it is connected to in turn, and passes on what they
//! say: a device is heard though it is never met. An answer is passed on to those only who have asked,
//! and once for each time that it says more, so that it comes to rest whatever the connections are.

use std::collections::{BTreeMap, BTreeSet};

use multibee_log::LogKey;
use multibee_replica::ConnectionId;

use crate::core::{Advance, Core};
use crate::parting::{Answer, Landmark};
use crate::peer_message::PeerMessage;
use crate::peers::Peers;

/// Questions of one peer that are open at the same time, at most.
const WONDERS_MAX: usize = 256;

/// Devices whose answers to a question are kept, at most.
const ANSWERS_MAX: usize = 1024;

/// Which of these own commits of a log somebody has as well.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Inquiry {
    pub(crate) key: LogKey,
    pub(crate) landmarks: Vec<Landmark>,
}

/// For each landmark its last block, and what is there.
pub(crate) type Answers = Vec<(u64, Answer)>;

/// What devices have said to one question.
#[derive(Debug)]
struct Heard {
    inquiry: Inquiry,
    answers: BTreeMap<LogKey, Answers>,
}

/// What is asked at one connection, in both directions.
#[derive(Debug, Default)]
pub(crate) struct Inquiries {
    /// The number of the latest question.
    last: u64,
    /// What the other side was asked, and has said, by number.
    asked: BTreeMap<u64, Heard>,
    /// What it asks as long as more may become known, by its own numbers, and what it was told.
    wonders: BTreeMap<u64, Heard>,
}

impl Inquiries {
    /// The other side asks.
    pub(crate) fn wonder(&mut self, number: u64, inquiry: Inquiry) {
        self.wonders.insert(number, Heard { inquiry, answers: BTreeMap::new() });
        if self.wonders.len() > WONDERS_MAX {
            self.wonders.pop_first();
        }
    }

    /// The other side says what a device answers. Returns the log that it is about, if it was asked.
    pub(crate) fn hear(&mut self, number: u64, who: LogKey, answers: &Answers) -> Option<LogKey> {
        let heard = self.asked.get_mut(&number)?;
        let lasts = heard.inquiry.landmarks.iter().map(|landmark| landmark.last);
        if !lasts.eq(answers.iter().map(|(last, _)| *last)) {
            return None;
        }
        if heard.answers.len() < ANSWERS_MAX || heard.answers.contains_key(&who) {
            merge(heard.answers.entry(who).or_default(), answers);
        }
        Some(heard.inquiry.key)
    }

    /// Asks what was not asked before, and forgets what is not to be known any more.
    fn ask(&mut self, due: &BTreeSet<Inquiry>) -> Vec<PeerMessage> {
        self.asked.retain(|_, heard| due.contains(&heard.inquiry));
        let asked: BTreeSet<Inquiry> = self.asked.values().map(|one| one.inquiry.clone()).collect();
        let ask = |inquiry: &Inquiry| {
            self.last += 1;
            let heard = Heard { inquiry: inquiry.clone(), answers: BTreeMap::new() };
            self.asked.insert(self.last, heard);
            let Inquiry { key, landmarks } = inquiry.clone();
            PeerMessage::AskCommon { number: self.last, key, question: landmarks }
        };
        due.difference(&asked).map(ask).collect()
    }

    /// Whether the other side asks this.
    fn wonders_about(&self, inquiry: &Inquiry) -> bool {
        self.wonders.values().any(|one| one.inquiry == *inquiry)
    }
}

/// What is to be asked and answered now, of whom, and the blocks that it takes to answer.
pub(crate) fn exchange(
    core: &mut Core,
    peers: &mut Peers,
) -> (Vec<(ConnectionId, PeerMessage)>, Advance) {
    let mut messages = Vec::new();
    // What is answered for certain is asked of nobody else.
    let wanted = answer(core, peers, &mut messages);
    for (id, due) in due(core, peers) {
        let Some(peer) = peers.peer_mut(id) else { continue };
        messages.extend(peer.inquiries.ask(&due).into_iter().map(|message| (id, message)));
    }
    (messages, wanted)
}

/// What each device is to be asked: the own questions, and those of others who are connected.
fn due(core: &Core, peers: &Peers) -> Vec<(ConnectionId, BTreeSet<Inquiry>)> {
    let devices: Vec<_> = peers.devices_by_id().collect();
    let is_heard = |key: &LogKey| !core.is_removed(key);
    let mut all = Vec::with_capacity(devices.len());
    for (id, peer) in &devices {
        let theirs = peer.status.as_ref().map(|status| &status.clock);
        // What can't be read here can't be asked.
        let mut due: BTreeSet<Inquiry> =
            core.questions(theirs).unwrap_or_default().into_iter().collect();
        if is_heard(&peer.key) {
            let others = devices.iter().filter(|(other, one)| other != id && is_heard(&one.key));
            let wonders = others.flat_map(|(_, other)| other.inquiries.wonders.values());
            let is_news = |one: &&Heard| !peer.inquiries.wonders_about(&one.inquiry);
            due.extend(wonders.filter(is_news).map(|one| one.inquiry.clone()));
        }
        all.push((*id, due));
    }
    all
}

/// Answers who asks: what is known here, and what others say. Says it again when more is known.
fn answer(
    core: &mut Core,
    peers: &mut Peers,
    messages: &mut Vec<(ConnectionId, PeerMessage)>,
) -> Advance {
    let mut wanted = Advance::default();
    let me = core.key();
    let mut told: BTreeMap<(ConnectionId, u64), BTreeMap<LogKey, Answers>> = BTreeMap::new();
    for (id, peer) in peers.devices_by_id() {
        for (&number, wonder) in &peer.inquiries.wonders {
            let Inquiry { key, landmarks } = &wonder.inquiry;
            // What can't be read here says nothing.
            let ours = core.common(key, landmarks).unwrap_or_default();
            wanted.join(core.want_for_answer(key, &ours));
            let mut known = BTreeMap::from([(me, ours)]);
            for (_, other) in peers.devices_by_id().filter(|(other, _)| *other != id) {
                let heard = other.inquiries.asked.values();
                for heard in heard.filter(|heard| heard.inquiry == wonder.inquiry) {
                    let is_passed_on = |who: &LogKey| *who != me && *who != peer.key;
                    for (who, answers) in heard.answers.iter().filter(|(who, _)| is_passed_on(who))
                    {
                        merge(known.entry(*who).or_default(), answers);
                    }
                }
            }
            told.insert((id, number), known);
        }
    }
    for ((id, number), known) in told {
        let Some(peer) = peers.peer_mut(id) else { continue };
        let Some(wonder) = peer.inquiries.wonders.get_mut(&number) else { continue };
        let is_open = known.get(&me).is_some_and(is_open);
        for (who, answers) in known {
            if wonder.answers.get(&who) != Some(&answers) {
                let of = Some(who).filter(|who| *who != me);
                let message = PeerMessage::Common { number, of, answers: answers.clone() };
                messages.push((id, message));
                wonder.answers.insert(who, answers);
            }
        }
        if !is_open {
            peer.inquiries.wonders.remove(&number);
        }
    }
    wanted
}

/// Whether more may be known of it later.
fn is_open(answers: &Answers) -> bool {
    answers.iter().any(|(_, answer)| matches!(answer, Answer::Unknown | Answer::Beyond))
}

/// Two answers of one device, at different times or on different ways: what says more counts.
fn merge(known: &mut Answers, heard: &Answers) {
    let weight = |answer| match answer {
        Answer::Beyond => 0,
        Answer::Unknown => 1,
        Answer::Same | Answer::Different => 2,
    };
    if known.is_empty() {
        known.clone_from(heard);
    }
    for (known, heard) in known.iter_mut().zip(heard) {
        if known.0 == heard.0 && weight(known.1) < weight(heard.1) {
            known.1 = heard.1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inquiry(last: u64) -> Inquiry {
        let landmarks =
            vec![Landmark { since: 0, last, hash: [7; 32], tag: None, samples: Vec::new() }];
        Inquiry { key: LogKey::from_bytes([1; 32]), landmarks }
    }

    /// A question is asked once, as long as it is open, and only an answer to it is one.
    #[test]
    fn questions_are_asked_once_and_answers_belong_to_one() {
        let mut inquiries = Inquiries::default();
        let both = BTreeSet::from([inquiry(3), inquiry(9)]);
        let asked = inquiries.ask(&both);
        assert_eq!(asked.len(), 2);
        assert!(inquiries.ask(&both).is_empty());
        let who = LogKey::from_bytes([2; 32]);
        assert_eq!(inquiries.hear(1, who, &vec![(3, Answer::Same)]), Some(inquiry(3).key));
        assert_eq!(inquiries.hear(1, who, &vec![(9, Answer::Same)]), None, "of another question");
        assert_eq!(inquiries.hear(7, who, &vec![(3, Answer::Same)]), None, "of no question");
        assert!(inquiries.ask(&BTreeSet::from([inquiry(9)])).is_empty());
        assert_eq!(inquiries.hear(1, who, &vec![(3, Answer::Same)]), None, "no longer asked");
        assert_eq!(inquiries.ask(&both).len(), 1);
    }

    /// An answer that was overtaken by a later one takes nothing back.
    #[test]
    fn what_says_more_counts_in_any_order() {
        let all = [Answer::Beyond, Answer::Unknown, Answer::Different];
        for one in all {
            for other in all {
                let (mut here, mut there) = (vec![(3, one)], vec![(3, other)]);
                merge(&mut here, &vec![(3, other)]);
                merge(&mut there, &vec![(3, one)]);
                assert_eq!(here, there);
            }
        }
    }

    /// Somebody who asks without end is not listened to without end.
    #[test]
    fn open_questions_are_bounded() {
        let mut inquiries = Inquiries::default();
        for number in 0..2 * WONDERS_MAX as u64 {
            inquiries.wonder(number, inquiry(number));
        }
        assert_eq!(inquiries.wonders.len(), WONDERS_MAX);
        assert!(inquiries.wonders_about(&inquiry(2 * WONDERS_MAX as u64 - 1)));
    }
}
