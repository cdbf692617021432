//! The class `VectorClock`.

use std::cell::RefCell;

use js_sys::{Array, JSON, Object};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::ids::{check_wallet, session_of, wallet_address};
use solconnect_sync_core::limits::ID_BYTES_MAX;
use solconnect_sync_core::vector_clock::{Causality, VectorClock as Clock};
use wasm_bindgen::prelude::*;

use crate::arguments::{is_left_out, whole};
use crate::types::thrown;

/// For each device the highest counter known.
///
/// @example
/// ```ts
/// const one = new VectorClock({ phone: 2 });
/// const two = VectorClock.parse('{"laptop":1}');
/// one.compare(two); // 'concurrent': neither knows of the other
/// ```
#[wasm_bindgen]
pub struct VectorClock(RefCell<Clock>);

#[wasm_bindgen]
impl VectorClock {
    /// A clock with these counters, or one that knows nothing.
    ///
    /// Errors, thrown: `INVALID_VECTOR_CLOCK`.
    #[wasm_bindgen(constructor)]
    pub fn new(#[wasm_bindgen(unchecked_optional_param_type = "Record<string, number>")] record: JsValue) -> Result<VectorClock, JsValue> {
        let clock = if is_left_out(&record) { Ok(Clock::new()) } else { clock_of(&record) };
        thrown(clock).map(|clock| VectorClock(RefCell::new(clock)))
    }

    /// Reads what `toString` wrote.
    ///
    /// Errors, thrown: `INVALID_VECTOR_CLOCK`.
    pub fn parse(text: &str) -> Result<VectorClock, JsValue> {
        let record = JSON::parse(text).map_err(|_| invalid("it is no JSON"));
        thrown(record.and_then(|record| clock_of(&record))).map(|clock| VectorClock(RefCell::new(clock)))
    }

    /// Counts one event of a device and returns its new counter.
    ///
    /// Errors, thrown: `INVALID_VECTOR_CLOCK` at 1,024 devices or 2^53 - 1.
    #[wasm_bindgen(unchecked_return_type = "number")]
    pub fn tick(&self, #[wasm_bindgen(js_name = deviceId)] device_id: &str) -> Result<f64, JsValue> {
        thrown(self.0.borrow_mut().tick(device_id)).map(|counter| counter as f64)
    }

    /// The counter of a device, 0 where it is absent. No errors.
    pub fn get(&self, #[wasm_bindgen(js_name = deviceId)] device_id: &str) -> f64 {
        self.0.borrow().get(device_id) as f64
    }

    /// Takes the higher counter of both, device by device.
    ///
    /// Errors, thrown: `INVALID_VECTOR_CLOCK` at 1,024 devices or 2^53 - 1.
    pub fn merge(&self, other: &VectorClock) -> Result<(), JsValue> {
        let other = other.0.borrow().clone();
        thrown(self.0.borrow_mut().merge(&other))
    }

    /// How this clock relates to another. No errors.
    #[wasm_bindgen(unchecked_return_type = "'before' | 'after' | 'equal' | 'concurrent'")]
    pub fn compare(&self, other: &VectorClock) -> String {
        let causality = self.0.borrow().compare(&other.0.borrow());
        match causality {
            Causality::Before => "before",
            Causality::After => "after",
            Causality::Equal => "equal",
            Causality::Concurrent => "concurrent",
        }
        .to_owned()
    }

    /// The counters, by device. No errors.
    #[wasm_bindgen(js_name = toJSON, unchecked_return_type = "Record<string, number>")]
    pub fn to_json(&self) -> JsValue {
        record_of(&self.0.borrow())
    }

    /// The JSON form. No errors.
    #[wasm_bindgen(js_name = toString)]
    #[allow(clippy::inherent_to_string)]
    pub fn text(&self) -> String {
        JSON::stringify(&self.to_json()).map(String::from).unwrap_or_default()
    }
}

/// The clock with the counters of a plain object.
///
/// # Errors
/// `INVALID_VECTOR_CLOCK`.
pub fn clock_of(record: &JsValue) -> Result<Clock, SyncError> {
    if !record.is_object() || Array::is_array(record) {
        return Err(invalid("it is no object"));
    }
    let mut clock = Clock::new();
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
pub fn record_of(clock: &Clock) -> JsValue {
    let pairs: Array = clock.iter().map(|(device, counter)| Array::of2(&device.into(), &JsValue::from(counter as f64))).collect();
    // Pairs of a text and a number are what it wants.
    Object::from_entries(&pairs).unwrap_or_default().into()
}

fn invalid(why: &str) -> SyncError {
    SyncError::new(ErrorCode::InvalidVectorClock, ["vector clock: ", why].concat())
}

/// The session of two wallets: the same for both, on every device.
///
/// Errors, thrown: `INVALID_WALLET_ADDRESS`.
#[wasm_bindgen(js_name = sessionIdOf)]
pub fn session_id_of(
    #[wasm_bindgen(js_name = walletA)] wallet_a: &str,
    #[wasm_bindgen(js_name = walletB)] wallet_b: &str,
) -> Result<String, JsValue> {
    let checked = [wallet_a, wallet_b].into_iter().try_for_each(check_wallet);
    thrown(checked.map(|()| session_of(wallet_a, wallet_b)))
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
