//! Vector clocks as plain objects, and what the package tells without a device.

use js_sys::{Array, Object};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::identity::DomainSet;
use solconnect_sync_core::ids::{check_wallet, session_of, wallet_address};
use solconnect_sync_core::limits::ID_BYTES_MAX;
use solconnect_sync_core::vector_clock::VectorClock;
use wasm_bindgen::prelude::*;

use crate::arguments::whole;
use crate::types::thrown;

/// The clock with the counters of a plain object.
///
/// # Errors
/// `INVALID_VECTOR_CLOCK`.
pub fn clock_of(record: &JsValue) -> Result<VectorClock, SyncError> {
    if !record.is_object() || Array::is_array(record) {
        return Err(invalid("it is no object"));
    }
    let mut clock = VectorClock::new();
    for pair in Object::entries(record.unchecked_ref()).iter() {
        let pair: Array = pair.unchecked_into();
        let device = pair.get(0).as_string().unwrap_or_default();
        if device.is_empty() || device.len() > ID_BYTES_MAX {
            return Err(invalid("a device id is empty or too long"));
        }
        let counter = whole(&pair.get(1)).ok_or_else(|| invalid("a counter is no whole number from 0 to 2^53 - 1"))?;
        clock.raise(&device, counter)?;
    }
    Ok(clock)
}

/// The counters of a clock as a plain object.
pub fn record_of(clock: &VectorClock) -> JsValue {
    let pairs: Array = clock.iter().map(|(device, counter)| Array::of2(&device.into(), &JsValue::from(counter as f64))).collect();
    // Pairs of a text and a number are what it wants.
    Object::from_entries(&pairs).unwrap_or_default().into()
}

fn invalid(why: &str) -> SyncError {
    SyncError::new(ErrorCode::InvalidVectorClock, ["vector clock: ", why].concat())
}

/// The session of two wallets: the same for both, on every device. Where devices sign in, that of the application.
///
/// Errors, thrown: `INVALID_WALLET_ADDRESS`, `INVALID_ARGUMENT` for domains that are none.
#[wasm_bindgen(js_name = sessionIdOf)]
pub fn session_id_of(
    #[wasm_bindgen(js_name = walletA)] wallet_a: &str,
    #[wasm_bindgen(js_name = walletB)] wallet_b: &str,
    domains: Option<Vec<String>>,
) -> Result<String, JsValue> {
    let checked = [wallet_a, wallet_b].into_iter().try_for_each(check_wallet);
    let domains = checked.and_then(|()| domains.map(DomainSet::new).transpose());
    thrown(domains.map(|domains| {
        domains.and_then(|domains| domains.session_of(wallet_a, wallet_b)).unwrap_or_else(|| session_of(wallet_a, wallet_b))
    }))
}

/// The address of a wallet: its public key of 32 bytes in base58.
///
/// Errors, thrown: `INVALID_WALLET_ADDRESS`.
#[wasm_bindgen(js_name = walletAddress)]
pub fn wallet_of(#[wasm_bindgen(js_name = publicKey)] public_key: &[u8]) -> Result<String, JsValue> {
    let wrong_length = || SyncError::new(ErrorCode::InvalidWalletAddress, "a wallet's public key has 32 bytes");
    thrown(public_key.try_into().map(wallet_address).map_err(|_| wrong_length()))
}

/// Checks the address of a wallet.
///
/// Errors, thrown: `INVALID_WALLET_ADDRESS`.
#[wasm_bindgen(js_name = checkWallet)]
pub fn check_address(address: &str) -> Result<(), JsValue> {
    thrown(check_wallet(address))
}

/// The version of this package. No errors.
#[wasm_bindgen]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}
