//! Exit codes.

use std::process::ExitCode;

use multibee::Error;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Ok = 0,
    NotFound = 1,
    Usage = 2,
    Conflict = 3,
    NotSynced = 4,
    Integrity = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A failure that ends the program with a certain code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

/// A failure with a message.
pub(crate) fn fail(exit: Exit, message: impl Into<String>) -> anyhow::Error {
    Failure { exit, message: message.into() }.into()
}

/// The exit code for a failure.
pub(crate) fn of(error: &anyhow::Error) -> Exit {
    if let Some(failure) = error.chain().find_map(|cause| cause.downcast_ref::<Failure>()) {
        return failure.exit;
    }
    match error.chain().find_map(|cause| cause.downcast_ref::<Error>()) {
        Some(
            Error::UnknownDevice { .. }
            | Error::UnknownSource { .. }
            | Error::UnknownRecovery { .. },
        ) => Exit::NotFound,
        Some(Error::Removed { .. } | Error::IdTaken { .. } | Error::NotAsExpected { .. }) => {
            Exit::Conflict
        }
        Some(Error::Unreachable { .. } | Error::NotSynced { .. }) => Exit::NotSynced,
        Some(
            Error::Diverged { .. }
            | Error::DigestMismatch { .. }
            | Error::BadRecord { .. }
            | Error::Tree(_)
            | Error::Log(_),
        ) => Exit::Integrity,
        _ => Exit::Usage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The code is found however much context was put around the failure.
    #[test]
    fn context_does_not_hide_the_code() {
        let error = anyhow::Error::from(Error::NotSynced { seconds: 1, what: "it".into() });
        assert_eq!(of(&error.context("while syncing").context("twice")), Exit::NotSynced);
        assert_eq!(of(&fail(Exit::NotFound, "no such key").context("more")), Exit::NotFound);
        assert_eq!(of(&anyhow::anyhow!("anything else")), Exit::Usage);
    }
}
