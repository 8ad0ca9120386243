//! Keys and values as people and programs read them.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// Bytes as text: what is no UTF-8, and control characters, are escaped.
pub(crate) fn shown(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => Cow::Borrowed(text),
        _ => Cow::Owned(bytes.escape_ascii().to_string()),
    }
}

/// Puts bytes into an object: as text under `name`, or, if they are none, in hex under `nameHex`.
pub(crate) fn insert(object: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(name.to_owned(), text.into()),
        Err(_) => object.insert(format!("{name}Hex"), hex::encode(bytes).into()),
    };
}

/// A key and a value as an object.
pub(crate) fn record(key: &[u8], value: &[u8]) -> Map<String, Value> {
    let mut object = Map::new();
    insert(&mut object, "key", key);
    insert(&mut object, "value", value);
    object
}

/// Milliseconds since 1970 as people write a time of day, in UTC.
pub(crate) fn time(millis: u64) -> String {
    let (days, in_day) = (millis / 86_400_000, millis % 86_400_000);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (in_day / 3_600_000, in_day / 60_000 % 60, in_day / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

/// The date so many days after 1970-01-01 (the Gregorian calendar in eras of 400 years).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, in_era) = (shifted / 146_097, shifted % 146_097);
    let year_in_era = (in_era - in_era / 1460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * year_in_era + year_in_era / 4 - year_in_era / 100);
    let shifted_month = (5 * in_year + 2) / 153;
    let day = in_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_in_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the bytes, they are told apart and stay on one line.
    #[test]
    fn bytes_stay_on_one_line() {
        assert_eq!(shown("Zürich".as_bytes()), "Zürich");
        assert_eq!(shown(b"a\nb"), "a\\nb");
        assert_eq!(shown(&[0xff, b'd']), "\\xffd");
    }

    /// Known days, leap years included.
    #[test]
    fn dates_are_right() {
        assert_eq!(time(0), "1970-01-01 00:00:00");
        assert_eq!(time(951_782_400_000), "2000-02-29 00:00:00");
        assert_eq!(time(1_795_305_599_000), "2026-11-21 23:59:59");
    }
}
