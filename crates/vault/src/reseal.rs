//! Earlier secrets for who may read and could not.

use alloc::vec::Vec;

use zeroize::Zeroizing;

use crate::epoch::EpochSecret;
use crate::layout::Resealed;
use crate::seal::{PrivateKey, PublicKey, seal};
use crate::wire::{put_text, put_varint};
use crate::{Fault, Hash};

/// An epoch as a reader of the log knows it, with or without its secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownEpoch {
    /// Its number.
    pub number: u64,
    /// The transcript behind it.
    pub transcript: Hash,
    /// Its tag.
    pub tag: [u8; 32],
}

impl KnownEpoch {
    /// As it is given to the module with its secret, or zeroes where that is not known: number (8 bytes, least significant first),
    /// transcript, tag, secret.
    pub fn to_bytes(&self, secret: &[u8; 32]) -> [u8; 104] {
        let mut out = [0; 104];
        out[..8].copy_from_slice(&self.number.to_le_bytes());
        out[8..40].copy_from_slice(&self.transcript);
        out[40..72].copy_from_slice(&self.tag);
        out[72..].copy_from_slice(secret);
        out
    }
}

/// Who gets secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResealTo {
    /// The wallet.
    pub wallet: [u8; 32],
    /// Its newest generation.
    pub generation: u64,
    /// The public key of that.
    pub account_key: PublicKey,
}

/// Seals the secrets of these epochs, which ascend.
///
/// # Errors
/// [`Fault::WeakKey`] for the account key.
pub fn reseal(author: &str, to: &ResealTo, secrets: &[(KnownEpoch, &EpochSecret)], random: &[u8; 32]) -> Result<Resealed, Fault> {
    let mut all = Zeroizing::new(Vec::with_capacity(32 * secrets.len()));
    secrets.iter().for_each(|(_, secret)| all.extend_from_slice(&secret.secret()[..]));
    let transcripts = secrets.iter().map(|(epoch, _)| &epoch.transcript);
    let info = info(author, &to.wallet, to.generation, transcripts);
    let sealed = seal(&to.account_key, &info, &all, random)?;
    let epochs = secrets.iter().map(|(epoch, _)| epoch.number).collect();
    Ok(Resealed { wallet: to.wallet, generation: to.generation, epochs, sealed })
}

/// An epoch's number, and its secret, where what was sealed is that.
pub type Opened = (u64, Result<EpochSecret, Fault>);

/// Opens secrets; of each whether it is that of its epoch. `epochs` are those that the reseal names.
///
/// # Errors
/// [`Fault::NotOpened`].
pub fn open(resealed: &Resealed, author: &str, key: &PrivateKey, epochs: &[KnownEpoch]) -> Result<Vec<Opened>, Fault> {
    if !epochs.iter().map(|epoch| epoch.number).eq(resealed.epochs.iter().copied()) {
        return Err(Fault::NotOpened);
    }
    let info = info(author, &resealed.wallet, resealed.generation, epochs.iter().map(|epoch| &epoch.transcript));
    let opened = key.open(&info, &resealed.sealed)?;
    let secrets = opened.as_chunks::<32>().0;
    let checked = |(epoch, secret): (&KnownEpoch, &[u8; 32])| (epoch.number, EpochSecret::check(secret, &epoch.transcript, &epoch.tag));
    Ok(epochs.iter().zip(secrets).map(checked).collect())
}

fn info<'a>(author: &str, wallet: &[u8; 32], generation: u64, transcripts: impl ExactSizeIterator<Item = &'a Hash>) -> Vec<u8> {
    let mut info = b"solconnect.reseal.v1\0".to_vec();
    put_text(&mut info, author);
    info.extend_from_slice(wallet);
    put_varint(&mut info, generation);
    put_varint(&mut info, transcripts.len() as u64);
    transcripts.for_each(|transcript| info.extend_from_slice(transcript));
    info
}
