//! A stored part of a device's log: read, read into, and joined with itself in parts.
#![no_main]

use libfuzzer_sys::fuzz_target;
use solconnect_fuzz::bounded;
use solconnect_sync_core::client::LogRecord;

fuzz_target!(|bytes: &[u8]| {
    let Ok(record) = bounded(|| LogRecord::from_bytes("session", bytes)) else { return };
    assert_eq!(LogRecord::from_bytes("session", &record.to_bytes()).as_ref(), Ok(&record));
    let Ok(entries) = bounded(|| record.entries()) else { return };
    if let Ok(joined) = bounded(|| LogRecord::join(std::slice::from_ref(&record))) {
        let rejoined: Vec<_> = joined.iter().flat_map(|part| part.entries().expect("what was joined can be read")).collect();
        assert_eq!(rejoined, entries, "joining changes no entry");
    }
});
