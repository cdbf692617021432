//! What crosses to JavaScript: the one serializer, results, and the TypeScript types that no Rust type stands for.

use std::io::{self, Write};

use js_sys::{Array, JSON, Object, Reflect};
use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;
use solconnect_sync_core::error::{ErrorCode, SyncError};
use wasm_bindgen::prelude::*;

use crate::errors::{to_plain, to_thrown};

/// A value as plain JavaScript: by way of a text, which takes less code than to set field by field, and makes a device that is
/// named `__proto__` a field like any other.
///
/// # Errors
/// `UNKNOWN_ERROR` for what JSON has not, which is nothing that the core shows.
pub fn to_js<T: Serialize + ?Sized>(value: &T) -> Result<JsValue, SyncError> {
    let mut text = Vec::new();
    let written = value.serialize(&mut Serializer::with_formatter(&mut text, AsInJavaScript));
    parsed(written.is_ok().then_some(text))
}

fn parsed(text: Option<Vec<u8>>) -> Result<JsValue, SyncError> {
    let read = text.and_then(|text| JSON::parse(std::str::from_utf8(&text).ok()?).ok());
    read.ok_or_else(|| SyncError::new(ErrorCode::UnknownError, "a value for JavaScript is no JSON"))
}

/// Numbers with fractions are written by JavaScript: a page loads no second way.
struct AsInJavaScript;

impl Formatter for AsInJavaScript {
    fn write_f64<W: Write + ?Sized>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        let text = JSON::stringify(&value.into()).ok().and_then(|text| text.as_string());
        writer.write_all(text.unwrap_or_default().as_bytes())
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
    use crate::arguments::field;
    use crate::clock::record_of;
    use solconnect_sync_core::client::SyncStats;
    use solconnect_sync_core::conflict::ConflictingVersion;
    use solconnect_sync_core::frame::DeviceState;
    use solconnect_sync_core::message::Stamp;
    use solconnect_sync_core::vector_clock::VectorClock;
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
        let versions: Array = to_js(&vec![version.clone(), version]).unwrap().unchecked_into();
        assert_eq!(versions.iter().map(|version| shown(&version)).collect::<Vec<_>>(), [json, json]);
        let mut device = DeviceState::default();
        device.sync_state.vector_clock = clock.clone();
        assert_eq!(shown(&field(&to_js(&device).unwrap(), "syncState")), json);
        assert_eq!(js_sys::JSON::stringify(&record_of(&clock)).unwrap(), json);
        assert_eq!(crate::clock::clock_of(&js_sys::JSON::parse(json).unwrap()).unwrap(), clock);
    }

    #[wasm_bindgen_test]
    fn texts_and_numbers_reach_javascript_as_they_are() {
        let text = "quotes \" and \\, \u{0}\u{1f}\n\u{2028}\u{feff} and \u{1f44b}";
        let stamps = [Stamp::Text(text.to_owned()), Stamp::Number(1732.5), Stamp::Number(-5.0), Stamp::Number(1e300), Stamp::Millis(5)];
        let shown: Array = to_js(&stamps.to_vec()).unwrap().unchecked_into();
        assert_eq!(shown.iter().next().unwrap().as_string().unwrap(), text);
        assert_eq!(shown.iter().skip(1).map(|value| value.as_f64().unwrap()).collect::<Vec<_>>(), [1732.5, -5.0, 1e300, 5.0]);
        let stats = SyncStats { average_sync_duration: 0.1, total_messages_synced: (1 << 53) - 1, ..SyncStats::default() };
        let shown = to_js(&stats).unwrap();
        assert_eq!(field(&shown, "averageSyncDuration"), 0.1);
        assert_eq!(field(&shown, "totalMessagesSynced"), 9_007_199_254_740_991.0);
    }
}
