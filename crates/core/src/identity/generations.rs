//! The account keys of a wallet, one generation after the other, and for whom the newest one is sealed.

use solconnect_sync_vault::layout::Generation;
use solconnect_sync_vault::seal::{PublicKey as SealKey, SealedKey};

use super::account::Account;
use crate::ids::DeviceId;
use crate::wire::{Field, Malformed, Record, Value, bytes_of, digest_of, nested, put_block, record};

/// A generation of the account key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountKey {
    /// Its number, from 1.
    pub number: u64,
    /// The public key.
    pub public: SealKey,
    /// The private key of the generation before, sealed to this one, where who made it had that.
    pub earlier: Option<SealedKey>,
    /// Where it was made.
    pub sequence: u64,
    /// Who made it.
    pub by: DeviceId,
    /// The entry behind which it does not hold: that of the next one, of a removal or of a reset; 0: it holds.
    until: u64,
}

/// The private key of the newest generation, sealed for a device or recovery key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// For whom.
    to: DeviceId,
    /// Who sealed it: where it does not open, or is another key, the person hears of this device.
    pub by: DeviceId,
    /// The seal.
    pub sealed: SealedKey,
}

/// All account keys.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Generations {
    all: AccountKeys,
    /// Of the newest one alone: it opens the earlier ones.
    seals: Seals,
}

#[derive(Debug, Clone, PartialEq, Default)]
struct AccountKeys(Vec<AccountKey>);

#[derive(Debug, Clone, PartialEq, Default)]
struct Seals(Vec<Sealed>);

impl Generations {
    /// Whether there is one to seal to.
    pub fn holds(&self) -> bool {
        self.all.0.last().is_some_and(|newest| newest.until == 0)
    }

    /// The next one is made at this entry, sealed to these.
    pub fn begin(&mut self, generation: Generation, sequence: u64, by: &DeviceId, to: Vec<(DeviceId, SealKey)>) {
        self.end(sequence);
        let Generation { number, public, earlier, seals } = generation;
        self.all.0.push(AccountKey { number, public, earlier, sequence, by: by.clone(), until: 0 });
        self.seals.0 = to.into_iter().zip(seals).map(|((to, _), sealed)| Sealed { to, by: by.clone(), sealed }).collect();
    }

    /// The newest one does not hold behind this entry.
    pub fn end(&mut self, sequence: u64) {
        if let Some(newest) = self.all.0.last_mut().filter(|newest| newest.until == 0) {
            newest.until = sequence;
        }
    }

    /// The newest key is handed over.
    pub fn hand_over(&mut self, to: DeviceId, by: &DeviceId, sealed: SealedKey) {
        self.seals.0.push(Sealed { to, by: by.clone(), sealed });
    }
}

impl Account {
    /// The generations of the account key, from the first. The number of the next one is one more than there are.
    pub fn generations(&self) -> &[AccountKey] {
        &self.generations.all.0
    }

    /// The newest generation that holds behind the entry with this number: an epoch that names that place seals to it.
    pub fn generation_at(&self, sequence: u64) -> Option<&AccountKey> {
        let is_known = sequence <= self.head().sequence;
        let newest = self.generations().iter().rev().find(|key| key.sequence <= sequence).filter(|_| is_known);
        newest.filter(|key| key.until == 0 || sequence < key.until)
    }

    /// The private key of the newest generation, also where that does not hold any more, for a device or recovery key; `None` where
    /// nobody has sealed it to that.
    pub fn sealed_for(&self, id: &str) -> Option<&Sealed> {
        self.generations.seals.0.iter().find(|sealed| sealed.to == id)
    }
}

#[derive(Default)]
struct StoredKey {
    public: Vec<u8>,
    earlier: Vec<u8>,
    sequence: u64,
    by: DeviceId,
    until: u64,
}

#[derive(Default)]
struct StoredSeal {
    to: DeviceId,
    by: DeviceId,
    sealed: Vec<u8>,
}

record!(Generations { 1 => all, 2 => seals });
record!(StoredKey { 1 => public, 2 => earlier, 3 => sequence, 4 => by, 5 => until });
record!(StoredSeal { 1 => to, 2 => by, 3 => sealed });
nested!(Generations);

impl Field for AccountKeys {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        for AccountKey { public, earlier, sequence, by, until, .. } in self.0.clone() {
            let earlier = earlier.map(Vec::from).unwrap_or_default();
            put_block(number, &StoredKey { public: public.to_vec(), earlier, sequence, by, until }.encode(), out);
        }
    }

    fn take(&mut self, value: &Value<'_>) -> Result<(), Malformed> {
        let StoredKey { public, earlier, sequence, by, until } = StoredKey::decode(bytes_of(value)?)?;
        let earlier = if earlier.is_empty() { None } else { Some(sealed_key(&earlier)?) };
        // Each number is one more than the last.
        let number = self.0.len() as u64 + 1;
        self.0.push(AccountKey { number, public: digest_of(&public)?, earlier, sequence, by, until });
        Ok(())
    }
}

impl Field for Seals {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        for Sealed { to, by, sealed } in self.0.clone() {
            put_block(number, &StoredSeal { to, by, sealed: sealed.to_vec() }.encode(), out);
        }
    }

    fn take(&mut self, value: &Value<'_>) -> Result<(), Malformed> {
        let StoredSeal { to, by, sealed } = StoredSeal::decode(bytes_of(value)?)?;
        self.0.push(Sealed { to, by, sealed: sealed_key(&sealed)? });
        Ok(())
    }
}

fn sealed_key(bytes: &[u8]) -> Result<SealedKey, Malformed> {
    bytes.try_into().map_err(|_| Malformed(&"a sealed key has 80 bytes"))
}
