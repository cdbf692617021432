//! Who is listed in an account: its devices and its recovery keys, each in the order in which they were listed.

use solconnect_sync_vault::seal::PublicKey as SealKey;

use super::key::{PublicKey, device_id};
use super::recovery::RecoveryKind;
use crate::ids::DeviceId;
use crate::wire::{Field, Malformed, Record as _, Value, bytes_of, digest_of, put_block, record};

/// A device that is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its id, which is made of its key.
    pub id: DeviceId,
    /// Its key.
    pub key: PublicKey,
    /// What account keys are sealed to, where it has said that.
    pub seal_key: Option<SealKey>,
    /// It may approve and remove others.
    pub is_approved: bool,
    /// Where it was listed.
    pub sequence: u64,
    /// When, by the relay's time.
    pub listed_ms: u64,
    pub(super) word: Word,
}

/// A recovery key that is listed. It writes nothing: it is no device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryKey {
    /// Its id, which is made of its Ed25519 key as a device's is.
    pub id: DeviceId,
    /// What it is made of.
    pub kind: RecoveryKind,
    /// Its Ed25519 key.
    pub key: PublicKey,
    /// What account keys are sealed to.
    pub seal_key: SealKey,
    /// Where it was listed.
    pub sequence: u64,
    /// When, by the relay's time.
    pub listed_ms: u64,
    pub(super) word: Word,
}

/// By whose word somebody is listed or approved.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Word {
    /// The device whose successor it is, or that listed it.
    pub certified_by: Option<DeviceId>,
    /// Who approved it, or had it stay.
    pub approved_by: Option<DeviceId>,
}

impl Word {
    /// Whether it is the word of one of these.
    fn is_of(&self, others: &[DeviceId]) -> bool {
        [&self.certified_by, &self.approved_by].into_iter().flatten().any(|by| others.contains(by))
    }
}

/// All that are listed now.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Listed {
    pub devices: Vec<Device>,
    pub recovery_keys: Vec<RecoveryKey>,
}

impl Listed {
    pub fn device(&self, id: &str) -> Option<&Device> {
        self.devices.iter().find(|device| device.id == id)
    }

    pub fn recovery_key(&self, id: &str) -> Option<&RecoveryKey> {
        self.recovery_keys.iter().find(|key| key.id == id)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.devices.len() + self.recovery_keys.len()
    }

    /// Each with the word that it stands by.
    pub fn words(&self) -> impl Iterator<Item = (&DeviceId, &Word)> {
        let devices = self.devices.iter().map(|device| (&device.id, &device.word));
        devices.chain(self.recovery_keys.iter().map(|key| (&key.id, &key.word)))
    }

    /// Who leaves where these are removed: they, and whoever stands by the word of one who leaves, but for those that are kept.
    pub fn leaving(&self, removed: &[DeviceId], kept: &[DeviceId]) -> Vec<DeviceId> {
        let mut leaving = removed.to_vec();
        let falls = |id: &DeviceId, word: &Word, leaving: &[DeviceId]| !leaving.contains(id) && !kept.contains(id) && word.is_of(leaving);
        while let Some((id, _)) = self.words().find(|(id, word)| falls(id, word, &leaving)) {
            leaving.push(id.clone());
        }
        leaving
    }

    /// Whom an account key is sealed to, and with which key, once these have left: each approved device that has said its seal key,
    /// then each recovery key.
    pub fn recipients(&self, leaving: &[DeviceId]) -> Vec<(DeviceId, SealKey)> {
        let devices = self.devices.iter().filter(|device| device.is_approved);
        let devices = devices.filter_map(|device| Some((device.id.clone(), device.seal_key?)));
        let all = devices.chain(self.recovery_keys.iter().map(|key| (key.id.clone(), key.seal_key)));
        all.filter(|(id, _)| !leaving.contains(id)).collect()
    }

    /// They leave by this device's word.
    pub fn remove(&mut self, author: &DeviceId, leaving: &[DeviceId]) {
        self.devices.retain(|device| !leaving.contains(&device.id));
        self.recovery_keys.retain(|key| !leaving.contains(&key.id));
        // Who would have left stands by the word of who had it stay, and falls with it later. No other does: who is about to be
        // removed must not take along whom it names.
        let surety = Some(author).filter(|author| !leaving.contains(author));
        let devices = self.devices.iter_mut().filter(|device| device.id != *author).map(|device| &mut device.word);
        for word in devices.chain(self.recovery_keys.iter_mut().map(|key| &mut key.word)).filter(|word| word.is_of(leaving)) {
            *word = Word { certified_by: None, approved_by: surety.cloned() };
        }
    }
}

#[derive(Default)]
struct StoredDevice {
    key: Vec<u8>,
    seal_key: Vec<u8>,
    is_approved: bool,
    sequence: u64,
    listed_ms: u64,
    certified_by: Option<DeviceId>,
    approved_by: Option<DeviceId>,
    /// Of a recovery key.
    kind: u64,
}

record!(StoredDevice {
    1 => key,
    2 => seal_key,
    3 => is_approved,
    4 => sequence,
    5 => listed_ms,
    6 => certified_by,
    7 => approved_by,
    8 => kind,
});

/// One list: what has a kind is a recovery key.
impl Field for Listed {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        for Device { key, seal_key, is_approved, sequence, listed_ms, word, .. } in self.devices.clone() {
            let seal_key = seal_key.map(Vec::from).unwrap_or_default();
            let Word { certified_by, approved_by } = word;
            let key = key.to_vec();
            let stored = StoredDevice { key, seal_key, is_approved, sequence, listed_ms, certified_by, approved_by, kind: 0 };
            put_block(number, &stored.encode(), out);
        }
        for RecoveryKey { kind, key, seal_key, sequence, listed_ms, word, .. } in self.recovery_keys.clone() {
            let (key, seal_key, kind) = (key.to_vec(), seal_key.to_vec(), kind as u64);
            let Word { certified_by, approved_by } = word;
            let stored = StoredDevice { key, seal_key, is_approved: false, sequence, listed_ms, certified_by, approved_by, kind };
            put_block(number, &stored.encode(), out);
        }
    }

    fn take(&mut self, value: &Value<'_>) -> Result<(), Malformed> {
        let stored = StoredDevice::decode(bytes_of(value)?)?;
        let StoredDevice { key, seal_key, is_approved, sequence, listed_ms, certified_by, approved_by, kind } = stored;
        let (key, word) = (digest_of(&key)?, Word { certified_by, approved_by });
        let id = device_id(&key);
        if kind > 0 {
            let (kind, seal_key) = (RecoveryKind::of(kind)?, digest_of(&seal_key)?);
            self.recovery_keys.push(RecoveryKey { id, kind, key, seal_key, sequence, listed_ms, word });
        } else {
            let seal_key = if seal_key.is_empty() { None } else { Some(digest_of(&seal_key)?) };
            self.devices.push(Device { id, key, seal_key, is_approved, sequence, listed_ms, word });
        }
        Ok(())
    }
}
