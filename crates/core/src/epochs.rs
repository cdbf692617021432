//! The epochs of an encrypted session: what its log, and the account logs of its members, say of who can read it.
//!
//! The relay and every device evaluate the same entries by this code, and come to the same epochs. What counts depends on the logs
//! alone, and on no secret: `docs/encryption.md` has the rules by their numbers.

use base64ct::{Base64, Encoding as _};
use solconnect_sync_vault::Malformed as Bent;
use solconnect_sync_vault::epoch::{after_epoch, after_membership, first_transcript};
use solconnect_sync_vault::layout::{AsksEntry, EncryptedText, EpochEntry, EpochMember, ResealEntry};

use crate::entry::{Digest, Entry};
use crate::group::{GroupChange, Role};
use crate::identity::{Account, PublicKey};
use crate::ids::public_key;
use crate::limits::{EPOCH_SPANS_MAX, EPOCH_WALLETS_MAX, INTEGER_MAX, UNCAUSED_EPOCH_MS};
use crate::log::LogHead;
use crate::message::{Kind, Stamp};
use crate::wire::{Malformed, Reader, put_varint};

/// What an entry says that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// An epoch begins.
    Epoch(EpochEntry),
    /// Earlier secrets, for who lacks them.
    Reseal(ResealEntry),
    /// Somebody lacks secrets.
    Asks(AsksEntry),
    /// What a person wrote.
    Text(EncryptedText),
    /// Nothing that is encrypted: a void, or what is said of a group.
    Clear,
}

/// Why an entry does not count at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uncounted {
    /// It names a place of this wallet's account log that is not known here: nothing is decided before it is.
    Unknown(PublicKey),
    /// It names a place of this wallet's account log with another hash than is there: who took it has another account log.
    Forked(PublicKey),
    /// It is of another epoch than the one at its place.
    Moved,
    /// It would not count at any place.
    Never(&'static str),
}

/// Who is in a session at a place of its log.
pub struct Members<'a> {
    /// The wallets, in the order of their keys.
    pub wallets: Vec<PublicKey>,
    /// What a wallet is in it.
    pub role: &'a dyn Fn(&str) -> Role,
    /// The account of a wallet, as far as it is known here.
    pub account: &'a dyn Fn(&PublicKey) -> Option<&'a Account>,
}

/// The epochs up to an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epochs {
    transcript: Digest,
    /// The number of the last epoch that counts, 0 before the first.
    number: u64,
    /// Nobody came or left since.
    is_current: bool,
    /// The wallets that epochs have named, in the order of their keys.
    named: Vec<Named>,
}

/// What epochs have said of a wallet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its key.
    pub wallet: PublicKey,
    /// The place of its account log that was named last.
    pub head: LogHead,
    /// The generation there, 0 for none.
    pub generation: u64,
    /// The epochs that it was in, from and up to their numbers, ascending.
    spans: Vec<(u64, u64)>,
    /// When one of its devices last began an epoch that had no cause, by the relay's time; 0 for never.
    uncaused_ms: u64,
}

impl Named {
    /// Whether it was in an epoch.
    pub fn was_in(&self, number: u64) -> bool {
        self.spans.iter().any(|(from, through)| (*from..=*through).contains(&number))
    }
}

impl Epochs {
    /// Those of a session that has no entry.
    pub fn new(session_id: &str) -> Epochs {
        Epochs { transcript: first_transcript(session_id), number: 0, is_current: false, named: Vec::new() }
    }

    /// What the next epoch must name.
    pub fn transcript(&self) -> Digest {
        self.transcript
    }

    /// The number of the last epoch, 0 where there was none.
    pub fn last(&self) -> u64 {
        self.number
    }

    /// The number of the epoch that texts are written in; `None` where one must begin first.
    pub fn current(&self) -> Option<u64> {
        Some(self.number).filter(|_| self.is_current)
    }

    /// What was said of a wallet.
    pub fn named(&self, wallet: &PublicKey) -> Option<&Named> {
        self.place(wallet).ok().map(|place| &self.named[place])
    }

    /// The wallets of the last epoch.
    pub fn wallets(&self) -> impl Iterator<Item = &Named> {
        self.named.iter().filter(|named| named.was_in(self.number))
    }

    /// Whether a wallet may begin no epoch without a cause at this time, the relay's. A clock that was set back holds nobody up.
    pub fn is_early(&self, wallet: &PublicKey, now_ms: u64) -> bool {
        let last_ms = self.named(wallet).map(|named| named.uncaused_ms).filter(|last_ms| *last_ms > 0);
        last_ms.and_then(|last_ms| now_ms.checked_sub(last_ms)).is_some_and(|passed_ms| passed_ms < UNCAUSED_EPOCH_MS)
    }

    fn place(&self, wallet: &PublicKey) -> Result<usize, usize> {
        self.named.binary_search_by(|named| named.wallet.cmp(wallet))
    }

    /// Whether an entry counts as the next one.
    ///
    /// # Errors
    /// Why not.
    pub fn judge(&self, entry: &Entry, members: &Members<'_>) -> Result<Said, Uncounted> {
        let message = &entry.message;
        if matches!(message.kind, Kind::VOID | Kind::GROUP) {
            return Ok(Said::Clear);
        }
        let is_bare = message.content_type.is_none() && message.replaces.is_none() && message.extra.is_empty();
        if !is_bare || !entry.also.is_empty() || !entry.extensions.is_empty() || message.timestamp != Stamp::Millis(0) {
            return Err(Uncounted::Never("what is encrypted has nothing in clear beside it"));
        }
        let bytes = Base64::decode_vec(&message.ciphertext).map_err(|_| Uncounted::Never("it is not in base64"))?;
        let author = public_key(&message.sender_wallet).ok_or(Uncounted::Never("its wallet is none"))?;
        let bent = |Bent(what): Bent| Uncounted::Never(what);
        match message.kind {
            Kind::EPOCH => {
                let epoch = EpochEntry::from_bytes(&bytes).map_err(bent)?;
                self.judge_epoch(&epoch, &author, entry, members).map(|()| Said::Epoch(epoch))
            }
            Kind::RESEAL => {
                let reseal = ResealEntry::from_bytes(&bytes).map_err(bent)?;
                self.judge_author(&author, &entry.device_id, members)?;
                let is_admin = (members.role)(&message.sender_wallet) == Role::Admin;
                for item in &reseal.0 {
                    let was_in = |number: &u64| self.named(&item.wallet).is_some_and(|named| named.was_in(*number));
                    let is_granted = is_admin && members.wallets.binary_search(&item.wallet).is_ok();
                    if item.epochs.last().is_some_and(|last| *last > self.number) || !(is_granted || item.epochs.iter().all(was_in)) {
                        return Err(Uncounted::Never("it gives secrets to a wallet that was in another epoch"));
                    }
                }
                Ok(Said::Reseal(reseal))
            }
            Kind::ASKS => {
                let asks = AsksEntry::from_bytes(&bytes).map_err(bent)?;
                self.judge_author(&author, &entry.device_id, members)?;
                Ok(Said::Asks(asks))
            }
            _ => {
                let text = EncryptedText::from_bytes(&bytes).map_err(bent)?;
                if self.current() != Some(text.epoch) {
                    return Err(Uncounted::Moved);
                }
                self.judge_author(&author, &entry.device_id, members)?;
                Ok(Said::Text(text))
            }
        }
    }

    /// Rule 4: the epoch's own heads list who writes in it.
    fn judge_author(&self, author: &PublicKey, device_id: &str, members: &Members<'_>) -> Result<(), Uncounted> {
        if !self.is_current {
            return Err(Uncounted::Moved);
        }
        let named = self.named(author).filter(|named| named.was_in(self.number));
        let named = named.ok_or(Uncounted::Never("its wallet is not in the epoch"))?;
        let account = known(members, author, named.head)?;
        // The next epoch may list it.
        if account.is_some_and(|account| account.was_listed_at(device_id, named.head.sequence)) { Ok(()) } else { Err(Uncounted::Moved) }
    }

    /// Rules 2 and 3.
    fn judge_epoch(&self, epoch: &EpochEntry, author: &PublicKey, entry: &Entry, members: &Members<'_>) -> Result<(), Uncounted> {
        if epoch.number != self.number + 1 || epoch.after != self.transcript {
            return Err(Uncounted::Moved);
        }
        if !epoch.members.iter().map(|member| &member.wallet).eq(&members.wallets) {
            return Err(Uncounted::Never("it names other wallets than are in the session"));
        }
        let mut has_cause = !self.is_current;
        for member in &epoch.members {
            let head = LogHead { sequence: member.head.sequence, hash: member.head.hash };
            let before = self.named(&member.wallet).map_or(0, |named| named.head.sequence);
            if head.sequence < before {
                return Err(Uncounted::Moved);
            }
            has_cause |= head.sequence > before;
            let account = known(members, &member.wallet, head)?;
            let newest = account.and_then(|account| account.generation_at(head.sequence)).map(|key| key.number);
            if member.sealed.as_ref().map(|(generation, _)| *generation) != newest {
                return Err(Uncounted::Never("it names another generation than an account has at that place"));
            }
            let is_author = member.wallet == *author;
            if is_author && !account.is_some_and(|account| account.was_listed_at(&entry.device_id, head.sequence)) {
                return Err(Uncounted::Never("its author is not listed at the place that it names"));
            }
        }
        if !epoch.members.iter().any(|member| member.wallet == *author) {
            return Err(Uncounted::Never("its author's wallet is not in the session"));
        }
        if !has_cause && self.is_early(author, entry.server_timestamp) {
            return Err(Uncounted::Moved);
        }
        Ok(())
    }

    /// The next entry has entered the log, with this digest. What it says was judged, and the changes are those that it made of the
    /// group.
    pub fn take(&mut self, entry: &Entry, said: &Said, digest: &Digest, changes: &[GroupChange]) {
        if changes.iter().any(|change| matches!(change, GroupChange::Added(_) | GroupChange::Removed(_))) {
            self.transcript = after_membership(&self.transcript, digest);
            self.is_current = false;
        }
        let Said::Epoch(epoch) = said else { return };
        let author = public_key(&entry.message.sender_wallet);
        let is_later = |member: &EpochMember| self.named(&member.wallet).map_or(0, |named| named.head.sequence) < member.head.sequence;
        let has_cause = !self.is_current || epoch.members.iter().any(is_later);
        self.transcript = after_epoch(epoch, &entry.device_id);
        self.number = epoch.number;
        self.is_current = true;
        for member in &epoch.members {
            let place = self.place(&member.wallet).unwrap_or_else(|place| {
                let (wallet, head) = (member.wallet, LogHead { sequence: 0, hash: Digest::default() });
                self.named.insert(place, Named { wallet, head, generation: 0, spans: Vec::new(), uncaused_ms: 0 });
                place
            });
            let named = &mut self.named[place];
            named.head = LogHead { sequence: member.head.sequence, hash: member.head.hash };
            named.generation = member.sealed.as_ref().map_or(0, |(generation, _)| *generation);
            match named.spans.last_mut() {
                Some((_, through)) if *through + 1 == epoch.number => *through = epoch.number,
                _ => named.spans.push((epoch.number, epoch.number)),
            }
            // Of who came and went more often, the first times are forgotten.
            named.spans.drain(..named.spans.len().saturating_sub(EPOCH_SPANS_MAX));
            if !has_cause && Some(member.wallet) == author {
                named.uncaused_ms = entry.server_timestamp;
            }
        }
        self.forget();
    }

    /// Wallets that left the longest time ago are forgotten: their account heads may go back if they return, and what was written
    /// while they were in is sealed to them again by an admin alone.
    fn forget(&mut self) {
        while self.named.len() > EPOCH_WALLETS_MAX {
            let last = |named: &Named| named.spans.last().map_or(0, |(_, through)| *through);
            let Some(oldest) = (0..self.named.len()).min_by_key(|place| last(&self.named[*place])) else { return };
            self.named.remove(oldest);
        }
    }

    /// What is stored of it: enough to take the next entry.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![u8::from(self.is_current)];
        out.extend_from_slice(&self.transcript);
        put_varint(&mut out, self.number);
        put_varint(&mut out, self.named.len() as u64);
        for Named { wallet, head, generation, spans, uncaused_ms } in &self.named {
            out.extend_from_slice(wallet);
            put_varint(&mut out, head.sequence);
            out.extend_from_slice(&head.hash);
            put_varint(&mut out, *generation);
            put_varint(&mut out, *uncaused_ms);
            put_varint(&mut out, spans.len() as u64);
            for (from, through) in spans {
                put_varint(&mut out, *from);
                put_varint(&mut out, *through);
            }
        }
        out
    }

    /// Reads that.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Epochs, Malformed> {
        let mut reader = Reader(bytes);
        let is_current = match reader.byte()? {
            0 => false,
            1 => true,
            _ => return Err(Malformed(&"an epoch is the current one or not")),
        };
        let transcript = *reader.array()?;
        let number = Some(reader.varint()?).filter(|number| *number <= INTEGER_MAX).ok_or(Malformed(&"there are too many epochs"))?;
        let count = reader.below(EPOCH_WALLETS_MAX + 1)?;
        let mut named: Vec<Named> = Vec::with_capacity(count);
        for _ in 0..count {
            let wallet = *reader.array()?;
            if named.last().is_some_and(|last| last.wallet >= wallet) {
                return Err(Malformed(&"the wallets of epochs are not in order"));
            }
            let head = LogHead { sequence: reader.varint()?, hash: *reader.array()? };
            let (generation, uncaused_ms) = (reader.varint()?, reader.varint()?);
            let mut spans: Vec<(u64, u64)> = Vec::new();
            for _ in 0..reader.below(EPOCH_SPANS_MAX + 1)? {
                let (from, through) = (reader.varint()?, reader.varint()?);
                if from <= spans.last().map_or(0, |(_, last)| *last) || from > through || through > number {
                    return Err(Malformed(&"the epochs of a wallet are not in order"));
                }
                spans.push((from, through));
            }
            named.push(Named { wallet, head, generation, spans, uncaused_ms });
        }
        if reader.0.is_empty() {
            Ok(Epochs { transcript, number, is_current, named })
        } else {
            Err(Malformed(&"more stands behind the epochs"))
        }
    }
}

/// The account of a wallet that has a place in its log; `None` at the beginning, where nobody need know it.
fn known<'a>(members: &Members<'a>, wallet: &PublicKey, head: LogHead) -> Result<Option<&'a Account>, Uncounted> {
    if head.sequence == 0 {
        return if head.hash == Digest::default() { Ok(None) } else { Err(Uncounted::Never("an account that is not begun has a hash")) };
    }
    let account = (members.account)(wallet).filter(|account| account.head().sequence >= head.sequence);
    let account = account.ok_or(Uncounted::Unknown(*wallet))?;
    if account.place(head.sequence) == Some(head.hash) { Ok(Some(account)) } else { Err(Uncounted::Forked(*wallet)) }
}
