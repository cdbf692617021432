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
const ISO_MS_MAX: u64 = 253_402_300_799_999;

/// ISO 8601 in UTC with milliseconds, as JavaScript's `toISOString` writes it.
pub fn iso_from_ms(ms: u64) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(ms.min(ISO_MS_MAX))).to_string()
}

/// Milliseconds since 1970 of an ISO 8601 time in UTC; `None` for anything else.
pub fn ms_from_iso(text: &str) -> Option<u64> {
    let time: SystemTime = humantime::parse_rfc3339(text).ok()?;
    u64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_a_round_trip() {
        assert_eq!(iso_from_ms(1_103_966_040_123), "2004-12-25T09:14:00.123Z");
        assert_eq!(ms_from_iso("2004-12-25T09:14:00.123Z"), Some(1_103_966_040_123));
        assert_eq!(ms_from_iso("yesterday"), None);
        assert_eq!(iso_from_ms(u64::MAX), "9999-12-31T23:59:59.999Z");
    }
}
