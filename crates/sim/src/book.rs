//! What devices encrypt and open, as the checker sees it at their cryptography: each text with its place, each epoch with its secret.
//! So it reads in the log what stands there, and knows whom it was for.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use solconnect_sync_core::client::vault::{
    AccountHead, Beginning, EncryptedText, EpochEntry, Fault, Generation, KeyPlace, KnownEpoch, Place, PublicKey, Recipient, ResealEntry,
    ResealTo, Resealed, SealedEpoch, SealedKey, Secret, TextKeys,
};
use solconnect_sync_core::client::{Native, Vault};
use solconnect_sync_core::content;
use solconnect_sync_core::entry::Digest;
use solconnect_sync_core::ids::{DeviceId, MessageId};
use solconnect_sync_core::message::Message;
use solconnect_sync_vault::epoch::after_epoch;

use crate::marker::base64;
use crate::stand_in::StandIn;

/// A text that some device has encrypted.
pub struct Written {
    /// What it says.
    content: Vec<u8>,
    /// The device that it is encrypted as.
    pub device: DeviceId,
    /// The transcript behind its epoch.
    pub transcript: Digest,
    /// The number of its epoch.
    pub epoch: u64,
    /// Where it is to stand.
    pub previous: Digest,
    /// See `previous`.
    pub counter: u64,
    /// See `previous`.
    pub knows: u64,
    /// See `previous`.
    pub kind: u64,
    /// See `previous`.
    pub id: MessageId,
}

/// See the module.
#[derive(Default)]
pub struct Book {
    /// By what stands in the log.
    texts: BTreeMap<String, Written>,
    /// By what stands in the log: each epoch that was begun.
    epochs: BTreeMap<String, EpochEntry>,
    /// The same by the transcript behind it.
    transcripts: BTreeMap<Digest, EpochEntry>,
    /// The transcripts behind epochs, and the wallets for whom these have rubbish.
    rubbish: BTreeSet<(Digest, PublicKey)>,
    /// By what stands in the log: rubbish that was given.
    false_gifts: BTreeSet<String>,
    /// The dishonest wallet is honest from now on.
    pub is_quiet: bool,
    /// By what stands in the log: what was given to a wallet that lacked it.
    given: BTreeMap<String, Resealed>,
    /// By the transcript behind the epoch, the device and the nonce: what it hides.
    nonces: BTreeMap<(Digest, DeviceId, [u8; 12]), Vec<u8>>,
    /// So many texts were encrypted since they were last asked for.
    encrypted: u64,
    /// Two texts were encrypted with one nonce under one key.
    repeated: Option<String>,
}

/// The book of a world, and of the cryptography of its devices.
pub type SharedBook = Rc<RefCell<Book>>;

impl Book {
    /// The text that stands so in the log.
    pub fn text(&self, ciphertext: &str) -> Option<&Written> {
        self.texts.get(ciphertext)
    }

    /// The epoch that stands so in the log.
    pub fn epoch(&self, ciphertext: &str) -> Option<&EpochEntry> {
        self.epochs.get(ciphertext)
    }

    /// The epoch that a text, or an epoch, that stands so in the log is of.
    pub fn epoch_of(&self, ciphertext: &str) -> Option<&EpochEntry> {
        self.epoch(ciphertext).or_else(|| self.transcripts.get(&self.text(ciphertext)?.transcript))
    }

    /// What was given by the entry that stands so in the log: the wallet, and of each epoch its number and the generation that its
    /// secret is sealed to.
    pub fn given(&self, ciphertext: &str) -> Vec<((PublicKey, u64), u64)> {
        let given = self.given.get(ciphertext);
        given.map(|given| given.epochs.iter().map(|number| ((given.wallet, *number), given.generation)).collect()).unwrap_or_default()
    }

    /// The same where it was no rubbish.
    pub fn given_truly(&self, ciphertext: &str) -> Vec<((PublicKey, u64), u64)> {
        if self.false_gifts.contains(ciphertext) { Vec::new() } else { self.given(ciphertext) }
    }

    /// Whether an epoch, known by the transcript behind it, has rubbish for a wallet.
    pub fn is_rubbish(&self, transcript: &Digest, wallet: &PublicKey) -> bool {
        self.rubbish.contains(&(*transcript, *wallet))
    }

    /// A message as its author wrote it, where it is encrypted.
    pub fn opened(&self, message: &Message) -> Option<Message> {
        content::opened(message, &self.text(&message.ciphertext)?.content).ok()
    }

    /// How many texts were encrypted since this was last asked, and where a nonce was used twice.
    pub fn nonces_used(&mut self) -> (u64, Option<String>) {
        (std::mem::take(&mut self.encrypted), self.repeated.take())
    }

    fn encrypted(&mut self, written: Written, text: &EncryptedText) {
        self.encrypted += 1;
        let key = (written.transcript, written.device.clone(), text.nonce);
        let before = self.nonces.entry(key).or_insert_with(|| text.ciphertext.clone());
        if *before != text.ciphertext {
            self.repeated = Some(format!("{} encrypts two texts with one nonce in epoch {}", written.device, written.epoch));
        }
        self.texts.insert(content::sealed(&Message::default(), text).ciphertext, written);
    }
}

/// The cryptography of a device, whose doings are written down.
pub struct Watched {
    vault: Box<dyn Vault>,
    book: SharedBook,
    /// The wallet of its device, where that makes wrong epochs and gives rubbish.
    dishonest: Option<PublicKey>,
}

impl Watched {
    /// The real one, or the stand-in.
    pub fn new(is_real: bool, book: SharedBook, dishonest: Option<PublicKey>) -> Watched {
        let vault: Box<dyn Vault> = if is_real { Box::new(Native) } else { Box::new(StandIn) };
        Watched { vault, book, dishonest }
    }

    /// What a dishonest member makes of an epoch before it seals it; whether its tag is wrong too.
    fn twist(&self, recipients: &mut Vec<Recipient>, random: u8) -> bool {
        let Some(own) = self.dishonest.filter(|_| !self.book.borrow().is_quiet) else { return false };
        let others = (0..recipients.len()).filter(|place| recipients[*place].wallet != own);
        let others: Vec<usize> = others.collect();
        let Some(victim) = others.get(usize::from(random >> 3) % others.len().max(1)) else { return false };
        match random % 8 {
            0 | 1 => {}
            // It is for others than are in the session.
            2 => drop(recipients.remove(*victim)),
            // It names an older place of an account.
            3 => recipients[*victim] = Recipient { wallet: recipients[*victim].wallet, head: AccountHead::default(), account_key: None },
            4 => return true,
            5 => others.iter().for_each(|place| self.spoil(&mut recipients[*place])),
            _ => self.spoil(&mut recipients[*victim]),
        }
        false
    }

    /// The secret is sealed to a key that nobody has.
    fn spoil(&self, recipient: &mut Recipient) {
        recipient.account_key = recipient.account_key.map(|(generation, _)| (generation, self.lost_key()));
    }

    fn lost_key(&self) -> PublicKey {
        self.vault.public_of(&Secret::new([7; 32])).unwrap_or_default()
    }
}

impl Vault for Watched {
    fn public_of(&self, secret: &Secret) -> Result<PublicKey, Fault> {
        self.vault.public_of(secret)
    }

    fn begin_generation(
        &self,
        account_id: &str,
        number: u64,
        to: &[PublicKey],
        earlier: Option<&Secret>,
        random: &[u8; 64],
    ) -> Result<Generation, Fault> {
        self.vault.begin_generation(account_id, number, to, earlier, random)
    }

    fn hand_over(&self, account_id: &str, number: u64, secret: &Secret, to: &PublicKey, random: &[u8; 32]) -> Result<SealedKey, Fault> {
        self.vault.hand_over(account_id, number, secret, to, random)
    }

    fn open_key(&self, place: KeyPlace<'_>, with: &Secret, sealed: &SealedKey) -> Result<Secret, Fault> {
        self.vault.open_key(place, with, sealed)
    }

    fn open_earlier(&self, place: KeyPlace<'_>, next: u64, with: &Secret, sealed: &SealedKey) -> Result<Secret, Fault> {
        self.vault.open_earlier(place, next, with, sealed)
    }

    fn begin_epoch(&self, at: Beginning<'_>, recipients: &[Recipient], random: &[u8; 64]) -> Result<EpochEntry, Fault> {
        let mut twisted: Vec<Recipient> = recipients.iter().map(|to| Recipient { ..*to }).collect();
        let has_wrong_tag = self.twist(&mut twisted, random[63]);
        let mut epoch = self.vault.begin_epoch(at, &twisted, random)?;
        epoch.tag[0] ^= u8::from(has_wrong_tag);
        let lost = self.lost_key();
        let is_rubbish = |to: &&Recipient| has_wrong_tag || to.account_key.is_some_and(|(_, key)| key == lost);
        let rubbish = twisted.iter().filter(is_rubbish).map(|to| (after_epoch(&epoch, at.author), to.wallet));
        self.book.borrow_mut().rubbish.extend(rubbish);
        let mut book = self.book.borrow_mut();
        book.epochs.insert(base64(&epoch.to_bytes()), epoch.clone());
        book.transcripts.insert(after_epoch(&epoch, at.author), epoch.clone());
        Ok(epoch)
    }

    fn open_epoch(&self, epoch: SealedEpoch<'_>, with: &Secret) -> Result<Secret, Fault> {
        self.vault.open_epoch(epoch, with)
    }

    fn commitment(&self, account_id: &str, device: &str, seal_key: &PublicKey, random: &[u8; 32]) -> Result<[u8; 32], Fault> {
        self.vault.commitment(account_id, device, seal_key, random)
    }

    fn short_number(
        &self,
        account_id: &str,
        approver: &str,
        commitment: &[u8; 32],
        device_random: &[u8; 32],
        approver_random: &[u8; 32],
    ) -> Result<u32, Fault> {
        self.vault.short_number(account_id, approver, commitment, device_random, approver_random)
    }

    fn recovery_code(&self, random: &[u8; 17]) -> Result<String, Fault> {
        self.vault.recovery_code(random)
    }

    fn recovery_keys(&self, code: &str, account_id: &str) -> Result<(Secret, Secret), Fault> {
        self.vault.recovery_keys(code, account_id)
    }

    fn passkey_keys(&self, output: &Secret, account_id: &str) -> Result<(Secret, Secret), Fault> {
        self.vault.passkey_keys(output, account_id)
    }

    fn reseal(&self, author: &str, to: &ResealTo, secrets: &[(KnownEpoch, Secret)], random: &[u8; 32]) -> Result<Resealed, Fault> {
        let is_false = self.dishonest.is_some_and(|own| own != to.wallet);
        let account_key = if is_false { self.lost_key() } else { to.account_key };
        let resealed = self.vault.reseal(author, &ResealTo { account_key, ..*to }, secrets, random)?;
        let ciphertext = base64(&ResealEntry(vec![resealed.clone()]).to_bytes());
        let mut book = self.book.borrow_mut();
        if is_false {
            book.false_gifts.insert(ciphertext.clone());
        }
        book.given.insert(ciphertext, resealed.clone());
        Ok(resealed)
    }

    fn open_reseal(&self, resealed: &Resealed, author: &str, with: &Secret, epochs: &[KnownEpoch]) -> Result<Vec<Option<Secret>>, Fault> {
        self.vault.open_reseal(resealed, author, with, epochs)
    }

    fn text_keys(&self, secret: &Secret, transcript: &[u8; 32], tag: &[u8; 32], device: &str) -> Result<Box<dyn TextKeys>, Fault> {
        let keys = self.vault.text_keys(secret, transcript, tag, device)?;
        Ok(Box::new(WatchedKeys { keys, book: Rc::clone(&self.book), transcript: *transcript, device: device.to_owned() }))
    }
}

struct WatchedKeys {
    keys: Box<dyn TextKeys>,
    book: SharedBook,
    transcript: Digest,
    device: DeviceId,
}

impl TextKeys for WatchedKeys {
    fn encrypt(&self, epoch: u64, place: Place<'_>, content: &[u8]) -> Result<EncryptedText, Fault> {
        let text = self.keys.encrypt(epoch, place, content)?;
        let Place { previous, counter, knows, kind, id } = place;
        let written = Written {
            content: content.to_vec(),
            device: self.device.clone(),
            transcript: self.transcript,
            epoch,
            previous: *previous,
            counter,
            knows,
            kind,
            id: id.to_owned(),
        };
        self.book.borrow_mut().encrypted(written, &text);
        Ok(text)
    }

    fn decrypt(&self, place: Place<'_>, text: &EncryptedText) -> Result<Vec<u8>, Fault> {
        self.keys.decrypt(place, text)
    }
}
