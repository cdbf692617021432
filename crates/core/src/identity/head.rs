//! What the relay signs: where the log of a session ends, and that it has the key that it shows.

use serde::{Deserialize, Serialize};

use super::key::{DeviceKey, PublicKey, Signature, verify};
use crate::error::SyncError;
use crate::log::{LogHead, from_hex, to_hex};
use crate::wire::{put_bytes, put_varint};

/// The relay's signature under the head of a session's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeadSignature {
    /// When it signed, in milliseconds since 1970. It never signs an earlier time after a later one.
    pub time: u64,
    /// The signature.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub signature: Signature,
}

impl Default for HeadSignature {
    fn default() -> Self {
        HeadSignature { time: 0, signature: [0; 64] }
    }
}

impl HeadSignature {
    /// The signature of the relay that has this key.
    pub fn sign(key: &DeviceKey, session_id: &str, head: &LogHead, time: u64) -> HeadSignature {
        HeadSignature { time, signature: key.sign(&signed_bytes(session_id, head, time)) }
    }

    /// Checks it.
    ///
    /// # Errors
    /// Those of [`verify`].
    pub fn check(&self, relay: &PublicKey, session_id: &str, head: &LogHead) -> Result<(), SyncError> {
        verify(relay, &signed_bytes(session_id, head, self.time), &self.signature)
    }
}

/// The head of a log, as the relay has signed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedHead {
    /// Where the log ends.
    pub head: LogHead,
    /// The relay's signature.
    pub signature: HeadSignature,
}

fn signed_bytes(session_id: &str, head: &LogHead, time: u64) -> Vec<u8> {
    let mut bytes = b"solconnect.head.v1\0".to_vec();
    put_bytes(&mut bytes, session_id.as_bytes());
    put_varint(&mut bytes, head.sequence);
    bytes.extend_from_slice(&head.hash);
    put_varint(&mut bytes, time);
    bytes
}

/// What the relay signs when a device has signed in: the device's proof, which nobody could know before.
pub fn greet(relay: &DeviceKey, proof: &Signature) -> Signature {
    relay.sign(&greeted_bytes(proof))
}

/// Checks that: the relay has the key that it shows.
///
/// # Errors
/// Those of [`verify`].
pub fn check_greeting(relay: &PublicKey, proof: &Signature, greeting: &Signature) -> Result<(), SyncError> {
    verify(relay, &greeted_bytes(proof), greeting)
}

fn greeted_bytes(proof: &Signature) -> Vec<u8> {
    let mut bytes = b"solconnect.signed-in.v1\0".to_vec();
    bytes.extend_from_slice(proof);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;
    use crate::identity::hex::hex;

    const HEAD: LogHead = LogHead { sequence: 300, hash: [2; 32] };

    #[test]
    fn a_head_is_signed_over_these_bytes() {
        let parts = [hex(b"solconnect.head.v1\0"), format!("04{}", hex(b"room")), "ac02".into(), "02".repeat(32), "d209".into()];
        assert_eq!(hex(&signed_bytes("room", &HEAD, 1_234)), parts.concat());
    }

    #[test]
    fn a_signed_head_is_of_one_session_log_time_and_relay() {
        let (key, other) = (DeviceKey::from_secret(&[5; 32]), DeviceKey::from_secret(&[6; 32]).public());
        let signed = HeadSignature::sign(&key, "room", &HEAD, 1_234);
        assert_eq!(signed.check(&key.public(), "room", &HEAD), Ok(()));
        let refused = [
            signed.check(&key.public(), "hall", &HEAD),
            signed.check(&key.public(), "room", &LogHead { sequence: 301, ..HEAD }),
            signed.check(&key.public(), "room", &LogHead { hash: [3; 32], ..HEAD }),
            HeadSignature { time: 1_235, ..signed }.check(&key.public(), "room", &HEAD),
            signed.check(&other, "room", &HEAD),
        ];
        assert!(refused.into_iter().all(|checked| checked.unwrap_err().code == ErrorCode::InvalidSignature));
    }

    #[test]
    fn a_greeting_answers_one_proof() {
        let key = DeviceKey::from_secret(&[5; 32]);
        let greeting = greet(&key, &[1; 64]);
        assert_eq!(check_greeting(&key.public(), &[1; 64], &greeting), Ok(()));
        assert_eq!(check_greeting(&key.public(), &[2; 64], &greeting).unwrap_err().code, ErrorCode::InvalidSignature);
    }
}
