//! The promises of exported methods. All run through one future type, and each method ends with a value of JavaScript:
//! a future type and an ending for each method would make the wasm much larger.

use std::pin::Pin;

use js_sys::Promise;
use solconnect_sync_core::error::SyncError;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::future_to_promise;

use crate::types::result;

type Outcome = Result<JsValue, SyncError>;

/// Resolves with the `Result` of some work.
pub fn settle(work: impl Future<Output = Outcome> + 'static) -> Promise {
    run(Box::pin(work))
}

fn run(work: Pin<Box<dyn Future<Output = Outcome>>>) -> Promise {
    future_to_promise(async move { Ok(result(work.await)) })
}
