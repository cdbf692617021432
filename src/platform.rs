//! What the browser gives: clocks, randomness, and how safe its storage is.

use js_sys::{Promise, Reflect};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::time::Now;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{Crypto, Performance, StorageManager};

#[wasm_bindgen]
extern "C" {
    /// `globalThis` of a page or a worker, which share these names.
    #[wasm_bindgen(extends = js_sys::Object, extends = web_sys::EventTarget)]
    pub type Scope;

    #[wasm_bindgen(method, getter)]
    fn performance(this: &Scope) -> Option<Performance>;

    #[wasm_bindgen(method, getter)]
    pub fn crypto(this: &Scope) -> Option<Crypto>;
}

/// `globalThis`.
pub fn scope() -> Scope {
    js_sys::global().unchecked_into()
}

/// The time by both clocks.
pub fn now() -> Now {
    let wall_ms = js_sys::Date::now() as u64;
    let monotonic_ms = scope().performance().map_or(wall_ms, |performance| performance.now() as u64);
    Now { monotonic_ms, wall_ms }
}

/// Bytes that nobody can guess.
///
/// # Errors
/// `CRYPTO_ERROR` where the browser has no `crypto`.
pub fn random<const N: usize>() -> Result<[u8; N], SyncError> {
    let mut bytes = [0; N];
    let crypto = scope().crypto().ok_or_else(|| SyncError::new(ErrorCode::CryptoError, "this browser has no crypto"))?;
    crypto
        .get_random_values_with_u8_array(&mut bytes)
        .map_err(|_| SyncError::new(ErrorCode::CryptoError, "crypto.getRandomValues failed"))?;
    Ok(bytes)
}

/// Whether this is a page that nobody sees.
pub fn is_hidden() -> bool {
    let document = Reflect::get(&scope(), &"document".into()).unwrap_or_default();
    Reflect::get(&document, &"hidden".into()).is_ok_and(|hidden| hidden.is_truthy())
}

/// A property of `navigator`; `undefined` where there is none.
pub fn navigator(name: &str) -> JsValue {
    let navigator = Reflect::get(&scope(), &"navigator".into()).unwrap_or_default();
    Reflect::get(&navigator, &name.into()).unwrap_or_default()
}

/// Whether the browser promises not to evict this origin's storage. With `ask`, it is asked to.
pub async fn is_storage_persistent(ask: bool) -> bool {
    let Ok(storage) = navigator("storage").dyn_into::<StorageManager>() else {
        return false;
    };
    let answer: Result<Promise, JsValue> = if ask { storage.persist() } else { storage.persisted() };
    let Ok(answer) = answer else { return false };
    JsFuture::from(answer).await.is_ok_and(|answer| answer.is_truthy())
}
