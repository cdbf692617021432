//! Exponential backoff with full jitter (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog 2015).

use crate::limits::BACKOFF_MS_MAX;

/// How long to wait before attempt number `failures + 1`: anything from 0 to `base_ms * 2^failures`, at most
/// [`BACKOFF_MS_MAX`]. The whole range is drawn from, so that clients that lost the same relay come back spread out.
pub fn delay_ms(base_ms: u64, failures: u32, random: &mut fastrand::Rng) -> u64 {
    let ceiling = base_ms.saturating_mul(1u64.checked_shl(failures).unwrap_or(u64::MAX)).min(BACKOFF_MS_MAX);
    random.u64(0..=ceiling)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_cap_and_repeat_per_random_seed() {
        let longest = |failures| {
            let mut random = fastrand::Rng::with_seed(7);
            (0..2_000).map(|_| delay_ms(1_000, failures, &mut random)).max().unwrap()
        };
        assert!((900..=1_000).contains(&longest(0)));
        assert!((3_600..=4_000).contains(&longest(2)));
        assert!((54_000..=BACKOFF_MS_MAX).contains(&longest(200)));
        assert_eq!(longest(5), longest(5));
    }
}
