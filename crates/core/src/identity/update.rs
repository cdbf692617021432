//! What a device signs with everything that it writes: one signature for an update, whose last digest covers all before it.

use serde::{Deserialize, Serialize};

use super::key::{DeviceKey, PublicKey, Signature, device_id, verify};
use crate::entry::Digest;
use crate::error::SyncError;
use crate::ids::DeviceId;
use crate::log::{LogHead, from_hex, to_hex};
use crate::wire::{Field, Malformed, Record, Value, put_bytes, put_varint};

/// A device's signature under one of its entries, and so under all that it wrote in the session before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateSignature {
    /// The device's key. The device's id is a hash of it.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub key: PublicKey,
    /// The counter of the entry.
    pub counter: u64,
    /// The log as far as the device had stored it when it signed: who shows another log to others is found out.
    pub seen: LogHead,
    /// The signature.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub signature: Signature,
}

impl Default for UpdateSignature {
    fn default() -> Self {
        let seen = LogHead { sequence: 0, hash: Digest::default() };
        UpdateSignature { key: PublicKey::default(), counter: 0, seen, signature: [0; 64] }
    }
}

impl UpdateSignature {
    /// The signature of the device that has this key, under its entry that has this counter and digest.
    pub fn sign(key: &DeviceKey, session_id: &str, counter: u64, digest: &Digest, seen: LogHead) -> UpdateSignature {
        UpdateSignature { key: key.public(), counter, seen, signature: key.sign(&signed_bytes(session_id, digest, &seen)) }
    }

    /// Whose it is, where it is right.
    pub fn device_id(&self) -> DeviceId {
        device_id(&self.key)
    }

    /// Its stored form.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode()
    }

    /// Reads that.
    ///
    /// # Errors
    /// `STORAGE_ERROR`.
    pub fn from_bytes(bytes: &[u8]) -> Result<UpdateSignature, SyncError> {
        UpdateSignature::decode(bytes).map_err(Malformed::in_store)
    }

    /// Checks it against the digest of the entry.
    ///
    /// # Errors
    /// Those of [`verify`].
    pub fn check(&self, session_id: &str, digest: &Digest) -> Result<(), SyncError> {
        verify(&self.key, &signed_bytes(session_id, digest, &self.seen), &self.signature)
    }
}

/// The log that was seen stands in it, and not in a record of its own: it goes with every batch.
impl Record for UpdateSignature {
    fn put_fields(&self, out: &mut Vec<u8>) {
        self.key.put(1, out);
        self.counter.put(2, out);
        self.seen.sequence.put(3, out);
        self.seen.hash.put(4, out);
        self.signature.put(5, out);
    }

    fn take_field(&mut self, number: u64, value: &Value<'_>) -> Result<(), Malformed> {
        match number {
            1 => self.key.take(value),
            2 => Field::take(&mut self.counter, value),
            3 => Field::take(&mut self.seen.sequence, value),
            4 => self.seen.hash.take(value),
            5 => self.signature.take(value),
            _ => Ok(()),
        }
    }
}

/// The digest says device and counter.
fn signed_bytes(session_id: &str, digest: &Digest, seen: &LogHead) -> Vec<u8> {
    let mut bytes = b"solconnect.update.v1\0".to_vec();
    put_bytes(&mut bytes, session_id.as_bytes());
    bytes.extend_from_slice(digest);
    put_varint(&mut bytes, seen.sequence);
    bytes.extend_from_slice(&seen.hash);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;
    use crate::identity::hex::hex;

    const SEEN: LogHead = LogHead { sequence: 300, hash: [2; 32] };

    #[test]
    fn an_update_is_signed_over_these_bytes() {
        let parts = [hex(b"solconnect.update.v1\0"), format!("04{}", hex(b"room")), "01".repeat(32), "ac02".into(), "02".repeat(32)];
        assert_eq!(hex(&signed_bytes("room", &[1; 32], &SEEN)), parts.concat());
    }

    #[test]
    fn a_signature_is_of_one_session_digest_log_and_device() {
        let key = DeviceKey::from_secret(&[5; 32]);
        let signature = UpdateSignature::sign(&key, "room", 7, &[1; 32], SEEN);
        assert_eq!((signature.check("room", &[1; 32]), signature.device_id()), (Ok(()), key.device_id()));
        let others = [
            (signature.clone(), "hall", [1; 32]),
            (signature.clone(), "room", [3; 32]),
            (UpdateSignature { seen: LogHead { sequence: 301, ..SEEN }, ..signature.clone() }, "room", [1; 32]),
            (UpdateSignature { seen: LogHead { hash: [3; 32], ..SEEN }, ..signature.clone() }, "room", [1; 32]),
            (UpdateSignature { key: DeviceKey::from_secret(&[6; 32]).public(), ..signature }, "room", [1; 32]),
        ];
        for (other, session_id, digest) in others {
            assert_eq!(other.check(session_id, &digest).unwrap_err().code, ErrorCode::InvalidSignature, "{other:?} {session_id}");
        }
    }
}
