//! Account keys: the private half of each generation, for a wallet's devices and recovery keys.

use alloc::vec::Vec;

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::layout::Generation;
use crate::seal::{PrivateKey, PublicKey, SealedKey, seal_key};
use crate::wire::{put_text, put_varint};
use crate::{Fault, Secret};

/// Begins a generation. `to` are the seal keys of all approved devices and then the recovery keys, as they were listed; `earlier` is the
/// account key of the generation before, where it is known. Of `random`, the first half is the private key.
///
/// # Errors
/// [`Fault::WeakKey`] for one of the keys.
pub fn begin(
    account: &str,
    number: u64,
    to: &[PublicKey],
    earlier: Option<&PrivateKey>,
    random: &[u8; 64],
) -> Result<(Generation, PrivateKey), Fault> {
    let mut secret = Secret::default();
    secret.copy_from_slice(&random[..32]);
    let mut rest = Zeroizing::new([0; 32]);
    rest.copy_from_slice(&random[32..]);
    let key = PrivateKey::from_secret(&secret);
    let public = key.public();
    let seals = to.iter().map(|to| hand_over(account, number, &key, to, &rest)).collect::<Result<Vec<_>, Fault>>()?;
    let seal_earlier = |earlier: &PrivateKey| {
        let info = info(b"solconnect.earlier-key.v1\0", account, number, &earlier.public());
        seal_key(&public, &info, earlier.secret(), &rest)
    };
    Ok((Generation { number, public, earlier: earlier.map(seal_earlier).transpose()?, seals }, key))
}

/// Seals the account key of a generation to a device or recovery key.
///
/// # Errors
/// [`Fault::WeakKey`].
pub fn hand_over(account: &str, number: u64, key: &PrivateKey, to: &PublicKey, random: &[u8; 32]) -> Result<SealedKey, Fault> {
    seal_key(to, &info(b"solconnect.account-key.v1\0", account, number, &key.public()), key.secret(), random)
}

/// Opens the account key of a generation, of which the log has the public half, with a device's seal key or a recovery key.
///
/// # Errors
/// [`Fault::NotOpened`]; [`Fault::Another`] for a key that is not that of the public half.
pub fn open(account: &str, number: u64, public: &PublicKey, with: &PrivateKey, sealed: &SealedKey) -> Result<PrivateKey, Fault> {
    checked(with, &info(b"solconnect.account-key.v1\0", account, number, public), sealed, public)
}

/// Opens the account key of the generation before, of which the log has the public half, with that of the generation.
///
/// # Errors
/// As [`open`].
pub fn open_earlier(account: &str, number: u64, key: &PrivateKey, public: &PublicKey, sealed: &SealedKey) -> Result<PrivateKey, Fault> {
    checked(key, &info(b"solconnect.earlier-key.v1\0", account, number, public), sealed, public)
}

fn checked(with: &PrivateKey, info: &[u8], sealed: &SealedKey, public: &PublicKey) -> Result<PrivateKey, Fault> {
    let opened = PrivateKey::from_secret(&*with.open_key(info, sealed)?);
    if opened.public().ct_eq(public).into() { Ok(opened) } else { Err(Fault::Another) }
}

fn info(label: &[u8], account: &str, number: u64, public: &PublicKey) -> Vec<u8> {
    let mut info = label.to_vec();
    put_text(&mut info, account);
    put_varint(&mut info, number);
    info.extend_from_slice(public);
    info
}
