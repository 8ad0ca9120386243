//! Who may connect at all.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::secure::Role;

/// Who is let in, decided when the remote's static key is proven and nothing else has been said.
///
/// A remote that is not let in sees the connection end, the same for every reason. As the side that
/// was dialled we have shown it our static key by then, for the handshake has it so; as the side
/// that dialled not even that.
#[derive(Clone, Default)]
pub enum Admission {
    /// Everybody. Logs still need their keys.
    #[default]
    Open,
    /// Nobody.
    Closed,
    /// Whoever the function says yes to. It is called while the replicator is locked: it must not
    /// wait, nor call the replicator. See [`Admission::ask`].
    Ask(Arc<dyn Fn(&Applicant) -> bool + Send + Sync>),
}

/// Who asks to be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Applicant {
    /// The remote's static public key, proven to be its own.
    pub remote_static: [u8; 32],
    /// Our side: the initiator dialled, the responder was dialled.
    pub role: Role,
    /// Where the remote is, if the transport has told.
    pub address: Option<SocketAddr>,
}

impl Admission {
    /// Has a function decide.
    ///
    /// ```
    /// use std::collections::BTreeSet;
    /// use multibee_replica::{Admission, ReplicatorOptions};
    ///
    /// let members: BTreeSet<[u8; 32]> = BTreeSet::from([[7; 32]]);
    /// let admission = Admission::ask(move |who| members.contains(&who.remote_static));
    /// let options = ReplicatorOptions { admission, ..ReplicatorOptions::default() };
    /// # drop(options);
    /// ```
    #[must_use]
    pub fn ask(decide: impl Fn(&Applicant) -> bool + Send + Sync + 'static) -> Self {
        Self::Ask(Arc::new(decide))
    }

    pub(crate) fn admits(&self, applicant: &Applicant) -> bool {
        match self {
            Self::Open => true,
            Self::Closed => false,
            Self::Ask(decide) => decide(applicant),
        }
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "Open",
            Self::Closed => "Closed",
            Self::Ask(_) => "Ask(..)",
        })
    }
}
