//! The epochs that a relay or a device has stored of an encrypted session.
#![no_main]

use libfuzzer_sys::fuzz_target;
use solconnect_fuzz::bounded;
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::epochs::{Epochs, Members, Named, Said};
use solconnect_sync_core::group::Role;
use solconnect_sync_core::limits::INTEGER_MAX;
use solconnect_sync_core::message::{Kind, Message};
use solconnect_sync_vault::layout::{AccountHead, EpochEntry, EpochMember};

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut epochs) = bounded(|| Epochs::from_bytes(bytes)) else { return };
    let again = bounded(|| epochs.to_bytes());
    assert_eq!(Epochs::from_bytes(&again).as_ref(), Ok(&epochs), "what is stored again is the same");
    if epochs.last() == INTEGER_MAX {
        return;
    }
    // It goes on, whatever it was.
    let member = |named: &Named| {
        let head = AccountHead { sequence: named.head.sequence, hash: named.head.hash };
        EpochMember { wallet: named.wallet, head, sealed: None }
    };
    let members = epochs.wallets().map(member).collect();
    let epoch = EpochEntry { after: epochs.transcript(), number: epochs.last() + 1, members, tag: [0; 32] };
    let entry = Entry { message: Message { kind: Kind::EPOCH, ..Message::default() }, ..Entry::default() };
    let known = Members { wallets: Vec::new(), role: &|_| Role::Stranger, account: &|_| None };
    let _ = bounded(|| epochs.judge(&entry, &known));
    bounded(|| epochs.take(&entry, &Said::Epoch(epoch), &[0; 32], &[]));
    assert_eq!(Epochs::from_bytes(&epochs.to_bytes()).as_ref(), Ok(&epochs), "and what follows from it");
});
