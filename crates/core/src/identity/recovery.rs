//! What a person keeps to come back without another device: a recovery key, as the account log lists it, and what it signs.

use solconnect_sync_vault::seal::{PublicKey as SealKey, SealedKey};

use super::certificate::Owner;
use super::key::{DeviceKey, PublicKey, Signature, verify};
use crate::error::SyncError;
use crate::log::LogHead;
use crate::wire::{Malformed, Reader, put_bytes, put_varint};

/// What a recovery key is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecoveryKind {
    /// A code that a person wrote down.
    Code = 1,
    /// What a passkey gives.
    Passkey = 2,
}

impl RecoveryKind {
    /// By its number.
    pub(super) fn of(number: u64) -> Result<RecoveryKind, Malformed> {
        match number {
            1 => Ok(RecoveryKind::Code),
            2 => Ok(RecoveryKind::Passkey),
            _ => Err(Malformed(&"a recovery key of another kind")),
        }
    }
}

/// A recovery key, as an approved device names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecoveryKey {
    /// What it is made of.
    pub kind: RecoveryKind,
    /// Its Ed25519 key, which has signed when a device is recovered.
    pub key: PublicKey,
    /// Its X25519 key: account keys are sealed to it.
    pub seal_key: SealKey,
    /// The newest account key, sealed to it.
    pub sealed: SealedKey,
}

impl NewRecoveryKey {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.push(self.kind as u8);
        out.extend_from_slice(&self.key);
        out.extend_from_slice(&self.seal_key);
        out.extend_from_slice(&self.sealed);
    }

    pub(super) fn take(reader: &mut Reader<'_>) -> Result<NewRecoveryKey, Malformed> {
        let kind = RecoveryKind::of(u64::from(reader.byte()?))?;
        Ok(NewRecoveryKey { kind, key: *reader.array()?, seal_key: *reader.array()?, sealed: *reader.array()? })
    }
}

/// A recovery key approves a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// Its Ed25519 key.
    pub key: PublicKey,
    /// Its signature.
    pub signature: Signature,
}

impl Recovery {
    /// The recovery key approves this device, which says so behind this head.
    pub fn sign(key: &DeviceKey, owner: &Owner, after: &LogHead, device: &PublicKey) -> Recovery {
        Recovery { key: key.public(), signature: key.sign(&signed_bytes(owner, after, device)) }
    }

    /// Checks that it has.
    ///
    /// # Errors
    /// Those of [`verify`].
    pub(super) fn check(&self, owner: &Owner, after: &LogHead, device: &PublicKey) -> Result<(), SyncError> {
        verify(&self.key, &signed_bytes(owner, after, device), &self.signature)
    }
}

/// It names a device of this account and no other, at one place: what it signed once approves nobody again.
fn signed_bytes(owner: &Owner, after: &LogHead, device: &PublicKey) -> Vec<u8> {
    let mut bytes = b"solconnect.recover.v1\0".to_vec();
    put_bytes(&mut bytes, owner.account_id.as_bytes());
    put_varint(&mut bytes, after.sequence);
    bytes.extend_from_slice(&after.hash);
    bytes.extend_from_slice(device);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;
    use crate::identity::DomainSet;
    use crate::identity::hex::hex;
    use crate::ids::wallet_address;

    const AFTER: LogHead = LogHead { sequence: 300, hash: [2; 32] };

    fn owner(domain: &str) -> Owner {
        let wallet = wallet_address(&DeviceKey::from_secret(&[1; 32]).public());
        Owner::new(&wallet, DomainSet::new(vec![domain.into()]).unwrap()).unwrap()
    }

    #[test]
    fn a_recovery_is_signed_over_these_bytes() {
        let owner = owner("chat.example");
        let account = owner.account_id.as_bytes();
        let parts =
            [hex(b"solconnect.recover.v1\0"), hex(&[account.len() as u8]) + &hex(account), "ac02".into(), "02".repeat(32), "03".repeat(32)];
        assert_eq!(hex(&signed_bytes(&owner, &AFTER, &[3; 32])), parts.concat());
    }

    #[test]
    fn a_recovery_is_of_one_account_place_and_device() {
        let (key, device) = (DeviceKey::from_secret(&[5; 32]), DeviceKey::from_secret(&[6; 32]).public());
        let recovery = Recovery::sign(&key, &owner("chat.example"), &AFTER, &device);
        assert_eq!(recovery.check(&owner("chat.example"), &AFTER, &device), Ok(()));
        let refused = [
            recovery.check(&owner("other.example"), &AFTER, &device),
            recovery.check(&owner("chat.example"), &LogHead { sequence: 301, ..AFTER }, &device),
            recovery.check(&owner("chat.example"), &LogHead { hash: [3; 32], ..AFTER }, &device),
            recovery.check(&owner("chat.example"), &AFTER, &key.public()),
            Recovery { key: device, ..recovery.clone() }.check(&owner("chat.example"), &AFTER, &device),
        ];
        assert!(refused.into_iter().all(|checked| checked.unwrap_err().code == ErrorCode::InvalidSignature));
    }
}
