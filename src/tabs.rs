//! One tab owns a profile: the Web Lock of its database.
//!
//! The lock only spares two tabs from fighting. What keeps them correct is the owner token in the store (I23), which
//! also holds where a browser has no Web Locks (B19) or a frozen tab keeps one (B18).

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::{Array, Function, Promise};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use crate::errors::{from_exception, name_of};
use crate::platform::navigator;
use crate::types::object;

/// How long to wait for the lock: a page that is loaded again gets it once its former self is gone.
const WAIT_MS: u32 = 3_000;

#[wasm_bindgen]
extern "C" {
    type LockManager;

    #[wasm_bindgen(method)]
    fn request(this: &LockManager, name: &str, options: &JsValue, granted: &Function) -> Promise;

    type AbortSignal;

    #[wasm_bindgen(static_method_of = AbortSignal, catch)]
    fn timeout(ms: u32) -> Result<JsValue, JsValue>;
}

/// Holds the lock of a database until it is dropped.
pub struct ProfileLock {
    release: Option<Function>,
}

impl Drop for ProfileLock {
    fn drop(&mut self) {
        if let Some(release) = self.release.take() {
            // A promise's resolve function does not throw.
            let _ = release.call0(&JsValue::UNDEFINED);
        }
    }
}

/// Asks for the lock of a database at once and gives it later; `None` in a browser without Web Locks.
///
/// # Errors
/// `PROFILE_IN_USE` when another tab keeps it for more than 3 seconds.
pub fn lock_profile(database: &str) -> impl Future<Output = Result<Option<ProfileLock>, SyncError>> + use<> {
    let asked = ask(database);
    async move {
        let Some((lock, answer)) = asked else { return Ok(None) };
        match answer.await {
            Ok(_) => Ok(Some(lock)),
            Err(refusal) if ["TimeoutError", "AbortError"].contains(&name_of(&refusal).as_str()) => {
                Err(SyncError::new(ErrorCode::ProfileInUse, "another tab holds this database"))
            }
            Err(refusal) => Err(from_exception(ErrorCode::StorageRefused, "the lock of the database", &refusal)),
        }
    }
}

/// The lock, which is given back when dropped also where it is not had yet, and what tells of having it.
fn ask(database: &str) -> Option<(ProfileLock, JsFuture)> {
    let manager = navigator("locks");
    let patience = AbortSignal::timeout(WAIT_MS).ok()?;
    if !manager.is_object() {
        return None;
    }
    let manager: LockManager = manager.unchecked_into();
    let release = Rc::new(RefCell::new(None));
    let held = Promise::new(&mut |resolve, _| {
        release.replace(Some(resolve));
    });
    // `request` settles when the lock is given back or refused; `granted` when it is given.
    let mut request = JsValue::UNDEFINED;
    let granted = Promise::new(&mut |resolve, _| {
        let held = held.clone();
        let on_grant = Closure::once_into_js(move |_lock: JsValue| -> Promise {
            let _ = resolve.call0(&JsValue::UNDEFINED);
            held
        });
        let name = ["solconnect-sync:", database].concat();
        let options = object(&[("signal", patience.clone())]);
        request = manager.request(&name, &options, on_grant.unchecked_ref()).into();
    });
    let answer = JsFuture::from(Promise::race(&Array::of2(&request, &granted)));
    Some((ProfileLock { release: release.take() }, answer))
}
