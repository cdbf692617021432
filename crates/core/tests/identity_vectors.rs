//! What another implementation has made of docs/encryption.md (`crates/vault/vectors.mjs`) is what claims are here.

use crate::account;
use serde_json::Value;
use solconnect_sync_core::identity::{Claim, DeviceKey, NewRecoveryKey, Owner, Recovery, RecoveryKind};
use solconnect_sync_core::ids::DeviceId;
use solconnect_sync_core::log::LogHead;
use solconnect_sync_vault::layout::Generation;

fn bytes(value: &Value) -> Vec<u8> {
    let hex = value.as_str().unwrap();
    (0..hex.len() / 2).map(|place| u8::from_str_radix(&hex[2 * place..2 * place + 2], 16).unwrap()).collect()
}

fn array<const COUNT: usize>(value: &Value) -> [u8; COUNT] {
    bytes(value).try_into().unwrap()
}

fn ids(value: &Value) -> Vec<DeviceId> {
    value.as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
}

#[test]
fn claims_are_those_of_the_vectors() {
    let vectors: Value = serde_json::from_str(include_str!("../../vault/vectors.json")).unwrap();
    let case = &vectors["claims"];
    let owner = Owner { account_id: case["account"].as_str().unwrap().into(), ..account::owner(account::DOMAIN) };
    let (devices, kept, seal_key, sealed) = (ids(&case["devices"]), ids(&case["kept"]), array(&case["sealKey"]), array(&case["sealed"]));
    let (generation, rest) = Generation::take(&bytes(&case["generation"])).map(|(one, rest)| (one, rest.len())).unwrap();
    assert_eq!(rest, 0);
    let recovery = DeviceKey::from_secret(&array(&case["recoverySecret"]));
    let head = LogHead { sequence: case["head"]["sequence"].as_u64().unwrap(), hash: array(&case["head"]["hash"]) };
    let recovery_key = |kind| Claim::RecoveryKey(NewRecoveryKey { kind, key: array(&case["recoveryKey"]), seal_key, sealed });
    let claims = [
        ("sealKeyClaim", Claim::SealKey(seal_key)),
        ("generationClaim", Claim::Generation(generation.clone())),
        ("approveClaim", Claim::ApproveWithKey(devices.iter().map(|id| (id.clone(), sealed)).collect())),
        ("removeClaim", Claim::RemoveAndRenew { devices, kept, generation }),
        ("codeClaim", recovery_key(RecoveryKind::Code)),
        ("passkeyClaim", recovery_key(RecoveryKind::Passkey)),
        ("recoverClaim", Claim::Recover(Recovery::sign(&recovery, &owner, &head, &array(&case["deviceKey"])))),
    ];
    for (name, claim) in claims {
        assert_eq!(claim.to_bytes(), bytes(&case[name]), "{name}");
        assert_eq!(Claim::from_bytes(&bytes(&case[name])), Ok(claim), "{name}");
    }
}
