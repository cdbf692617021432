//! What a connection costs the relay, and when that is too much.
//!
//! A token bucket: every frame is charged by its bytes and by what it makes the relay do for others. The figures are
//! estimates in microseconds; that they are of the right size is enough to keep one connection from taking all the time.

use crate::limits::{COST_US_MAX, COST_US_PER_SECOND};
use crate::time::Now;

/// To take a frame, refuse it, and queue an answer.
const FRAME_US: u64 = 5;

/// Bytes that are read in a microsecond.
const BYTES_PER_US: usize = 128;

/// To read a session from the journal.
pub(super) const LOAD_US: u64 = 100;

/// To check, number, store and encode a message.
pub(super) const MESSAGE_US: u64 = 2;

/// To tell one member something.
pub(super) const MEMBER_US: u64 = 1;

/// To send a batch that the connection was sent before.
pub(super) const BATCH_AGAIN_US: u64 = 500;

/// What a connection may still cost.
#[derive(Debug)]
pub(super) struct Budget {
    /// Microseconds; below 0 where something turned out to be dearer than what was left.
    left_us: i64,
    since_ms: u64,
    /// It was told that it is refused, and has not been heard since.
    pub told: bool,
}

const FULL_US: i64 = COST_US_MAX as i64;

impl Budget {
    pub fn new(now: Now) -> Self {
        Budget { left_us: FULL_US, since_ms: now.monotonic_ms, told: false }
    }

    /// A frame of so many bytes: whether it is looked at.
    pub fn admits(&mut self, now: Now, bytes: usize) -> bool {
        let passed_ms = now.monotonic_ms.saturating_sub(self.since_ms).min(COST_US_MAX);
        self.since_ms = now.monotonic_ms;
        let earned_us = i64::try_from(passed_ms * COST_US_PER_SECOND / 1_000).unwrap_or(FULL_US);
        self.left_us = (self.left_us + earned_us).min(FULL_US);
        if self.left_us <= 0 {
            return false;
        }
        self.told = false;
        self.charge(FRAME_US + (bytes / BYTES_PER_US) as u64);
        true
    }

    /// It did something dearer. One frame can cost no more than the whole of it, so that it comes back in seconds.
    pub fn charge(&mut self, us: u64) {
        let us = i64::try_from(us).unwrap_or(i64::MAX);
        self.left_us = self.left_us.saturating_sub(us).max(-FULL_US);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(monotonic_ms: u64) -> Now {
        Now { monotonic_ms, wall_ms: 0 }
    }

    #[test]
    fn what_is_spent_comes_back_with_time() {
        let mut budget = Budget::new(at(0));
        let admitted = (0..1_000_000).take_while(|_| budget.admits(at(0), 0)).count() as u64;
        assert_eq!(admitted, COST_US_MAX / FRAME_US);
        assert!(!budget.admits(at(0), 0));
        let admitted = (0..1_000_000).take_while(|_| budget.admits(at(1_000), 0)).count() as u64;
        assert_eq!(admitted, COST_US_PER_SECOND / FRAME_US);
    }

    #[test]
    fn one_dear_frame_silences_for_seconds_at_most() {
        let mut budget = Budget::new(at(0));
        budget.charge(u64::MAX);
        assert!(!budget.admits(at(1_000), 0));
        assert!(budget.admits(at(1_001 + 1_000 * COST_US_MAX / COST_US_PER_SECOND), 0));
    }
}
