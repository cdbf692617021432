//! The class `VectorClock`.

use std::cell::RefCell;

use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::ids::{check_wallet, session_of};
use solconnect_sync_core::vector_clock::{Causality, VectorClock as Clock};
use wasm_bindgen::prelude::*;

use crate::types::{from_js, thrown, thrown_js};

/// For each device the highest counter known.
#[wasm_bindgen]
pub struct VectorClock(RefCell<Clock>);

#[wasm_bindgen]
impl VectorClock {
    /// A clock with these counters, or one that knows nothing. Throws `INVALID_VECTOR_CLOCK`.
    #[wasm_bindgen(constructor)]
    pub fn new(#[wasm_bindgen(unchecked_optional_param_type = "Record<string, number>")] record: JsValue) -> Result<VectorClock, JsValue> {
        if record.is_undefined() || record.is_null() {
            return Ok(VectorClock(RefCell::default()));
        }
        thrown(from_js(ErrorCode::InvalidVectorClock, record)).map(|clock: Clock| VectorClock(RefCell::new(clock)))
    }

    /// Reads what `toString` wrote. Throws `INVALID_VECTOR_CLOCK`.
    pub fn parse(text: &str) -> Result<VectorClock, JsValue> {
        thrown(text.parse()).map(|clock| VectorClock(RefCell::new(clock)))
    }

    /// Counts one event of a device and returns its new counter. Throws `INVALID_VECTOR_CLOCK` at a limit.
    #[wasm_bindgen(unchecked_return_type = "number")]
    pub fn tick(&self, #[wasm_bindgen(js_name = deviceId)] device_id: &str) -> Result<f64, JsValue> {
        thrown(self.0.borrow_mut().tick(device_id)).map(|counter| counter as f64)
    }

    /// The counter of a device, 0 where it is absent.
    pub fn get(&self, #[wasm_bindgen(js_name = deviceId)] device_id: &str) -> f64 {
        self.0.borrow().get(device_id) as f64
    }

    /// Takes the higher counter of both, device by device. Throws `INVALID_VECTOR_CLOCK` at a limit.
    pub fn merge(&self, other: &VectorClock) -> Result<(), JsValue> {
        let other = other.0.borrow().clone();
        thrown(self.0.borrow_mut().merge(&other))
    }

    /// How this clock relates to another.
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

    /// The counters, by device.
    #[wasm_bindgen(js_name = toJSON, unchecked_return_type = "Record<string, number>")]
    pub fn to_json(&self) -> Result<JsValue, JsValue> {
        thrown_js(Ok(&*self.0.borrow()))
    }

    /// The JSON form.
    #[wasm_bindgen(js_name = toString)]
    #[allow(clippy::inherent_to_string)]
    pub fn text(&self) -> String {
        self.0.borrow().to_string()
    }
}

/// The session of two wallets: the same for both, on every device. Throws `INVALID_WALLET_ADDRESS`.
#[wasm_bindgen(js_name = sessionIdOf)]
pub fn session_id_of(
    #[wasm_bindgen(js_name = walletA)] wallet_a: &str,
    #[wasm_bindgen(js_name = walletB)] wallet_b: &str,
) -> Result<String, JsValue> {
    let checked = [wallet_a, wallet_b].into_iter().try_for_each(check_wallet);
    thrown(checked.map(|()| session_of(wallet_a, wallet_b)))
}

/// The version of this package.
#[wasm_bindgen]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}
