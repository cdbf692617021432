//! The cryptography of encrypted sessions as the machine asks for it. A page loads it as a second module, and only where its
//! application encrypts; everywhere else it is [`Native`].

use solconnect_sync_vault::account::{begin, hand_over, open, open_earlier};
use solconnect_sync_vault::approval;
use solconnect_sync_vault::epoch::{self, EpochSecret};
pub use solconnect_sync_vault::epoch::{Beginning, Recipient};
pub use solconnect_sync_vault::layout::Generation;
pub use solconnect_sync_vault::layout::{AccountHead, AsksEntry, EncryptedText, EpochEntry, EpochMember, ResealEntry, Resealed};
use solconnect_sync_vault::recovery::{RecoveryCode, RecoveryKeys};
use solconnect_sync_vault::reseal;
pub use solconnect_sync_vault::reseal::{KnownEpoch, ResealTo};
use solconnect_sync_vault::seal::PrivateKey;
pub use solconnect_sync_vault::seal::{PublicKey, SealedKey};
use solconnect_sync_vault::text;
pub use solconnect_sync_vault::text::Place;
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

/// The keys of what one device writes in one epoch.
pub trait TextKeys {
    /// What an entry says, encrypted for its place.
    ///
    /// # Errors
    /// Only where the module fails.
    fn encrypt(&self, epoch: u64, place: Place<'_>, content: &[u8]) -> Result<EncryptedText, Fault>;

    /// What an entry says.
    ///
    /// # Errors
    /// [`Fault::NotOpened`], [`Fault::Malformed`].
    fn decrypt(&self, place: Place<'_>, text: &EncryptedText) -> Result<Vec<u8>, Fault>;
}

/// The secret of an epoch as it is sealed to a wallet, and what it is checked by.
#[derive(Debug, Clone, Copy)]
pub struct SealedEpoch<'a> {
    /// Where the epoch begins, and who began it.
    pub at: Beginning<'a>,
    /// The wallet.
    pub wallet: &'a [u8; 32],
    /// The generation of its account key.
    pub generation: u64,
    /// The seal.
    pub sealed: &'a SealedKey,
    /// The transcript behind the epoch.
    pub transcript: &'a [u8; 32],
    /// The epoch's tag.
    pub tag: &'a [u8; 32],
}

/// Pure functions: what they give depends on their arguments alone. `docs/encryption.md` has every byte of them. Each may also give
/// [`Fault::Failed`].
pub trait Vault {
    /// The public half of a key.
    ///
    /// # Errors
    /// Only where the module fails.
    fn public_of(&self, secret: &Secret) -> Result<PublicKey, Fault>;

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

    /// A new recovery code.
    ///
    /// # Errors
    /// Only where the module fails.
    fn recovery_code(&self, random: &[u8; 17]) -> Result<String, Fault>;

    /// The X25519 key and the secret of the Ed25519 key that a code is for this account.
    ///
    /// # Errors
    /// Any but [`Fault::Failed`]: it is no code.
    fn recovery_keys(&self, code: &str, account_id: &str) -> Result<(Secret, Secret), Fault>;

    /// The same of what a passkey gives.
    ///
    /// # Errors
    /// Only where the module fails.
    fn passkey_keys(&self, output: &Secret, account_id: &str) -> Result<(Secret, Secret), Fault>;

    /// What binds a device that waits to be approved to its seal key and its random bytes, before it knows the other device's.
    ///
    /// # Errors
    /// Only where the module fails.
    fn commitment(&self, account_id: &str, device: &str, seal_key: &PublicKey, random: &[u8; 32]) -> Result<[u8; 32], Fault>;

    /// The number that both devices show, below 1,000,000.
    ///
    /// # Errors
    /// Only where the module fails.
    fn short_number(
        &self,
        account_id: &str,
        approver: &str,
        commitment: &[u8; 32],
        device_random: &[u8; 32],
        approver_random: &[u8; 32],
    ) -> Result<u32, Fault>;

    /// Begins an epoch. Of `random`, the first half is its secret, which is known again by opening the own seal.
    ///
    /// # Errors
    /// [`Fault::WeakKey`].
    fn begin_epoch(&self, at: Beginning<'_>, recipients: &[Recipient], random: &[u8; 64]) -> Result<EpochEntry, Fault>;

    /// Opens an epoch's secret with an account key, and gives the keys of what a device writes in it.
    ///
    /// # Errors
    /// [`Fault::NotOpened`], [`Fault::Another`].
    fn open_epoch(&self, epoch: SealedEpoch<'_>, with: &Secret) -> Result<Secret, Fault>;

    /// Secrets of epochs, which ascend, sealed to a wallet that lacks them.
    ///
    /// # Errors
    /// [`Fault::WeakKey`], [`Fault::Another`] for a secret that is not its epoch's.
    fn reseal(&self, author: &str, to: &ResealTo, secrets: &[(KnownEpoch, Secret)], random: &[u8; 32]) -> Result<Resealed, Fault>;

    /// Opens them; `None` for each that is not its epoch's. `epochs` are those that they are said to be of.
    ///
    /// # Errors
    /// [`Fault::NotOpened`].
    fn open_reseal(&self, resealed: &Resealed, author: &str, with: &Secret, epochs: &[KnownEpoch]) -> Result<Vec<Option<Secret>>, Fault>;

    /// The keys of what a device writes in the epoch of this secret.
    ///
    /// # Errors
    /// [`Fault::Another`].
    fn text_keys(&self, secret: &Secret, transcript: &[u8; 32], tag: &[u8; 32], device: &str) -> Result<Box<dyn TextKeys>, Fault>;
}

/// What was found out; `None` where it does not open.
///
/// # Errors
/// [`Fault::Failed`]: whether it does is not known, and what came must not be taken for unreadable.
pub(super) fn if_opened<T>(opened: Result<T, Fault>) -> Result<Option<T>, Fault> {
    match opened {
        Ok(opened) => Ok(Some(opened)),
        Err(Fault::Failed) => Err(Fault::Failed),
        Err(_) => Ok(None),
    }
}

/// The cryptography of this program itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Native;

impl Vault for Native {
    fn public_of(&self, secret: &Secret) -> Result<PublicKey, Fault> {
        Ok(PrivateKey::from_secret(secret).public())
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

    fn recovery_code(&self, random: &[u8; 17]) -> Result<String, Fault> {
        Ok(std::mem::take(&mut *RecoveryCode::new(random).text()))
    }

    fn recovery_keys(&self, code: &str, account_id: &str) -> Result<(Secret, Secret), Fault> {
        let keys = RecoveryCode::read(code)?.keys(account_id);
        Ok((keys.seal_key.secret().clone(), keys.signing_secret))
    }

    fn passkey_keys(&self, output: &Secret, account_id: &str) -> Result<(Secret, Secret), Fault> {
        let keys = RecoveryKeys::of_passkey(output, account_id);
        Ok((keys.seal_key.secret().clone(), keys.signing_secret))
    }

    fn commitment(&self, account_id: &str, device: &str, seal_key: &PublicKey, random: &[u8; 32]) -> Result<[u8; 32], Fault> {
        Ok(approval::commitment(account_id, device, seal_key, random))
    }

    fn short_number(
        &self,
        account_id: &str,
        approver: &str,
        commitment: &[u8; 32],
        device_random: &[u8; 32],
        approver_random: &[u8; 32],
    ) -> Result<u32, Fault> {
        Ok(approval::number(account_id, approver, commitment, device_random, approver_random))
    }

    fn begin_epoch(&self, at: Beginning<'_>, recipients: &[Recipient], random: &[u8; 64]) -> Result<EpochEntry, Fault> {
        epoch::begin(at, recipients, random).map(|(entry, _)| entry)
    }

    fn open_epoch(&self, epoch: SealedEpoch<'_>, with: &Secret) -> Result<Secret, Fault> {
        let SealedEpoch { at, wallet, generation, sealed, transcript, tag } = epoch;
        let key = PrivateKey::from_secret(with);
        epoch::open_sealed(at, wallet, (generation, sealed), &key, transcript, tag).map(|opened| opened.secret().clone())
    }

    fn reseal(&self, author: &str, to: &ResealTo, secrets: &[(KnownEpoch, Secret)], random: &[u8; 32]) -> Result<Resealed, Fault> {
        let check = |(epoch, secret): &(KnownEpoch, Secret)| EpochSecret::check(secret, &epoch.transcript, &epoch.tag);
        let checked = secrets.iter().map(check).collect::<Result<Vec<_>, _>>()?;
        let secrets: Vec<_> = secrets.iter().map(|(epoch, _)| *epoch).zip(&checked).collect();
        reseal::reseal(author, to, &secrets, random)
    }

    fn open_reseal(&self, resealed: &Resealed, author: &str, with: &Secret, epochs: &[KnownEpoch]) -> Result<Vec<Option<Secret>>, Fault> {
        let opened = reseal::open(resealed, author, &PrivateKey::from_secret(with), epochs)?;
        Ok(opened.into_iter().map(|(_, secret)| secret.ok().map(|secret| secret.secret().clone())).collect())
    }

    fn text_keys(&self, secret: &Secret, transcript: &[u8; 32], tag: &[u8; 32], device: &str) -> Result<Box<dyn TextKeys>, Fault> {
        Ok(Box::new(EpochSecret::check(secret, transcript, tag)?.text_keys(device)))
    }
}

impl TextKeys for text::TextKeys {
    fn encrypt(&self, epoch: u64, place: Place<'_>, content: &[u8]) -> Result<EncryptedText, Fault> {
        Ok(text::TextKeys::encrypt(self, epoch, place, content))
    }

    fn decrypt(&self, place: Place<'_>, text: &EncryptedText) -> Result<Vec<u8>, Fault> {
        text::TextKeys::decrypt(self, place, text).map(|mut content| std::mem::take(&mut *content))
    }
}
