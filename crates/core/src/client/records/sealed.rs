//! What is stored of an encrypted session, besides its log.

use solconnect_sync_vault::seal::SealedKey;

use crate::entry::Digest;
use crate::epochs::Epochs;
use crate::ids::DeviceId;
use crate::wire::{Malformed, Reader, put_bytes, put_varint};

/// An encrypted session as far as its log is known.
#[derive(Debug, Clone, PartialEq)]
pub struct SealedState {
    /// Its epochs.
    pub epochs: Epochs,
    /// What the last one has for this wallet. Earlier ones are in the log.
    pub last: Option<EpochSeal>,
}

/// What an epoch has for a wallet.
#[derive(Debug, Clone, PartialEq)]
pub struct EpochSeal {
    /// Its number.
    pub number: u64,
    /// The place in the log where it begins.
    pub sequence_number: u64,
    /// When, by the relay's time.
    pub began_ms: u64,
    /// The transcript before it, and behind it.
    pub after: Digest,
    /// See `after`.
    pub transcript: Digest,
    /// What its secret is checked by.
    pub tag: [u8; 32],
    /// The device that began it.
    pub author: DeviceId,
    /// The generation of the account key, and the seal; `None` where it has none for the wallet.
    pub sealed: Option<(u64, SealedKey)>,
}

impl SealedState {
    /// That of a session that has no entries.
    pub fn new(session_id: &str) -> SealedState {
        SealedState { epochs: Epochs::new(session_id), last: None }
    }

    /// Its stored form.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_bytes(&mut out, &self.epochs.to_bytes());
        if let Some(EpochSeal { number, sequence_number, began_ms, after, transcript, tag, author, sealed }) = &self.last {
            [number, sequence_number, began_ms].into_iter().for_each(|number| put_varint(&mut out, *number));
            [after, transcript, tag].into_iter().for_each(|bytes| out.extend_from_slice(bytes));
            put_bytes(&mut out, author.as_bytes());
            if let Some((generation, sealed)) = sealed {
                put_varint(&mut out, *generation);
                out.extend_from_slice(sealed);
            }
        }
        out
    }

    /// Reads that; nothing where there is none.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Option<SealedState>, Malformed> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let mut reader = Reader(bytes);
        let epochs = Epochs::from_bytes(reader.bytes()?)?;
        if reader.0.is_empty() {
            return Ok(Some(SealedState { epochs, last: None }));
        }
        let (number, sequence_number, began_ms) = (reader.varint()?, reader.varint()?, reader.varint()?);
        let (after, transcript, tag) = (*reader.array()?, *reader.array()?, *reader.array()?);
        let author = reader.text()?.to_owned();
        let sealed = if reader.0.is_empty() { None } else { Some((reader.varint()?, *reader.array()?)) };
        let last = EpochSeal { number, sequence_number, began_ms, after, transcript, tag, author, sealed };
        Ok(Some(SealedState { epochs, last: Some(last) }))
    }
}
