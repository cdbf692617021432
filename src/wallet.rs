//! Wallets: what the application connects, and the key pair of a profile where it connects none.

use js_sys::{Array, Function, Object, Promise, Reflect, Uint8Array};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::ids::{check_wallet, wallet_address};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{CryptoKey, SubtleCrypto};

use crate::arguments::{field, text_field};
use crate::errors::{from_exception, to_thrown};
use crate::platform::scope;
use crate::store::Store;

const ALGORITHM: &str = "Ed25519";

/// What stands with `publicKey` and `privateKey` in the stored key pair.
const ADDRESS: &str = "address";

/// The address of a wallet that the application gave us, connecting it where it can be.
///
/// # Errors
/// `WALLET_CONNECTION_FAILED` where it refuses, `INVALID_WALLET_ADDRESS`.
pub async fn address_of(provider: &JsValue) -> Result<String, SyncError> {
    let refused = |exception| from_exception(ErrorCode::WalletConnectionFailed, "the wallet", &exception);
    let field = |name: &str| Reflect::get(provider, &name.into()).map_err(refused);
    if let Ok(connect) = field("connect")?.dyn_into::<Function>() {
        let answer = connect.call0(provider).map_err(refused)?;
        JsFuture::from(Promise::resolve(&answer)).await.map_err(refused)?;
    }
    let key = field("publicKey")?;
    let address = match key.dyn_ref::<Uint8Array>() {
        Some(bytes) => from_key(bytes)?,
        None if key.is_undefined() || key.is_null() => {
            return Err(SyncError::new(ErrorCode::WalletConnectionFailed, "the wallet has no publicKey"));
        }
        None => match key.as_string() {
            Some(text) => text,
            None => String::from(key.unchecked_ref::<Object>().to_string()),
        },
    };
    check_wallet(&address)?;
    Ok(address)
}

fn from_key(public_key: &Uint8Array) -> Result<String, SyncError> {
    match public_key.to_vec().try_into() {
        Ok(bytes) => Ok(wallet_address(&bytes)),
        Err(_) => Err(SyncError::new(ErrorCode::InvalidWalletAddress, "a wallet's public key has 32 bytes")),
    }
}

/// The Ed25519 key pair of a database: made once, never readable by scripts, kept in IndexedDB.
#[wasm_bindgen]
pub struct LocalWallet {
    address: String,
    private_key: CryptoKey,
}

impl LocalWallet {
    /// The wallet of a database, made where there is none.
    ///
    /// # Errors
    /// `CRYPTO_ERROR` where the browser has no Ed25519 (or the page is not served securely), and what the store gives.
    pub async fn of(store: &Store) -> Result<LocalWallet, SyncError> {
        let subtle = subtle()?;
        let mut pair = store.key_pair().await?;
        if pair.is_undefined() {
            let usages = Array::of2(&"sign".into(), &"verify".into());
            let made = subtle.generate_key_with_str(ALGORITHM, false, &usages).map_err(failed)?;
            let made = JsFuture::from(made).await.map_err(failed)?;
            let raw = subtle.export_key("raw", &key(&made, "publicKey")?).map_err(failed)?;
            let raw = Uint8Array::new(&JsFuture::from(raw).await.map_err(failed)?);
            // Kept with the keys: every start needs it, and exporting takes longer than all else of connecting.
            let address = from_key(&raw)?;
            Reflect::set(&made, &ADDRESS.into(), &address.into()).map_err(failed)?;
            pair = store.keep_key_pair(&made).await?;
        }
        Ok(LocalWallet { address: text_field(&pair, ADDRESS)?, private_key: key(&pair, "privateKey")? })
    }
}

#[wasm_bindgen]
impl LocalWallet {
    /// The address: the public key in base58.
    #[wasm_bindgen(getter, js_name = publicKey)]
    pub fn public_key(&self) -> String {
        self.address.clone()
    }

    /// The Ed25519 signature of a message, 64 bytes.
    ///
    /// Errors, rejected with: `CRYPTO_ERROR`.
    #[wasm_bindgen(js_name = signMessage, unchecked_return_type = "Uint8Array")]
    pub async fn sign_message(&self, #[wasm_bindgen(unchecked_param_type = "Uint8Array")] message: Uint8Array) -> Result<JsValue, JsValue> {
        let signing =
            subtle().and_then(|subtle| subtle.sign_with_str_and_buffer_source(ALGORITHM, &self.private_key, &message).map_err(failed));
        let signature = JsFuture::from(signing.map_err(to_thrown)?).await.map_err(|exception| to_thrown(failed(exception)))?;
        Ok(Uint8Array::new(&signature).into())
    }
}

/// The local wallet of a database, so that several devices can share it: give it to `connectWallet` of each.
///
/// Errors, rejected with: `CRYPTO_ERROR` where the page is not served over https or from localhost, `STORAGE_VERSION`,
/// `STORAGE_REFUSED`, `STORAGE_FULL`, `STORAGE_ERROR`.
#[wasm_bindgen(js_name = createLocalWallet, unchecked_return_type = "WalletProvider")]
pub async fn create_local_wallet(#[wasm_bindgen(js_name = databaseName)] database_name: String) -> Result<LocalWallet, JsValue> {
    let store = Store::open(&database_name).await.map_err(to_thrown)?;
    let wallet = LocalWallet::of(&store).await;
    store.close();
    wallet.map_err(to_thrown)
}

fn key(pair: &JsValue, name: &str) -> Result<CryptoKey, SyncError> {
    field(pair, name).dyn_into().map_err(failed)
}

fn subtle() -> Result<SubtleCrypto, SyncError> {
    // Absent where the page is not served securely, whatever the types say.
    let subtle = scope().crypto().map(|crypto| JsValue::from(crypto.subtle())).filter(JsValue::is_object);
    let subtle = subtle.ok_or_else(|| SyncError::new(ErrorCode::CryptoError, "WebCrypto needs https or localhost"))?;
    Ok(subtle.unchecked_into())
}

fn failed(exception: JsValue) -> SyncError {
    from_exception(ErrorCode::CryptoError, ALGORITHM, &exception)
}
