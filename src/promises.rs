//! The promises of exported methods. All run through one future type: a future type for each method would make the
//! wasm a third larger.

use std::pin::Pin;

use js_sys::Promise;
use serde::Serialize;
use solconnect_sync_core::error::SyncError;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::future_to_promise;

use crate::types::{result, result_js, thrown, thrown_js};

type Work = Pin<Box<dyn Future<Output = Result<JsValue, JsValue>>>>;

fn run(work: Work) -> Promise {
    future_to_promise(work)
}

/// Resolves with the `Result` of some work.
pub fn settle<T: Serialize>(work: impl Future<Output = Result<T, SyncError>> + 'static) -> Promise {
    run(Box::pin(async { Ok(result(work.await)) }))
}

/// Resolves with the `Result` of work that gives nothing: `null`.
pub fn settle_done(work: impl Future<Output = Result<(), SyncError>> + 'static) -> Promise {
    run(Box::pin(async { Ok(result_js(work.await.map(|()| JsValue::NULL))) }))
}

/// Resolves with the `Result` of work whose value is JavaScript's already.
pub fn settle_js(work: impl Future<Output = Result<JsValue, SyncError>> + 'static) -> Promise {
    run(Box::pin(async { Ok(result_js(work.await)) }))
}

/// Resolves with what some work gives, or rejects.
pub fn deliver<T: Serialize>(work: impl Future<Output = Result<T, SyncError>> + 'static) -> Promise {
    run(Box::pin(async { thrown_js(work.await) }))
}

/// The same for a value that is JavaScript's already.
pub fn deliver_js(work: impl Future<Output = Result<JsValue, SyncError>> + 'static) -> Promise {
    run(Box::pin(async { thrown(work.await) }))
}
