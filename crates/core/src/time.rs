//! Time as it comes in: the machines have no clock of their own.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The moment of an input, by both clocks of the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Milliseconds of a clock that only goes forward, from any origin. All waiting is measured by it.
    pub monotonic_ms: u64,
    /// Milliseconds since 1970 by the wall clock. For display and tie-breaking only: it may jump.
    pub wall_ms: u64,
}

/// The last millisecond of the year 9999, beyond which ISO 8601 has no common form.
pub(crate) const ISO_MS_MAX: u64 = 253_402_300_799_999;

/// ISO 8601 in UTC with milliseconds, as JavaScript's `toISOString` writes it.
pub fn iso_from_ms(ms: u64) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(ms.min(ISO_MS_MAX))).to_string()
}

/// Milliseconds since 1970 of an ISO 8601 time in UTC, or with an offset to it (`+01:00`); `None` for anything else.
pub fn ms_from_iso(text: &str) -> Option<u64> {
    let (utc, offset_ms) = match split_offset(text) {
        Some((local, offset_ms)) => (&*[local, "Z"].concat(), offset_ms),
        None => (text, 0),
    };
    let time: SystemTime = humantime::parse_rfc3339(utc).ok()?;
    let ms = i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()?;
    u64::try_from(ms - offset_ms).ok()
}

/// A local time and its offset in milliseconds, where it has one.
fn split_offset(text: &str) -> Option<(&str, i64)> {
    let (local, [sign, h1, h2, b':', m1, m2]) = text.split_at_checked(text.len().checked_sub(6)?).map(|(a, b)| (a, b.as_bytes()))? else {
        return None;
    };
    let number = |tens: &u8, ones: &u8| Some(i64::from(char::from(*tens).to_digit(10)? * 10 + char::from(*ones).to_digit(10)?));
    let minutes = number(h1, h2)? * 60 + number(m1, m2)?;
    match sign {
        b'+' => Some((local, minutes * 60_000)),
        b'-' => Some((local, -minutes * 60_000)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_a_round_trip() {
        assert_eq!(iso_from_ms(1_103_966_040_123), "2004-12-25T09:14:00.123Z");
        assert_eq!(ms_from_iso("2004-12-25T09:14:00.123Z"), Some(1_103_966_040_123));
        for other in [
            "yesterday",
            "2004-12-25",
            "2004-12-25T09:14:00.123",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
            "+0000:00",
            "é+01:00",
        ] {
            assert_eq!(ms_from_iso(other), None, "{other}");
        }
        for same in ["2004-12-25T10:14:00.123+01:00", "2004-12-24T23:44:00.123456-09:30", "2004-12-25T09:14:00.123+00:00"] {
            assert_eq!(ms_from_iso(same), Some(1_103_966_040_123), "{same}");
        }
        assert_eq!(iso_from_ms(u64::MAX), "9999-12-31T23:59:59.999Z");
    }
}
