//! The devices of a wallet: what the entries of its account log make of them.
//!
//! The relay and every device evaluate the same entries by this code, and come to the same list. What counts depends on the
//! entries and on the log's id alone: no clock, no option and no order of arrival has a part in it.

use super::certificate::{Certificate, Owner, Purpose};
use super::domains::DomainSet;
use super::key::{PublicKey, device_id};
use super::statement::{Claim, Statement};
use crate::entry::Entry;
use crate::error::{ErrorCode, SyncError};
use crate::ids::{DeviceId, SessionId, WalletAddress};
use crate::limits::{ACCOUNT_CHANGES_MAX, ACCOUNT_DEVICES_MAX, ACCOUNT_SUCCESSORS_MAX, CLOCK_DEVICES_MAX};
use crate::log::{Log, LogHead, Refusal, StoredHeads};
use crate::wire::{Field, Malformed, Record as _, Value, bytes_of, digest_of, put_block, record};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// A device that is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its id.
    pub id: DeviceId,
    /// Its key.
    pub key: PublicKey,
    /// It may approve and remove others.
    pub is_approved: bool,
    /// Where it was listed.
    pub sequence: u64,
    /// When, by the relay's time.
    pub listed_ms: u64,
    /// The device whose successor it is.
    certified_by: Option<DeviceId>,
    /// The device that approved it, or had it stay.
    approved_by: Option<DeviceId>,
}

impl Device {
    /// Whether one of these certified or approved it.
    fn leans_on(&self, others: &[DeviceId]) -> bool {
        [&self.certified_by, &self.approved_by].into_iter().flatten().any(|by| others.contains(by))
    }
}

/// What an entry did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A device is listed.
    Added(DeviceId),
    /// It may do more now.
    Approved(DeviceId),
    /// It is listed no longer, and never will be again.
    Removed(DeviceId),
}

/// A wallet's devices in an application, up to an entry of its account log.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    owner: Owner,
    log: Log,
    /// In the order in which they were listed.
    devices: Vec<Device>,
    /// Every device that ever was: none is listed twice. A list, because there are few and a page loads less code for it.
    known: Vec<DeviceId>,
    /// Of these, the successors.
    successors: usize,
    /// When the last reset was asked for, by the clock of who asked.
    reset_issued_ms: u64,
    /// The day of the last change, and how many changes that can be repeated without end it had.
    day: u64,
    changes: usize,
}

impl Account {
    /// An account that has no devices.
    pub fn new(owner: Owner) -> Account {
        let log = Log::new(&owner.account_id);
        Account { owner, log, devices: Vec::new(), known: Vec::new(), successors: 0, reset_issued_ms: 0, day: 0, changes: 0 }
    }

    /// Whose it is.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// What the next entry must name.
    pub fn head(&self) -> LogHead {
        self.log.log_head()
    }

    /// The log up to here.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The devices, in the order in which they were listed.
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// A listed device.
    pub fn device(&self, id: &str) -> Option<&Device> {
        self.devices.iter().find(|device| device.id == id)
    }

    /// Whether a device was listed once and is no longer.
    pub fn was_removed(&self, id: &str) -> bool {
        self.was_listed(id) && self.device(id).is_none()
    }

    /// Whether a device is listed, or was once.
    pub fn was_listed(&self, id: &str) -> bool {
        self.known.iter().any(|known| known == id)
    }

    /// How many devices were ever listed.
    pub fn ever_listed(&self) -> usize {
        self.known.len()
    }

    /// Takes the next entry of the log. The outer error says that the log does not go on with it, and nothing is changed. The
    /// inner one says why it does not count: then it changes nothing but the head.
    ///
    /// # Errors
    /// [`Refusal`], as [`Log::take`].
    pub fn take(&mut self, entry: &Entry) -> Result<Result<Vec<Change>, SyncError>, Refusal> {
        let judged = self.judge(entry);
        self.log.take(entry)?;
        Ok(judged.map(|judged| self.apply(entry, judged)))
    }

    /// Whether an entry would count as the next one, which the relay would take at this time.
    ///
    /// # Errors
    /// Why not: what a relay refuses it with.
    pub fn check(&self, entry: &Entry) -> Result<(), SyncError> {
        self.judge(entry).map(|_| ())
    }

    fn judge(&self, entry: &Entry) -> Result<Judged, SyncError> {
        let refuse = |code, message| Err(refusal(code, message));
        let statement = Statement::of(entry)?;
        let Statement { after, by, claim, .. } = &statement;
        let at_ms = entry.server_timestamp;
        let day = at_ms / DAY_MS;
        let changes = if day == self.day { self.changes } else { 0 };
        // Whoever holds the wallet is not kept out by a device that is quicker with its entries.
        if *after != self.head() && !matches!(claim, Claim::Reset(_)) {
            return refuse(ErrorCode::AccountMoved, "the account has changed: what an entry says of it must follow its last one");
        }
        let author = self.device(&entry.device_id);
        let is_new = matches!(claim, Claim::Join(_) | Claim::Reset(_) | Claim::Succeed(_));
        if is_new && self.was_listed(&entry.device_id) {
            return refuse(ErrorCode::DeviceRemoved, "this device's key was listed before: it takes a new one");
        }
        if !is_new && !author.is_some_and(|author| author.is_approved) {
            return refuse(ErrorCode::DeviceNotApproved, "only an approved device changes others");
        }
        // A reset leaves one device. A removal cannot be repeated without end: something was added before.
        let is_bounded = matches!(claim, Claim::Join(_) | Claim::Succeed(_) | Claim::Approve(_));
        if is_bounded && changes >= ACCOUNT_CHANGES_MAX {
            return refuse(ErrorCode::LimitReached, "the account has changed too often today");
        }
        if is_new && self.known.len() >= CLOCK_DEVICES_MAX {
            return refuse(ErrorCode::LimitReached, "the account has had as many devices as a log may have");
        }
        if is_new && !matches!(claim, Claim::Reset(_)) && self.devices.len() >= ACCOUNT_DEVICES_MAX {
            return refuse(ErrorCode::LimitReached, "the account has as many devices as it may have: remove one");
        }
        let reset_issued_ms = match claim {
            Claim::Join(certificate) => self.check_wallet(certificate, Purpose::Join, by, at_ms).map(|_| self.reset_issued_ms)?,
            Claim::Reset(certificate) => self.check_wallet(certificate, Purpose::Reset, by, at_ms)?,
            Claim::Succeed(succession) => {
                let predecessor = device_id(&succession.predecessor);
                if self.was_removed(&predecessor) {
                    return refuse(ErrorCode::DeviceRemoved, "the old key of this device was removed");
                }
                if self.device(&predecessor).is_none() {
                    return refuse(ErrorCode::WrongKey, "the old key of this device was never listed");
                }
                if self.successors >= ACCOUNT_SUCCESSORS_MAX {
                    return refuse(ErrorCode::LimitReached, "the account has had too many copies of its devices: ask the wallet");
                }
                succession.check(&self.owner, by)?;
                self.reset_issued_ms
            }
            Claim::Approve(devices) => {
                let may_be = |id: &DeviceId| self.device(id).is_some_and(|device| !device.is_approved);
                if devices.is_empty() || !devices.iter().all(may_be) {
                    return refuse(ErrorCode::InvalidArgument, "only listed devices that are not approved yet are approved");
                }
                self.reset_issued_ms
            }
            Claim::Remove { devices, kept } => {
                let is_listed = |id: &DeviceId| self.device(id).is_some();
                if devices.is_empty() || !devices.iter().chain(kept).all(is_listed) || devices.iter().any(|id| kept.contains(id)) {
                    return refuse(ErrorCode::InvalidArgument, "only listed devices leave, and none both leaves and stays");
                }
                self.reset_issued_ms
            }
        };
        statement.check_signature(&self.owner)?;
        Ok(Judged { statement, reset_issued_ms, day, changes: changes + usize::from(is_bounded) })
    }

    /// A certificate that is older than the last reset was signed for an account that was given up then.
    fn check_wallet(&self, certificate: &Certificate, purpose: Purpose, by: &PublicKey, at_ms: u64) -> Result<u64, SyncError> {
        let issued_ms = certificate.check(&self.owner, purpose, by, at_ms)?;
        if issued_ms <= self.reset_issued_ms {
            return Err(refusal(ErrorCode::CertificateExpired, "the certificate is older than the last reset of the account"));
        }
        Ok(issued_ms)
    }

    fn apply(&mut self, entry: &Entry, judged: Judged) -> Vec<Change> {
        let Judged { statement: Statement { by, claim, .. }, reset_issued_ms, day, changes } = judged;
        (self.reset_issued_ms, self.day, self.changes) = (reset_issued_ms, day, changes);
        let author = &entry.device_id;
        match claim {
            Claim::Join(_) => {
                let is_first = !self.devices.iter().any(|device| device.is_approved);
                vec![self.list(entry, by, is_first, None)]
            }
            Claim::Reset(_) => {
                let removed = self.devices.drain(..).map(|device| Change::Removed(device.id));
                let mut changes: Vec<Change> = removed.collect();
                changes.push(self.list(entry, by, true, None));
                changes
            }
            Claim::Succeed(succession) => {
                let predecessor = device_id(&succession.predecessor);
                let is_approved = self.device(&predecessor).is_some_and(|device| device.is_approved);
                self.successors += 1;
                vec![self.list(entry, by, is_approved, Some(predecessor))]
            }
            Claim::Approve(ids) => {
                for device in self.devices.iter_mut().filter(|device| ids.contains(&device.id)) {
                    (device.is_approved, device.approved_by) = (true, Some(author.clone()));
                }
                ids.into_iter().map(Change::Approved).collect()
            }
            Claim::Remove { devices, kept } => {
                let mut removed = devices;
                let falls = |device: &&Device, removed: &[DeviceId]| {
                    !removed.contains(&device.id) && !kept.contains(&device.id) && device.leans_on(removed)
                };
                while let Some(device) = self.devices.iter().find(|device| falls(device, &removed)) {
                    removed.push(device.id.clone());
                }
                self.devices.retain(|device| !removed.contains(&device.id));
                // Who would have left stands by the word of who had it stay, and falls with it later. No other does: who is
                // about to be removed must not take along whom it names.
                let surety = Some(author).filter(|author| !removed.contains(author));
                for device in self.devices.iter_mut().filter(|device| device.id != *author && device.leans_on(&removed)) {
                    (device.certified_by, device.approved_by) = (None, surety.cloned());
                }
                removed.into_iter().map(Change::Removed).collect()
            }
        }
    }

    fn list(&mut self, entry: &Entry, key: PublicKey, is_approved: bool, certified_by: Option<DeviceId>) -> Change {
        let id = entry.device_id.clone();
        self.known.push(id.clone());
        let (sequence, listed_ms) = (entry.sequence_number, entry.server_timestamp);
        self.devices.push(Device { id: id.clone(), key, is_approved, sequence, listed_ms, certified_by, approved_by: None });
        Change::Added(id)
    }

    /// What a device stores of it: enough to take the next entry.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Account { owner, log, devices, known, successors, reset_issued_ms, day, changes } = self;
        StoredAccount {
            wallet: owner.wallet.clone(),
            account_id: owner.account_id.clone(),
            end: log.end(),
            hash: log.hash().to_vec(),
            heads: StoredHeads(log.heads().to_vec()),
            devices: StoredDevices(devices.clone()),
            // No id has a space.
            known: known.join(" "),
            successors: *successors as u64,
            reset_issued_ms: *reset_issued_ms,
            day: *day,
            changes: *changes as u64,
        }
        .encode()
    }

    /// Reads that; `None` where it is of an application with other domains, or of nothing that `to_bytes` made.
    pub fn from_bytes(bytes: &[u8], domains: &DomainSet) -> Option<Account> {
        let stored = StoredAccount::decode(bytes).ok()?;
        let owner = Owner::new(&stored.wallet, domains.clone()).ok().filter(|owner| owner.account_id == stored.account_id)?;
        Some(Account {
            owner,
            log: Log::restore(stored.end, digest_of(&stored.hash).ok()?, stored.heads.0),
            devices: stored.devices.0,
            known: stored.known.split_ascii_whitespace().map(str::to_owned).collect(),
            successors: stored.successors as usize,
            reset_issued_ms: stored.reset_issued_ms,
            day: stored.day,
            changes: stored.changes as usize,
        })
    }
}

#[derive(Default)]
struct StoredAccount {
    wallet: WalletAddress,
    account_id: SessionId,
    end: u64,
    hash: Vec<u8>,
    heads: StoredHeads,
    devices: StoredDevices,
    known: String,
    successors: u64,
    reset_issued_ms: u64,
    day: u64,
    changes: u64,
}

#[derive(Default)]
struct StoredDevices(Vec<Device>);

#[derive(Default)]
struct StoredDevice {
    key: Vec<u8>,
    is_approved: bool,
    sequence: u64,
    listed_ms: u64,
    certified_by: Option<DeviceId>,
    approved_by: Option<DeviceId>,
}

record!(StoredAccount {
    1 => wallet,
    2 => account_id,
    3 => end,
    4 => hash,
    5 => heads,
    6 => devices,
    7 => known,
    8 => successors,
    9 => reset_issued_ms,
    10 => day,
    11 => changes,
});
record!(StoredDevice { 1 => key, 2 => is_approved, 3 => sequence, 4 => listed_ms, 5 => certified_by, 6 => approved_by });

impl Field for StoredDevices {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        for Device { key, is_approved, sequence, listed_ms, certified_by, approved_by, .. } in self.0.clone() {
            let stored = StoredDevice { key: key.to_vec(), is_approved, sequence, listed_ms, certified_by, approved_by };
            put_block(number, &stored.encode(), out);
        }
    }

    fn take(&mut self, value: &Value<'_>) -> Result<(), Malformed> {
        let StoredDevice { key, is_approved, sequence, listed_ms, certified_by, approved_by } = StoredDevice::decode(bytes_of(value)?)?;
        let key = digest_of(&key)?;
        self.0.push(Device { id: device_id(&key), key, is_approved, sequence, listed_ms, certified_by, approved_by });
        Ok(())
    }
}

/// Why an entry does not count. A device that reads the log tells nobody why, and a page loads no words for it.
fn refusal(code: ErrorCode, message: &str) -> SyncError {
    SyncError::new(code, if cfg!(feature = "relay") { message } else { "" })
}

/// An entry that counts, and what follows from it for the next ones.
struct Judged {
    statement: Statement,
    reset_issued_ms: u64,
    day: u64,
    changes: usize,
}
