//! Who a device is, and whose: keys, certificates of a wallet, and the log of a wallet's devices.
//!
//! Everything here is a pure function of its arguments. `docs/security.md` says against whom each part stands and has the
//! byte formats.

mod account;
mod certificate;
mod domains;
mod evidence;
mod generations;
mod head;
mod key;
mod listed;
mod proof;
mod recovery;
mod siws;
mod statement;
mod timeline;
mod update;

pub use account::{Account, Change};
pub use certificate::{Certificate, Offer, Owner, Purpose, Succession};
pub use domains::DomainSet;
pub use evidence::{Evidence, Verdict, judge};
pub use generations::{AccountKey, Sealed};
pub use head::{EarlierKey, HeadSignature, SignedHead, check_greeting, greet, is_successor, said_digest};
pub use key::{DeviceKey, PublicKey, Signature, device_id, is_key_id, verify};
pub use listed::{Device, RecoveryKey};
pub use proof::{Challenge, Nonce};
pub use recovery::{NewRecoveryKey, Recovery, RecoveryKind};
pub use statement::{Claim, Statement};
pub use update::UpdateSignature;

#[cfg(test)]
mod hex {
    /// The bytes that hex digits stand for.
    pub fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len() / 2).map(|place| u8::from_str_radix(&hex[2 * place..2 * place + 2], 16).unwrap()).collect()
    }

    /// Bytes as hex digits.
    pub fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
