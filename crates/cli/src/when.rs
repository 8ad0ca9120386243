//! Versions and times, as people type them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use multibee::{Multibee, View};

use crate::text;

/// A version of the data, or the one that was shown at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Version(u64),
    Time(SystemTime),
}

impl When {
    /// Reads a number, or a date with or without a time of day, in UTC.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Ok(version) = text.parse() {
            return Ok(Self::Version(version));
        }
        let millis = text::parse_time(text).ok_or_else(|| {
            format!(
                "{text:?} is neither a version nor a time as 2026-11-22 or \"2026-11-22 10:15:02\""
            )
        })?;
        Ok(Self::Time(UNIX_EPOCH + Duration::from_millis(millis)))
    }

    /// What was shown then.
    pub(crate) fn view(self, db: &Multibee) -> Result<View, multibee::Error> {
        match self {
            Self::Version(version) => db.checkout(version),
            Self::Time(time) => db.at(time),
        }
    }
}

/// What was shown then, or is now.
pub(crate) fn view(db: &Multibee, when: Option<When>) -> Result<View, multibee::Error> {
    when.map_or_else(|| db.view(), |when| when.view(db))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers are versions, dates are times; anything else is refused.
    #[test]
    fn versions_and_times_are_told_apart() {
        assert_eq!(When::parse("17"), Ok(When::Version(17)));
        let day = UNIX_EPOCH + Duration::from_secs(86_400);
        assert_eq!(When::parse("1970-01-02"), Ok(When::Time(day)));
        let later = day + Duration::from_secs(61);
        assert_eq!(When::parse("1970-01-02 00:01:01"), Ok(When::Time(later)));
        for text in ["", "-1", "1970-1-2", "1970-02-30", "1970-01-02 24:00:00", "soon"] {
            assert!(When::parse(text).is_err(), "{text}");
        }
    }
}
