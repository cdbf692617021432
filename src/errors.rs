//! Errors on their way into JavaScript and out of it.

use js_sys::{Object, Reflect};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use wasm_bindgen::{JsCast, JsValue};

use crate::types::object;

/// The plain object that results and events carry. What follows from the code, the surface knows.
pub fn to_plain(error: &SyncError) -> JsValue {
    object(&[("code", error.code.as_str().into()), ("message", error.message.as_str().into())])
}

/// The `Error` that is thrown or rejected with: the plain object's fields and a stack.
pub fn to_thrown(error: SyncError) -> JsValue {
    let thrown = js_sys::Error::new(&error.message);
    thrown.set_name("SyncError");
    Object::assign(&thrown, to_plain(&error).unchecked_ref());
    thrown.into()
}

/// An error of this code, with what an exception says.
pub fn from_exception(code: ErrorCode, context: &str, exception: &JsValue) -> SyncError {
    SyncError::new(code, [context, ": ", &describe(exception)].concat())
}

/// An argument that is not what it must be.
pub fn invalid_argument(message: impl Into<String>) -> SyncError {
    SyncError::new(ErrorCode::InvalidArgument, message)
}

/// What is called before `initialize` or after `cleanup`.
pub fn not_initialized() -> SyncError {
    SyncError::new(ErrorCode::SdkNotInitialized, "call initialize() first")
}

/// An exception's name, empty where it has none.
pub fn name_of(exception: &JsValue) -> String {
    text_of(exception, "name")
}

fn describe(exception: &JsValue) -> String {
    let (name, message) = (name_of(exception), text_of(exception, "message"));
    match exception.as_string() {
        Some(text) => text,
        None if name.is_empty() && message.is_empty() => "it gave no reason".to_owned(),
        None => [name, message].join(" "),
    }
}

fn text_of(value: &JsValue, field: &str) -> String {
    Reflect::get(value, &field.into()).ok().and_then(|text| text.as_string()).unwrap_or_default()
}
