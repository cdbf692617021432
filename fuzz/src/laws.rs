//! What holds of everything that was decoded: written again and read again it is the same. What grows by it, such as
//! fields that were left out, may be too long for a frame then.

use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::entry::{Entry, first_digest};
use solconnect_sync_core::frame::{Body, Frame, Head, RELAY_DEVICE_ID};
use solconnect_sync_core::limits::{ALSO_MAX, BATCH_MESSAGES_MAX, EXTENSIONS_BYTES_MAX, FRAME_BYTES_MAX};

use crate::bounded;

/// Reads a batch; where that works, checks its limits and its other forms.
pub fn check_batch(batch: &Batch) {
    let Ok(entries) = bounded(|| batch.entries()) else { return };
    assert!(entries.len() <= BATCH_MESSAGES_MAX, "{} messages", entries.len());
    for entry in &entries {
        assert!(entry.also.len() <= ALSO_MAX && entry.extensions.bytes().len() <= EXTENSIONS_BYTES_MAX, "{entry:?}");
    }
    check_digests(&entries);
    let deflated = batch.deflate();
    check_says(&deflated, &entries, (batch, &entries), "compressed it says the same");
    // What compressed well may be more than one batch now; then only the parts are written.
    let written = Batch::of(&entries);
    if let Ok(written) = &written {
        check_says(written, &entries, (batch, &entries), "written again it is the same");
    }
    let known = written.as_ref().unwrap_or(batch);
    let mut joined = Vec::new();
    for (taken, part) in Batch::split(&entries, 4_096) {
        check_says(&part, taken, (known, &entries), "a part is what it was");
        joined.extend_from_slice(taken);
    }
    assert_eq!(joined, entries, "parts hold all");
}

/// Entries are told apart by their digests, and by nothing else than what their authors fixed: of neighbours, which differ in
/// little where one was made of the other.
fn check_digests(entries: &[Entry]) {
    for pair in entries.windows(2) {
        let [one, other] = pair else { continue };
        let before = first_digest(&one.message.session_id, &one.device_id);
        // The session and the device stand at the beginning of the chain.
        let other = Entry { device_id: one.device_id.clone(), ..other.clone() };
        let (digest, again) = (one.digest(&before), Entry { sequence_number: 0, server_timestamp: 0, ..one.clone() }.digest(&before));
        assert_eq!(digest, again, "what the relay gives has no part in it");
        assert_eq!(digest == other.digest(&before), one.is_repeat_of(&other), "{one:?} and {other:?}");
    }
}

/// A batch has these entries. It is read only if it is not `known`, byte for byte: reading is most of what a run costs.
fn check_says(batch: &Batch, entries: &[Entry], known: (&Batch, &[Entry]), what: &str) {
    let (known, says) = known;
    if batch == known {
        assert_eq!(says, entries, "{what}");
    } else {
        assert_eq!(batch.entries().as_deref(), Ok(entries), "{what}");
    }
}

/// A frame that was read from the binary form.
pub fn check_binary_frame(frame: &Frame) {
    let batch = match &frame.body {
        Body::SyncResponse(response) => Some(&response.messages),
        Body::SyncUpdate(update) => Some(&update.messages),
        Body::SignIn(said) => Some(&said.messages),
        _ => None,
    };
    if let Some(batch) = batch {
        check_batch(batch);
        if batch.entries().is_err() {
            return;
        }
    }
    // It may be too long to be read again.
    let _ = frame.to_json();
    let Some(bytes) = frame.to_bytes().filter(|bytes| bytes.len() <= FRAME_BYTES_MAX) else { return };
    assert_eq!(Frame::from_bytes(&bytes).as_ref(), Ok(&as_written(frame)), "a binary frame is read as it was written");
}

/// Who speaks for the relay, when and in which frame is not written.
fn as_written(frame: &Frame) -> Frame {
    let mut frame = frame.clone();
    if frame.head.device_id == RELAY_DEVICE_ID {
        frame.head = Head { session_id: frame.head.session_id, ..Head::default() };
    }
    frame
}

/// A frame that was read from JSON.
pub fn check_json_frame(frame: &Frame) {
    let json = frame.to_json();
    if json.len() <= FRAME_BYTES_MAX {
        // What could not be read of it is not written again.
        let again = Frame::parse(&json).map(|frame| frame.to_json());
        assert_eq!(again.as_ref(), Ok(&json), "a frame in JSON is read as it was written");
    }
    // An application's own transport hands over JSON, and the SDK reads its binary form: it may refuse, and no more.
    if let Some(bytes) = frame.to_bytes() {
        let _ = bounded(|| Frame::from_bytes(&bytes).map(drop));
    }
}
