//! The text of `exportMessages`: JSON, the entries as they stand in the frames of the wire.

use js_sys::{Array, JSON, Object};
use solconnect_sync_core::client::SessionView;
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::message::{Entry, MESSAGE_FIELDS, Message, Stamp};
use solconnect_sync_core::time::iso_from_ms;
use wasm_bindgen::{JsCast, JsValue};

use crate::arguments::{count, field, is_left_out, optional_text, text_field};
use crate::clock::{clock_of, record_of};
use crate::errors::invalid_argument;
use crate::types::object;

const FORMAT: &str = "solconnect-export";
const VERSION: f64 = 1.0;

/// One session of an export.
pub struct ExportedSession {
    /// The wallet of the device that exported it.
    pub wallet: String,
    /// The other one.
    pub peer_wallet: String,
    /// Its log.
    pub entries: Vec<Entry>,
}

/// A session with its log, as an export holds it.
///
/// # Errors
/// `UNKNOWN_ERROR` for fields of a message that are no JSON.
pub fn session_to_js(session: &SessionView, entries: &[Entry]) -> Result<JsValue, SyncError> {
    let entries = entries.iter().map(entry_to_js).collect::<Result<Array, _>>()?;
    Ok(object(&[
        ("session_id", session.session_id.as_str().into()),
        ("wallet", session.wallet.as_str().into()),
        ("peer_wallet", session.peer_wallet.as_str().into()),
        ("entries", entries.into()),
    ]))
}

/// The text of an export.
///
/// # Errors
/// `UNKNOWN_ERROR` where it is too long for a text.
pub fn to_text(sessions: &Array) -> Result<String, SyncError> {
    let export = object(&[("format", FORMAT.into()), ("version", VERSION.into()), ("sessions", sessions.into())]);
    let text = JSON::stringify(&export).ok().and_then(|text| text.as_string());
    text.ok_or_else(|| SyncError::new(ErrorCode::UnknownError, "the export is too long for one text"))
}

/// The sessions of an export.
///
/// # Errors
/// `INVALID_ARGUMENT` for a text of another form.
pub fn from_text(text: &str) -> Result<Array, SyncError> {
    let export = JSON::parse(text).map_err(|_| invalid_argument("this is no JSON"))?;
    if text_field(&export, "format")? != FORMAT || field(&export, "version") != VERSION {
        return Err(invalid_argument("this is no export, or one of a newer version"));
    }
    list(&export, "sessions")
}

/// A session of an export.
///
/// # Errors
/// `INVALID_ARGUMENT` for one of another form.
pub fn session_of(session: &JsValue) -> Result<ExportedSession, SyncError> {
    Ok(ExportedSession {
        wallet: text_field(session, "wallet")?,
        peer_wallet: text_field(session, "peer_wallet")?,
        entries: list(session, "entries")?.iter().map(|entry| entry_of(&entry)).collect::<Result<_, _>>()?,
    })
}

fn list(object: &JsValue, name: &str) -> Result<Array, SyncError> {
    field(object, name).dyn_into().map_err(|_| invalid_argument([name, " must be a list"].concat()))
}

fn entry_to_js(entry: &Entry) -> Result<JsValue, SyncError> {
    Ok(object(&[
        ("message", message_to_js(&entry.message)?),
        ("sequenceNumber", (entry.sequence_number as f64).into()),
        ("vectorClock", record_of(&entry.vector_clock)),
        ("serverTimestamp", (entry.server_timestamp as f64).into()),
        ("originalDeviceId", entry.original_device_id.as_str().into()),
    ]))
}

fn entry_of(entry: &JsValue) -> Result<Entry, SyncError> {
    let number = |name| count(name, &field(entry, name));
    Ok(Entry {
        message: message_of(&field(entry, "message"))?,
        sequence_number: number("sequenceNumber")?,
        vector_clock: clock_of(&field(entry, "vectorClock")).map_err(|error| invalid_argument(error.message))?,
        server_timestamp: number("serverTimestamp")?,
        original_device_id: text_field(entry, "originalDeviceId")?,
    })
}

fn message_to_js(message: &Message) -> Result<JsValue, SyncError> {
    let timestamp = match &message.timestamp {
        Stamp::Millis(ms) => (*ms as f64).into(),
        Stamp::Number(number) => (*number).into(),
        Stamp::Iso(ms) => iso_from_ms(*ms).into(),
        Stamp::Text(text) => text.into(),
    };
    let mut fields = vec![
        ("id", message.id.as_str().into()),
        ("sender_wallet", message.sender_wallet.as_str().into()),
        ("ciphertext", message.ciphertext.as_str().into()),
        ("timestamp", timestamp),
        ("session_id", message.session_id.as_str().into()),
    ];
    let optional = [("content_type", &message.content_type), ("replaces", &message.replaces), ("first_id", &message.first_id)];
    fields.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?.into()))));
    if message.deleted {
        fields.push(("deleted", JsValue::TRUE));
    }
    let broken = |_| SyncError::new(ErrorCode::UnknownError, "a message has fields that are no JSON");
    let plain: Object = object(&fields).unchecked_into();
    if message.extra.is_empty() {
        return Ok(plain.into());
    }
    // Onto what is not known, so that no field of that kind stands in for one that is, and one named `__proto__` stays.
    let extra: Object = JSON::parse(message.extra.as_str()).map_err(broken)?.unchecked_into();
    Ok(Object::assign(&extra, &plain).into())
}

fn message_of(message: &JsValue) -> Result<Message, SyncError> {
    if !message.is_object() {
        return Err(invalid_argument("message must be an object"));
    }
    let optional = |name| optional_text(name, &field(message, name));
    let text = |name| optional(name).map(Option::unwrap_or_default);
    let timestamp = field(message, "timestamp");
    let timestamp = match timestamp.as_string() {
        Some(text) => text.into(),
        None => timestamp.as_f64().map(Stamp::from).unwrap_or_default(),
    };
    let deleted = field(message, "deleted");
    if !is_left_out(&deleted) && deleted.as_bool().is_none() {
        return Err(invalid_argument("deleted must be true or false"));
    }
    let is_known = |name: JsValue| name.as_string().is_some_and(|name| MESSAGE_FIELDS.contains(&name.as_str()));
    let extra = Object::entries(message.unchecked_ref()).filter(&mut |pair, _, _| !is_known(pair.unchecked_ref::<Array>().get(0)));
    // From pairs, because assigning does not take over a field named `__proto__`.
    let extra = Object::from_entries(&extra).unwrap_or_default();
    let extra = JSON::stringify(&extra).ok().and_then(|text| text.as_string()).filter(|text| text != "{}").unwrap_or_default();
    Ok(Message {
        id: text("id")?,
        sender_wallet: text("sender_wallet")?,
        ciphertext: text("ciphertext")?,
        timestamp,
        session_id: text("session_id")?,
        content_type: optional("content_type")?,
        replaces: optional("replaces")?,
        first_id: optional("first_id")?,
        deleted: deleted.is_truthy(),
        extra: extra.as_str().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

    wasm_bindgen_test_configure!(run_in_browser);

    #[wasm_bindgen_test]
    fn odd_values_of_a_message_survive_an_export() {
        for timestamp in ["1732.5", "-5", "1e+300", "5", "\"yesterday\""] {
            let json = [r#"{"nonce":1,"__proto__":{"toString":2},"id":"m","timestamp":"#, timestamp, "}"].concat();
            let message = message_of(&JSON::parse(&json).unwrap()).unwrap();
            assert_eq!(message.extra.as_str(), r#"{"nonce":1,"__proto__":{"toString":2}}"#);
            let exported = message_to_js(&message).unwrap();
            let text = String::from(JSON::stringify(&exported).unwrap());
            assert!(text.starts_with(r#"{"nonce":1,"__proto__":{"toString":2},"#), "{text}");
            assert!(text.contains(&[r#""timestamp":"#, timestamp, ","].concat()), "{text}");
            assert_eq!(message_of(&exported).unwrap(), message);
        }
        let lying = Message { id: "m".into(), extra: r#"{"id":"other"}"#.into(), ..Message::default() };
        assert_eq!(field(&message_to_js(&lying).unwrap(), "id"), "m");
    }
}
