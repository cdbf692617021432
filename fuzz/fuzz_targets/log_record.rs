//! A stored part of a device's log: read, read into, joined with itself in parts, and taken into a log.
#![no_main]

use libfuzzer_sys::fuzz_target;
use solconnect_fuzz::bounded;
use solconnect_sync_core::client::LogRecord;
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::log::Log;

fuzz_target!(|bytes: &[u8]| {
    let Ok(record) = bounded(|| LogRecord::from_bytes("session", bytes)) else { return };
    assert_eq!(LogRecord::from_bytes("session", &record.to_bytes()).as_ref(), Ok(&record));
    let Ok(entries) = bounded(|| record.entries()) else { return };
    if let Ok(joined) = bounded(|| LogRecord::join(std::slice::from_ref(&record))) {
        let rejoined: Vec<_> = joined.iter().flat_map(|part| part.entries().expect("what was joined can be read")).collect();
        assert_eq!(rejoined, entries, "joining changes no entry");
    }
    let clocks = bounded(|| record.clocks_of(entries.iter())).expect("it can be read");
    assert_eq!(clocks.len(), entries.len());
    let Some(first) = entries.first() else { return };
    // As if it were the beginning of a log: taken at once or one by one, it is the same log, or none.
    let session = first.message.session_id.clone();
    let renumbered: Vec<Entry> = entries.iter().zip(1..).map(|(entry, place)| Entry { sequence_number: place, ..entry.clone() }).collect();
    let (mut whole, mut parts) = (Log::new(&session), Log::new(&session));
    let taken = bounded(|| whole.accept(renumbered.clone(), |_, _| Ok(())));
    let one_by_one: Result<Vec<_>, _> = renumbered.into_iter().map(|entry| parts.accept(vec![entry], |_, _| Ok(()))).collect();
    assert_eq!(taken.is_ok(), one_by_one.is_ok());
    if taken.is_ok() {
        assert_eq!(whole, parts);
        assert_eq!(whole.clock(), Log::restore(whole.end(), whole.hash(), whole.heads().to_vec()).clock());
    }
});
