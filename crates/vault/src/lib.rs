//! The cryptography of encrypted sessions. `docs/encryption.md` has every byte of it and why it is there.
//!
//! Pure and deterministic: no input and no output, no clock, and randomness is an argument. Nothing here decides what counts: that is
//! a function of logs, and the core's. Nothing branches on a secret or looks something up by one; secrets are overwritten when they
//! are dropped.

#![no_std]

extern crate alloc;

pub mod account;
pub mod approval;
pub mod epoch;
mod gf32;
pub mod layout;
pub mod lock;
pub mod recovery;
pub mod reseal;
pub mod seal;
pub mod text;
#[cfg(feature = "wasm")]
mod wasm;
mod wire;

#[cfg(test)]
mod standards;

use hkdf::Hkdf;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

pub use wire::Malformed;

/// SHA-256 of something: a transcript, an entry's digest, a log hash.
pub type Hash = [u8; 32];

/// 32 bytes that nobody else may know, overwritten when they are dropped.
pub type Secret = Zeroizing<[u8; 32]>;

/// Why something was not sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Bytes that are not what they must be.
    Malformed(Malformed),
    /// A public key of low order, or in another form than its one.
    WeakKey,
    /// It was sealed or encrypted for somebody, something or some place else, or changed since.
    NotOpened,
    /// It opened, and is not what it was said to be: a secret that does not belong to its tag, a key that is not that of its public
    /// half.
    Another,
    /// What was to find out failed itself, in lack of memory say: nothing is known of what it was given. By this crate only for a lock, and
    /// where it runs as a module of its own.
    Failed,
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        Fault::Malformed(malformed)
    }
}

impl core::fmt::Display for Fault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Fault::Malformed(Malformed(what)) => what,
            Fault::WeakKey => "a public key is of low order or in another form",
            Fault::NotOpened => "it does not open with this key at this place",
            Fault::Another => "what was sealed is not what it was said to be",
            Fault::Failed => "the module of encrypted sessions failed",
        })
    }
}

/// SHA-256 over parts that follow each other.
fn hash(parts: &[&[u8]]) -> Hash {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}

/// HKDF-SHA256, its first step.
fn extract(salt: &[u8], secret: &[u8]) -> Secret {
    let (key, _) = Hkdf::<Sha256>::extract(Some(salt), secret);
    Zeroizing::new(key.into())
}

/// Its second step.
fn expand<const BYTES: usize>(key: &Secret, info: &[&[u8]]) -> Zeroizing<[u8; BYTES]> {
    const { assert!(BYTES <= 255 * 32, "HKDF gives no more") };
    let mut out = Zeroizing::new([0; BYTES]);
    let hkdf = Hkdf::<Sha256>::from_prk(&key[..]).expect("a key as long as a hash");
    hkdf.expand_multi_info(info, &mut out[..]).expect("no more than HKDF gives");
    out
}
