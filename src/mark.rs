//! A mark beside the database, in `localStorage`, that something was stored. A browser that finds its IndexedDB damaged
//! deletes it and says nothing (B3, B12); the mark tells such a database from one that never was.

use js_sys::Reflect;
use wasm_bindgen::JsCast;
use web_sys::Storage;

use crate::platform::scope;

/// Something is stored in this database.
pub fn set(database: &str) {
    if let Some(storage) = storage() {
        let _ = storage.set_item(&key(database), "1");
    }
}

/// Whether the mark was there; it no longer is.
pub fn take(database: &str) -> bool {
    storage().is_some_and(|storage| {
        let key = key(database);
        let is_set = matches!(storage.get_item(&key), Ok(Some(_)));
        let _ = storage.remove_item(&key);
        is_set
    })
}

/// `None` in workers, and where the page may not use it.
fn storage() -> Option<Storage> {
    Reflect::get(&scope(), &"localStorage".into()).ok()?.dyn_into().ok()
}

fn key(database: &str) -> String {
    [database, ".stored"].concat()
}
