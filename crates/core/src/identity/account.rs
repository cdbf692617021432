//! The devices of a wallet: what the entries of its account log make of them.
//!
//! The relay and every device evaluate the same entries by this code, and come to the same list. What counts depends on the
//! entries and on the log's id alone: no clock, no option and no order of arrival has a part in it. No seal is opened here: that
//! takes a secret. `docs/security.md` has the rules of devices, `docs/encryption.md` those of account keys.

use solconnect_sync_vault::layout::Generation;
use solconnect_sync_vault::seal::{PublicKey as SealKey, check_public};

use super::certificate::{Certificate, Owner, Purpose, Succession};
use super::domains::DomainSet;
use super::generations::Generations;
use super::key::{PublicKey, device_id};
use super::listed::{Device, Listed, RecoveryKey, Word};
use super::recovery::{NewRecoveryKey, Recovery};
use super::statement::{Claim, Statement};
use super::timeline::Timeline;
use crate::entry::{Entry, first_log_hash};
use crate::error::{ErrorCode, SyncError};
use crate::ids::{DeviceId, SessionId, WalletAddress};
use crate::limits::{ACCOUNT_CHANGES_KEPT, ACCOUNT_CHANGES_MAX, ACCOUNT_DEVICES_MAX, ACCOUNT_UNASKED_MAX, CLOCK_DEVICES_MAX};
use crate::log::{Log, LogHead, Refusal, StoredHeads};
use crate::wire::{Record as _, record};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// What an entry did to the devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A device is listed.
    Added(DeviceId),
    /// It may do more now.
    Approved(DeviceId),
    /// It is listed no longer, and never will be again.
    Removed(DeviceId),
}

/// A wallet's devices in an application, up to an entry of its account log. `timeline.rs` has what it was at each place of the log,
/// `generations.rs` its keys.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    owner: Owner,
    log: Log,
    pub(super) listed: Listed,
    pub(super) timeline: Timeline,
    pub(super) generations: Generations,
    /// What devices did that they could do without end and without the wallet.
    unasked: usize,
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
        let (listed, timeline, generations) = (Listed::default(), Timeline::default(), Generations::default());
        Account { owner, log, listed, timeline, generations, unasked: 0, reset_issued_ms: 0, day: 0, changes: 0 }
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
        &self.listed.devices
    }

    /// A listed device.
    pub fn device(&self, id: &str) -> Option<&Device> {
        self.listed.device(id)
    }

    /// The recovery keys, in the order in which they were listed.
    pub fn recovery_keys(&self) -> &[RecoveryKey] {
        &self.listed.recovery_keys
    }

    /// What account keys are sealed to for a listed device or recovery key.
    pub fn seal_key(&self, id: &str) -> Option<SealKey> {
        let key = self.listed.recovery_key(id).map(|key| key.seal_key);
        self.device(id).and_then(|device| device.seal_key).or(key)
    }

    /// Whom the next generation must be sealed to and with which keys, in this order, once these devices and recovery keys have been
    /// removed and those kept. Nobody is removed where the generation is made alone.
    pub fn seal_recipients(&self, removed: &[DeviceId], kept: &[DeviceId]) -> Vec<(DeviceId, SealKey)> {
        self.listed.recipients(&self.listed.leaving(removed, kept))
    }

    /// Takes the next entry of the log. The outer error says that the log does not go on with it, and nothing is changed. The
    /// inner one says why it does not count: then it changes nothing but the head.
    ///
    /// # Errors
    /// [`Refusal`], as [`Log::take`].
    pub fn take(&mut self, entry: &Entry) -> Result<Result<Vec<Change>, SyncError>, Refusal> {
        let judged = self.judge(entry);
        self.log.take(entry)?;
        self.timeline.extend(self.log.hash());
        Ok(judged.map(|judged| self.apply(entry, judged)))
    }

    /// Whether an entry would count as the next one, which the relay would take at this time.
    ///
    /// # Errors
    /// Why not: what a relay refuses it with.
    pub fn check(&self, entry: &Entry) -> Result<(), SyncError> {
        self.judge(entry).map(|_| ())
    }

    /// Whether one more recovery key would be listed by an entry of this time: nobody shall make one that is not.
    pub fn takes_recovery_key(&self, at_ms: u64) -> bool {
        self.changes_at(at_ms) < ACCOUNT_CHANGES_MAX - ACCOUNT_CHANGES_KEPT
            && self.timeline.count() < CLOCK_DEVICES_MAX
            && self.listed.count() < ACCOUNT_DEVICES_MAX
            && self.unasked < ACCOUNT_UNASKED_MAX
    }

    /// Whether that day has had all changes that can be repeated without end.
    pub fn is_spent(&self, at_ms: u64) -> bool {
        self.changes_at(at_ms) >= ACCOUNT_CHANGES_MAX
    }

    /// How many changes that day has had.
    fn changes_at(&self, at_ms: u64) -> usize {
        if at_ms / DAY_MS == self.day { self.changes } else { 0 }
    }

    fn judge(&self, entry: &Entry) -> Result<Judged, SyncError> {
        let refuse = |code, message| Err(refusal(code, message));
        let statement = Statement::of(entry)?;
        let Statement { after, by, claim, .. } = &statement;
        let at_ms = entry.server_timestamp;
        let day = at_ms / DAY_MS;
        let changes = self.changes_at(at_ms);
        // Whoever holds the wallet is not kept out by a device that is quicker with its entries.
        if *after != self.head() && !matches!(claim, Claim::Reset(_)) {
            return refuse(ErrorCode::AccountMoved, "the account has changed: what an entry says of it must follow its last one");
        }
        let author = self.device(&entry.device_id);
        let is_new = matches!(claim, Claim::Join(_) | Claim::Reset(_) | Claim::Succeed(_));
        if is_new && self.timeline.key(&entry.device_id).is_some() {
            return refuse(ErrorCode::DeviceRemoved, "this device's key was listed before: it takes a new one");
        }
        // These say something of their own device alone.
        let is_own = matches!(claim, Claim::SealKey(_) | Claim::Recover(_));
        if !is_new && !author.is_some_and(|author| author.is_approved || is_own) {
            return refuse(ErrorCode::DeviceNotApproved, "only an approved device changes others");
        }
        // Devices can do this without end and without the wallet. A generation where none holds follows a removal or a reset.
        let is_unasked = match claim {
            Claim::Succeed(_) | Claim::RecoveryKey(_) => true,
            Claim::Generation(_) => self.generations.holds(),
            _ => false,
        };
        // A reset leaves one device. A removal cannot be repeated without end: something was added before.
        let is_bounded = is_unasked || matches!(claim, Claim::Join(_) | Claim::Approve(_) | Claim::ApproveWithKey(_));
        if is_bounded && changes >= ACCOUNT_CHANGES_MAX {
            return refuse(ErrorCode::LimitReached, "the account has changed too often today");
        }
        if matches!(claim, Claim::RecoveryKey(_)) && changes >= ACCOUNT_CHANGES_MAX - ACCOUNT_CHANGES_KEPT {
            return refuse(
                ErrorCode::LimitReached,
                "no more recovery codes or passkeys today: what is left of the day's changes is kept for devices",
            );
        }
        let lists = is_new || matches!(claim, Claim::RecoveryKey(_));
        if lists && self.timeline.count() >= CLOCK_DEVICES_MAX {
            return refuse(ErrorCode::LimitReached, "the account has had as many devices as a log may have");
        }
        if lists && !matches!(claim, Claim::Reset(_)) && self.listed.count() >= ACCOUNT_DEVICES_MAX {
            return refuse(ErrorCode::LimitReached, "the account has as many devices and recovery keys as it may have: remove one");
        }
        let mut reset_issued_ms = self.reset_issued_ms;
        match claim {
            Claim::Join(certificate) => {
                self.check_wallet(certificate, Purpose::Join, by, at_ms)?;
            }
            Claim::Reset(certificate) => reset_issued_ms = self.check_wallet(certificate, Purpose::Reset, by, at_ms)?,
            Claim::Succeed(succession) => self.check_succession(succession, by)?,
            Claim::Approve(devices) => self.check_approval(devices.iter())?,
            Claim::Remove { devices, kept } => self.check_removal(devices, kept)?,
            Claim::SealKey(key) => self.check_seal_key(author, key)?,
            Claim::Generation(generation) => self.check_generation(generation, &[])?,
            Claim::RemoveAndRenew { devices, kept, generation } => {
                self.check_removal(devices, kept)?;
                let leaving = self.listed.leaving(devices, kept);
                // It would leave with the key that it has just made.
                if leaving.contains(&entry.device_id) {
                    return refuse(ErrorCode::InvalidArgument, "who leaves makes no account key for those who stay");
                }
                self.check_generation(generation, &leaving)?;
            }
            Claim::ApproveWithKey(sealed) => {
                self.check_approval(sealed.iter().map(|(device, _)| device))?;
                let has_seal_key = |(device, _): &(DeviceId, _)| self.seal_key(device).is_some();
                if !self.generations.holds() || !sealed.iter().all(has_seal_key) {
                    return refuse(ErrorCode::InvalidArgument, "only a key that holds is handed over, to devices with a seal key");
                }
            }
            Claim::RecoveryKey(key) => self.check_recovery_key(key)?,
            Claim::Recover(recovery) => self.check_recovery(author, recovery, after, by)?,
        }
        if is_unasked && self.unasked >= ACCOUNT_UNASKED_MAX {
            return refuse(ErrorCode::LimitReached, "devices have changed the account too often: ask the wallet");
        }
        statement.check_signature(&self.owner)?;
        let (changes, unasked) = (changes + usize::from(is_bounded), self.unasked + usize::from(is_unasked));
        Ok(Judged { statement, reset_issued_ms, day, changes, unasked })
    }

    /// A certificate that is older than the last reset was signed for an account that was given up then.
    fn check_wallet(&self, certificate: &Certificate, purpose: Purpose, by: &PublicKey, at_ms: u64) -> Result<u64, SyncError> {
        let issued_ms = certificate.check(&self.owner, purpose, by, at_ms)?;
        if issued_ms <= self.reset_issued_ms {
            return Err(refusal(ErrorCode::CertificateExpired, "the certificate is older than the last reset of the account"));
        }
        Ok(issued_ms)
    }

    fn check_succession(&self, succession: &Succession, by: &PublicKey) -> Result<(), SyncError> {
        let predecessor = device_id(&succession.predecessor);
        // First: whose old key was removed is shown the log.
        succession.check(&self.owner, by)?;
        if self.was_removed(&predecessor) {
            return Err(refusal(ErrorCode::DeviceRemoved, "the old key of this device was removed"));
        }
        if self.device(&predecessor).is_none() {
            return Err(refusal(ErrorCode::WrongKey, "the old key of this device was never listed"));
        }
        Ok(())
    }

    fn check_approval<'a>(&self, mut devices: impl ExactSizeIterator<Item = &'a DeviceId>) -> Result<(), SyncError> {
        let may_be = |id: &DeviceId| self.device(id).is_some_and(|device| !device.is_approved);
        if devices.len() == 0 || !devices.all(may_be) {
            return Err(refusal(ErrorCode::InvalidArgument, "only listed devices that are not approved yet are approved"));
        }
        Ok(())
    }

    fn check_removal(&self, devices: &[DeviceId], kept: &[DeviceId]) -> Result<(), SyncError> {
        let is_listed = |id: &DeviceId| self.listed.words().any(|(listed, _)| listed == id);
        if devices.is_empty() || !devices.iter().chain(kept).all(is_listed) || devices.iter().any(|id| kept.contains(id)) {
            return Err(refusal(ErrorCode::InvalidArgument, "only listed devices leave, and none both leaves and stays"));
        }
        Ok(())
    }

    fn check_seal_key(&self, author: Option<&Device>, key: &SealKey) -> Result<(), SyncError> {
        if author.is_none_or(|author| author.seal_key.is_some()) {
            return Err(refusal(ErrorCode::InvalidArgument, "a device says its seal key once"));
        }
        check_public_key(key)
    }

    fn check_generation(&self, generation: &Generation, leaving: &[DeviceId]) -> Result<(), SyncError> {
        if generation.number != self.generations().len() as u64 + 1 {
            return Err(refusal(ErrorCode::InvalidArgument, "the number of a generation is that of the last one plus 1"));
        }
        if generation.seals.len() != self.listed.recipients(leaving).len() {
            return Err(refusal(ErrorCode::InvalidArgument, "an account key is sealed to each approved device and recovery key"));
        }
        check_public_key(&generation.public)
    }

    fn check_recovery_key(&self, key: &NewRecoveryKey) -> Result<(), SyncError> {
        if self.timeline.key(&device_id(&key.key)).is_some() {
            return Err(refusal(
                ErrorCode::UnknownRecoveryCode,
                "this recovery key was the account's before, and is no more: make a new one",
            ));
        }
        if !self.generations.holds() {
            return Err(refusal(ErrorCode::InvalidArgument, "there is no account key that holds to be sealed to it"));
        }
        check_public_key(&key.seal_key)
    }

    fn check_recovery(&self, author: Option<&Device>, recovery: &Recovery, after: &LogHead, by: &PublicKey) -> Result<(), SyncError> {
        if author.is_none_or(|author| author.is_approved) {
            return Err(refusal(ErrorCode::InvalidArgument, "this device is approved already"));
        }
        let id = device_id(&recovery.key);
        if self.listed.recovery_key(&id).is_none() {
            let was_there = self.timeline.key(&id).is_some_and(|key| key.is_recovery_key);
            let code = if was_there { ErrorCode::DeviceRemoved } else { ErrorCode::WrongKey };
            return Err(refusal(code, "this is no recovery key of the account, or it was removed"));
        }
        recovery.check(&self.owner, after, by)
    }

    fn apply(&mut self, entry: &Entry, judged: Judged) -> Vec<Change> {
        let Judged { statement: Statement { by, claim, .. }, reset_issued_ms, day, changes, unasked } = judged;
        (self.reset_issued_ms, self.day, self.changes, self.unasked) = (reset_issued_ms, day, changes, unasked);
        let author = &entry.device_id;
        match claim {
            Claim::Join(_) => {
                let is_first = !self.devices().iter().any(|device| device.is_approved);
                vec![self.list(entry, by, is_first, None)]
            }
            Claim::Reset(_) => {
                let all: Vec<DeviceId> = self.listed.words().map(|(id, _)| id.clone()).collect();
                let mut changes = self.remove(entry, &all);
                self.timeline.reset();
                changes.push(self.list(entry, by, true, None));
                changes
            }
            Claim::Succeed(succession) => {
                let predecessor = device_id(&succession.predecessor);
                let is_approved = self.device(&predecessor).is_some_and(|device| device.is_approved);
                vec![self.list(entry, by, is_approved, Some(predecessor))]
            }
            Claim::Approve(devices) => devices.into_iter().map(|device| self.approve(device, author.clone())).collect(),
            Claim::Remove { devices, kept } => self.remove(entry, &self.listed.leaving(&devices, &kept)),
            Claim::SealKey(key) => {
                if let Some(device) = self.listed.devices.iter_mut().find(|device| device.id == *author) {
                    device.seal_key = Some(key);
                }
                Vec::new()
            }
            Claim::Generation(generation) => {
                self.renew(entry, generation);
                Vec::new()
            }
            Claim::RemoveAndRenew { devices, kept, generation } => {
                let changes = self.remove(entry, &self.listed.leaving(&devices, &kept));
                self.renew(entry, generation);
                changes
            }
            Claim::ApproveWithKey(all) => {
                let mut changes = Vec::with_capacity(all.len());
                for (device, sealed) in all {
                    self.generations.hand_over(device.clone(), author, sealed);
                    changes.push(self.approve(device, author.clone()));
                }
                changes
            }
            Claim::RecoveryKey(NewRecoveryKey { kind, key, seal_key, sealed }) => {
                let (id, sequence, listed_ms) = (device_id(&key), entry.sequence_number, entry.server_timestamp);
                let word = Word { certified_by: Some(author.clone()), approved_by: None };
                self.generations.hand_over(id.clone(), author, sealed);
                self.timeline.list(id.clone(), true);
                self.listed.recovery_keys.push(RecoveryKey { id, kind, key, seal_key, sequence, listed_ms, word });
                Vec::new()
            }
            Claim::Recover(recovery) => vec![self.approve(author.clone(), device_id(&recovery.key))],
        }
    }

    fn list(&mut self, entry: &Entry, key: PublicKey, is_approved: bool, certified_by: Option<DeviceId>) -> Change {
        let id = entry.device_id.clone();
        self.timeline.list(id.clone(), false);
        let (sequence, listed_ms, word) = (entry.sequence_number, entry.server_timestamp, Word { certified_by, approved_by: None });
        self.listed.devices.push(Device { id: id.clone(), key, seal_key: None, is_approved, sequence, listed_ms, word });
        Change::Added(id)
    }

    fn approve(&mut self, id: DeviceId, by: DeviceId) -> Change {
        if let Some(device) = self.listed.devices.iter_mut().find(|device| device.id == id) {
            (device.is_approved, device.word.approved_by) = (true, Some(by));
        }
        Change::Approved(id)
    }

    /// They leave, and the account key that they have holds no longer.
    fn remove(&mut self, entry: &Entry, leaving: &[DeviceId]) -> Vec<Change> {
        let devices = leaving.iter().filter(|id| self.device(id).is_some());
        let changes = devices.map(|id| Change::Removed(id.clone())).collect();
        self.listed.remove(&entry.device_id, leaving);
        self.timeline.remove(leaving);
        self.generations.end(entry.sequence_number);
        changes
    }

    fn renew(&mut self, entry: &Entry, generation: Generation) {
        let to = self.listed.recipients(&[]);
        self.generations.begin(generation, entry.sequence_number, &entry.device_id, to);
        self.timeline.cut();
    }

    /// What a device stores of it: enough to take the next entry.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Account { owner, log, listed, timeline, generations, unasked, reset_issued_ms, day, changes } = self.clone();
        StoredAccount {
            wallet: owner.wallet,
            account_id: owner.account_id,
            heads: StoredHeads(log.heads().to_vec()),
            listed,
            timeline,
            generations,
            unasked: unasked as u64,
            reset_issued_ms,
            day,
            changes: changes as u64,
        }
        .encode()
    }

    /// Reads that; `None` where it is of an application with other domains, or of nothing that `to_bytes` made.
    pub fn from_bytes(bytes: &[u8], domains: &DomainSet) -> Option<Account> {
        let stored = StoredAccount::decode(bytes).ok()?;
        let owner = Owner::new(&stored.wallet, domains.clone()).ok().filter(|owner| owner.account_id == stored.account_id)?;
        let StoredAccount { heads, listed, timeline, generations, .. } = stored;
        let hash = timeline.last().unwrap_or_else(|| first_log_hash(&owner.account_id));
        Some(Account {
            owner,
            log: Log::restore(timeline.end(), hash, heads.0),
            listed,
            timeline,
            generations,
            unasked: stored.unasked as usize,
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
    heads: StoredHeads,
    listed: Listed,
    timeline: Timeline,
    generations: Generations,
    unasked: u64,
    reset_issued_ms: u64,
    day: u64,
    changes: u64,
}

record!(StoredAccount {
    1 => wallet,
    2 => account_id,
    3 => heads,
    4 => listed,
    5 => timeline,
    6 => generations,
    7 => unasked,
    8 => reset_issued_ms,
    9 => day,
    10 => changes,
});

/// Account keys are sealed to it: of low order or in another form, it would have nobody read.
fn check_public_key(key: &SealKey) -> Result<(), SyncError> {
    check_public(key).map_err(|_| refusal(ErrorCode::InvalidKey, "a seal key is no point of full order"))
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
    unasked: usize,
}
