//! Texts: what is encrypted comes back, and what was bent does not open.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use solconnect_fuzz::{bounded, script::Script};
use solconnect_sync_vault::epoch::{self, Beginning};
use solconnect_sync_vault::layout::EncryptedText;
use solconnect_sync_vault::text::{Place, TextKeys, padded_bytes};

fuzz_target!(|bytes: &[u8]| {
    static KEYS: OnceLock<TextKeys> = OnceLock::new();
    let keys = KEYS.get_or_init(|| {
        let at = Beginning { after: &[7; 32], number: 1, author: "device" };
        epoch::begin(at, &[], &[9; 64]).map(|(_, secret)| secret.text_keys("device")).expect("nobody has a weak key")
    });
    let mut script = Script(bytes);
    let (counter, at, bit) = (script.number(), script.number() as usize, script.below(8));
    let place = Place { previous: &[5; 32], counter, knows: 0, kind: 0, id: "id" };
    let content = script.0;
    let text = bounded(|| keys.encrypt(1, place, content));
    assert_eq!(text.ciphertext.len(), padded_bytes(content.len()) + 16);
    assert_eq!(bounded(|| keys.decrypt(place, &text)).map(|opened| opened.to_vec()), Ok(content.to_vec()), "a text comes back");
    let mut bent = text.to_bytes();
    let at = 2 + at % (bent.len() - 2);
    bent[at] ^= 1 << bit;
    let bent = EncryptedText::from_bytes(&bent).expect("only what is behind the number was bent");
    assert!(bounded(|| keys.decrypt(place, &bent)).is_err(), "what was bent does not open");
    // Any bytes as a text.
    if let Ok(any) = EncryptedText::from_bytes(bytes) {
        assert!(bounded(|| keys.decrypt(place, &any)).is_err(), "nobody else makes a text");
    }
});
