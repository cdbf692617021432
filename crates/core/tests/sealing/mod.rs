//! Wallets whose devices encrypt: their accounts, and real epochs and texts.

use base64ct::{Base64, Encoding as _};
use solconnect_sync_core::content;
use solconnect_sync_core::entry::{Digest, Entry};
use solconnect_sync_core::epochs::Epochs;
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::identity::{Account, Certificate, Claim, DeviceKey, DomainSet, Offer, Owner, PublicKey, Purpose, Statement};
use solconnect_sync_core::ids::{DeviceId, wallet_address};
use solconnect_sync_core::limits::OFFER_MS;
use solconnect_sync_core::message::{Kind, Message};
use solconnect_sync_vault::account as vault;
use solconnect_sync_vault::epoch::{Beginning, EpochSecret, Recipient, begin};
use solconnect_sync_vault::layout::{AccountHead, EncryptedText, EpochEntry, Generation};
use solconnect_sync_vault::seal::PrivateKey;
use solconnect_sync_vault::text::Place;

pub const DOMAIN: &str = "chat.example";
/// When all of this is, by the relay's clock.
pub const NOW_MS: u64 = 1_700_000_000_000;

pub fn domains() -> DomainSet {
    DomainSet::new(vec![DOMAIN.into()]).unwrap()
}

/// The key of a wallet by its number.
pub fn wallet(number: u8) -> DeviceKey {
    DeviceKey::from_secret(&[number.wrapping_add(100); 32])
}

pub fn address(number: u8) -> String {
    wallet_address(&wallet(number).public())
}

/// The key of a wallet's device.
pub fn device(wallet: u8, number: u8) -> DeviceKey {
    DeviceKey::from_secret(&[wallet * 16 + number + 1; 32])
}

/// What account keys are sealed to for a device.
pub fn seal_key(device: &DeviceKey) -> PrivateKey {
    PrivateKey::from_secret(&device.public())
}

/// An account key as who has all earlier ones makes it, where these devices are removed.
pub fn generation(account: &Account, removed: &[DeviceId]) -> Generation {
    let number = account.generations().len() as u64 + 1;
    let to: Vec<_> = account.seal_recipients(removed, &[]).into_iter().map(|(_, key)| key).collect();
    vault::begin(&account.owner().account_id, number, &to, None, &[number as u8; 64]).unwrap().0
}

/// A wallet's account, and its log.
#[derive(Clone)]
pub struct Vault {
    pub number: u8,
    pub account: Account,
    pub entries: Vec<Entry>,
}

impl Vault {
    pub fn new(number: u8) -> Vault {
        Vault { number, account: Account::new(Owner::new(&address(number), domains()).unwrap()), entries: Vec::new() }
    }

    /// One whose first device is there and has made an account key.
    pub fn keyed(number: u8) -> Vault {
        let mut vault = Vault::new(number);
        vault.join(0);
        vault.renew(0);
        vault
    }

    pub fn key(&self) -> PublicKey {
        wallet(self.number).public()
    }

    pub fn say(&mut self, by: u8, claim: Claim) -> Result<(), ErrorCode> {
        let (key, owner) = (device(self.number, by), self.account.owner().clone());
        let counter = self.account.log().counter(&key.device_id()) + 1;
        let mut entry = Statement::sign(&key, &owner, self.account.head(), claim).entry(&owner, counter, NOW_MS);
        (entry.sequence_number, entry.server_timestamp) = (self.account.head().sequence + 1, NOW_MS);
        self.entries.push(entry.clone());
        self.account.take(&entry).unwrap().map(|_| ()).map_err(|error| error.code)
    }

    fn certificate(&self, device: &DeviceKey, purpose: Purpose) -> Certificate {
        let Owner { wallet: address, account_id, domains, .. } = self.account.owner().clone();
        let (domain, issued_ms) = (domains.iter().next().unwrap().to_owned(), NOW_MS + self.account.head().sequence);
        let offer =
            Offer { domain, wallet: address, account_id, device: device.public(), purpose, issued_ms, expires_ms: issued_ms + OFFER_MS };
        Certificate { text: offer.text(), signature: wallet(self.number).sign(offer.text().as_bytes()) }
    }

    /// A device is listed, and says its seal key.
    pub fn join(&mut self, number: u8) {
        let key = device(self.number, number);
        self.say(number, Claim::Join(self.certificate(&key, Purpose::Join))).unwrap();
        self.say(number, Claim::SealKey(seal_key(&key).public())).unwrap();
    }

    pub fn renew(&mut self, by: u8) {
        self.say(by, Claim::Generation(generation(&self.account, &[]))).unwrap();
    }

    /// A device leaves. Those who stay have the next account key, or none.
    pub fn remove(&mut self, by: u8, number: u8, renews: bool) {
        let devices = vec![device(self.number, number).device_id()];
        let claim = if renews {
            let generation = generation(&self.account, &devices);
            Claim::RemoveAndRenew { devices, kept: Vec::new(), generation }
        } else {
            Claim::Remove { devices, kept: Vec::new() }
        };
        self.say(by, claim).unwrap();
    }

    /// What an epoch names of it, at a place of its log.
    pub fn at(&self, sequence: u64) -> Recipient {
        let hash = if sequence == 0 { Digest::default() } else { self.account.place(sequence).unwrap() };
        let account_key = self.account.generation_at(sequence).map(|key| (key.number, key.public));
        Recipient { wallet: self.key(), head: AccountHead { sequence, hash }, account_key }
    }

    pub fn now(&self) -> Recipient {
        self.at(self.account.head().sequence)
    }
}

/// The next epoch, for these.
pub fn epoch(epochs: &Epochs, author: &str, mut recipients: Vec<Recipient>, random: u8) -> (EpochEntry, EpochSecret) {
    recipients.sort_by_key(|recipient| recipient.wallet);
    begin(Beginning { after: &epochs.transcript(), number: epochs.last() + 1, author }, &recipients, &[random; 64]).unwrap()
}

/// A message as it stands in the log.
pub fn sealed(kind: Kind, bytes: &[u8]) -> Message {
    Message { kind, ciphertext: Base64::encode_string(bytes), ..Message::default() }
}

/// A text that nobody wants to open.
pub fn any_text(epoch: u64) -> Message {
    let text = EncryptedText { epoch, nonce: [7; 12], ciphertext: vec![7; 48] };
    sealed(Kind::MESSAGE, &text.to_bytes())
}

/// An entry whose message is encrypted for its place.
pub fn encrypted(entry: Entry, previous: &Digest, epoch: u64, secret: &EpochSecret) -> Entry {
    let Entry { message, device_id, counter, knows, .. } = &entry;
    let place = Place { previous, counter: *counter, knows: *knows, kind: u64::from(message.kind.0), id: &message.id };
    let text = secret.text_keys(device_id).encrypt(epoch, place, &content::content_of(message));
    let message = content::sealed(message, &text);
    Entry { message, ..entry }
}

/// What was encrypted in an entry.
pub fn opened(entry: &Entry, previous: &Digest, secret: &EpochSecret) -> Message {
    let Entry { message, device_id, counter, knows, .. } = entry;
    let place = Place { previous, counter: *counter, knows: *knows, kind: u64::from(message.kind.0), id: &message.id };
    let text = EncryptedText::from_bytes(&Base64::decode_vec(&message.ciphertext).unwrap()).unwrap();
    let content = secret.text_keys(device_id).decrypt(place, &text).unwrap();
    content::opened(message, &content).unwrap()
}
