//! The kinds of requests, and the terms that are common to all of them.

use std::time::Duration;

use multibee_log::{Proof, ProofRun};

use super::{Requests, blocks, disputes, reorgs, runs, seeks, upgrades};
use crate::channel::{Cx, Remote};
use crate::event::Fault;
use crate::options::ReplicatorOptions;

/// The terms on which a remote is asked for something: how long that may take, and what follows
/// from each way in which it may end.
///
/// Whoever is of a kind is what one request has asked for. It is kept in
/// [`InFlight`](super::in_flight::InFlight) under the request's number, is taken out of there when
/// the request ends, and ends with it: each request ends once.
pub(super) trait Terms {
    /// What answers it. Anything else is no answer.
    type Answer;

    /// Whether it looks for where two histories part. Then it goes on when the remote is asked for
    /// nothing of ours any more.
    const IS_SEARCH: bool = false;

    /// How long the answer may take.
    fn patience(options: &ReplicatorOptions) -> Patience;

    /// The remote has answered.
    ///
    /// # Errors
    ///
    /// What the remote did wrong: hang up.
    fn answered(
        self,
        id: u64,
        answer: Self::Answer,
        requests: &mut Requests,
        remote: &mut Remote,
        cx: &mut Cx<'_>,
    ) -> Result<(), Fault>;

    /// The remote has no answer.
    ///
    /// # Errors
    ///
    /// What the remote did wrong before: hang up.
    fn refused(
        self,
        id: u64,
        requests: &mut Requests,
        remote: &mut Remote,
        cx: &mut Cx<'_>,
    ) -> Result<(), Fault>;

    /// No answer is waited for any longer: it takes too long, or the remote is asked for nothing
    /// any more. Others may be asked.
    ///
    /// # Errors
    ///
    /// What the remote did wrong before: hang up.
    fn given_up(self, id: u64, requests: &mut Requests, cx: &mut Cx<'_>) -> Result<(), Fault>;
}

/// How long an answer may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) timeout: Duration,
    /// If answers to other requests show that this one's may still be on its way, the time begins
    /// anew with each, up to this long in all.
    pub(super) extended_to: Option<Duration>,
}

/// What a remote says to a request.
#[expect(clippy::large_enum_variant, reason = "answers are taken apart at once, not kept")]
#[derive(Debug)]
pub(crate) enum Answer {
    /// A proof, by a message of Hypercore's.
    Data(Proof),
    /// A run of blocks, by one of ours.
    Run(ProofRun),
}

impl Answer {
    /// Whether it brings blocks, which are gathered and stored together.
    pub(super) fn brings_blocks(&self) -> bool {
        match self {
            Self::Data(proof) => proof.block.is_some(),
            Self::Run(_) => true,
        }
    }
}

/// Declares the kinds: each by its type, the file that has its [`Terms`], and the form of its
/// answer. What they have in common is passed on by a `match`, so that an answer costs no more than
/// that.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident in $file:ident by $form:ident,)*) => {
        /// A kind of request.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Kind {
            $($(#[$doc])* $kind,)*
        }

        /// What a request has asked for.
        #[derive(Debug)]
        pub(super) enum Asked {
            $($(#[$doc])* $kind($file::$kind),)*
        }

        $(impl From<$file::$kind> for Asked {
            fn from(asked: $file::$kind) -> Self {
                Self::$kind(asked)
            }
        })*

        impl Kind {
            pub(super) const ALL: &[Self] = &[$(Self::$kind,)*];

            pub(super) fn is_search(self) -> bool {
                match self {
                    $(Self::$kind => <$file::$kind as Terms>::IS_SEARCH,)*
                }
            }

            pub(super) fn patience(self, options: &ReplicatorOptions) -> Patience {
                match self {
                    $(Self::$kind => <$file::$kind as Terms>::patience(options),)*
                }
            }
        }

        impl Asked {
            pub(super) fn kind(&self) -> Kind {
                match self {
                    $(Self::$kind(_) => Kind::$kind,)*
                }
            }

            /// Whether this may answer it.
            pub(super) fn is_answered_by(&self, answer: &Answer) -> bool {
                match (self, answer) {
                    $((Self::$kind(_), Answer::$form(_)) => true,)*
                    _ => false,
                }
            }

            /// As [`Terms::answered`]; likewise the others.
            pub(super) fn answered(
                self,
                id: u64,
                answer: Answer,
                requests: &mut Requests,
                remote: &mut Remote,
                cx: &mut Cx<'_>,
            ) -> Result<(), Fault> {
                match (self, answer) {
                    $((Self::$kind(asked), Answer::$form(answer)) => {
                        asked.answered(id, answer, requests, remote, cx)
                    })*
                    // The same as none; see `is_answered_by`.
                    (asked, _) => asked.refused(id, requests, remote, cx),
                }
            }

            pub(super) fn refused(
                self,
                id: u64,
                requests: &mut Requests,
                remote: &mut Remote,
                cx: &mut Cx<'_>,
            ) -> Result<(), Fault> {
                match self {
                    $(Self::$kind(asked) => asked.refused(id, requests, remote, cx),)*
                }
            }

            pub(super) fn given_up(
                self,
                id: u64,
                requests: &mut Requests,
                cx: &mut Cx<'_>,
            ) -> Result<(), Fault> {
                match self {
                    $(Self::$kind(asked) => asked.given_up(id, requests, cx),)*
                }
            }
        }
    };
}

kinds! {
    /// One block.
    Block in blocks by Data,
    /// Many neighbouring blocks with one proof.
    Run in runs by Run,
    /// A longer head.
    Upgrade in upgrades by Data,
    /// Where the block of a byte is.
    Place in seeks by Data,
    /// The way over to a higher fork.
    Fork in reorgs by Data,
    /// The head of who contradicts us.
    Doubt in disputes by Data,
    /// Where the two histories of a conflict part.
    Parting in disputes by Data,
}
