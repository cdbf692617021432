//! A wallet and its devices, whose keys are numbers.

use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::frame::SignIn;
use solconnect_sync_core::identity::{
    Certificate, Challenge, Claim, DeviceKey, DomainSet, Nonce, Offer, Owner, PublicKey, Purpose, Statement, Succession,
};
use solconnect_sync_core::ids::wallet_address;
use solconnect_sync_core::limits::OFFER_MS;
use solconnect_sync_core::log::LogHead;

/// Where the application is.
pub const DOMAIN: &str = "chat.example";

/// What the relay is called.
pub const RELAY: &str = "relay.example";

/// When everything begins: midnight, so that a day's changes are those of the next 24 hours.
pub const NOW_MS: u64 = 1_800_000_000_000 / DAY_MS * DAY_MS;

/// A day.
pub const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// The key of a device by its number.
pub fn key(number: u8) -> DeviceKey {
    DeviceKey::from_secret(&[number; 32])
}

/// The key of a wallet by its number.
pub fn wallet(number: u8) -> DeviceKey {
    DeviceKey::from_secret(&[0xff - number; 32])
}

/// A wallet in an application with this domain.
pub fn owner(number: u8, domain: &str) -> Owner {
    let domains = DomainSet::new(vec![domain.into()]).expect("a domain");
    Owner::new(&wallet_address(&wallet(number).public()), domains).expect("a wallet")
}

/// What the wallet is asked to sign.
pub fn offer(owner: &Owner, device: PublicKey, purpose: Purpose, issued_ms: u64) -> Offer {
    let Owner { wallet, account_id, domains, .. } = owner.clone();
    let domain = domains.iter().next().unwrap_or_default().to_owned();
    Offer { domain, wallet, account_id, device, purpose, issued_ms, expires_ms: issued_ms + OFFER_MS }
}

/// What wallet 0 signs for a device.
pub fn certificate(owner: &Owner, device: PublicKey, purpose: Purpose, issued_ms: u64) -> Certificate {
    let text = offer(owner, device, purpose, issued_ms).text();
    let signature = wallet(0).sign(text.as_bytes());
    Certificate { text, signature }
}

/// An old key names the next.
pub fn succession(owner: &Owner, old: u8, new: u8) -> Claim {
    Claim::Succeed(Succession::sign(&key(old), owner, &key(new).public()))
}

/// The first entry of a device, behind this place.
pub fn first_entry(owner: &Owner, device: u8, after: LogHead, claim: Claim, wall_ms: u64) -> Entry {
    Statement::sign(&key(device), owner, after, claim).entry(owner, 1, wall_ms)
}

/// What a device says to sign in.
pub fn sign_in(owner: &Owner, device: u8, relay_key: PublicKey, nonce: Nonce, entry: Option<Entry>) -> SignIn {
    let challenge = Challenge { relay: RELAY.into(), relay_key, nonce, device_nonce: [7; 16] };
    SignIn {
        proof: challenge.prove(&owner.account_id, &key(device)),
        wallet: owner.wallet.clone(),
        domains: owner.domains.iter().map(str::to_owned).collect(),
        key: key(device).public(),
        relay: RELAY.into(),
        nonce,
        device_nonce: challenge.device_nonce,
        messages: entry.and_then(|entry| Batch::of(&[entry]).ok()).unwrap_or_default(),
        known: 0,
    }
}
