//! What stands in entries of epochs, reseals and asks, and in encrypted ones, of any bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use solconnect_fuzz::bounded;
use solconnect_sync_vault::epoch::{self, EpochSecret};
use solconnect_sync_vault::layout::{AsksEntry, EPOCH_MEMBERS_MAX, EPOCHS_MAX, EncryptedText, EpochEntry, ResealEntry};
use solconnect_sync_vault::seal::PrivateKey;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(entry) = bounded(|| EpochEntry::from_bytes(bytes)) {
        assert_eq!(entry.to_bytes(), bytes, "an epoch has one form");
        assert!(entry.members.len() <= EPOCH_MEMBERS_MAX);
        let key = PrivateKey::from_secret(&[1; 32]);
        let wallet = entry.members[0].wallet;
        if let Ok(opened) = bounded(|| epoch::open(&entry, "device", &wallet, &key)) {
            let transcript = epoch::after_epoch(&entry, "device");
            assert!(EpochSecret::check(opened.secret(), &transcript, &entry.tag).is_ok(), "what opens fits the tag");
        }
    }
    if let Ok(entry) = bounded(|| ResealEntry::from_bytes(bytes)) {
        assert_eq!(entry.to_bytes(), bytes, "a reseal has one form");
        assert!(entry.0.iter().all(|resealed| resealed.epochs.len() <= EPOCHS_MAX && resealed.epochs.is_sorted()));
    }
    if let Ok(entry) = bounded(|| AsksEntry::from_bytes(bytes)) {
        assert_eq!(entry.to_bytes(), bytes, "asks have one form");
    }
    if let Ok(text) = bounded(|| EncryptedText::from_bytes(bytes)) {
        assert_eq!(text.to_bytes(), bytes, "an encrypted text has one form");
    }
});
