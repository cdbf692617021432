//! What comes in an encrypted session: entries are judged by its epochs, and opened, in the order of its log.

use super::Session;
use super::reseal::{lacking, note_resets};
use super::waiting::plan_of;
use crate::client::context::Context;
use crate::client::identity::mismatch;
use crate::client::records::{EpochSeal, SealedState, UnreadEpoch};
use crate::client::vault::{Beginning, EncryptedText, Fault, Place, Resealed, SealedEpoch, Secret, TextKeys, if_opened};
use crate::content;
use crate::entry::{Digest, Entry};
use crate::epochs::{Members, Said, Uncounted};
use crate::error::SyncError;
use crate::group::{Group, Role};
use crate::identity::{Account, PublicKey};
use crate::ids::{DeviceId, WalletAddress, public_key, wallet_address};
use crate::log::Refusal;
use crate::message::Message;

/// Keys of devices that are kept to open what they write next.
const TEXT_KEYS_MAX: usize = 64;

/// Entries that came, opened where they could be.
pub(super) struct Opened {
    /// Each with whether it is concurrent with others.
    pub entries: Vec<(Entry, bool)>,
    /// The places of those that do not count.
    pub uncounted: Vec<u64>,
    /// The places of texts that come again and could not be read before.
    pub untold: Vec<u64>,
    /// An epoch began, by whomever.
    pub has_epoch: bool,
    pub state: SealedState,
}

/// Why nothing was opened.
pub(super) enum Unopened {
    Refused(Refusal),
    /// The log of this account is not known up to where an epoch names it.
    Unknown(WalletAddress),
    /// What opens failed itself. What was stored unread would not be read later.
    Failed(Fault),
}

/// What was opened to read with.
#[derive(Default)]
pub(super) struct Reading {
    /// The secret of the epoch that ends in this transcript.
    secret: Option<(Digest, Secret)>,
    keys: Vec<(DeviceId, Box<dyn TextKeys>)>,
}

impl Session {
    /// Judges and opens the next entries of the log, of which the digests before and behind each are given; `None` where the session
    /// is not encrypted.
    ///
    /// # Errors
    /// [`Unopened`]; nothing has changed then.
    pub(super) fn open_entries(
        &mut self,
        context: &Context<'_>,
        fresh: Vec<(Entry, bool)>,
        chains: &[(Digest, Digest)],
    ) -> Result<Result<Opened, Vec<(Entry, bool)>>, Unopened> {
        let Some(state) = self.next.sealed.clone() else { return Ok(Err(fresh)) };
        let (mut group, mut wallets) = (self.next.group.clone(), self.members(self.next.group.as_ref()));
        let count = fresh.len();
        let mut opened = Opened { entries: Vec::with_capacity(count), uncounted: Vec::new(), untold: Vec::new(), has_epoch: false, state };
        for ((entry, is_concurrent), (previous, digest)) in fresh.into_iter().zip(chains) {
            let changes = match group.as_mut().map_or(Ok(Vec::new()), |group| group.take(&entry)) {
                Ok(changes) => changes,
                // It is told apart as in every group.
                Err(_) => {
                    opened.entries.push((entry, is_concurrent));
                    continue;
                }
            };
            let role = |wallet: &str| group.as_ref().map_or(Role::Member, |group| group.role(wallet));
            let account = |wallet: &PublicKey| account_of(context, wallet);
            let judged = opened.state.epochs.judge(&entry, &Members { wallets: wallets.clone(), role: &role, account: &account });
            let said = match judged {
                Ok(said) => said,
                Err(Uncounted::Unknown(wallet)) => return Err(Unopened::Unknown(wallet_address(&wallet))),
                Err(Uncounted::Forked(wallet)) => {
                    let wallet = wallet_address(&wallet);
                    let what = format!("an epoch names another log of the account of {wallet} than this device was shown");
                    return Err(Unopened::Refused(Refusal::Forked(what)));
                }
                Err(Uncounted::Moved | Uncounted::Never(_)) => {
                    opened.uncounted.push(entry.sequence_number);
                    opened.entries.push((entry, is_concurrent));
                    continue;
                }
            };
            if let Said::Epoch(epoch) = &said {
                note_resets(context, &mut opened.state, epoch);
            }
            opened.state.epochs.take(&entry, &said, digest, &changes);
            if !changes.is_empty() {
                wallets = self.members(group.as_ref());
            }
            let entry = match said {
                Said::Epoch(epoch) => {
                    opened.has_epoch = true;
                    let own = public_key(&self.next.wallet).and_then(|wallet| epoch.member(&wallet));
                    let mut seal = EpochSeal::of(&epoch, &entry, own.map(|own| &own.wallet));
                    let has_key = account_key(context, &seal).is_some();
                    if entry.device_id == self.device && seal.sealed.is_some() && !has_key {
                        seal.plan = Some(plan_of(&epoch));
                    }
                    let is_read = own.is_none() || self.text_keys(context, &seal, &entry.device_id).map_err(Unopened::Failed)?.is_some();
                    if !is_read && has_key {
                        // It is rubbish.
                        seal.sealed = None;
                    }
                    let unread_at = own.filter(|_| !is_read).map(|own| own.head.sequence);
                    let lacking: Vec<(PublicKey, u64)> = lacking(&epoch, own.map(|own| own.wallet)).collect();
                    opened.state.keep_unread(UnreadEpoch { epoch: seal.clone(), unread_at, is_asked: false, lacking });
                    opened.state.last = Some(seal);
                    entry
                }
                Said::Text(text) => {
                    if self.is_untold(text.epoch, entry.sequence_number) {
                        opened.untold.push(entry.sequence_number);
                    }
                    let last = opened.state.last.as_ref();
                    let entry = self.open_text(context, entry, previous, &text, last).map_err(Unopened::Failed)?;
                    if entry.is_unopened() && last.is_some_and(|last| last.sealed.is_some() && account_key(context, last).is_none()) {
                        let named = public_key(&self.next.wallet)
                            .and_then(|wallet| opened.state.epochs.named(&wallet))
                            .map_or(0, |named| named.head.sequence);
                        opened.state.keep_last_unread(entry.sequence_number, named);
                    }
                    entry
                }
                Said::Reseal(reseal) => {
                    let by = (entry.device_id.as_str(), author_key(&entry));
                    self.take_reseal(context, &mut opened.state, by, &reseal).map_err(Unopened::Failed)?;
                    entry
                }
                Said::Asks(asks) => {
                    self.take_asks(&mut opened.state, author_key(&entry), &asks);
                    entry
                }
                Said::Clear => entry,
            };
            opened.entries.push((entry, is_concurrent));
        }
        Ok(Ok(opened))
    }

    /// Whether this device takes what comes: one that has an account key, or waits to be approved.
    ///
    /// # Errors
    /// It cannot yet; and why, where another device or the application has to do something first.
    pub(super) fn check_reader(&self, context: &Context<'_>) -> Result<(), Option<SyncError>> {
        if self.next.sealed.is_none() {
            return Ok(());
        }
        let Some(vault) = context.vault.zip(context.identity) else {
            return Err(Some(mismatch(true, &self.next.peer_wallet)));
        };
        // What was written before a device is approved is stored as it comes.
        if self.is_waiting(context) || vault.1.keys().is_some_and(|keys| !keys.generations().is_empty()) {
            return Ok(());
        }
        // It makes the key by itself, or is about to hear of it.
        Err(None)
    }

    /// The wallets of the session, in the order of their keys.
    pub(super) fn members(&self, group: Option<&Group>) -> Vec<PublicKey> {
        let mut wallets: Vec<PublicKey> = match group {
            Some(group) => group.members().iter().filter_map(|member| public_key(&member.wallet)).collect(),
            None => [&self.next.wallet, &self.next.peer_wallet].into_iter().filter_map(|wallet| public_key(wallet)).collect(),
        };
        wallets.sort_unstable();
        wallets.dedup();
        wallets
    }

    /// What an encrypted entry says, or the entry as it came where this device cannot read it.
    ///
    /// # Errors
    /// [`Fault::Failed`].
    fn open_text(
        &mut self,
        context: &Context<'_>,
        entry: Entry,
        previous: &Digest,
        text: &EncryptedText,
        epoch: Option<&EpochSeal>,
    ) -> Result<Entry, Fault> {
        // What this device has sent it need not open.
        if let Some(queued) = self.outbox.sent_as(&entry) {
            return Ok(Entry { message: queued.message.clone(), ..entry });
        }
        let message = epoch.map_or(Ok(None), |epoch| self.message_of(context, epoch, &entry, previous, text))?;
        Ok(match message {
            Some(message) => Entry { message, ..entry },
            None => entry.unopened(previous),
        })
    }

    /// What was encrypted in an entry of this epoch; `None` where this device cannot read it.
    ///
    /// # Errors
    /// [`Fault::Failed`].
    pub(super) fn message_of(
        &mut self,
        context: &Context<'_>,
        epoch: &EpochSeal,
        entry: &Entry,
        previous: &Digest,
        text: &EncryptedText,
    ) -> Result<Option<Message>, Fault> {
        let Some(keys) = self.text_keys(context, epoch, &entry.device_id)? else { return Ok(None) };
        let Entry { message, counter, knows, .. } = entry;
        let place = Place { previous, counter: *counter, knows: *knows, kind: u64::from(message.kind.0), id: &message.id };
        let content = if_opened(keys.decrypt(place, text))?;
        Ok(content.and_then(|content| content::opened(message, &content).ok()))
    }

    /// The keys of what a device writes in an epoch; `None` where this device cannot read it.
    ///
    /// # Errors
    /// [`Fault::Failed`].
    pub(super) fn text_keys(&mut self, context: &Context<'_>, epoch: &EpochSeal, device: &str) -> Result<Option<&dyn TextKeys>, Fault> {
        let Some(vault) = context.vault else { return Ok(None) };
        let secret = match &self.reading.secret {
            Some((transcript, secret)) if *transcript == epoch.transcript => secret.clone(),
            _ => {
                let Some(secret) = self.epoch_secret(context, epoch)? else { return Ok(None) };
                self.reading = Reading { secret: Some((epoch.transcript, secret.clone())), keys: Vec::new() };
                secret
            }
        };
        let keys = &mut self.reading.keys;
        if let Some(place) = keys.iter().position(|(known, _)| known == device) {
            return Ok(Some(&*keys[place].1));
        }
        let Some(made) = if_opened(vault.text_keys(&secret, &epoch.transcript, &epoch.tag, device))? else { return Ok(None) };
        if keys.len() >= TEXT_KEYS_MAX {
            keys.clear();
        }
        keys.push((device.to_owned(), made));
        Ok(keys.last().map(|(_, keys)| &**keys))
    }

    /// The secret of an epoch, where this wallet has the account key that it is sealed to.
    pub(super) fn epoch_secret(&self, context: &Context<'_>, epoch: &EpochSeal) -> Result<Option<Secret>, Fault> {
        let Some(with) = account_key(context, epoch) else { return self.planned_secret(context, epoch) };
        let open = || {
            let ((generation, sealed), wallet, vault) = (epoch.sealed.as_ref()?, public_key(&self.next.wallet)?, context.vault?);
            if let Some(author) = &epoch.resealed_by {
                let resealed = Resealed { wallet, generation: *generation, epochs: vec![epoch.number], sealed: sealed.to_vec() };
                let opened = vault.open_reseal(&resealed, author, with, &[epoch.known()]);
                return opened.map(|mut secrets| secrets.pop().flatten()).transpose();
            }
            let at = Beginning { after: &epoch.after, number: epoch.number, author: &epoch.author };
            let (transcript, tag) = (&epoch.transcript, &epoch.tag);
            let epoch = SealedEpoch { at, wallet: &wallet, generation: *generation, sealed, transcript, tag };
            Some(vault.open_epoch(epoch, with))
        };
        open().map_or(Ok(None), if_opened)
    }
}

/// Whose wallet says it: what counts has one.
fn author_key(entry: &Entry) -> PublicKey {
    public_key(&entry.message.sender_wallet).unwrap_or_default()
}

/// What an epoch's seal opens with, where this device has it.
pub(super) fn account_key<'a>(context: &'a Context<'_>, epoch: &EpochSeal) -> Option<&'a Secret> {
    let (generation, _) = epoch.sealed.as_ref()?;
    context.identity?.latest_keys()?.account_key(*generation)
}

/// The account of a wallet, as far as its log is known here.
pub(super) fn account_of<'a>(context: &'a Context<'_>, wallet: &PublicKey) -> Option<&'a Account> {
    context.account(&wallet_address(wallet))
}
