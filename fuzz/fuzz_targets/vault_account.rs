//! Generations of an account key, public keys and recovery codes, of any bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use solconnect_fuzz::bounded;
use solconnect_sync_vault::account;
use solconnect_sync_vault::layout::{GENERATION_SEALS_MAX, Generation};
use solconnect_sync_vault::recovery::RecoveryCode;
use solconnect_sync_vault::seal::{PrivateKey, check_public, seal};

fuzz_target!(|bytes: &[u8]| {
    let key = PrivateKey::from_secret(&[1; 32]);
    if let Ok((generation, rest)) = bounded(|| Generation::take(bytes)) {
        let mut again = Vec::new();
        generation.put(&mut again);
        assert_eq!([&again[..], rest].concat(), bytes, "a generation has one form");
        assert!(generation.seals.len() <= GENERATION_SEALS_MAX);
        for sealed in generation.seals.iter().take(1).chain(&generation.earlier) {
            let opened = bounded(|| account::open("account", generation.number, &generation.public, &key, sealed));
            assert!(!opened.is_ok_and(|opened| opened.public() != generation.public), "a key is that of its public half");
        }
    }
    if let Some(public) = bytes.first_chunk::<32>() {
        let is_good = check_public(public).is_ok();
        assert_eq!(bounded(|| seal(public, b"info", b"secret", &[2; 32])).is_ok(), is_good, "what is good can be sealed to");
    }
    let typed = String::from_utf8_lossy(bytes);
    if let Ok(code) = bounded(|| RecoveryCode::read(&typed)) {
        let text = code.text();
        assert_eq!(RecoveryCode::read(&text).map(|again| again.text()), Ok(text.clone()), "a code is read as it is shown");
    }
});
