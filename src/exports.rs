//! The text of `exportMessages`: JSON, the entries as they stand in the frames of the wire. Only the unknown fields of a
//! message stand in a text of their own, `extra`: digests cover them byte by byte, and JavaScript keeps neither the order
//! of numeric names nor large numbers.

use js_sys::{Array, JSON};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as ValueError, StrDeserializer};
use solconnect_sync_core::client::SessionView;
use solconnect_sync_core::entry::{Entry, Extensions};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::message::{Kind, Message, Stamp};
use solconnect_sync_core::time::iso_from_ms;
use solconnect_sync_core::vector_clock::VectorClock;
use wasm_bindgen::{JsCast, JsValue};

use crate::arguments::{count, field, is_left_out, optional_count, optional_text, text_field};
use crate::clock::{clock_of, record_of};
use crate::errors::invalid_argument;
use crate::types::{object, read_all, to_js};

const FORMAT: &str = "solconnect-export";
const VERSION: u64 = 2;

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
/// As [`to_js`].
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
    let export = object(&[("format", FORMAT.into()), ("version", (VERSION as f64).into()), ("sessions", sessions.into())]);
    let text = JSON::stringify(&export).ok().and_then(|text| text.as_string());
    text.ok_or_else(|| SyncError::new(ErrorCode::UnknownError, "the export is too long for one text"))
}

/// The sessions of an export.
///
/// # Errors
/// `INVALID_ARGUMENT` for a text of another form.
pub fn from_text(text: &str) -> Result<Array, SyncError> {
    let export = JSON::parse(text).map_err(|_| invalid_argument("this is no JSON"))?;
    if text_field(&export, "format")? != FORMAT {
        return Err(invalid_argument("this is no export of messages"));
    }
    let version = count("version", &field(&export, "version"))?;
    if version != VERSION {
        let (ours, found) = (VERSION.to_string(), version.to_string());
        let message = ["the export has version ", &found, "; this SDK reads version ", &ours, ". Export again with an SDK of this version"];
        return Err(invalid_argument(message.concat()));
    }
    list(&export, "sessions")
}

/// A session of an export.
///
/// # Errors
/// `INVALID_ARGUMENT` for one of another form, and for a group: who is in it its log says, and that comes from the relay.
pub fn session_of(session: &JsValue) -> Result<ExportedSession, SyncError> {
    let peer_wallet = text_field(session, "peer_wallet")?;
    if peer_wallet.is_empty() {
        let (id, before, after) =
            (text_field(session, "session_id")?, "session ", " of the export is a group, whose messages come from the relay");
        return Err(invalid_argument([before, &id, after].concat()));
    }
    Ok(ExportedSession { wallet: text_field(session, "wallet")?, peer_wallet, entries: read_all(list(session, "entries")?, entry_of)? })
}

fn list(object: &JsValue, name: &str) -> Result<Array, SyncError> {
    field(object, name).dyn_into().map_err(|_| invalid_argument([name, " must be a list"].concat()))
}

fn entry_to_js(entry: &Entry) -> Result<JsValue, SyncError> {
    let mut fields = vec![
        ("message", message_to_js(&entry.message)),
        ("originalDeviceId", entry.device_id.as_str().into()),
        ("counter", (entry.counter as f64).into()),
        ("knows", (entry.knows as f64).into()),
        ("sequenceNumber", (entry.sequence_number as f64).into()),
        ("serverTimestamp", (entry.server_timestamp as f64).into()),
    ];
    if !entry.also.is_empty() {
        fields.push(("also", record_of(&entry.also)));
    }
    if !entry.extensions.is_empty() {
        fields.push(("extensions", to_js(&entry.extensions)?));
    }
    Ok(object(&fields))
}

fn entry_of(entry: &JsValue) -> Result<Entry, SyncError> {
    let number = |name| count(name, &field(entry, name));
    let also = field(entry, "also");
    let also =
        if is_left_out(&also) { VectorClock::new() } else { clock_of(&also).map_err(|error| invalid_argument(error.into_message()))? };
    Ok(Entry {
        message: message_of(&field(entry, "message"))?,
        device_id: text_field(entry, "originalDeviceId")?,
        counter: number("counter")?,
        knows: number("knows")?,
        also,
        extensions: extensions_of(entry)?,
        sequence_number: number("sequenceNumber")?,
        server_timestamp: number("serverTimestamp")?,
    })
}

fn extensions_of(entry: &JsValue) -> Result<Extensions, SyncError> {
    let Some(text) = optional_text("extensions", &field(entry, "extensions"))? else { return Ok(Extensions::default()) };
    let reader: StrDeserializer<'_, ValueError> = text.as_str().into_deserializer();
    Extensions::deserialize(reader).map_err(|error| invalid_argument(error.to_string()))
}

fn message_to_js(message: &Message) -> JsValue {
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
    let optional = [("content_type", &message.content_type), ("replaces", &message.replaces)];
    fields.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?.into()))));
    if !message.kind.is_message() {
        fields.push(("kind", message.kind.0.into()));
    }
    if !message.extra.is_empty() {
        fields.push(("extra", message.extra.as_str().into()));
    }
    object(&fields)
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
    let kind = optional_count("kind", &field(message, "kind"))?.unwrap_or_default();
    let kind = u32::try_from(kind).map_err(|_| invalid_argument("kind must be below 2^32"))?;
    Ok(Message {
        id: text("id")?,
        sender_wallet: text("sender_wallet")?,
        ciphertext: text("ciphertext")?,
        timestamp,
        session_id: text("session_id")?,
        content_type: optional("content_type")?,
        replaces: optional("replaces")?,
        kind: Kind(kind),
        extra: text("extra")?.as_str().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

    wasm_bindgen_test_configure!(run_in_browser);

    /// As it is after an export and an import.
    fn carried(entry: &Entry) -> Entry {
        let text = JSON::stringify(&entry_to_js(entry).unwrap()).unwrap();
        entry_of(&JSON::parse(&String::from(text)).unwrap()).unwrap()
    }

    #[wasm_bindgen_test]
    fn an_entry_has_the_same_digest_after_an_export() {
        let mut also = VectorClock::new();
        for device in ["__proto__", "constructor", "other"] {
            also.raise(device, 7).unwrap();
        }
        let stamps: [Stamp; 5] = [1732.5.into(), Stamp::from(-5.0), Stamp::Number(1e300), Stamp::Millis(5), "yesterday".to_owned().into()];
        for timestamp in stamps.into_iter().chain([Stamp::Iso(1_795_000_000_000)]) {
            let message = Message {
                id: "m".into(),
                session_id: "s".into(),
                ciphertext: "hello \u{1f44b} \0".into(),
                timestamp,
                replaces: Some("other".into()),
                content_type: Some("text/x".into()),
                kind: Kind(7),
                extra: r#"{"10":1,"9":12345678901234567890,"__proto__":{"toString":2},"id":"other","x":1.0}"#.into(),
                ..Message::default()
            };
            let (device_id, also, extensions) = ("a".to_owned(), also.clone(), Extensions::from(&[1, 2, 0, 255][..]));
            let entry = Entry { message, device_id, counter: 3, knows: 2, also, extensions, sequence_number: 9, server_timestamp: 8 };
            let carried = carried(&entry);
            assert_eq!(carried, entry);
            assert_eq!(carried.digest(&[0; 32]), entry.digest(&[0; 32]));
        }
    }

    #[wasm_bindgen_test]
    fn a_group_in_an_export_is_refused_by_name() {
        let session = JSON::parse(r#"{"session_id":"walkers","wallet":"a","peer_wallet":"","entries":[]}"#).unwrap();
        let error = session_of(&session).err().unwrap();
        assert_eq!(error.code, ErrorCode::InvalidArgument);
        assert!(error.message.contains("session walkers") && error.message.contains("is a group"), "{}", error.message);
    }

    #[wasm_bindgen_test]
    fn an_export_of_another_version_is_refused_by_name() {
        for version in [1, 3] {
            let text = format!(r#"{{"format":"solconnect-export","version":{version},"sessions":[]}}"#);
            let error = from_text(&text).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidArgument);
            assert!(error.message.contains(&format!("version {version};")), "{}", error.message);
        }
        assert_eq!(from_text(&to_text(&Array::new()).unwrap()).unwrap().length(), 0);
    }
}
