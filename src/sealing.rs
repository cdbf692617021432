//! The second wasm module, which has the cryptography of encrypted sessions, as the machine asks for it.

use std::cell::RefCell;

use js_sys::Uint8Array;
use solconnect_sync_core::client::vault::{
    Beginning, EncryptedText, EpochEntry, Fault, Generation, KeyPlace, KnownEpoch, Place, PublicKey, Recipient, ResealEntry, ResealTo,
    Resealed, SealedEpoch, SealedKey, Secret, TextKeys, Vault,
};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// What `crates/vault/src/wasm.rs` exports.
    #[derive(Clone)]
    pub type VaultModule;

    #[wasm_bindgen(method, catch, js_name = publicOf)]
    fn public_of(this: &VaultModule, secret: &[u8]) -> Result<Vec<u8>, JsValue>;

    #[wasm_bindgen(method, catch, js_name = beginGeneration)]
    fn begin_generation(
        this: &VaultModule,
        account: &str,
        number: u64,
        to: &[u8],
        earlier: Option<Uint8Array>,
        random: &[u8],
    ) -> Result<Vec<u8>, JsValue>;

    #[wasm_bindgen(method, catch, js_name = handOver)]
    fn hand_over(this: &VaultModule, account: &str, number: u64, secret: &[u8], to: &[u8], random: &[u8]) -> Result<Vec<u8>, JsValue>;

    #[wasm_bindgen(method, catch, js_name = openHandedOver)]
    fn open_handed_over(
        this: &VaultModule,
        account: &str,
        number: u64,
        public: &[u8],
        with: &[u8],
        sealed: &[u8],
    ) -> Result<Vec<u8>, JsValue>;

    #[wasm_bindgen(method, catch, js_name = openEarlierKey)]
    fn open_earlier_key(
        this: &VaultModule,
        account: &str,
        next: u64,
        with: &[u8],
        public: &[u8],
        sealed: &[u8],
    ) -> Result<Vec<u8>, JsValue>;

    #[wasm_bindgen(method, catch, js_name = recoveryCode)]
    fn recovery_code(this: &VaultModule, random: &[u8]) -> Result<String, JsValue>;

    #[wasm_bindgen(method, catch, js_name = recoveryKeys)]
    fn recovery_keys(this: &VaultModule, code: &str, account: &str) -> Result<Vec<u8>, JsValue>;

    #[wasm_bindgen(method, catch, js_name = passkeyKeys)]
    fn passkey_keys(this: &VaultModule, output: &[u8], account: &str) -> Result<Vec<u8>, JsValue>;

    #[wasm_bindgen(method, catch)]
    fn commitment(this: &VaultModule, account: &str, device: &str, seal_key: &[u8], random: &[u8]) -> Result<Vec<u8>, JsValue>;

    #[wasm_bindgen(method, catch, js_name = shortNumber)]
    fn short_number(
        this: &VaultModule,
        account: &str,
        approver: &str,
        commitment: &[u8],
        device_random: &[u8],
        approver_random: &[u8],
    ) -> Result<u32, JsValue>;

    #[wasm_bindgen(method, catch, js_name = beginEpoch)]
    fn begin_epoch(
        this: &VaultModule,
        after: &[u8],
        number: u64,
        author: &str,
        recipients: &[u8],
        random: &[u8],
    ) -> Result<Vec<u8>, JsValue>;

    #[wasm_bindgen(method, catch, js_name = openSealedEpoch)]
    fn open_sealed_epoch(
        this: &VaultModule,
        after: &[u8],
        number: u64,
        author: &str,
        wallet: &[u8],
        generation: u64,
        sealed: &[u8],
        with: &[u8],
        transcript: &[u8],
        tag: &[u8],
    ) -> Result<Vec<u8>, JsValue>;

    #[wasm_bindgen(method, catch)]
    fn reseal(
        this: &VaultModule,
        author: &str,
        wallet: &[u8],
        generation: u64,
        account_key: &[u8],
        epochs: &[u8],
        random: &[u8],
    ) -> Result<Vec<u8>, JsValue>;

    #[wasm_bindgen(method, catch, js_name = openReseal)]
    fn open_reseal(this: &VaultModule, entry: &[u8], author: &str, wallet: &[u8], with: &[u8], epochs: &[u8]) -> Result<Vec<u8>, JsValue>;

    #[wasm_bindgen(method, catch, js_name = textKeys)]
    fn text_keys(this: &VaultModule, secret: &[u8], transcript: &[u8], tag: &[u8], device: &str) -> Result<DeviceKeys, JsValue>;

    /// Its keys of what one device writes in one epoch.
    type DeviceKeys;

    #[wasm_bindgen(method, catch)]
    fn encrypt(
        this: &DeviceKeys,
        epoch: u64,
        previous: &[u8],
        counter: u64,
        knows: u64,
        kind: u64,
        id: &str,
        content: &[u8],
    ) -> Result<Vec<u8>, JsValue>;

    #[wasm_bindgen(method, catch)]
    fn decrypt(this: &DeviceKeys, previous: &[u8], counter: u64, knows: u64, kind: u64, id: &str, text: &[u8]) -> Result<Vec<u8>, JsValue>;

    #[wasm_bindgen(method, catch)]
    fn free(this: &DeviceKeys) -> Result<(), JsValue>;
}

thread_local! {
    static MODULE: RefCell<Option<VaultModule>> = const { RefCell::new(None) };
}

/// Tells that the second module is loaded: its exports.
#[wasm_bindgen(js_name = setVault)]
pub fn set_vault(module: VaultModule) {
    MODULE.set(Some(module));
}

/// What the machine encrypts with.
///
/// # Errors
/// `SDK_INITIALIZATION_FAILED` where the module is not loaded.
pub fn vault() -> Result<Box<dyn Vault>, SyncError> {
    let module = MODULE.with_borrow(Clone::clone);
    let module =
        module.ok_or_else(|| SyncError::new(ErrorCode::SdkInitializationFailed, "the module of encrypted sessions is not loaded"))?;
    Ok(Box::new(Loaded(module)))
}

struct Loaded(VaultModule);

struct LoadedKeys(DeviceKeys);

impl Drop for LoadedKeys {
    fn drop(&mut self) {
        // What failed while it used them has them still, and throws.
        let _ = self.0.free();
    }
}

/// Only what it means to throw says that something does not open, or is of another form: a text. A trap or a lack of memory says nothing
/// of what it was given.
fn fault(thrown: JsValue) -> Fault {
    if thrown.is_string() { Fault::NotOpened } else { Fault::Failed }
}

fn fixed<const COUNT: usize>(bytes: &[u8]) -> Result<[u8; COUNT], Fault> {
    bytes.try_into().map_err(|_| Fault::Failed)
}

fn secret(bytes: Vec<u8>) -> Result<Secret, Fault> {
    fixed(&bytes).map(Secret::new)
}

/// The X25519 key and the secret of the Ed25519 key.
fn both(keys: Result<Vec<u8>, JsValue>) -> Result<(Secret, Secret), Fault> {
    let keys = keys.map_err(fault)?;
    let (sealing, signing) = keys.split_at_checked(32).ok_or(Fault::Failed)?;
    Ok((fixed(sealing).map(Secret::new)?, fixed(signing).map(Secret::new)?))
}

impl Vault for Loaded {
    fn public_of(&self, secret: &Secret) -> Result<PublicKey, Fault> {
        fixed(&self.0.public_of(&secret[..]).map_err(fault)?)
    }

    fn begin_generation(
        &self,
        account_id: &str,
        number: u64,
        to: &[PublicKey],
        earlier: Option<&Secret>,
        random: &[u8; 64],
    ) -> Result<Generation, Fault> {
        let earlier = earlier.map(|secret| Uint8Array::from(&secret[..]));
        let bytes = self.0.begin_generation(account_id, number, &to.concat(), earlier, random).map_err(fault)?;
        Ok(Generation::take(&bytes)?.0)
    }

    fn hand_over(&self, account_id: &str, number: u64, secret: &Secret, to: &PublicKey, random: &[u8; 32]) -> Result<SealedKey, Fault> {
        fixed(&self.0.hand_over(account_id, number, &secret[..], to, random).map_err(fault)?)
    }

    fn open_key(&self, place: KeyPlace<'_>, with: &Secret, sealed: &SealedKey) -> Result<Secret, Fault> {
        let KeyPlace { account_id, number, public } = place;
        secret(self.0.open_handed_over(account_id, number, public, &with[..], sealed).map_err(fault)?)
    }

    fn open_earlier(&self, place: KeyPlace<'_>, next: u64, with: &Secret, sealed: &SealedKey) -> Result<Secret, Fault> {
        secret(self.0.open_earlier_key(place.account_id, next, &with[..], place.public, sealed).map_err(fault)?)
    }

    fn recovery_code(&self, random: &[u8; 17]) -> Result<String, Fault> {
        self.0.recovery_code(random).map_err(fault)
    }

    fn recovery_keys(&self, code: &str, account_id: &str) -> Result<(Secret, Secret), Fault> {
        both(self.0.recovery_keys(code, account_id))
    }

    fn passkey_keys(&self, output: &Secret, account_id: &str) -> Result<(Secret, Secret), Fault> {
        both(self.0.passkey_keys(&output[..], account_id))
    }

    fn commitment(&self, account_id: &str, device: &str, seal_key: &PublicKey, random: &[u8; 32]) -> Result<[u8; 32], Fault> {
        fixed(&self.0.commitment(account_id, device, seal_key, random).map_err(fault)?)
    }

    fn short_number(
        &self,
        account_id: &str,
        approver: &str,
        commitment: &[u8; 32],
        device_random: &[u8; 32],
        approver_random: &[u8; 32],
    ) -> Result<u32, Fault> {
        self.0.short_number(account_id, approver, commitment, device_random, approver_random).map_err(fault)
    }

    fn begin_epoch(&self, at: Beginning<'_>, recipients: &[Recipient], random: &[u8; 64]) -> Result<EpochEntry, Fault> {
        let mut to = Vec::new();
        recipients.iter().for_each(|recipient| recipient.put(&mut to));
        let made = self.0.begin_epoch(at.after, at.number, at.author, &to, random).map_err(fault)?;
        // Its secret stands before it.
        let (_, entry) = made.split_at_checked(32).ok_or(Fault::Failed)?;
        Ok(EpochEntry::from_bytes(entry)?)
    }

    fn open_epoch(&self, epoch: SealedEpoch<'_>, with: &Secret) -> Result<Secret, Fault> {
        let SealedEpoch { at, wallet, generation, sealed, transcript, tag } = epoch;
        let Beginning { after, number, author } = at;
        secret(self.0.open_sealed_epoch(after, number, author, wallet, generation, sealed, &with[..], transcript, tag).map_err(fault)?)
    }

    fn reseal(&self, author: &str, to: &ResealTo, secrets: &[(KnownEpoch, Secret)], random: &[u8; 32]) -> Result<Resealed, Fault> {
        let ResealTo { wallet, generation, account_key } = to;
        let epochs: Vec<u8> = secrets.iter().flat_map(|(epoch, secret)| epoch.to_bytes(secret)).collect();
        let bytes = self.0.reseal(author, wallet, *generation, account_key, &epochs, random).map_err(fault)?;
        ResealEntry::from_bytes(&bytes)?.0.pop().ok_or(Fault::Failed)
    }

    fn open_reseal(&self, resealed: &Resealed, author: &str, with: &Secret, epochs: &[KnownEpoch]) -> Result<Vec<Option<Secret>>, Fault> {
        let entry = ResealEntry(vec![resealed.clone()]).to_bytes();
        let epochs: Vec<u8> = epochs.iter().flat_map(|epoch| epoch.to_bytes(&[0; 32])).collect();
        let secrets = self.0.open_reseal(&entry, author, &resealed.wallet, &with[..], &epochs).map_err(fault)?;
        // Zeroes stand for one that is false.
        let is_true = |secret: &&[u8; 32]| **secret != [0; 32];
        Ok(secrets.as_chunks().0.iter().map(|secret| Some(secret).filter(is_true).map(|secret| Secret::new(*secret))).collect())
    }

    fn text_keys(&self, secret: &Secret, transcript: &[u8; 32], tag: &[u8; 32], device: &str) -> Result<Box<dyn TextKeys>, Fault> {
        Ok(Box::new(LoadedKeys(self.0.text_keys(&secret[..], transcript, tag, device).map_err(fault)?)))
    }
}

impl TextKeys for LoadedKeys {
    fn encrypt(&self, epoch: u64, place: Place<'_>, content: &[u8]) -> Result<EncryptedText, Fault> {
        let Place { previous, counter, knows, kind, id } = place;
        let bytes = self.0.encrypt(epoch, previous, counter, knows, kind, id, content).map_err(fault)?;
        Ok(EncryptedText::from_bytes(&bytes)?)
    }

    fn decrypt(&self, place: Place<'_>, text: &EncryptedText) -> Result<Vec<u8>, Fault> {
        let Place { previous, counter, knows, kind, id } = place;
        self.0.decrypt(previous, counter, knows, kind, id, &text.to_bytes()).map_err(fault)
    }
}
