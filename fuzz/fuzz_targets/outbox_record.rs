//! Stored unsent messages, and their copy.
#![no_main]

use libfuzzer_sys::fuzz_target;
use solconnect_fuzz::bounded;
use solconnect_sync_core::client::{OutboxRecord, SpareRecord};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = bounded(|| OutboxRecord::from_bytes(bytes)) {
        assert_eq!(OutboxRecord::from_bytes(&record.to_bytes()).as_ref(), Ok(&record));
    }
    if let Ok(record) = bounded(|| SpareRecord::from_bytes(bytes)) {
        assert_eq!(SpareRecord::from_bytes(&record.to_bytes()).as_ref(), Ok(&record));
    }
});
