//! What crosses to JavaScript: the one serializer, results, and the TypeScript types that no Rust type stands for.

use js_sys::{Array, Object, Reflect};
use serde::Serialize;
use solconnect_sync_core::client::{MessageView, SessionView};
use solconnect_sync_core::conflict::{Conflict, ConflictingVersion};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::frame::DeviceState;
use solconnect_sync_core::vector_clock::VectorClock;
use wasm_bindgen::prelude::*;

use crate::arguments::field;
use crate::clock::record_of;
use crate::errors::{from_exception, to_plain, to_thrown};

/// A value as plain JavaScript: maps are objects, u64 are numbers. Values with clocks go through [`with_clocks`].
///
/// # Errors
/// `UNKNOWN_ERROR` for numbers above 2^53 - 1, which the core never lets in.
pub fn to_js<T: Serialize + ?Sized>(value: &T) -> Result<JsValue, SyncError> {
    let serializer = serde_wasm_bindgen::Serializer::new().serialize_maps_as_objects(true);
    value.serialize(&serializer).map_err(|error| from_exception(ErrorCode::UnknownError, "a value for JavaScript", &error.into()))
}

/// What has vector clocks. Devices name themselves, and a field of the name `__proto__` does not come to be by the
/// assignment that the serializer makes.
pub trait Clocked: Serialize {
    /// Sets those clocks again, in the JavaScript that was made of it, that name such a device.
    fn set_clocks(&self, shown: &JsValue);
}

/// As [`to_js`], with every device of its clocks.
///
/// # Errors
/// As [`to_js`].
pub fn with_clocks<T: Clocked + ?Sized>(value: &T) -> Result<JsValue, SyncError> {
    let shown = to_js(value)?;
    value.set_clocks(&shown);
    Ok(shown)
}

fn set_clock(shown: &JsValue, clock: &VectorClock) {
    if clock.get("__proto__") > 0 {
        // Setting a field of a fresh object cannot fail.
        let _ = Reflect::set(shown, &"vectorClock".into(), &record_of(clock));
    }
}

impl<T: Clocked> Clocked for Vec<T> {
    fn set_clocks(&self, shown: &JsValue) {
        for (place, item) in self.iter().enumerate() {
            item.set_clocks(&shown.unchecked_ref::<Array>().get(place as u32));
        }
    }
}

impl Clocked for SessionView {
    fn set_clocks(&self, shown: &JsValue) {
        set_clock(shown, &self.vector_clock);
    }
}

impl Clocked for MessageView {
    fn set_clocks(&self, shown: &JsValue) {
        set_clock(shown, &self.vector_clock);
    }
}

impl Clocked for DeviceState {
    fn set_clocks(&self, shown: &JsValue) {
        set_clock(&field(shown, "syncState"), &self.sync_state.vector_clock);
    }
}

impl Clocked for Conflict {
    fn set_clocks(&self, shown: &JsValue) {
        set_clock(shown, &self.vector_clock);
        self.conflicting_versions.set_clocks(&field(shown, "conflictingVersions"));
    }
}

impl Clocked for ConflictingVersion {
    fn set_clocks(&self, shown: &JsValue) {
        set_clock(shown, &self.vector_clock);
    }
}

/// A `Result`.
pub fn result(outcome: Result<JsValue, SyncError>) -> JsValue {
    match outcome {
        Ok(data) => object(&[("success", JsValue::TRUE), ("data", data)]),
        Err(error) => object(&[("success", JsValue::FALSE), ("error", to_plain(&error))]),
    }
}

/// For methods that throw.
///
/// # Errors
/// An `Error` with the fields of `SdkError`.
pub fn thrown<T>(outcome: Result<T, SyncError>) -> Result<T, JsValue> {
    outcome.map_err(to_thrown)
}

/// What a list holds, read one by one, up to the first that cannot be read. A plain loop: a page loads less code for it than for
/// a `collect` of each kind.
///
/// # Errors
/// Those of `read`.
pub fn read_all<T>(values: Array, read: impl Fn(&JsValue) -> Result<T, SyncError>) -> Result<Vec<T>, SyncError> {
    let mut all = Vec::new();
    for value in values {
        all.push(read(&value)?);
    }
    Ok(all)
}

/// A plain object.
pub fn object(fields: &[(&str, JsValue)]) -> JsValue {
    let object = Object::new();
    for (name, value) in fields {
        // Setting a field of a fresh object cannot fail.
        let _ = Reflect::set(&object, &JsValue::from_str(name), value);
    }
    object.into()
}

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &'static str = include_str!("types.d.ts");

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

    wasm_bindgen_test_configure!(run_in_browser);

    #[wasm_bindgen_test(unsupported = test)]
    fn every_error_code_has_its_typescript_name() {
        for code in ErrorCode::ALL {
            assert!(include_str!("types.d.ts").contains(&["'", code.as_str(), "'"].concat()), "{}", code.as_str());
        }
    }

    #[wasm_bindgen_test]
    fn devices_named_like_javascript_builtins_stay_in_clocks() {
        let mut clock = VectorClock::new();
        for device in ["__proto__", "constructor", "hasOwnProperty", "toString"] {
            clock.raise(device, 7).unwrap();
        }
        let json = r#"{"__proto__":7,"constructor":7,"hasOwnProperty":7,"toString":7}"#;
        let shown = |value: &JsValue| js_sys::JSON::stringify(&field(value, "vectorClock")).unwrap();
        let version = ConflictingVersion { vector_clock: clock.clone(), ..ConflictingVersion::default() };
        let versions: Array = with_clocks(&vec![version.clone(), version]).unwrap().unchecked_into();
        assert_eq!(versions.iter().map(|version| shown(&version)).collect::<Vec<_>>(), [json, json]);
        let mut device = DeviceState::default();
        device.sync_state.vector_clock = clock.clone();
        assert_eq!(shown(&field(&with_clocks(&device).unwrap(), "syncState")), json);
        assert_eq!(js_sys::JSON::stringify(&record_of(&clock)).unwrap(), json);
        assert_eq!(crate::clock::clock_of(&js_sys::JSON::parse(json).unwrap()).unwrap(), clock);
    }
}
