//! What stands in entries and statements, as bytes, each in one form. No cryptography.

use alloc::vec::Vec;

use crate::Hash;
use crate::seal::{PublicKey, SEAL_BYTES, SealedKey};
use crate::wire::{Malformed, Reader, put_varint};

/// The layout of all of these. Another number is another layout.
const LAYOUT: u8 = 1;

/// Wallets of an epoch: those of a full group, whose seals fill a frame.
pub const EPOCH_MEMBERS_MAX: usize = 256;

/// Epochs that one reseal of a wallet or one entry that asks names: at one each week more than a year.
pub const EPOCHS_MAX: usize = 64;

/// Seals of a generation: one for each device and recovery key that an account may have.
pub const GENERATION_SEALS_MAX: usize = 32;

/// A place in an account log. At 0 there is no entry yet, and the hash is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AccountHead {
    /// The entry's number.
    pub sequence: u64,
    /// The log hash there.
    pub hash: Hash,
}

/// A wallet of an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochMember {
    /// Its key.
    pub wallet: [u8; 32],
    /// Where its account log says which devices it has.
    pub head: AccountHead,
    /// The generation that the secret is sealed to, and the seal; `None` where the account has none.
    pub sealed: Option<(u64, SealedKey)>,
}

/// What an entry of kind 7 says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochEntry {
    /// The transcript that it follows.
    pub after: Hash,
    /// Its number, from 1.
    pub number: u64,
    /// The wallets, in the order of their keys.
    pub members: Vec<EpochMember>,
    /// What its secret is checked by.
    pub tag: [u8; 32],
}

impl EpochEntry {
    /// As it stands in the entry.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.without_tag();
        out.extend_from_slice(&self.tag);
        out
    }

    pub(crate) fn without_tag(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128 + 160 * self.members.len());
        out.push(LAYOUT);
        out.extend_from_slice(&self.after);
        put_varint(&mut out, self.number);
        put_varint(&mut out, self.members.len() as u64);
        for EpochMember { wallet, head, sealed } in &self.members {
            out.extend_from_slice(wallet);
            put_varint(&mut out, head.sequence);
            if head.sequence > 0 {
                out.extend_from_slice(&head.hash);
            }
            put_varint(&mut out, sealed.as_ref().map_or(0, |(generation, _)| *generation));
            if let Some((_, sealed)) = sealed {
                out.extend_from_slice(sealed);
            }
        }
        out
    }

    /// Reads what stands in an entry.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<EpochEntry, Malformed> {
        let mut reader = layout(bytes)?;
        let after = *reader.array()?;
        let number = epoch_number(&mut reader)?;
        let count = reader.count(EPOCH_MEMBERS_MAX)?;
        let mut members: Vec<EpochMember> = Vec::with_capacity(count);
        for _ in 0..count {
            let wallet = *reader.array()?;
            if members.last().is_some_and(|last| last.wallet >= wallet) {
                return Err(Malformed("the wallets of an epoch are not in order"));
            }
            let sequence = reader.varint()?;
            let hash = if sequence > 0 { *reader.array()? } else { Hash::default() };
            let generation = reader.varint()?;
            let sealed = if generation > 0 { Some((generation, *reader.array()?)) } else { None };
            members.push(EpochMember { wallet, head: AccountHead { sequence, hash }, sealed });
        }
        let tag = *reader.array()?;
        reader.end()?;
        Ok(EpochEntry { after, number, members, tag })
    }

    /// What it says of a wallet.
    pub fn member(&self, wallet: &[u8; 32]) -> Option<&EpochMember> {
        self.members.iter().find(|member| member.wallet == *wallet)
    }
}

/// Earlier secrets for one wallet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resealed {
    /// Its key.
    pub wallet: [u8; 32],
    /// The generation that they are sealed to.
    pub generation: u64,
    /// Which epochs' they are, ascending.
    pub epochs: Vec<u64>,
    /// The secrets, one after the other.
    pub sealed: Vec<u8>,
}

/// What an entry of kind 8 says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResealEntry(pub Vec<Resealed>);

impl ResealEntry {
    /// As it stands in the entry.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + 128 * self.0.len());
        out.push(LAYOUT);
        put_varint(&mut out, self.0.len() as u64);
        for Resealed { wallet, generation, epochs, sealed } in &self.0 {
            out.extend_from_slice(wallet);
            put_varint(&mut out, *generation);
            put_epochs(&mut out, epochs);
            out.extend_from_slice(sealed);
        }
        out
    }

    /// Reads what stands in an entry.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<ResealEntry, Malformed> {
        let mut reader = layout(bytes)?;
        let count = reader.count(EPOCH_MEMBERS_MAX)?;
        // As many as it says may not be there.
        let mut items = Vec::new();
        for _ in 0..count {
            let wallet = *reader.array()?;
            let generation = reader.varint()?;
            if generation == 0 {
                return Err(Malformed("a reseal to no generation"));
            }
            let epochs = take_epochs(&mut reader)?;
            let sealed = reader.take(32 * epochs.len() + SEAL_BYTES)?.to_vec();
            items.push(Resealed { wallet, generation, epochs, sealed });
        }
        reader.end()?;
        Ok(ResealEntry(items))
    }
}

/// What an entry of kind 9 says: epochs that its author's wallet cannot open, ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsksEntry(pub Vec<u64>);

impl AsksEntry {
    /// As it stands in the entry.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16);
        out.push(LAYOUT);
        put_epochs(&mut out, &self.0);
        out
    }

    /// Reads what stands in an entry.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<AsksEntry, Malformed> {
        let mut reader = layout(bytes)?;
        let epochs = take_epochs(&mut reader)?;
        reader.end()?;
        Ok(AsksEntry(epochs))
    }
}

/// The text of an encrypted entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncryptedText {
    /// The number of the epoch that it is encrypted in.
    pub epoch: u64,
    /// The nonce.
    pub nonce: [u8; 12],
    /// The padded content, and the tag behind it.
    pub ciphertext: Vec<u8>,
}

impl EncryptedText {
    /// As it stands in the entry.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(24 + self.ciphertext.len());
        out.push(LAYOUT);
        put_varint(&mut out, self.epoch);
        out.extend_from_slice(&self.nonce);
        out.extend_from_slice(&self.ciphertext);
        out
    }

    /// Reads what stands in an entry.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<EncryptedText, Malformed> {
        let mut reader = layout(bytes)?;
        let epoch = epoch_number(&mut reader)?;
        let nonce = *reader.array()?;
        // The smallest content and a tag.
        if reader.0.len() < 32 + 16 {
            return Err(Malformed("an encrypted text is too short"));
        }
        Ok(EncryptedText { epoch, nonce, ciphertext: reader.0.to_vec() })
    }
}

/// An account key, as the account log lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// Its number, from 1.
    pub number: u64,
    /// Its public half.
    pub public: PublicKey,
    /// The private half of the generation before, sealed to this one; `None` where who makes it does not have it.
    pub earlier: Option<SealedKey>,
    /// Its private half, sealed to each approved device and then to each recovery key, as they were listed.
    pub seals: Vec<SealedKey>,
}

impl Generation {
    /// As it stands in a statement, where more may follow.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.number);
        out.extend_from_slice(&self.public);
        out.push(u8::from(self.earlier.is_some()));
        self.earlier.iter().for_each(|sealed| out.extend_from_slice(sealed));
        put_varint(out, self.seals.len() as u64);
        self.seals.iter().for_each(|sealed| out.extend_from_slice(sealed));
    }

    /// Takes it from the front of bytes; gives the rest.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn take(bytes: &[u8]) -> Result<(Generation, &[u8]), Malformed> {
        let mut reader = Reader(bytes);
        let number = epoch_number(&mut reader)?;
        let public = *reader.array()?;
        let earlier = match reader.byte()? {
            0 => None,
            1 => Some(*reader.array()?),
            _ => return Err(Malformed("an earlier key is there or not")),
        };
        // There may be no device yet that has said its seal key.
        let count = reader.varint()?;
        if count > GENERATION_SEALS_MAX as u64 {
            return Err(Malformed("a generation has too many seals"));
        }
        let mut seals = Vec::with_capacity(count as usize);
        for _ in 0..count {
            seals.push(*reader.array()?);
        }
        Ok((Generation { number, public, earlier, seals }, reader.0))
    }
}

fn layout(bytes: &[u8]) -> Result<Reader<'_>, Malformed> {
    let mut reader = Reader(bytes);
    if reader.byte()? == LAYOUT { Ok(reader) } else { Err(Malformed("it is of another layout")) }
}

fn epoch_number(reader: &mut Reader<'_>) -> Result<u64, Malformed> {
    match reader.varint()? {
        0 => Err(Malformed("numbers begin with 1")),
        number => Ok(number),
    }
}

fn put_epochs(out: &mut Vec<u8>, epochs: &[u64]) {
    put_varint(out, epochs.len() as u64);
    epochs.iter().for_each(|epoch| put_varint(out, *epoch));
}

fn take_epochs(reader: &mut Reader<'_>) -> Result<Vec<u64>, Malformed> {
    let count = reader.count(EPOCHS_MAX)?;
    let mut epochs: Vec<u64> = Vec::with_capacity(count);
    for _ in 0..count {
        let epoch = epoch_number(reader)?;
        if epochs.last().is_some_and(|last| *last >= epoch) {
            return Err(Malformed("epochs are not in order"));
        }
        epochs.push(epoch);
    }
    Ok(epochs)
}
