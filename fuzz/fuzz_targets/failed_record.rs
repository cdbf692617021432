//! A stored message that the relay refused for good.
#![no_main]

use libfuzzer_sys::fuzz_target;
use solconnect_fuzz::bounded;
use solconnect_sync_core::client::FailedRecord;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = bounded(|| FailedRecord::from_bytes(bytes)) {
        assert_eq!(FailedRecord::from_bytes(&record.to_bytes()).as_ref(), Ok(&record));
    }
});
