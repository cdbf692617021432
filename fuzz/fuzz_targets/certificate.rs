//! Texts that a wallet may have signed: none but the one that was asked for counts, and each other has its code. Only a text in
//! which all is right meets the signature, which is what takes time; so most inputs do not.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use solconnect_fuzz::people::{DOMAIN, NOW_MS, certificate, key, owner};
use solconnect_fuzz::{bounded, script::Script};
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::identity::{Certificate, Claim, Owner, PublicKey, Purpose};
use solconnect_sync_core::limits::CERTIFICATE_BYTES_MAX;

/// What is made once: it takes longer than an input.
struct Fixture {
    owner: Owner,
    device: PublicKey,
    good: [Certificate; 2],
}

fuzz_target!(|bytes: &[u8]| {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    let fixture = FIXTURE.get_or_init(|| {
        let (owner, device) = (owner(0, DOMAIN), key(1).public());
        let good = [Purpose::Join, Purpose::Reset].map(|purpose| certificate(&owner, device, purpose, NOW_MS));
        Fixture { owner, device, good }
    });
    let mut script = Script(bytes);
    let kind = script.below(256);
    let good = &fixture.good[kind & 1];
    let purpose = if kind & 2 == 0 { Purpose::Join } else { Purpose::Reset };
    let at_ms = NOW_MS + script.number() * 60_000;
    let text = if kind & 4 == 0 { String::from_utf8_lossy(script.0).into_owned() } else { changed(&good.text, &mut script) };
    let is_same = text == good.text;
    let offered = Certificate { text, signature: good.signature };
    let outcome = bounded(|| offered.check(&fixture.owner, purpose, &fixture.device, at_ms)).map_err(|error| error.code);
    match outcome {
        Ok(issued_ms) => {
            assert!(is_same && kind & 1 == kind >> 1 & 1, "the wallet signed another text: {:?}", offered.text);
            assert!(offered.text.len() <= CERTIFICATE_BYTES_MAX && issued_ms == NOW_MS, "{issued_ms}");
        }
        Err(code) => {
            let known = [
                ErrorCode::InvalidCertificate,
                ErrorCode::WrongKey,
                ErrorCode::WrongDomain,
                ErrorCode::WrongPurpose,
                ErrorCode::CertificateExpired,
                ErrorCode::InvalidSignature,
            ];
            assert!(known.contains(&code), "{code:?}");
            assert!(!is_same || matches!(code, ErrorCode::WrongPurpose | ErrorCode::CertificateExpired), "{code:?} for a good text");
        }
    }
    let claim = Claim::Join(offered);
    assert_eq!(bounded(|| Claim::from_bytes(&claim.to_bytes())), Ok(claim), "a certificate is read as it was written");
});

/// A good text of which parts are others.
fn changed(text: &str, script: &mut Script<'_>) -> String {
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    for _ in 0..script.below(4) {
        let place = script.below(lines.len());
        match script.below(8) {
            0 => drop(lines.remove(place)),
            1 => lines.insert(place, lines[place].clone()),
            2 => {
                let other = script.below(lines.len());
                lines.swap(place, other);
            }
            3 => lines.insert(place, String::from_utf8_lossy(script.bytes()).into_owned()),
            4 => lines[place].push(char::from(script.below(128) as u8)),
            5 => lines.insert(
                place,
                script.one_of(&["URI: x", "Chain ID: mainnet", "Nonce: 12345678", "Not Before: x", "Request ID: 1", ""]).into(),
            ),
            6 => {
                let years = ["2026-01-15T08:00:00.000Z", "2027-02-14T09:00:00+01:00", "9999-12-31T23:59:59.999Z", "1970-01-01T00:00:00Z"];
                let label = script.one_of(&["Issued At: ", "Expiration Time: "]);
                lines[place] = [label, script.one_of(&years)].concat();
            }
            _ => {
                let mut bytes = lines[place].clone().into_bytes();
                let at = script.below(bytes.len().clamp(1, 256));
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << script.below(8);
                }
                lines[place] = String::from_utf8_lossy(&bytes).into_owned();
            }
        }
        if lines.is_empty() {
            break;
        }
    }
    lines.join("\n")
}
