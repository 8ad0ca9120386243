//! Who listens to the faulty peer and to what it is told, and says what its faults are.

use std::collections::BTreeMap;

use bytes::Bytes;
use multibee_log::compact::Reader;
use multibee_log::{DecodeError, Log, Proof, ProofRun, Request, RequestRun, RequestUpgrade};
use multibee_replica::{Message, Sync};

/// What is known of the faulty peer from what was said alone.
///
/// It keeps no log and no queue. What it calls a wrong answer is one that the log's writer would not
/// give to anybody.
#[derive(Debug, Default)]
pub(crate) struct Referee {
    asked: BTreeMap<u64, Asked>,
    sync: Option<Sync>,
    /// It took a length back, and has not moved on to another fork since.
    went_back: bool,
    /// The extension that a message without a name belongs to.
    extension: String,
    /// Requests taken back unanswered since the last answer.
    unanswered: usize,
    /// Faults that are named while the connection goes on, in order.
    pub(crate) named: Vec<String>,
    /// The fault for which it must be hung up on, with the words that tell it.
    pub(crate) fatal: Option<String>,
    /// What it may be hung up on for, and may be forgiven: the answer relied on another one.
    pub(crate) forgivable: bool,
}

#[derive(Debug)]
struct Asked {
    fork: u64,
    wish: Wish,
    /// It was asked for less than was lacking then, since more was to come by another answer.
    relies: bool,
}

#[derive(Debug)]
enum Wish {
    Parts(Request),
    Run(RequestRun),
}

/// What an answer is.
enum Finding {
    /// The writer would have said the same.
    Right,
    /// It brings nothing, or something of another fork: as good as a refusal.
    Nothing,
    /// It is wrong, and must be told with these words.
    Wrong(&'static str),
    /// It is of a search, whose answers the writer does not judge.
    Unknown,
}

use Finding::{Nothing, Right, Unknown, Wrong};

const UNVERIFIABLE: &str = "data that does not verify: ";
const ANOTHER: &str = "an answer to another request than ours: ";

impl Referee {
    /// The faulty peer was told something.
    pub(crate) fn heard(&mut self, message: &Message, copy: &Log) {
        match message {
            Message::Request { id, fork, request, .. } => {
                let block = request.block.as_ref();
                let relies = block.is_some_and(|block| {
                    block.nodes < copy.missing_nodes(2 * block.index).unwrap()
                });
                let wish = Wish::Parts(*request);
                self.asked.insert(*id, Asked { fork: *fork, wish, relies });
            }
            Message::Extension { name, payload } if name == KIN => {
                if let Some((&ASK_RUN, body)) = payload.split_first() {
                    let (id, fork, request) = read_ask(body).unwrap();
                    let lacking = copy.missing_nodes(request.top().unwrap()).unwrap();
                    let relies = request.nodes < lacking;
                    self.asked.insert(id, Asked { fork, wish: Wish::Run(request), relies });
                }
            }
            Message::Cancel { request } => {
                self.unanswered += usize::from(self.asked.remove(request).is_some());
            }
            _ => {}
        }
    }

    /// The faulty peer says something. Returns whether it must be hung up on for that.
    pub(crate) fn says(&mut self, ty: u64, payload: &Bytes, ours: &Log) -> bool {
        if self.fatal.is_some() {
            return false;
        }
        match Message::decode(ty, payload) {
            Err(fault) => self.fatal = Some(told(&fault)),
            Ok(Some(message)) => self.judge(message, ours),
            Ok(None) => {}
        }
        self.fatal.is_some()
    }

    /// Whether it has let so many requests run out of time that it may be hung up on for that.
    pub(crate) fn may_be_silent(&self) -> bool {
        // The last ones are not taken back any more.
        self.unanswered >= 3 && self.awaits_answers()
    }

    /// Whether something is asked of it that it has not answered.
    pub(crate) fn awaits_answers(&self) -> bool {
        !self.asked.is_empty()
    }

    fn judge(&mut self, message: Message, ours: &Log) {
        match message {
            Message::Sync(sync) => self.judge_sync(sync),
            Message::Data { request, proof } => {
                let finding = self.answer(request, |asked| match &asked.wish {
                    Wish::Parts(request) => of_parts(request, asked.fork, &proof, ours),
                    Wish::Run(_) => Nothing,
                });
                self.note(finding);
            }
            Message::NoData { request, .. } => drop(self.answer(request, |_| Nothing)),
            Message::Extension { name, payload } => {
                if !name.is_empty() {
                    self.extension = name;
                }
                if self.extension == KIN {
                    self.judge_kin(&payload, ours);
                }
            }
            _ => {}
        }
    }

    fn judge_sync(&mut self, sync: Sync) {
        if let Some(before) = self.sync.replace(sync) {
            if before.fork != sync.fork {
                self.went_back = false;
            } else if before.length > sync.length && !self.went_back {
                self.went_back = true;
                let (from, to) = (before.length, sync.length);
                self.named.push(format!("the remote's length fell from {from} to {to}: "));
            }
        }
    }

    fn judge_kin(&mut self, payload: &Bytes, ours: &Log) {
        let undecodable = "undecodable message of Multibee's extension: ";
        match payload.split_first() {
            Some((&ASK_RUN, body)) => {
                if let Err(error) = read_ask(body) {
                    self.fatal = Some(format!("{undecodable}{error}"));
                }
            }
            Some((&RUN, body)) => match read_run(payload, body) {
                Err(error) => self.fatal = Some(format!("{undecodable}{error}")),
                Ok((id, run)) => {
                    let finding = self.answer(id, |asked| match &asked.wish {
                        Wish::Run(request) => of_run(request, asked.fork, &run, ours),
                        Wish::Parts(_) => Nothing,
                    });
                    self.note(finding);
                }
            },
            _ => {}
        }
    }

    /// Something that fits a request, if any does: what was not asked for is no fault.
    fn answer(&mut self, id: u64, find: impl FnOnce(&Asked) -> Finding) -> Option<(Finding, bool)> {
        let asked = self.asked.get(&id)?;
        let found = (find(asked), asked.relies);
        self.asked.remove(&id);
        self.unanswered = 0;
        Some(found)
    }

    fn note(&mut self, found: Option<(Finding, bool)>) {
        match found {
            Some((Wrong(UNVERIFIABLE), true)) | Some((Unknown, _)) => self.forgivable = true,
            Some((Wrong(words), _)) => self.fatal = Some(words.to_owned()),
            Some((Right | Nothing, _)) | None => {}
        }
    }
}

fn of_parts(request: &Request, fork: u64, proof: &Proof, ours: &Log) -> Finding {
    if request.hash.is_some() || request.seek.is_some() || fork != ours.fork() {
        return Unknown;
    }
    if request.upgrade.is_some() {
        return match &proof.upgrade {
            None => Nothing,
            Some(_) => of_proof(request, proof, ours),
        };
    }
    let (Some(asked), Some(block)) = (&request.block, &proof.block) else { return Nothing };
    if proof.fork != fork {
        Nothing
    } else if block.index != asked.index || proof.upgrade.is_some() {
        Wrong(ANOTHER)
    } else {
        of_proof(request, proof, ours)
    }
}

fn of_proof(request: &Request, proof: &Proof, ours: &Log) -> Finding {
    // A manifest does no harm where nobody has asked for it, nor does another head that is signed.
    let upgrade = proof.upgrade.as_ref();
    let upgrade = upgrade.map(|up| RequestUpgrade { start: up.start, length: up.length });
    let wishes = [request.manifest, true].map(|manifest| Request { manifest, upgrade, ..*request });
    let is_right = wishes.iter().any(|wish| ours.prove(wish).is_ok_and(|right| right == *proof));
    if is_right { Right } else { Wrong(UNVERIFIABLE) }
}

fn of_run(request: &RequestRun, fork: u64, run: &ProofRun, ours: &Log) -> Finding {
    if run.fork != fork {
        Nothing
    } else if run.start != request.start || run.lens.len() as u64 != request.len() {
        Wrong(ANOTHER)
    } else if ours.prove_run(request).is_ok_and(|right| right == *run) {
        Right
    } else {
        Wrong(UNVERIFIABLE)
    }
}

fn read_ask(body: &[u8]) -> Result<(u64, u64, RequestRun), DecodeError> {
    let mut reader = Reader::new(body);
    let (id, fork, start) = (reader.uint()?, reader.uint()?, reader.uint()?);
    let (depth, nodes) = (reader.uint()?, reader.uint()?);
    let depth = u32::try_from(depth).unwrap_or(u32::MAX);
    Ok((id, fork, RequestRun { start, depth, nodes }))
}

fn read_run(payload: &Bytes, body: &[u8]) -> Result<(u64, ProofRun), DecodeError> {
    let mut reader = Reader::new(body);
    let id = reader.uint()?;
    Ok((id, ProofRun::decode(&payload.slice_ref(reader.rest()))?))
}

/// An error with its source, as cases see it.
pub(crate) fn told(error: &dyn std::error::Error) -> String {
    let source = error.source().map(ToString::to_string);
    format!("{error}: {}", source.unwrap_or_default())
}

const KIN: &str = "multibee/replica";
const ASK_RUN: u8 = 0x10;
const RUN: u8 = 0x11;
