//! Stored answers to keyed calls.
#![no_main]

use libfuzzer_sys::fuzz_target;
use solconnect_fuzz::bounded;
use solconnect_sync_core::client::CallRecord;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = bounded(|| CallRecord::from_bytes(bytes)) {
        assert_eq!(CallRecord::from_bytes(&record.to_bytes()).as_ref(), Ok(&record));
    }
});
