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

/// The milliseconds since 1970 of a time as [`time`] writes it, or of the beginning of a day.
pub(crate) fn parse_time(text: &str) -> Option<u64> {
    let (date, time_of_day) = text.split_once(' ').unwrap_or((text, "00:00:00"));
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time_of_day, ':', [2, 2, 2])?;
    let days = days(year, month, day)?;
    let is_time = hour < 24 && minute < 60 && second < 60;
    is_time.then_some(((days * 24 + hour) * 60 + minute) * 60_000 + second * 1000)
}

/// Numbers of so many digits each.
fn numbers(text: &str, separator: char, digits: [usize; 3]) -> Option<[u64; 3]> {
    let mut parts = text.split(separator);
    let mut found = [0; 3];
    for (number, digits) in found.iter_mut().zip(digits) {
        let part = parts.next().filter(|part| part.len() == digits)?;
        *number = part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())??;
    }
    parts.next().is_none().then_some(found)
}

/// The days from 1970-01-01 to a date, if there is such a date.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    // The year begins in March, so that the odd day comes last.
    let shifted = year.checked_sub(u64::from(month <= 2))?;
    let shifted_month = (month + 9) % 12;
    let in_year = (153 * shifted_month + 2) / 5 + day.checked_sub(1)?;
    let days = shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + in_year;
    let days = days.checked_sub(719_468)?;
    (civil(days) == (year, month, day)).then_some(days)
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

    /// Times that were printed are read again, and dates that never were are refused.
    #[test]
    fn times_come_back() {
        for second in (0..4_000_000_000).step_by(7_654_321) {
            assert_eq!(parse_time(&time(second * 1000)), Some(second * 1000));
        }
        assert_eq!(parse_time("2000-02-29"), Some(951_782_400_000));
        for text in
            ["1900-02-29", "2001-02-29", "2000-13-01", "2000-00-01", "2000-01-00", "1969-12-31"]
        {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }
}
