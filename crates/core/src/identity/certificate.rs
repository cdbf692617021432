//! What makes a key a device of a wallet: the wallet's signature under a readable text, or the old key of the same database.

use super::domains::DomainSet;
use super::key::{DeviceKey, PublicKey, Signature, verify};
use super::siws::{EXPIRATION_TIME, ISSUED_AT, NOT_BEFORE, SignInText, VERSION};
use crate::error::{ErrorCode, SyncError};
use crate::ids::{SessionId, WalletAddress, check_wallet, public_key, wallet_address};
use crate::limits::{CERTIFICATE_BYTES_MAX, OFFER_AHEAD_MS_MAX, OFFER_MS_MAX};
use crate::time::{iso_from_ms, ms_from_iso};
use crate::wire::{Malformed, Reader, put_bytes, text};

/// A wallet in an application: whose devices a log lists, and what a certificate must name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its address.
    pub wallet: WalletAddress,
    /// The bytes of the address.
    pub key: PublicKey,
    /// The application's domains.
    pub domains: DomainSet,
    /// The wallet's account log in it.
    pub account_id: SessionId,
}

impl Owner {
    /// This wallet in the application of these domains.
    ///
    /// # Errors
    /// `INVALID_WALLET_ADDRESS`.
    pub fn new(wallet: &str, domains: DomainSet) -> Result<Owner, SyncError> {
        check_wallet(wallet)?;
        let key = public_key(wallet).unwrap_or_default();
        Ok(Owner { wallet: wallet.to_owned(), key, account_id: domains.account_id(&key), domains })
    }
}

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// One more device.
    Join,
    /// This device alone: all others leave.
    Reset,
}

impl Purpose {
    /// What the person reads.
    pub fn statement(self) -> &'static str {
        match self {
            Purpose::Join => "Adds this device to your account. It can read your messages and write in your name.",
            Purpose::Reset => "Signs out all your other devices and adds this one. It can read your messages and write in your name.",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Purpose::Join => "join",
            Purpose::Reset => "reset",
        }
    }
}

/// What a wallet is asked to sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Where: the wallet compares it with the page.
    pub domain: String,
    /// Whose.
    pub wallet: WalletAddress,
    /// In which account log it counts.
    pub account_id: SessionId,
    /// For which device.
    pub device: PublicKey,
    /// For what.
    pub purpose: Purpose,
    /// When it was made, by the device's clock.
    pub issued_ms: u64,
    /// Until when it may be entered in the account log. What is entered counts for ever.
    pub expires_ms: u64,
}

impl Offer {
    /// What the text names that no person reads, for wallets that make the text themselves.
    pub fn resources(&self) -> [String; 2] {
        [resource(self.purpose, &self.device), ["solconnect:", &self.account_id].concat()]
    }

    /// The text that the wallet signs.
    pub fn text(&self) -> String {
        let [device, account] = self.resources();
        let (issued, expires) = (iso_from_ms(self.issued_ms), iso_from_ms(self.expires_ms));
        let mut text = SignInText { domain: &self.domain, address: &self.wallet, ..SignInText::default() };
        text.statement = Some(self.purpose.statement());
        text.fields[VERSION] = Some("1");
        text.fields[ISSUED_AT] = Some(&issued);
        text.fields[EXPIRATION_TIME] = Some(&expires);
        text.resources = Some(vec![&device, &account]);
        text.print()
    }
}

fn resource(purpose: Purpose, device: &PublicKey) -> String {
    ["solconnect:", purpose.name(), ":", &wallet_address(device)].concat()
}

/// A text that a wallet signed, as it signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// In the form of Sign-In With Solana. A wallet may add a URI, a chain, a nonce and a request's id.
    pub text: String,
    /// Its signature.
    pub signature: Signature,
}

impl Certificate {
    /// Checks that the owner's wallet has signed this for this device, and that it may be entered now. Gives when it was
    /// made, by the clock of who asked for it.
    ///
    /// # Errors
    /// Each fault has its own code: `INVALID_CERTIFICATE` for another text, `WRONG_KEY` for another wallet or device,
    /// `WRONG_DOMAIN` for another application, `WRONG_PURPOSE`, `CERTIFICATE_EXPIRED` for a time that is over or has not come,
    /// and those of [`verify`].
    pub fn check(&self, owner: &Owner, purpose: Purpose, device: &PublicKey, at_ms: u64) -> Result<u64, SyncError> {
        let refuse = |code, message: &str| SyncError::new(code, message);
        let malformed =
            || refuse(ErrorCode::InvalidCertificate, "the signed text is not in the form of Sign-In With Solana that was asked for");
        let signed = SignInText::parse(&self.text).filter(|_| self.text.len() <= CERTIFICATE_BYTES_MAX).ok_or_else(malformed)?;
        let time = |place: usize| signed.fields[place].and_then(ms_from_iso).ok_or_else(malformed);
        let (issued_ms, expires_ms) = (time(ISSUED_AT)?, time(EXPIRATION_TIME)?);
        if signed.fields[VERSION].is_some_and(|version| version != "1") || signed.fields[NOT_BEFORE].is_some() {
            return Err(malformed());
        }
        let [named, account] = signed.resources.as_deref().unwrap_or_default() else { return Err(malformed()) };
        if signed.address != owner.wallet {
            return Err(refuse(ErrorCode::WrongKey, "another wallet signed the certificate"));
        }
        if !owner.domains.has(signed.domain) || account.strip_prefix("solconnect:") != Some(&owner.account_id) {
            return Err(refuse(ErrorCode::WrongDomain, "the certificate was signed for another application"));
        }
        let is_for = |purpose| *named == resource(purpose, device);
        if !is_for(purpose) || signed.statement != Some(purpose.statement()) {
            let is_ours = is_for(Purpose::Join) || is_for(Purpose::Reset);
            let (code, message) = if is_ours {
                (ErrorCode::WrongPurpose, "the certificate was signed for something else")
            } else {
                (ErrorCode::WrongKey, "the certificate is for another device")
            };
            return Err(refuse(code, message));
        }
        let is_too_long = expires_ms.saturating_sub(issued_ms) > OFFER_MS_MAX;
        if at_ms > expires_ms || is_too_long || issued_ms > at_ms.saturating_add(OFFER_AHEAD_MS_MAX) {
            return Err(refuse(
                ErrorCode::CertificateExpired,
                "the certificate may not be used at this time: the clock of its device may be wrong",
            ));
        }
        verify(&owner.key, self.text.as_bytes(), &self.signature)?;
        Ok(issued_ms)
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.text.as_bytes());
        out.extend_from_slice(&self.signature);
    }

    pub(super) fn take(reader: &mut Reader<'_>) -> Result<Certificate, Malformed> {
        Ok(Certificate { text: text(reader.bytes()?)?.to_owned(), signature: *reader.array()? })
    }
}

/// A device's old key names the next: of a database that was copied or set back, without asking the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Succession {
    /// The old key.
    pub predecessor: PublicKey,
    /// Its signature.
    pub signature: Signature,
}

impl Succession {
    /// The old key names this one.
    pub fn sign(old: &DeviceKey, owner: &Owner, device: &PublicKey) -> Succession {
        Succession { predecessor: old.public(), signature: old.sign(&succession(owner, &old.public(), device)) }
    }

    /// Checks that the old key has named this one.
    ///
    /// # Errors
    /// Those of [`verify`].
    pub fn check(&self, owner: &Owner, device: &PublicKey) -> Result<(), SyncError> {
        verify(&self.predecessor, &succession(owner, &self.predecessor, device), &self.signature)
    }
}

/// What an old key signs: it names a device of this account and no other.
fn succession(owner: &Owner, predecessor: &PublicKey, device: &PublicKey) -> Vec<u8> {
    let mut bytes = b"solconnect.succession.v1\0".to_vec();
    put_bytes(&mut bytes, owner.account_id.as_bytes());
    bytes.extend_from_slice(predecessor);
    bytes.extend_from_slice(device);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::OFFER_MS;

    const NOW_MS: u64 = 1_800_000_000_000;

    fn wallet() -> DeviceKey {
        DeviceKey::from_secret(&[1; 32])
    }

    fn device() -> PublicKey {
        DeviceKey::from_secret(&[2; 32]).public()
    }

    fn owner(domains: &[&str]) -> Owner {
        let domains = DomainSet::new(domains.iter().map(|domain| (*domain).to_owned()).collect()).unwrap();
        Owner::new(&wallet_address(&wallet().public()), domains).unwrap()
    }

    fn offer(purpose: Purpose) -> Offer {
        let Owner { wallet, account_id, .. } = owner(&["chat.example", "next.example"]);
        let times = (NOW_MS, NOW_MS + OFFER_MS);
        Offer { domain: "chat.example".into(), wallet, account_id, device: device(), purpose, issued_ms: times.0, expires_ms: times.1 }
    }

    fn signed(text: String) -> Certificate {
        let signature = wallet().sign(text.as_bytes());
        Certificate { text, signature }
    }

    fn check(certificate: &Certificate) -> Result<u64, ErrorCode> {
        certificate.check(&owner(&["chat.example", "next.example"]), Purpose::Join, &device(), NOW_MS).map_err(|error| error.code)
    }

    /// What the parts of the text are, for who reads it without this code.
    #[test]
    fn an_offer_has_this_text() {
        let text = "chat.example wants you to sign in with your Solana account:\n\
                    AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9\n\n\
                    Adds this device to your account. It can read your messages and write in your name.\n\n\
                    Version: 1\nIssued At: 2027-01-15T08:00:00.000Z\nExpiration Time: 2027-02-14T08:00:00.000Z\nResources:\n\
                    - solconnect:join:9hSR6S7WPtxmTojgo6GG3k4yDPecgJY292j7xrsUGWBu\n\
                    - solconnect:account:a8bf3f61-bda3-8a6f-8c17-ae2833d0f008";
        assert_eq!(offer(Purpose::Join).text(), text);
        let reset = offer(Purpose::Reset).text();
        assert!(reset.contains("Signs out all your other devices") && reset.contains("- solconnect:reset:9hSR"));
    }

    #[test]
    fn a_certificate_counts_for_both_domains_and_each_purpose() {
        assert_eq!(check(&signed(offer(Purpose::Join).text())), Ok(NOW_MS));
        let other = Offer { domain: "next.example".into(), ..offer(Purpose::Join) };
        assert_eq!(check(&signed(other.text())), Ok(NOW_MS));
        let owner = owner(&["chat.example", "next.example"]);
        assert_eq!(signed(offer(Purpose::Reset).text()).check(&owner, Purpose::Reset, &device(), NOW_MS), Ok(NOW_MS));
    }

    #[test]
    fn what_wallets_add_to_the_text_is_taken() {
        let text = offer(Purpose::Join).text();
        let added = text.replace("Version: 1\n", "URI: https://chat.example\nVersion: 1\nChain ID: mainnet\nNonce: 12345678\n");
        assert_eq!(check(&signed(added)), Ok(NOW_MS));
        assert_eq!(check(&signed(text.replace("Version: 1\n", ""))), Ok(NOW_MS));
    }

    #[test]
    fn another_text_is_refused_by_the_code_of_its_fault() {
        let text = offer(Purpose::Join).text();
        let account = offer(Purpose::Join).account_id;
        let stranger = wallet_address(&DeviceKey::from_secret(&[9; 32]).public());
        let of_one_domain = owner(&["chat.example"]).account_id;
        let other_device = Offer { device: [3; 32], ..offer(Purpose::Join) }.text();
        let faults = [
            (text.replace("Version: 1", "Version: 2"), ErrorCode::InvalidCertificate),
            (text.replace("Resources", "Not Before: 2027-01-15T08:00:00.000Z\nResources"), ErrorCode::InvalidCertificate),
            (text.replace("Issued At: 2027-01-15T08:00:00.000Z\n", ""), ErrorCode::InvalidCertificate),
            (text.replace("2027-02-14T08:00:00.000Z", "later"), ErrorCode::InvalidCertificate),
            (format!("{text}\n- solconnect:more"), ErrorCode::InvalidCertificate),
            (format!("{text}\n"), ErrorCode::InvalidCertificate),
            (text.replace('\n', "\r\n"), ErrorCode::InvalidCertificate),
            (
                text.replace("Version: 1", &format!("Version: 1\nNonce: {}", "n".repeat(CERTIFICATE_BYTES_MAX))),
                ErrorCode::InvalidCertificate,
            ),
            (text.replace(&owner(&["chat.example"]).wallet, &stranger), ErrorCode::WrongKey),
            (other_device, ErrorCode::WrongKey),
            (text.replace("chat.example wants", "evil.example wants"), ErrorCode::WrongDomain),
            (text.replace(&account, &of_one_domain), ErrorCode::WrongDomain),
            (offer(Purpose::Reset).text(), ErrorCode::WrongPurpose),
            (text.replace("Adds this device to your account.", "Claims your airdrop."), ErrorCode::WrongPurpose),
            (text.replace(Purpose::Join.statement(), Purpose::Reset.statement()), ErrorCode::WrongPurpose),
        ];
        for (text, code) in faults {
            assert_eq!(check(&signed(text.clone())), Err(code), "{text}");
        }
    }

    #[test]
    fn an_offer_counts_only_in_its_time() {
        let owner = owner(&["chat.example", "next.example"]);
        let at = |offer: &Offer, at_ms| signed(offer.text()).check(&owner, Purpose::Join, &device(), at_ms).map_err(|error| error.code);
        let good = offer(Purpose::Join);
        assert_eq!(at(&good, good.expires_ms), Ok(NOW_MS));
        assert_eq!(at(&good, good.expires_ms + 1), Err(ErrorCode::CertificateExpired));
        assert_eq!(at(&good, NOW_MS - OFFER_AHEAD_MS_MAX), Ok(NOW_MS));
        assert_eq!(at(&good, NOW_MS - OFFER_AHEAD_MS_MAX - 1), Err(ErrorCode::CertificateExpired));
        let long = Offer { expires_ms: NOW_MS + OFFER_MS_MAX + 1, ..good };
        assert_eq!(at(&long, NOW_MS), Err(ErrorCode::CertificateExpired), "a phished offer would be kept for years");
    }

    #[test]
    fn a_certificate_that_the_wallet_did_not_sign_is_refused() {
        let text = offer(Purpose::Join).text();
        let forged = Certificate { signature: DeviceKey::from_secret(&[9; 32]).sign(text.as_bytes()), text: text.clone() };
        assert_eq!(check(&forged), Err(ErrorCode::InvalidSignature));
        let moved = Certificate { signature: wallet().sign(offer(Purpose::Reset).text().as_bytes()), text };
        assert_eq!(check(&moved), Err(ErrorCode::InvalidSignature));
    }

    #[test]
    fn a_wallet_of_low_order_has_no_certificate() {
        // The wallet of all zeroes is Solana's system program: no key, and a point of low order.
        let wallet = wallet_address(&[0; 32]);
        let owner = Owner::new(&wallet, owner(&["chat.example"]).domains).unwrap();
        let offer = Offer { wallet, account_id: owner.account_id.clone(), ..offer(Purpose::Join) };
        let mut signature = [0; 64];
        signature[0] = 1;
        let certificate = Certificate { text: offer.text(), signature };
        assert_eq!(certificate.check(&owner, Purpose::Join, &device(), NOW_MS).unwrap_err().code, ErrorCode::InvalidKey);
    }

    #[test]
    fn a_succession_names_one_device_of_one_account() {
        let old = DeviceKey::from_secret(&[2; 32]);
        let (mine, other) = (owner(&["chat.example"]), owner(&["next.example"]));
        let succession = Succession::sign(&old, &mine, &[5; 32]);
        assert_eq!(succession.check(&mine, &[5; 32]), Ok(()));
        for (owner, device) in [(&other, [5; 32]), (&mine, [6; 32])] {
            assert_eq!(succession.check(owner, &device).unwrap_err().code, ErrorCode::InvalidSignature);
        }
    }
}
