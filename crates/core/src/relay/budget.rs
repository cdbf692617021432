//! What a connection costs the relay, and when that is too much.
//!
//! A token bucket: every frame is charged by its bytes and by what it makes the relay do for others. The figures are
//! estimates in microseconds; that they are of the right size is enough to keep one connection from taking all the time.
//! What a connection has spent is answered all the same, so that nothing is lost: it is not read until it has some again,
//! and what it says meanwhile waits in its own buffers.

use crate::limits::{COST_US_MAX, COST_US_PER_SECOND};
use crate::time::Now;

/// To read a frame from its socket, refuse it, and write an answer.
const FRAME_US: u64 = 15;

/// Bytes that are read in a microsecond.
const BYTES_PER_US: usize = 128;

/// To read a session from the journal.
pub(super) const LOAD_US: u64 = 100;

/// To check a proof and a certificate: two signatures, at 60 each, and what is hashed for them.
pub(super) const SIGN_IN_US: u64 = 200;

/// To check a device's signature under what it wrote.
pub(super) const VERIFY_US: u64 = 60;

/// A transaction of the journal, where nothing else waits to share it. Who says many messages in one frame pays it once.
pub(super) const APPEND_US: u64 = 90;

/// To check, number, store and encode a message.
pub(super) const MESSAGE_US: u64 = 2;

/// To look for one that may be a repeat in the journal.
pub(super) const FIND_US: u64 = 5;

/// Bytes of messages that are stored in a microsecond. The disk is what a flood of long ones would fill first: so it takes
/// 8 MiB at once and 0.8 MiB a second.
pub(super) const STORED_BYTES_PER_US: usize = 32;

/// To tell one member something in a frame of its own.
pub(super) const MEMBER_US: u64 = 3;

/// Bytes of messages that one member is told in a microsecond.
pub(super) const TOLD_BYTES_PER_US: usize = 1_024;

/// To look for the sessions of a wallet and send a frame full of them.
pub(super) const LIST_US: u64 = 500;

/// To begin a session that is kept for the wallet which it is with. It stands in that wallet's list for ever, so one connection
/// begins 250 at once and 25 a second.
pub(super) const SESSION_US: u64 = 1_000;

/// To pass on what two devices say of their short number. Each of them has a signature to check then, so one connection has 250 at once
/// and 25 a second passed on.
pub(super) const NUMBER_US: u64 = 1_000;

/// To send a batch that the connection was sent before.
pub(super) const BATCH_AGAIN_US: u64 = 500;

/// What a connection may still cost.
#[derive(Debug)]
pub(super) struct Budget {
    /// Microseconds; below 0 where what it asked for was dearer than what was left.
    left_us: i64,
    since_ms: u64,
}

const FULL_US: i64 = COST_US_MAX as i64;

impl Budget {
    pub fn new(now: Now) -> Self {
        Budget { left_us: FULL_US, since_ms: now.monotonic_ms }
    }

    /// It said a frame of so many bytes.
    pub fn charge_frame(&mut self, now: Now, bytes: usize) {
        let passed_ms = now.monotonic_ms.saturating_sub(self.since_ms).min(COST_US_MAX);
        self.since_ms = now.monotonic_ms;
        let earned_us = i64::try_from(passed_ms * COST_US_PER_SECOND / 1_000).unwrap_or(FULL_US);
        self.left_us = (self.left_us + earned_us).min(FULL_US);
        self.charge(FRAME_US + (bytes / BYTES_PER_US) as u64);
    }

    /// It did something dearer. One frame can cost no more than the whole of it, so that it comes back in seconds.
    pub fn charge(&mut self, us: u64) {
        let us = i64::try_from(us).unwrap_or(i64::MAX);
        self.left_us = self.left_us.saturating_sub(us).max(-FULL_US);
    }

    /// When it has something again, where it has nothing.
    pub fn spent_until_ms(&self) -> Option<u64> {
        let missing_us = u64::try_from(1 - self.left_us).ok().filter(|missing_us| *missing_us > 0)?;
        Some(self.since_ms + (missing_us * 1_000).div_ceil(COST_US_PER_SECOND))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(monotonic_ms: u64) -> Now {
        Now { monotonic_ms, wall_ms: 0 }
    }

    #[test]
    fn a_spent_budget_refills_with_time() {
        let mut budget = Budget::new(at(0));
        let mut now_ms = 0;
        let mut frames_until = |end_ms: u64| {
            let mut frames = 0;
            while now_ms < end_ms {
                budget.charge_frame(at(now_ms), 0);
                frames += 1;
                now_ms = budget.spent_until_ms().unwrap_or(now_ms);
            }
            frames
        };
        let (burst, second) = (COST_US_MAX / FRAME_US, COST_US_PER_SECOND / FRAME_US);
        assert!((burst..burst + 10).contains(&frames_until(1)), "what it may cost at once");
        let frames = frames_until(10_001) / 10;
        assert!((second - 10..=second + 10).contains(&frames), "{frames} in a second");
    }

    #[test]
    fn one_costly_frame_silences_a_connection_only_for_seconds() {
        let mut budget = Budget::new(at(0));
        budget.charge(u64::MAX);
        assert_eq!(budget.spent_until_ms(), Some((1_000 * COST_US_MAX).div_ceil(COST_US_PER_SECOND) + 1));
    }
}
