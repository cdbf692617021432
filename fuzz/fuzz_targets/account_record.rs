//! What is said in an account log, and what a device stores of it, of any bytes. No signature is looked at: see `account_machine`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use solconnect_fuzz::bounded;
use solconnect_fuzz::people::{DOMAIN, owner};
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::identity::{Account, Claim, Statement};
use solconnect_sync_core::message::{Kind, Message};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(statement) = bounded(|| Statement::from_bytes(bytes)) {
        assert_eq!(statement.to_bytes(), bytes, "a statement has one form");
        let entry = bounded(|| statement.entry(&owner(0, DOMAIN), 1, 0));
        assert_eq!(bounded(|| Statement::of(&entry)), Ok(statement), "an entry says what it was made of");
    }
    if let Ok(claim) = bounded(|| Claim::from_bytes(bytes)) {
        assert_eq!(claim.to_bytes(), bytes, "a claim has one form");
    }
    let ciphertext = String::from_utf8_lossy(bytes).into_owned();
    let entry = Entry { message: Message { ciphertext, kind: Kind::ACCOUNT, ..Message::default() }, ..Entry::default() };
    // It may be any text.
    let _ = bounded(|| Statement::of(&entry));
    let domains = &owner(0, DOMAIN).domains;
    if let Some(mut account) = bounded(|| Account::from_bytes(bytes, domains)) {
        let again = bounded(|| account.to_bytes());
        assert_eq!(Account::from_bytes(&again, domains).as_ref(), Some(&account), "what is stored again is the same");
        let before = account.clone();
        if bounded(|| account.take(&entry)).is_err() {
            assert_eq!(account, before, "what does not go on changes nothing");
        }
    }
});
