//! Frames in JSON: the module that the SDK loads where an application supplies its own transport, and only then. The
//! SDK itself speaks the binary form.

use js_sys::Error;
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::frame::{Body, Frame};
use wasm_bindgen::prelude::*;

/// The JSON form of a binary frame. Throws for bytes that are none.
#[wasm_bindgen(js_name = toJson)]
pub fn to_json(frame: &[u8]) -> Result<String, Error> {
    let frame = Frame::from_bytes(frame).map_err(thrown)?;
    let batch = match &frame.body {
        Body::SyncResponse(response) => Some(&response.messages),
        Body::SyncUpdate(update) => Some(&update.messages),
        _ => None,
    };
    if let Some(batch) = batch {
        batch.entries().map_err(|malformed| thrown(malformed.in_frame()))?;
    }
    Ok(frame.to_json())
}

/// The binary form of a frame in JSON. Throws for text that is none; empty for frames that the SDK does not know or
/// that only clients of the original protocol are sent: it skips those.
#[wasm_bindgen(js_name = fromJson)]
pub fn from_json(text: &str) -> Result<Vec<u8>, Error> {
    match Frame::parse(text) {
        Ok(frame) => Ok(frame.to_bytes().unwrap_or_default()),
        Err(error) if error.code == ErrorCode::UnknownFrame => Ok(Vec::new()),
        Err(error) => Err(thrown(error)),
    }
}

fn thrown(error: SyncError) -> Error {
    Error::new(&error.to_string())
}
