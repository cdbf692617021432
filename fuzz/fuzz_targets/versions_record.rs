//! Stored versions of an edited message. They are stored without their places in the log.
#![no_main]

use libfuzzer_sys::fuzz_target;
use solconnect_fuzz::bounded;
use solconnect_sync_core::client::VersionsRecord;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(mut record) = bounded(|| VersionsRecord::from_bytes(bytes)) {
        record.versions.iter_mut().for_each(|version| version.sequence_number = 0);
        assert_eq!(VersionsRecord::from_bytes(&record.to_bytes()).as_ref(), Ok(&record));
    }
});
