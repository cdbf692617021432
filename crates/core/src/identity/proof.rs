//! What a device signs to sign in.

use super::key::{DeviceKey, PublicKey, Signature, verify};
use crate::error::SyncError;
use crate::wire::put_bytes;

/// Bytes at random, to be signed once.
pub type Nonce = [u8; 16];

/// What a device signs in to: a relay under the name that the device knows it by, at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// The relay's public name: host, and port where it is not the scheme's own. Who passes on what another relay says is
    /// called otherwise.
    pub relay: String,
    /// The relay's key.
    pub relay_key: PublicKey,
    /// What it said on this connection: no proof that was heard before is taken.
    pub nonce: Nonce,
    /// What the device has drawn for this proof: no answer to an earlier one is an answer to this.
    pub device_nonce: Nonce,
}

impl Challenge {
    /// The proof of the device that has this key, as one of this account.
    pub fn prove(&self, account_id: &str, key: &DeviceKey) -> Signature {
        key.sign(&self.signed_bytes(account_id, &key.public()))
    }

    /// Checks a proof.
    ///
    /// # Errors
    /// Those of [`verify`].
    pub fn check(&self, account_id: &str, device: &PublicKey, proof: &Signature) -> Result<(), SyncError> {
        verify(device, &self.signed_bytes(account_id, device), proof)
    }

    fn signed_bytes(&self, account_id: &str, device: &PublicKey) -> Vec<u8> {
        let mut bytes = b"solconnect.sign-in.v1\0".to_vec();
        put_bytes(&mut bytes, self.relay.as_bytes());
        bytes.extend_from_slice(&self.relay_key);
        bytes.extend_from_slice(&self.nonce);
        bytes.extend_from_slice(&self.device_nonce);
        put_bytes(&mut bytes, account_id.as_bytes());
        bytes.extend_from_slice(device);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;
    use crate::identity::hex::hex;

    fn challenge() -> Challenge {
        Challenge { relay: "relay.example".into(), relay_key: [1; 32], nonce: [2; 16], device_nonce: [4; 16] }
    }

    #[test]
    fn a_proof_is_over_these_bytes() {
        let bytes = challenge().signed_bytes("account:x", &[3; 32]);
        let parts = [
            hex(b"solconnect.sign-in.v1\0"),
            format!("0d{}", hex(b"relay.example")),
            "01".repeat(32),
            "02".repeat(16),
            "04".repeat(16),
            format!("09{}", hex(b"account:x")),
            "03".repeat(32),
        ];
        assert_eq!(hex(&bytes), parts.concat());
    }

    #[test]
    fn a_proof_is_for_one_relay_moment_account_and_device() {
        let key = DeviceKey::from_secret(&[5; 32]);
        let proof = challenge().prove("account:x", &key);
        assert_eq!(challenge().check("account:x", &key.public(), &proof), Ok(()));
        let others = [
            (Challenge { relay: "evil.example".into(), ..challenge() }, "account:x", key.public()),
            (Challenge { relay_key: [9; 32], ..challenge() }, "account:x", key.public()),
            (Challenge { nonce: [9; 16], ..challenge() }, "account:x", key.public()),
            (Challenge { device_nonce: [9; 16], ..challenge() }, "account:x", key.public()),
            (challenge(), "account:y", key.public()),
            (challenge(), "account:x", DeviceKey::from_secret(&[6; 32]).public()),
        ];
        for (challenge, account_id, device) in others {
            let refused = challenge.check(account_id, &device, &proof).unwrap_err();
            assert_eq!(refused.code, ErrorCode::InvalidSignature, "{challenge:?} {account_id}");
        }
    }
}
