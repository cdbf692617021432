//! What is stored of an encrypted session, besides its log.

use solconnect_sync_vault::epoch::after_epoch;
use solconnect_sync_vault::seal::SealedKey;

use crate::client::vault::{EpochEntry, KnownEpoch, ResealEntry, Resealed};
use crate::entry::{Digest, Entry};
use crate::epochs::Epochs;
use crate::identity::PublicKey;
use crate::ids::DeviceId;
use crate::limits::{EPOCHS_KEPT, EPOCHS_UNREAD_MAX, LACKING_WALLETS_MAX, RESEALS_WAITING_MAX};
use crate::wire::{Malformed, Reader, put_bytes, put_varint};

/// An encrypted session as far as its log is known.
#[derive(Debug, Clone, PartialEq)]
pub struct SealedState {
    /// Its epochs.
    pub epochs: Epochs,
    /// What the last one has for this wallet. Earlier ones are in the log.
    pub last: Option<EpochSeal>,
    /// Those that this wallet or another member cannot read yet, and the last ones, in their order.
    pub unread: Vec<UnreadEpoch>,
    /// Secrets for this wallet, sealed to an account key that this device has not got yet; with each, who gave it.
    pub waiting: Vec<(DeviceId, Resealed)>,
}

/// An epoch that somebody was in and cannot read, or may ask for.
#[derive(Debug, Clone, PartialEq)]
pub struct UnreadEpoch {
    /// What it has for this wallet.
    pub epoch: EpochSeal,
    /// What was written in it is stored as it came, to be read again once its secret is there: the place of this wallet's account log
    /// that it names. `None` where this device has read it.
    pub unread_at: Option<u64>,
    /// This wallet has asked for its secret, and was given none since.
    pub is_asked: bool,
    /// The other members that lack its secret, each with the place of its account log that the epoch names.
    pub lacking: Vec<(PublicKey, u64)>,
}

/// What an epoch has for a wallet.
#[derive(Debug, Clone, PartialEq)]
pub struct EpochSeal {
    /// Its number.
    pub number: u64,
    /// The place in the log where it begins, or from where on it is unread.
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
    /// The secret came later: this device has sealed it again, to its own wallet, under this id.
    pub resealed_by: Option<DeviceId>,
    /// This device began it while it waited to be approved, and makes its secret of this and of its own key.
    pub plan: Option<Digest>,
}

impl UnreadEpoch {
    /// A wallet lacks its secret, of which this place of its account log is known.
    pub(in crate::client) fn lack(&mut self, wallet: PublicKey, sequence: u64) {
        if !self.lacking.iter().any(|(lacking, _)| *lacking == wallet) {
            self.lacking.push((wallet, sequence));
        }
    }
}

impl SealedState {
    /// That of a session that has no entries.
    pub fn new(session_id: &str) -> SealedState {
        SealedState { epochs: Epochs::new(session_id), last: None, unread: Vec::new(), waiting: Vec::new() }
    }

    /// An epoch began. Of too many the oldest stay unread, but for those that wait for an account key: the first of them is kept, and the
    /// log has those behind it.
    pub(in crate::client) fn keep_unread(&mut self, unread: UnreadEpoch) {
        self.unread.push(unread);
        if self.unread.len() > EPOCHS_UNREAD_MAX {
            let waits = |unread: &UnreadEpoch| unread.unread_at.is_some() && unread.epoch.sealed.is_some();
            self.unread.remove(usize::from(waits(&self.unread[0])));
        }
        self.forget_read();
    }

    /// What was written in the last epoch from this place on was stored as it came; it names this place of this wallet's account log.
    pub(in crate::client) fn keep_last_unread(&mut self, from: u64, named: u64) {
        let Some(last) = self.last.clone() else { return };
        match self.unread.last_mut().filter(|unread| unread.epoch.number == last.number) {
            Some(unread) if unread.unread_at.is_some() => {}
            Some(unread) => (unread.epoch.sequence_number, unread.unread_at) = (from, Some(named)),
            None => self.keep_unread(UnreadEpoch {
                epoch: EpochSeal { sequence_number: from, ..last },
                unread_at: Some(named),
                is_asked: false,
                lacking: Vec::new(),
            }),
        }
    }

    /// Secrets came that this device cannot open yet.
    pub(in crate::client) fn keep_waiting(&mut self, author: &str, resealed: &Resealed) {
        self.waiting.push((author.to_owned(), resealed.clone()));
        self.waiting.drain(..self.waiting.len().saturating_sub(RESEALS_WAITING_MAX));
    }

    /// Those that everybody can read leave, but for the last ones, which somebody may ask for. Until this wallet can read all, none leaves.
    /// Of too many wallets that lack secrets, those of the oldest epochs are forgotten, and with them who was there before a reset:
    /// nobody is given these secrets then.
    pub(in crate::client) fn forget_read(&mut self) {
        let mut count: usize = self.unread.iter().map(|unread| unread.lacking.len()).sum();
        let (keeps_all, last) = (self.unread.iter().any(|unread| unread.unread_at.is_some()), self.epochs.last());
        self.unread.retain_mut(|unread| {
            if count > LACKING_WALLETS_MAX {
                count -= unread.lacking.len();
                unread.lacking.clear();
                return unread.unread_at.is_some();
            }
            keeps_all || !unread.lacking.is_empty() || unread.epoch.number + EPOCHS_KEPT > last
        });
    }

    /// Its stored form.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_bytes(&mut out, &self.epochs.to_bytes());
        let Some(last) = &self.last else { return out };
        put_bytes(&mut out, &last.to_bytes());
        put_varint(&mut out, self.unread.len() as u64);
        for UnreadEpoch { epoch, unread_at, is_asked, lacking } in &self.unread {
            put_bytes(&mut out, &epoch.to_bytes());
            put_varint(&mut out, unread_at.map_or(0, |place| 2 * place + 1 + u64::from(*is_asked)));
            put_varint(&mut out, lacking.len() as u64);
            for (wallet, sequence) in lacking {
                out.extend_from_slice(wallet);
                put_varint(&mut out, *sequence);
            }
        }
        for (author, resealed) in &self.waiting {
            put_bytes(&mut out, author.as_bytes());
            put_bytes(&mut out, &ResealEntry(vec![resealed.clone()]).to_bytes());
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
        let mut state = SealedState { epochs, last: None, unread: Vec::new(), waiting: Vec::new() };
        if reader.0.is_empty() {
            return Ok(Some(state));
        }
        state.last = Some(EpochSeal::from_bytes(reader.bytes()?)?);
        for _ in 0..reader.below(EPOCHS_UNREAD_MAX + 1)? {
            let (epoch, said) = (EpochSeal::from_bytes(reader.bytes()?)?, reader.varint()?.checked_sub(1));
            let (unread_at, is_asked) = (said.map(|said| said / 2), said.is_some_and(|said| said % 2 == 1));
            let count = reader.below(LACKING_WALLETS_MAX + 1)?;
            let lacking = (0..count).map(|_| Ok((*reader.array()?, reader.varint()?))).collect::<Result<_, Malformed>>()?;
            state.unread.push(UnreadEpoch { epoch, unread_at, is_asked, lacking });
        }
        while !reader.0.is_empty() {
            let (author, entry) = (reader.text()?.to_owned(), ResealEntry::from_bytes(reader.bytes()?));
            let entry = entry.map_err(|_| Malformed(&"secrets that wait cannot be read"))?;
            state.waiting.extend(entry.0.into_iter().map(|resealed| (author.clone(), resealed)));
        }
        Ok(Some(state))
    }
}

impl EpochSeal {
    /// Of an epoch that counts, what it has for this wallet.
    pub(in crate::client) fn of(epoch: &EpochEntry, entry: &Entry, wallet: Option<&PublicKey>) -> EpochSeal {
        EpochSeal {
            number: epoch.number,
            sequence_number: entry.sequence_number,
            began_ms: entry.server_timestamp,
            after: epoch.after,
            transcript: after_epoch(epoch, &entry.device_id),
            tag: epoch.tag,
            author: entry.device_id.clone(),
            sealed: wallet.and_then(|wallet| epoch.member(wallet)).and_then(|member| member.sealed),
            resealed_by: None,
            plan: None,
        }
    }

    /// As who reads the log knows it.
    pub(in crate::client) fn known(&self) -> KnownEpoch {
        KnownEpoch { number: self.number, transcript: self.transcript, tag: self.tag }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let EpochSeal { number, sequence_number, began_ms, after, transcript, tag, author, sealed, resealed_by, plan } = self;
        let mut out = Vec::new();
        [number, sequence_number, began_ms].into_iter().for_each(|number| put_varint(&mut out, *number));
        [after, transcript, tag].into_iter().for_each(|bytes| out.extend_from_slice(bytes));
        put_bytes(&mut out, author.as_bytes());
        if let Some((generation, sealed)) = sealed {
            put_varint(&mut out, *generation);
            out.extend_from_slice(sealed);
            if resealed_by.is_some() || plan.is_some() {
                put_bytes(&mut out, resealed_by.as_deref().unwrap_or_default().as_bytes());
            }
            plan.iter().for_each(|plan| out.extend_from_slice(plan));
        }
        out
    }

    fn from_bytes(bytes: &[u8]) -> Result<EpochSeal, Malformed> {
        let mut reader = Reader(bytes);
        let (number, sequence_number, began_ms) = (reader.varint()?, reader.varint()?, reader.varint()?);
        let (after, transcript, tag) = (*reader.array()?, *reader.array()?, *reader.array()?);
        let author = reader.text()?.to_owned();
        let sealed = if reader.0.is_empty() { None } else { Some((reader.varint()?, *reader.array()?)) };
        let resealed_by = if reader.0.is_empty() { None } else { Some(reader.text()?.to_owned()).filter(|device| !device.is_empty()) };
        let plan = if reader.0.is_empty() { None } else { Some(*reader.array()?) };
        Ok(EpochSeal { number, sequence_number, began_ms, after, transcript, tag, author, sealed, resealed_by, plan })
    }
}
