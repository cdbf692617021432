//! What the relay signs: where the log of a session ends, and that it has the key that it shows.

use serde::{Deserialize, Serialize};

use super::key::{DeviceKey, PublicKey, Signature, verify};
use crate::entry::{Digest, Entry, first_digest};
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

/// What the relay signs when a device has signed in: the device's proof, and where it says how far the account's log is (`account`), that.
/// Where it refuses the device (`refused`), also the code of the reason, and the digest of the entry that came with the proof, zeros for
/// none: so nobody gives another reason in the relay's place, refuses a device with what the relay has signed of another `sign_in`, or has
/// the relay refuse an entry that the device did not say.
pub fn greet(relay: &DeviceKey, proof: &Signature, account: Option<&LogHead>, refused: Option<(&str, &Digest)>) -> Signature {
    relay.sign(&greeted_bytes(proof, account, refused))
}

/// Checks that: the relay has the key that it shows.
///
/// # Errors
/// Those of [`verify`].
pub fn check_greeting(
    relay: &PublicKey,
    proof: &Signature,
    account: Option<&LogHead>,
    refused: Option<(&str, &Digest)>,
    greeting: &Signature,
) -> Result<(), SyncError> {
    verify(relay, &greeted_bytes(proof, account, refused), greeting)
}

/// The digest of what came with a proof.
pub fn said_digest(entry: Option<&Entry>) -> Digest {
    entry.map(|entry| entry.digest(&first_digest(&entry.message.session_id, &entry.device_id))).unwrap_or_default()
}

fn greeted_bytes(proof: &Signature, account: Option<&LogHead>, refused: Option<(&str, &Digest)>) -> Vec<u8> {
    let mut bytes = if refused.is_some() { b"solconnect.refused.v1\0".to_vec() } else { b"solconnect.signed-in.v1\0".to_vec() };
    bytes.extend_from_slice(proof);
    bytes.push(account.is_some().into());
    if let Some(head) = account {
        put_varint(&mut bytes, head.sequence);
        bytes.extend_from_slice(&head.hash);
    }
    if let Some((code, entry)) = refused {
        put_bytes(&mut bytes, code.as_bytes());
        bytes.extend_from_slice(entry);
    }
    bytes
}

/// A relay's earlier key, and its signature over the key that came after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EarlierKey {
    /// The key.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub key: PublicKey,
    /// Its signature.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub signature: Signature,
}

impl Default for EarlierKey {
    fn default() -> Self {
        EarlierKey { key: PublicKey::default(), signature: [0; 64] }
    }
}

impl EarlierKey {
    /// A relay gives up this key for another one.
    pub fn succeeded_by(key: &DeviceKey, next: &PublicKey) -> EarlierKey {
        EarlierKey { key: key.public(), signature: key.sign(&successor_bytes(next)) }
    }

    /// Whether it names this key as the one after it.
    pub fn names(&self, next: &PublicKey) -> bool {
        verify(&self.key, &successor_bytes(next), &self.signature).is_ok()
    }
}

fn successor_bytes(next: &PublicKey) -> Vec<u8> {
    let mut bytes = b"solconnect.relay-successor.v1\0".to_vec();
    bytes.extend_from_slice(next);
    bytes
}

/// Whether a relay that has this key is the one that had the known key: that one, or each one from it on, names the next.
/// `earlier` are its keys before, oldest first.
pub fn is_successor(known: &PublicKey, key: &PublicKey, earlier: &[EarlierKey]) -> bool {
    let Some(first) = earlier.iter().position(|earlier| earlier.key == *known) else { return false };
    let after = earlier[first + 1..].iter().map(|earlier| &earlier.key).chain([key]);
    earlier[first..].iter().zip(after).all(|(earlier, next)| earlier.names(next))
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
    fn a_key_is_followed_by_the_one_that_it_names() {
        let keys = [1, 2, 3, 4].map(|secret| DeviceKey::from_secret(&[secret; 32]));
        let public = keys.clone().map(|key| key.public());
        let step = |from: usize, to: usize| EarlierKey::succeeded_by(&keys[from], &public[to]);
        let earlier = [step(0, 1), step(1, 2)];
        assert!(is_successor(&public[0], &public[2], &earlier) && is_successor(&public[1], &public[2], &earlier));
        assert!(!is_successor(&public[0], &public[3], &earlier), "another took the place of the last");
        assert!(!is_successor(&public[3], &public[2], &earlier), "of a key that nobody knows");
        assert!(!is_successor(&public[0], &public[2], &[step(0, 3), step(1, 2)]), "the first names another");
        assert!(!is_successor(&public[0], &public[2], &[]));
    }

    fn head(number: u8) -> LogHead {
        LogHead { sequence: number.into(), hash: [number; 32] }
    }

    #[test]
    fn a_greeting_answers_one_proof() {
        let key = DeviceKey::from_secret(&[5; 32]);
        let refusals = [None, Some(("WRONG_KEY", &[3; 32])), Some(("WRONG_KEY", &[0; 32])), Some(("WRONG_DOMAIN", &[3; 32]))];
        for said in refusals {
            for (account, elsewhere) in [(None, Some(head(1))), (Some(head(1)), None), (Some(head(1)), Some(head(2)))] {
                let greeting = greet(&key, &[1; 64], account.as_ref(), said);
                assert!(check_greeting(&key.public(), &[2; 64], account.as_ref(), said, &greeting).is_err());
                assert!(check_greeting(&key.public(), &[1; 64], elsewhere.as_ref(), said, &greeting).is_err());
                for other in refusals {
                    let checked = check_greeting(&key.public(), &[1; 64], account.as_ref(), other, &greeting);
                    assert_eq!(checked.is_ok(), said == other);
                }
            }
        }
    }

    #[test]
    fn a_greeting_is_over_these_bytes() {
        let proof = "01".repeat(64);
        let parts = [hex(b"solconnect.signed-in.v1\0"), proof.clone(), "01".into(), "07".repeat(33)];
        assert_eq!(hex(&greeted_bytes(&[1; 64], Some(&head(7)), None)), parts.concat());
        let parts = [hex(b"solconnect.refused.v1\0"), proof, "00".into(), format!("09{}", hex(b"WRONG_KEY")), "03".repeat(32)];
        assert_eq!(hex(&greeted_bytes(&[1; 64], None, Some(("WRONG_KEY", &[3; 32])))), parts.concat());
    }
}
