//! Stored versions of an edited message.
#![no_main]

use libfuzzer_sys::fuzz_target;
use solconnect_fuzz::bounded;
use solconnect_sync_core::client::VersionsRecord;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = bounded(|| VersionsRecord::from_bytes(bytes)) {
        assert_eq!(VersionsRecord::from_bytes(&record.to_bytes()).as_ref(), Ok(&record));
    }
});
