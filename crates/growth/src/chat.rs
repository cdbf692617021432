//! What people write, made up: always the same for the same seed.

use solconnect_sync_core::ids::wallet_address;

/// A wallet's address, by its number.
pub fn wallet(number: u64) -> String {
    let mut bytes = [1; 32];
    bytes[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    wallet_address(&bytes)
}

/// Writes messages of 2 to 20 words, out of a thousand, some of which are frequent.
pub struct Writer {
    random: fastrand::Rng,
    words: Vec<String>,
}

impl Writer {
    pub fn new() -> Writer {
        let mut random = fastrand::Rng::with_seed(1);
        let words = (0..1_000).map(|_| (0..random.usize(2..9)).map(|_| random.char('a'..='z')).collect()).collect();
        Writer { random, words }
    }

    pub fn text(&mut self) -> String {
        let count = self.random.usize(2..=20);
        // Squared, so that words at the front come often.
        let words: Vec<&str> = (0..count).map(|_| self.words[(self.random.f64().powi(2) * 1_000.0) as usize].as_str()).collect();
        words.join(" ")
    }
}
