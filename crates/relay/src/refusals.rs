//! Tells the operator which pages were refused, at a pace that strangers cannot raise.

use std::fmt::{Display, Formatter, Result};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::HeaderValue;

/// Refusals that come within this time of a line in the log are counted and not logged. Pages that are refused come again all the time.
const LINE_INTERVAL_MS: u64 = 10_000;

/// How much of an origin is shown: a scheme, the longest name of a host, and a port.
const ORIGIN_BYTES_SHOWN_MAX: usize = 300;

/// Which refusals are logged. It keeps nothing of what strangers say.
#[derive(Default)]
pub(crate) struct Refusals(Mutex<State>);

#[derive(Default)]
struct State {
    logged_at: Option<Instant>,
    unlogged: u64,
}

impl Refusals {
    /// A page was refused at `now`. Where that is to be logged, how many refusals before it were not.
    pub(crate) fn count(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let interval = Duration::from_millis(LINE_INTERVAL_MS);
        if state.logged_at.is_some_and(|logged_at| now.saturating_duration_since(logged_at) < interval) {
            state.unlogged += 1;
            return None;
        }
        state.logged_at = Some(now);
        Some(std::mem::take(&mut state.unlogged))
    }
}

/// An origin as the log shows it: short, and without characters that a terminal obeys.
pub(crate) struct Shown<'a>(pub(crate) &'a HeaderValue);

impl Display for Shown<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let bytes = self.0.as_bytes();
        write!(formatter, "{}", bytes[..bytes.len().min(ORIGIN_BYTES_SHOWN_MAX)].escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_logged_at_most_every_ten_seconds() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        let at = |ms| refusals.count(start + Duration::from_millis(ms));
        assert_eq!(at(0), Some(0));
        assert_eq!([at(1), at(9_999)], [None, None]);
        assert_eq!(at(10_000), Some(2), "tells how many were not logged");
        assert_eq!([at(10_001), at(19_999)], [None, None]);
        assert_eq!(at(1_000_000), Some(2));
    }

    #[test]
    fn an_origin_is_shown_short_and_harmless() {
        let shown = |bytes: &[u8]| Shown(&HeaderValue::from_bytes(bytes).unwrap()).to_string();
        assert_eq!(shown(b"https://evil.example"), "https://evil.example");
        assert_eq!(shown(b"https://\xff\xfe\"x"), r#"https://\xff\xfe\"x"#);
        assert_eq!(shown(&[b'a'; 10_000]).len(), ORIGIN_BYTES_SHOWN_MAX);
    }
}
