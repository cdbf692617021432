//! Epochs: a secret that the members of a session share from one place of its log on.

use alloc::vec::Vec;

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::layout::{AccountHead, EpochEntry, EpochMember};
use crate::seal::{PrivateKey, PublicKey, SealedKey, seal_key};
use crate::text::TextKeys;
use crate::wire::{Malformed, Reader, put_text, put_varint};
use crate::{Fault, Hash, Secret, expand, extract, hash};

/// The transcript of a session that has no entry.
pub fn first_transcript(session: &str) -> Hash {
    hash(&[b"solconnect.transcript.v1\0", &text(session)])
}

/// The transcript behind an entry that begins a group, adds or removes wallets.
pub fn after_membership(before: &Hash, digest: &Hash) -> Hash {
    hash(&[b"solconnect.membership.v1\0", before, digest])
}

/// The transcript behind an epoch that this device began.
pub fn after_epoch(epoch: &EpochEntry, author: &str) -> Hash {
    hash(&[b"solconnect.epoch.v1\0", &text(author), &epoch.without_tag()])
}

/// A wallet that an epoch is begun for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// Its key.
    pub wallet: [u8; 32],
    /// The place up to which its account log is known.
    pub head: AccountHead,
    /// The newest generation there and its public key; `None` where there is none.
    pub account_key: Option<(u64, PublicKey)>,
}

impl Recipient {
    /// As a page hands it to the module: as a wallet stands in an epoch, with the account key in the place of its seal.
    pub fn put(&self, out: &mut Vec<u8>) {
        let Recipient { wallet, head: AccountHead { sequence, hash }, account_key } = self;
        out.extend_from_slice(wallet);
        put_varint(out, *sequence);
        if *sequence > 0 {
            out.extend_from_slice(hash);
        }
        put_varint(out, account_key.map_or(0, |(generation, _)| generation));
        if let Some((_, key)) = account_key {
            out.extend_from_slice(key);
        }
    }

    /// Reads some that stand one behind the other.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn take_all(bytes: &[u8]) -> Result<Vec<Recipient>, Malformed> {
        let mut reader = Reader(bytes);
        let mut recipients = Vec::new();
        while !reader.0.is_empty() {
            let wallet = *reader.array()?;
            let sequence = reader.varint()?;
            let hash = if sequence > 0 { *reader.array()? } else { [0; 32] };
            let generation = reader.varint()?;
            let account_key = if generation > 0 { Some((generation, *reader.array()?)) } else { None };
            recipients.push(Recipient { wallet, head: AccountHead { sequence, hash }, account_key });
        }
        Ok(recipients)
    }
}

/// Where an epoch begins, and who begins it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beginning<'a> {
    /// The transcript that it follows.
    pub after: &'a Hash,
    /// Its number.
    pub number: u64,
    /// The id of the device that begins it.
    pub author: &'a str,
}

/// A secret that belongs to its epoch: the epoch's tag says so.
#[derive(Clone)]
pub struct EpochSecret {
    secret: Secret,
    key: Secret,
}

impl core::fmt::Debug for EpochSecret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("EpochSecret(..)")
    }
}

impl EpochSecret {
    /// Checks a secret that was opened, or is stored, by the transcript behind its epoch and the epoch's tag.
    ///
    /// # Errors
    /// [`Fault::Another`].
    pub fn check(secret: &[u8; 32], transcript: &Hash, tag: &[u8; 32]) -> Result<EpochSecret, Fault> {
        let opened = EpochSecret::new(secret, transcript);
        if opened.tag().ct_eq(tag).into() { Ok(opened) } else { Err(Fault::Another) }
    }

    fn new(secret: &[u8; 32], transcript: &Hash) -> EpochSecret {
        EpochSecret { secret: Zeroizing::new(*secret), key: extract(transcript, secret) }
    }

    fn tag(&self) -> [u8; 32] {
        *expand(&self.key, &[b"solconnect.confirm.v1\0"])
    }

    /// What is stored of it, and sealed to others.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The keys of what one device writes in this epoch.
    pub fn text_keys(&self, device: &str) -> TextKeys {
        TextKeys::new(&expand(&self.key, &[b"solconnect.text-key.v1\0", &text(device)]))
    }
}

/// Begins an epoch. The wallets are in the order of their keys. Of `random`, the first half is the secret.
///
/// # Errors
/// [`Fault::WeakKey`] for a wallet's account key.
pub fn begin(at: Beginning<'_>, recipients: &[Recipient], random: &[u8; 64]) -> Result<(EpochEntry, EpochSecret), Fault> {
    let random = Zeroizing::new(*random);
    let mut halves = [Zeroizing::new([0; 32]), Zeroizing::new([0; 32])];
    halves.iter_mut().zip(random.chunks_exact(32)).for_each(|(half, bytes)| half.copy_from_slice(bytes));
    let [secret, random] = halves;
    let mut members = Vec::with_capacity(recipients.len());
    for Recipient { wallet, head, account_key } in recipients {
        let seal_to = |(generation, key): (u64, PublicKey)| {
            seal_key(&key, &seal_info(at, wallet, generation), &secret, &random).map(|sealed| (generation, sealed))
        };
        members.push(EpochMember { wallet: *wallet, head: *head, sealed: account_key.map(seal_to).transpose()? });
    }
    let mut epoch = EpochEntry { after: *at.after, number: at.number, members, tag: [0; 32] };
    let opened = EpochSecret::new(&secret, &after_epoch(&epoch, at.author));
    epoch.tag = opened.tag();
    Ok((epoch, opened))
}

/// Opens what an epoch has sealed to a wallet, with the account key of the generation that it names.
///
/// # Errors
/// [`Fault::NotOpened`] where nothing, or rubbish, is sealed to the wallet; [`Fault::Another`] for a secret that is not the epoch's.
pub fn open(epoch: &EpochEntry, author: &str, wallet: &[u8; 32], key: &PrivateKey) -> Result<EpochSecret, Fault> {
    let (generation, sealed) = epoch.member(wallet).and_then(|member| member.sealed).ok_or(Fault::NotOpened)?;
    let at = Beginning { after: &epoch.after, number: epoch.number, author };
    open_sealed(at, wallet, (generation, &sealed), key, &after_epoch(epoch, author), &epoch.tag)
}

/// The same of an epoch of which only what it has sealed to one wallet is kept, with the transcript behind it and its tag.
///
/// # Errors
/// As [`open`].
pub fn open_sealed(
    at: Beginning<'_>,
    wallet: &[u8; 32],
    (generation, sealed): (u64, &SealedKey),
    key: &PrivateKey,
    transcript: &Hash,
    tag: &[u8; 32],
) -> Result<EpochSecret, Fault> {
    let secret = key.open_key(&seal_info(at, wallet, generation), sealed)?;
    EpochSecret::check(&secret, transcript, tag)
}

fn seal_info(at: Beginning<'_>, wallet: &[u8; 32], generation: u64) -> Vec<u8> {
    let mut info = b"solconnect.epoch-secret.v1\0".to_vec();
    info.extend_from_slice(at.after);
    put_varint(&mut info, at.number);
    put_text(&mut info, at.author);
    info.extend_from_slice(wallet);
    put_varint(&mut info, generation);
    info
}

fn text(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    put_text(&mut out, text);
    out
}
