//! What a device hears of a message may have passed through JavaScript: an application's own transport carries frames as
//! objects, and there `JSON.parse` and `JSON.stringify` write `1.0` as `1` and have no whole number above 2^53 that is not a
//! double. A digest covers every number, so the log has only such as come out as they went in.

use serde_json::{Map, Number, Value};

use crate::error::{ErrorCode, SyncError};
use crate::message::{Extra, MESSAGE_FIELDS, Message, Stamp};
use crate::time::ISO_MS_MAX;

/// How deep unknown fields may nest. A frame around them adds some levels, and readers of JSON stop at 128: a device with a
/// transport of the application's own could never read on.
const DEPTH_MAX: usize = 64;

/// Whether every reader of JSON can take the unknown fields, whatever frame is around them.
pub(super) fn check_depth(message: &Message) -> Result<(), SyncError> {
    let (mut depth, mut in_text, mut is_escaped) = (0_usize, false, false);
    for byte in message.extra.as_str().bytes() {
        match byte {
            _ if std::mem::take(&mut is_escaped) => {}
            b'\\' => is_escaped = in_text,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => depth += 1,
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            let message = format!("the unknown fields nest more than {DEPTH_MAX} levels deep");
            return Err(SyncError::new(ErrorCode::InvalidMessageFormat, message));
        }
    }
    Ok(())
}

/// Writes numbers of a seed client, which knows nothing of digests, as JavaScript does.
pub(super) fn normalize(message: &mut Message) {
    message.timestamp = normal_stamp(&message.timestamp);
    message.extra = normal_extra(&message.extra);
}

/// A device has fixed its digest already: what would have another one behind JavaScript is not taken.
pub(super) fn check_normal(message: &Message) -> Result<(), SyncError> {
    check_depth(message)?;
    let invalid = |message: &str| Err(SyncError::new(ErrorCode::InvalidMessageFormat, message));
    if message.timestamp != normal_stamp(&message.timestamp) {
        return invalid("timestamp changes in JSON: write ISO 8601 text, or a number as JSON.stringify does");
    }
    if message.extra != normal_extra(&message.extra) {
        return invalid(
            "the unknown fields change in JSON: write them as an object with sorted keys, without spaces, and numbers as JSON.stringify does",
        );
    }
    Ok(())
}

fn normal_stamp(stamp: &Stamp) -> Stamp {
    let number = match stamp {
        Stamp::Iso(ms) => return Stamp::Iso((*ms).min(ISO_MS_MAX)),
        Stamp::Text(text) => return text.clone().into(),
        Stamp::Millis(ms) => Number::from(*ms),
        Stamp::Number(number) => match Number::from_f64(*number) {
            Some(number) => number,
            None => return Stamp::default(),
        },
    };
    let number = normal_number(&number);
    number.as_u64().map_or_else(|| number.as_f64().unwrap_or_default().into(), Stamp::Millis)
}

/// Without the names of the message's own fields: in JSON they would be read as those. Keys are in the order of their
/// bytes, whatever order JavaScript gives them.
fn normal_extra(extra: &Extra) -> Extra {
    if extra.is_empty() {
        return Extra::default();
    }
    // Text that is no object is nothing in JSON.
    let mut fields: Map<String, Value> = serde_json::from_str(extra.as_str()).unwrap_or_default();
    fields.retain(|name, _| !MESSAGE_FIELDS.contains(&name.as_str()));
    if fields.is_empty() {
        return Extra::default();
    }
    fields.values_mut().for_each(normalize_value);
    Extra::from(&*Value::Object(fields).to_string())
}

fn normalize_value(value: &mut Value) {
    match value {
        Value::Number(number) => *number = normal_number(number),
        Value::Array(items) => items.iter_mut().for_each(normalize_value),
        Value::Object(fields) => fields.values_mut().for_each(normalize_value),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// The number that is read where JavaScript has written this one.
fn normal_number(number: &Number) -> Number {
    /// From here on JavaScript writes an exponent.
    const EXPONENT_FROM: f64 = 1e21;
    let Some(real) = number.as_f64() else { return number.clone() };
    let written = if real == 0.0 {
        Some(Number::from(0))
    } else if real.fract() == 0.0 && real.abs() < EXPONENT_FROM {
        // The shortest digits that mean this double, and zeros: as JavaScript has them.
        real.to_string().parse().ok()
    } else {
        Number::from_f64(real)
    };
    written.unwrap_or_else(|| number.clone())
}
