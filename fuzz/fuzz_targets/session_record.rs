//! Stored sessions, their heads, the stored device, stored names and invitations: five decoders on the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use solconnect_fuzz::bounded;
use solconnect_sync_core::client::{DeviceRecord, HeadsRecord, InvitationRecord, NameRecord, SessionRecord};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = bounded(|| SessionRecord::from_bytes(bytes)) {
        assert_eq!(SessionRecord::from_bytes(&record.to_bytes()).as_ref(), Ok(&record));
    }
    if let Ok(record) = bounded(|| DeviceRecord::from_bytes(bytes)) {
        assert_eq!(DeviceRecord::from_bytes(&record.to_bytes()).as_ref(), Ok(&record));
    }
    if let Ok(record) = bounded(|| HeadsRecord::from_bytes(bytes)) {
        assert_eq!(HeadsRecord::from_bytes(&record.to_bytes()).as_ref(), Ok(&record));
    }
    if let Ok(record) = bounded(|| NameRecord::from_bytes(bytes)) {
        assert_eq!(NameRecord::from_bytes(&record.to_bytes()).as_ref(), Ok(&record));
    }
    if let Ok(record) = bounded(|| InvitationRecord::from_bytes(bytes)) {
        assert_eq!(InvitationRecord::from_bytes(&record.to_bytes()).as_ref(), Ok(&record));
    }
});
