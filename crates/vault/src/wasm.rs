//! What a page calls, in the second wasm module: bytes in, bytes out, secrets too. What does not open is thrown as a text: so who calls
//! tells it apart from a trap or a lack of memory, which throw errors.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;
use zeroize::Zeroizing;

use crate::epoch::{self, Beginning, EpochSecret, Recipient};
use crate::layout::{EncryptedText, ResealEntry, Resealed};
use crate::recovery::{RecoveryCode, RecoveryKeys};
use crate::reseal::{self, KnownEpoch, ResealTo};
use crate::seal::PrivateKey;
use crate::text::{self, Place};
use crate::wire::Malformed;
use crate::{Fault, account, approval, lock};

type Result<T> = core::result::Result<T, JsValue>;

fn thrown(fault: impl Into<Fault>) -> JsValue {
    JsValue::from_str(&fault.into().to_string())
}

fn fixed<const COUNT: usize>(bytes: &[u8]) -> Result<[u8; COUNT]> {
    bytes.try_into().map_err(|_| thrown(Malformed("it has another length")))
}

fn private(secret: &[u8]) -> Result<PrivateKey> {
    fixed(secret).map(|secret| PrivateKey::from_secret(&secret))
}

/// The public half of an X25519 key.
#[wasm_bindgen(js_name = publicOf)]
pub fn public_of(secret: &[u8]) -> Result<Vec<u8>> {
    private(secret).map(|key| key.public().to_vec())
}

/// Begins an epoch for these recipients (`Recipient::put`); gives its secret and behind it the entry.
#[wasm_bindgen(js_name = beginEpoch)]
pub fn begin_epoch(after: &[u8], number: u64, author: &str, recipients: &[u8], random: &[u8]) -> Result<Vec<u8>> {
    let at = Beginning { after: &fixed(after)?, number, author };
    let (entry, secret) = epoch::begin(at, &Recipient::take_all(recipients).map_err(thrown)?, &fixed(random)?).map_err(thrown)?;
    Ok([&secret.secret()[..], &entry.to_bytes()].concat())
}

/// The secret of an epoch, of which only what it has sealed to a wallet is kept.
#[allow(clippy::too_many_arguments)]
#[wasm_bindgen(js_name = openSealedEpoch)]
pub fn open_sealed_epoch(
    after: &[u8],
    number: u64,
    author: &str,
    wallet: &[u8],
    generation: u64,
    sealed: &[u8],
    account_secret: &[u8],
    transcript: &[u8],
    tag: &[u8],
) -> Result<Vec<u8>> {
    let at = Beginning { after: &fixed(after)?, number, author };
    let (wallet, sealed, key) = (fixed(wallet)?, fixed(sealed)?, private(account_secret)?);
    let opened = epoch::open_sealed(at, &wallet, (generation, &sealed), &key, &fixed(transcript)?, &fixed(tag)?).map_err(thrown)?;
    Ok(opened.secret().to_vec())
}

/// The private key of a generation, of which the log has the public half, with that of the next one, of this number.
#[wasm_bindgen(js_name = openEarlierKey)]
pub fn open_earlier_key(account: &str, next: u64, account_secret: &[u8], public: &[u8], sealed: &[u8]) -> Result<Vec<u8>> {
    let key = account::open_earlier(account, next, &private(account_secret)?, &fixed(public)?, &fixed(sealed)?).map_err(thrown)?;
    Ok(key.secret().to_vec())
}

/// The keys of what a device writes in the epoch of this secret, which is checked by the epoch's tag.
#[wasm_bindgen(js_name = textKeys)]
pub fn text_keys(secret: &[u8], transcript: &[u8], tag: &[u8], device: &str) -> Result<TextKeys> {
    let secret = EpochSecret::check(&fixed(secret)?, &fixed(transcript)?, &fixed(tag)?).map_err(thrown)?;
    Ok(TextKeys(secret.text_keys(device)))
}

/// The keys of what one device writes in one epoch.
#[wasm_bindgen]
pub struct TextKeys(text::TextKeys);

#[wasm_bindgen]
impl TextKeys {
    /// What an entry says, encrypted.
    #[allow(clippy::too_many_arguments)]
    pub fn encrypt(&self, epoch: u64, previous: &[u8], counter: u64, knows: u64, kind: u64, id: &str, content: &[u8]) -> Result<Vec<u8>> {
        let place = Place { previous: &fixed(previous)?, counter, knows, kind, id };
        Ok(self.0.encrypt(epoch, place, content).to_bytes())
    }

    /// What an entry says.
    pub fn decrypt(&self, previous: &[u8], counter: u64, knows: u64, kind: u64, id: &str, text: &[u8]) -> Result<Vec<u8>> {
        let place = Place { previous: &fixed(previous)?, counter, knows, kind, id };
        let mut content = self.0.decrypt(place, &EncryptedText::from_bytes(text).map_err(thrown)?).map_err(thrown)?;
        Ok(core::mem::take(&mut *content))
    }
}

/// Epochs as they are given here: [`KnownEpoch::to_bytes`] of each.
fn take_epochs(bytes: &[u8]) -> Result<Vec<(KnownEpoch, [u8; 32])>> {
    let (epochs, rest) = bytes.as_chunks::<104>();
    if !rest.is_empty() {
        return Err(thrown(Malformed("it has another length")));
    }
    let take = |bytes: &[u8; 104]| {
        let known =
            KnownEpoch { number: u64::from_le_bytes(fixed(&bytes[..8])?), transcript: fixed(&bytes[8..40])?, tag: fixed(&bytes[40..72])? };
        Ok((known, fixed(&bytes[72..])?))
    };
    epochs.iter().map(take).collect()
}

/// An entry with the secrets of these epochs for one wallet.
#[wasm_bindgen]
pub fn reseal(author: &str, wallet: &[u8], generation: u64, account_key: &[u8], epochs: &[u8], random: &[u8]) -> Result<Vec<u8>> {
    let to = ResealTo { wallet: fixed(wallet)?, generation, account_key: fixed(account_key)? };
    let check = |(known, secret): (KnownEpoch, [u8; 32])| {
        EpochSecret::check(&secret, &known.transcript, &known.tag).map(|secret| (known, secret)).map_err(thrown)
    };
    let secrets = take_epochs(epochs)?.into_iter().map(check).collect::<Result<Vec<_>>>()?;
    let pairs: Vec<(KnownEpoch, &EpochSecret)> = secrets.iter().map(|(known, secret)| (*known, secret)).collect();
    let resealed = reseal::reseal(author, &to, &pairs, &fixed(random)?).map_err(thrown)?;
    Ok(ResealEntry([resealed].into()).to_bytes())
}

/// The secrets that an entry has for a wallet, 32 bytes for each of the epochs that it names; zeroes for one that is false.
#[wasm_bindgen(js_name = openReseal)]
pub fn open_reseal(entry: &[u8], author: &str, wallet: &[u8], account_secret: &[u8], epochs: &[u8]) -> Result<Vec<u8>> {
    let (wallet, key) = (fixed::<32>(wallet)?, private(account_secret)?);
    let known: Vec<KnownEpoch> = take_epochs(epochs)?.into_iter().map(|(known, _)| known).collect();
    let entry = ResealEntry::from_bytes(entry).map_err(thrown)?;
    let is_its = |resealed: &&Resealed| resealed.wallet == wallet;
    let resealed = entry.0.iter().find(is_its).ok_or_else(|| thrown(Fault::NotOpened))?;
    let opened = reseal::open(resealed, author, &key, &known).map_err(thrown)?;
    Ok(opened.iter().flat_map(|(_, secret)| secret.as_ref().map_or([0; 32], |secret| **secret.secret())).collect())
}

/// Begins a generation of the account key; gives what stands in the statement. Of `random`, the first half is the private key.
#[wasm_bindgen(js_name = beginGeneration)]
pub fn begin_generation(account: &str, number: u64, to: &[u8], earlier: Option<Vec<u8>>, random: &[u8]) -> Result<Vec<u8>> {
    let (to, _) = to.as_chunks::<32>();
    let earlier = earlier.map(|secret| private(&secret)).transpose()?;
    let (generation, _) = account::begin(account, number, to, earlier.as_ref(), &fixed(random)?).map_err(thrown)?;
    let mut out = Vec::new();
    generation.put(&mut out);
    Ok(out)
}

/// Seals the account key to one more device or recovery key.
#[wasm_bindgen(js_name = handOver)]
pub fn hand_over(account: &str, number: u64, account_secret: &[u8], to: &[u8], random: &[u8]) -> Result<Vec<u8>> {
    let sealed = account::hand_over(account, number, &private(account_secret)?, &fixed(to)?, &fixed(random)?).map_err(thrown)?;
    Ok(sealed.to_vec())
}

/// Opens what was handed over.
#[wasm_bindgen(js_name = openHandedOver)]
pub fn open_handed_over(account: &str, number: u64, public: &[u8], seal_secret: &[u8], sealed: &[u8]) -> Result<Vec<u8>> {
    let key = account::open(account, number, &fixed(public)?, &private(seal_secret)?, &fixed(sealed)?).map_err(thrown)?;
    Ok(key.secret().to_vec())
}

/// A new recovery code.
#[wasm_bindgen(js_name = recoveryCode)]
pub fn recovery_code(random: &[u8]) -> Result<String> {
    Ok(core::mem::take(&mut *RecoveryCode::new(&fixed(random)?).text()))
}

/// The keys of a code that a person has typed: X25519, then the secret of Ed25519.
#[wasm_bindgen(js_name = recoveryKeys)]
pub fn recovery_keys(code: &str, account: &str) -> Result<Vec<u8>> {
    Ok(both(&RecoveryCode::read(code).map_err(thrown)?.keys(account)))
}

/// The keys of a passkey.
#[wasm_bindgen(js_name = passkeyKeys)]
pub fn passkey_keys(output: &[u8], account: &str) -> Result<Vec<u8>> {
    Ok(both(&RecoveryKeys::of_passkey(&fixed(output)?, account)))
}

fn both(keys: &RecoveryKeys) -> Vec<u8> {
    [&keys.seal_key.secret()[..], &keys.signing_secret[..]].concat()
}

/// What a new device says first.
#[wasm_bindgen]
pub fn commitment(account: &str, device: &str, seal_key: &[u8], random: &[u8]) -> Result<Vec<u8>> {
    Ok(approval::commitment(account, device, &fixed(seal_key)?, &fixed(random)?).to_vec())
}

/// What both devices show.
#[wasm_bindgen(js_name = shortNumber)]
pub fn short_number(account: &str, approver: &str, commitment: &[u8], device_random: &[u8], approver_random: &[u8]) -> Result<u32> {
    Ok(approval::number(account, approver, &fixed(commitment)?, &fixed(device_random)?, &fixed(approver_random)?))
}

/// How the record of a new lock by a passphrase begins.
#[wasm_bindgen(js_name = passphraseLock)]
pub fn passphrase_lock(salt: &[u8]) -> Result<Vec<u8>> {
    Ok(lock::passphrase_lock(&fixed(salt)?))
}

/// How the record of a new lock by a passkey begins.
#[wasm_bindgen(js_name = passkeyLock)]
pub fn passkey_lock(credential: &[u8]) -> Vec<u8> {
    lock::passkey_lock(credential)
}

/// The key of a new lock and behind it the record.
#[wasm_bindgen(js_name = closeLock)]
pub fn close_lock(lock: &[u8], input: Vec<u8>) -> Result<Uint8Array> {
    let (key, record) = lock::close(lock, &Zeroizing::new(input)).map_err(thrown)?;
    Ok(Uint8Array::from(&Zeroizing::new([&key[..], &record].concat())[..]))
}

/// The key of a lock; `undefined` where it is another passphrase or passkey.
#[wasm_bindgen(js_name = openLock)]
pub fn open_lock(record: &[u8], input: Vec<u8>) -> Result<Option<Uint8Array>> {
    let key = lock::open(record, &Zeroizing::new(input)).map_err(thrown)?;
    Ok(key.map(|key| Uint8Array::from(&key[..])))
}
