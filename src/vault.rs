//! The device's key at rest: sealed by a key of WebCrypto that no script can read, and that IndexedDB keeps as it is (P16).

use js_sys::{Array, Promise, Uint8Array};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{CryptoKey, SubtleCrypto};

use crate::errors::from_exception;
use crate::platform::{random, scope};
use crate::types::object;

/// AES-GCM takes 12 bytes that are never the same, and they stand before what is sealed.
const NONCE_BYTES: usize = 12;

/// A new key.
///
/// # Errors
/// `CRYPTO_ERROR`, also where the page is no secure context.
pub async fn make() -> Result<CryptoKey, SyncError> {
    let algorithm = object(&[("name", "AES-GCM".into()), ("length", 256.into())]).unchecked_into();
    let usages = Array::of2(&"encrypt".into(), &"decrypt".into());
    done(subtle()?.generate_key_with_object(&algorithm, false, &usages)).await.map(JsCast::unchecked_into)
}

/// Bytes that only this key opens.
///
/// # Errors
/// `CRYPTO_ERROR`.
pub async fn seal(key: &CryptoKey, bytes: &[u8]) -> Result<Vec<u8>, SyncError> {
    let nonce = random::<NONCE_BYTES>()?;
    let sealed = done(subtle()?.encrypt_with_object_and_u8_array(&algorithm(&nonce), key, bytes)).await?;
    Ok([&nonce[..], &Uint8Array::new(&sealed).to_vec()].concat())
}

/// The bytes again.
///
/// # Errors
/// `CRYPTO_ERROR`, also where another key has sealed them.
pub async fn open(key: &CryptoKey, sealed: &[u8]) -> Result<Vec<u8>, SyncError> {
    let (nonce, sealed) = sealed.split_at_checked(NONCE_BYTES).ok_or_else(|| failed("the sealed key is too short"))?;
    let opened = done(subtle()?.decrypt_with_object_and_u8_array(&algorithm(nonce), key, sealed)).await?;
    Ok(Uint8Array::new(&opened).to_vec())
}

fn algorithm(nonce: &[u8]) -> js_sys::Object {
    object(&[("name", "AES-GCM".into()), ("iv", Uint8Array::from(nonce).into())]).unchecked_into()
}

fn subtle() -> Result<SubtleCrypto, SyncError> {
    let subtle = scope().crypto().map(|crypto| crypto.subtle()).filter(|subtle| subtle.is_object());
    subtle.ok_or_else(|| failed("there is no WebCrypto here: the page must be served over https or from localhost"))
}

async fn done(asked: Result<Promise, JsValue>) -> Result<JsValue, SyncError> {
    let answer = match asked {
        Ok(promise) => JsFuture::from(promise).await,
        Err(exception) => Err(exception),
    };
    answer.map_err(|exception| from_exception(ErrorCode::CryptoError, "WebCrypto", &exception))
}

fn failed(message: &str) -> SyncError {
    SyncError::new(ErrorCode::CryptoError, message)
}
