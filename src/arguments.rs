//! Reading what JavaScript gives: arguments, options, parsed JSON. Every error is `INVALID_ARGUMENT` and names the value.

use js_sys::{Array, Reflect};
use solconnect_sync_core::error::SyncError;
use solconnect_sync_core::limits::INTEGER_MAX;
use wasm_bindgen::{JsCast, JsValue};

use crate::errors::invalid_argument;

/// A field of an object; `undefined` where there is none.
pub fn field(object: &JsValue, name: &str) -> JsValue {
    if object.is_object() { Reflect::get(object, &name.into()).unwrap_or_default() } else { JsValue::UNDEFINED }
}

/// A text.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub fn text(name: &str, value: &JsValue) -> Result<String, SyncError> {
    value.as_string().ok_or_else(|| invalid_argument([name, " must be a text"].concat()))
}

/// A list of texts.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub fn texts(name: &str, value: &JsValue) -> Result<Vec<String>, SyncError> {
    let wrong = || invalid_argument([name, " must be a list of texts"].concat());
    if !Array::is_array(value) {
        return Err(wrong());
    }
    value.unchecked_ref::<Array>().iter().map(|item| item.as_string().ok_or_else(wrong)).collect()
}

/// A text field of an object.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub fn text_field(object: &JsValue, name: &str) -> Result<String, SyncError> {
    text(name, &field(object, name))
}

/// A whole number from 0 to 2^53 - 1.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub fn count(name: &str, value: &JsValue) -> Result<u64, SyncError> {
    whole(value).ok_or_else(|| invalid_argument([name, " must be a whole number"].concat()))
}

/// A whole number from 0 to 2^53 - 1; `None` for anything else.
pub fn whole(value: &JsValue) -> Option<u64> {
    value.as_f64().filter(|number| (0.0..=INTEGER_MAX as f64).contains(number) && number.fract() == 0.0).map(|number| number as u64)
}

/// A text that may be left out.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub fn optional_text(name: &str, value: &JsValue) -> Result<Option<String>, SyncError> {
    if is_left_out(value) { Ok(None) } else { text(name, value).map(Some) }
}

/// A whole number that may be left out.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub fn optional_count(name: &str, value: &JsValue) -> Result<Option<u64>, SyncError> {
    if is_left_out(value) { Ok(None) } else { count(name, value).map(Some) }
}

/// Whether an argument is left out.
pub fn is_left_out(value: &JsValue) -> bool {
    value.is_undefined() || value.is_null()
}
