//! What the relay reads of its journal: the state of a device, in JSON, and the body of an entry, which it serves.
#![no_main]

use libfuzzer_sys::fuzz_target;
use solconnect_fuzz::{bounded, journal};
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::frame::SyncState;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(state) = bounded(|| serde_json::from_str::<SyncState>(text))
    {
        let written = serde_json::to_string(&state).expect("numbers and a map of texts");
        assert_eq!(serde_json::from_str::<SyncState>(&written).ok(), Some(state));
    }
    // The relay asks a body for its entries and for nothing else: of those that have none, few stand for all.
    let body = Batch::from_bytes(bytes);
    if bounded(|| body.entries()).is_ok() || bytes.len().is_multiple_of(16) {
        journal::serve_stored(body);
    }
});
