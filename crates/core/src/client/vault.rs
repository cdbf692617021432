//! The cryptography of encrypted sessions as the machine asks for it. A page loads it as a second module, and only where its
//! application encrypts; everywhere else it is [`Native`].

use solconnect_sync_vault::account::{begin, hand_over, open, open_earlier};
use solconnect_sync_vault::layout::Generation;
use solconnect_sync_vault::seal::{PrivateKey, PublicKey, SealedKey};
pub use solconnect_sync_vault::{Fault, Secret};

/// Where an account key stands: the account log's id, the number of its generation and its public half.
#[derive(Debug, Clone, Copy)]
pub struct KeyPlace<'a> {
    /// The account log.
    pub account_id: &'a str,
    /// The generation.
    pub number: u64,
    /// The public half.
    pub public: &'a PublicKey,
}

/// Pure functions: what they give depends on their arguments alone. `docs/encryption.md` has every byte of them.
pub trait Vault {
    /// The public half of a key.
    fn public_of(&self, secret: &Secret) -> PublicKey;

    /// Begins a generation of the account key. Of `random`, the first half is the private key.
    ///
    /// # Errors
    /// [`Fault::WeakKey`].
    fn begin_generation(
        &self,
        account_id: &str,
        number: u64,
        to: &[PublicKey],
        earlier: Option<&Secret>,
        random: &[u8; 64],
    ) -> Result<Generation, Fault>;

    /// Seals an account key to one more device.
    ///
    /// # Errors
    /// [`Fault::WeakKey`].
    fn hand_over(&self, account_id: &str, number: u64, secret: &Secret, to: &PublicKey, random: &[u8; 32]) -> Result<SealedKey, Fault>;

    /// Opens an account key that is sealed to this device.
    ///
    /// # Errors
    /// [`Fault::NotOpened`], [`Fault::Another`].
    fn open_key(&self, place: KeyPlace<'_>, with: &Secret, sealed: &SealedKey) -> Result<Secret, Fault>;

    /// Opens the account key at this place with that of the generation `next` behind it.
    ///
    /// # Errors
    /// As `open_key`.
    fn open_earlier(&self, place: KeyPlace<'_>, next: u64, with: &Secret, sealed: &SealedKey) -> Result<Secret, Fault>;
}

/// The cryptography of this program itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Native;

impl Vault for Native {
    fn public_of(&self, secret: &Secret) -> PublicKey {
        PrivateKey::from_secret(secret).public()
    }

    fn begin_generation(
        &self,
        account_id: &str,
        number: u64,
        to: &[PublicKey],
        earlier: Option<&Secret>,
        random: &[u8; 64],
    ) -> Result<Generation, Fault> {
        let earlier = earlier.map(|secret| PrivateKey::from_secret(secret));
        begin(account_id, number, to, earlier.as_ref(), random).map(|(generation, _)| generation)
    }

    fn hand_over(&self, account_id: &str, number: u64, secret: &Secret, to: &PublicKey, random: &[u8; 32]) -> Result<SealedKey, Fault> {
        hand_over(account_id, number, &PrivateKey::from_secret(secret), to, random)
    }

    fn open_key(&self, place: KeyPlace<'_>, with: &Secret, sealed: &SealedKey) -> Result<Secret, Fault> {
        let key = open(place.account_id, place.number, place.public, &PrivateKey::from_secret(with), sealed)?;
        Ok(key.secret().clone())
    }

    fn open_earlier(&self, place: KeyPlace<'_>, next: u64, with: &Secret, sealed: &SealedKey) -> Result<Secret, Fault> {
        let key = open_earlier(place.account_id, next, &PrivateKey::from_secret(with), place.public, sealed)?;
        Ok(key.secret().clone())
    }
}
