//! Stored unsent messages.
#![no_main]

use libfuzzer_sys::fuzz_target;
use solconnect_fuzz::bounded;
use solconnect_sync_core::client::OutboxRecord;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = bounded(|| OutboxRecord::from_bytes(bytes)) {
        assert_eq!(OutboxRecord::from_bytes(&record.to_bytes()).as_ref(), Ok(&record));
    }
});
