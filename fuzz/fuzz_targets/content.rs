//! What was encrypted of a message, as a member wrote it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use solconnect_fuzz::bounded;
use solconnect_sync_core::content::{content_of, opened};
use solconnect_sync_core::message::Message;

fuzz_target!(|bytes: &[u8]| {
    let sealed = Message { id: "id".into(), sender_wallet: "wallet".into(), session_id: "session".into(), ..Message::default() };
    let Ok(message) = bounded(|| opened(&sealed, bytes)) else { return };
    // It can be shown, and sent again.
    let _ = bounded(|| message.timestamp.to_iso(0));
    let _ = bounded(|| serde_json::to_string(&message).map(|text| text.len()));
    let content = bounded(|| content_of(&message));
    assert_eq!(opened(&sealed, &content).as_ref(), Ok(&message), "what is encrypted again is the same");
});
