//! People who signed in to a relay, and an encrypted session of them, by hand: every step is a frame. Needs the modules `account`,
//! `memory`, `rooms`, `sealing` and `signer` beside it.

use serde_json::Value;
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::entry::{Digest, Entry, first_digest, first_log_hash};
use solconnect_sync_core::epochs::{Epochs, Members, Said};
use solconnect_sync_core::frame::{Body, DeviceAnnounce, Frame, Head, PROTOCOL_VERSION, Payload, SyncUpdate};
use solconnect_sync_core::group::{Group, GroupChange, GroupNonce, Role, Statement as GroupStatement};
use solconnect_sync_core::identity::{Account, Claim, DeviceKey, Statement, UpdateSignature};
use solconnect_sync_core::ids::{message_id, public_key};
use solconnect_sync_core::log::{Log, LogHead};
use solconnect_sync_core::message::{Kind, Message};
use solconnect_sync_core::relay::Input;
use solconnect_sync_vault::epoch::{EpochSecret, Recipient};
use solconnect_sync_vault::layout::EpochEntry;

use crate::memory::Records;
use crate::rooms::Rooms;
use crate::sealing::{Vault, address, domains, encrypted, epoch, generation, opened, seal_key, sealed, wallet};
use crate::signer::{Device, config, drawing, strict};

pub const NONCE: GroupNonce = [9; 16];

/// People who signed in, and the encrypted session of some of them.
pub struct Hall {
    pub rooms: Rooms,
    pub people: Vec<Device>,
    pub session_id: String,
    /// The secrets of its epochs, by their numbers from 1.
    pub secrets: Vec<EpochSecret>,
}

impl Hall {
    /// So many people whose accounts have a key.
    pub fn of(count: u8) -> Hall {
        let mut rooms = strict();
        let mut people = Vec::new();
        for number in 0..count {
            let mut person = Device::of(wallet(number), drawing(Records::default(), number + 1), config(), number + 1);
            person.talk(&mut rooms);
            person.sign();
            person.talk(&mut rooms);
            people.push(person);
        }
        let mut hall = Hall { rooms, people, session_id: String::new(), secrets: Vec::new() };
        for person in 0..count {
            hall.keyed(person);
        }
        hall
    }

    /// The session of the first two, who have announced it.
    pub fn pair() -> Hall {
        let mut hall = Hall::of(2);
        hall.session_id = domains().sealed_session_of(&address(0), &address(1)).unwrap();
        for (person, peer) in [(0, 1), (1, 0)] {
            assert_eq!(hall.announce(person, Some(address(peer)), None), ["sync_status"; 0]);
        }
        hall.rooms.asked.clear();
        hall
    }

    /// The same with its first epoch.
    pub fn begun() -> Hall {
        let mut hall = Hall::pair();
        hall.epoch(0).unwrap();
        hall
    }

    pub fn key(&self, person: u8) -> DeviceKey {
        let secret = self.people[usize::from(person)].records.identity.as_ref().unwrap().secret.clone();
        DeviceKey::from_secret(&secret.try_into().unwrap())
    }

    pub fn connection(&self, person: u8) -> u64 {
        self.people[usize::from(person)].connection
    }

    /// What a person hears that says a frame: codes of errors, and what else is no news of others.
    pub fn hears(&mut self, person: u8, session_id: &str, body: Body) -> Vec<String> {
        let connection = self.connection(person);
        self.rooms.hear(connection);
        let head = Head {
            session_id: session_id.to_owned(),
            device_id: self.key(person).device_id(),
            message_id: "f".into(),
            protocol_version: Some(PROTOCOL_VERSION),
            ..Head::default()
        };
        let payload = Payload::Binary(Frame { head, body }.to_bytes().unwrap().into());
        self.rooms.feed(Input::Received { connection, payload });
        self.heard(person)
    }

    pub fn heard(&mut self, person: u8) -> Vec<String> {
        let name = |heard: Value| heard["code"].as_str().or(heard["type"].as_str()).unwrap_or_default().to_owned();
        let heard = self.rooms.hear(self.connection(person)).into_iter().map(name);
        heard
            .filter(|name| !["device_list", "session_list", "sync_status", "sync_response", "read_receipt_sync"].contains(&name.as_str()))
            .collect()
    }

    pub fn announce(&mut self, person: u8, peer_wallet: Option<String>, group_nonce: Option<GroupNonce>) -> Vec<String> {
        let session_id = self.session_id.clone();
        self.announce_at(person, &session_id, peer_wallet, group_nonce)
    }

    pub fn announce_at(
        &mut self,
        person: u8,
        session_id: &str,
        peer_wallet: Option<String>,
        group_nonce: Option<GroupNonce>,
    ) -> Vec<String> {
        let wallet = Some(address(person));
        self.hears(
            person,
            session_id,
            Body::DeviceAnnounce(DeviceAnnounce { wallet, peer_wallet, group_nonce, ..DeviceAnnounce::default() }),
        )
    }

    /// A wallet's account as the journal has it.
    pub fn account(&self, person: u8) -> Account {
        let mut account = Vault::new(person).account;
        for stored in self.rooms.journal.get(&account.owner().account_id).iter().flat_map(|rows| &rows.entries) {
            account.take(&stored.body.entries().unwrap()[0]).unwrap().unwrap();
        }
        account
    }

    /// What the first device of a wallet says of its account.
    pub fn says_of_account(&mut self, person: u8, claim: Claim) -> Vec<String> {
        let (key, account) = (self.key(person), self.account(person));
        let owner = account.owner().clone();
        let counter = account.log().counter(&key.device_id()) + 1;
        let entry = Statement::sign(&key, &owner, account.head(), claim).entry(&owner, counter, self.rooms.now.wall_ms);
        let messages = Batch::of(&[entry]).unwrap();
        self.hears(person, &owner.account_id, Body::SyncUpdate(SyncUpdate { messages, ..SyncUpdate::default() }))
    }

    pub fn renew(&mut self, person: u8) {
        let claim = Claim::Generation(generation(&self.account(person), &[]));
        assert_eq!(self.says_of_account(person, claim), [""; 0]);
    }

    pub fn keyed(&mut self, person: u8) {
        let claim = Claim::SealKey(seal_key(&self.key(person)).public());
        assert_eq!(self.says_of_account(person, claim), [""; 0]);
        self.renew(person);
    }

    /// What somebody names of a wallet.
    pub fn recipient(&self, person: u8) -> Recipient {
        let account = self.account(person);
        Vault { number: person, account, entries: Vec::new() }.now()
    }

    pub fn entries(&self) -> Vec<Entry> {
        let rows = self.rooms.journal.get(&self.session_id);
        rows.iter().flat_map(|rows| &rows.entries).map(|stored| stored.body.entries().unwrap().remove(0)).collect()
    }

    /// The log as its readers evaluate it, from its first entry on: as the relay has.
    pub fn epochs(&self) -> (Epochs, Vec<String>) {
        let mut epochs = Epochs::new(&self.session_id);
        let mut group =
            self.entries().first().filter(|entry| entry.message.kind == Kind::GROUP).map(|_| Group::named(&self.session_id, ""));
        let accounts: Vec<(Account, [u8; 32])> =
            (0..self.people.len() as u8).map(|person| (self.account(person), wallet(person).public())).collect();
        let mut log = Log::new(&self.session_id);
        let mut texts = Vec::new();
        for entry in self.entries() {
            let mut wallets: Vec<[u8; 32]> = match &group {
                Some(group) => group.members().iter().map(|member| public_key(&member.wallet).unwrap()).collect(),
                None => [0, 1].map(|person| wallet(person).public()).to_vec(),
            };
            wallets.sort_unstable();
            let role = |wallet: &str| group.as_ref().map_or(Role::Member, |group| group.role(wallet));
            let account = |key: &[u8; 32]| accounts.iter().find(|(_, wallet)| wallet == key).map(|(account, _)| account);
            let said = epochs.judge(&entry, &Members { wallets, role: &role, account: &account }).expect("the relay takes what counts");
            let previous = log.digest(&self.session_id, &entry.device_id);
            log.take(&entry).unwrap();
            let changes = group.as_mut().map(|group| group.take(&entry).unwrap()).unwrap_or_default();
            epochs.take(&entry, &said, &log.digest(&self.session_id, &entry.device_id), &changes);
            if let Said::Text(text) = said {
                texts.push(opened(&entry, &previous, &self.secrets[text.epoch as usize - 1]).ciphertext);
            }
        }
        if let Some(stored) = self.rooms.journal.get(&self.session_id).and_then(|rows| rows.epochs.clone()) {
            assert_eq!(Epochs::from_bytes(&stored).as_ref(), Ok(&epochs), "the relay stores what readers come to");
        }
        (epochs, texts)
    }

    /// The next entry of a person, with the digest of the one before it.
    pub fn entry(&self, person: u8, behind: u64, message: Message, previous: Option<Digest>) -> (Entry, Digest) {
        let device_id = self.key(person).device_id();
        let row = self.rooms.journal.get(&self.session_id).and_then(|rows| rows.devices.get(&device_id)).filter(|row| row.last_counter > 0);
        let counter = row.map_or(0, |row| row.last_counter) + 1 + behind;
        let stored = row.map_or_else(|| first_digest(&self.session_id, &device_id), |row| row.last_digest);
        let id = Some(message.id.clone()).filter(|id| !id.is_empty());
        let id = id.unwrap_or_else(|| message_id(&self.session_id, &device_id, "start0", counter));
        let message = Message { id, sender_wallet: address(person), session_id: self.session_id.clone(), ..message };
        (Entry { message, device_id, counter, ..Entry::default() }, previous.unwrap_or(stored))
    }

    /// Says entries, each of which follows the one before it, signed at once.
    pub fn update(&mut self, person: u8, messages: Vec<Message>) -> Result<(), String> {
        let (mut entries, mut digest) = (Vec::new(), None);
        for (behind, message) in messages.into_iter().enumerate() {
            let (entry, previous) = self.entry(person, behind as u64, message, digest);
            digest = Some(entry.digest(&previous));
            entries.push(entry);
        }
        self.say(person, &entries, digest.unwrap())
    }

    pub fn say(&mut self, person: u8, entries: &[Entry], last_digest: Digest) -> Result<(), String> {
        let seen = LogHead { sequence: 0, hash: first_log_hash(&self.session_id) };
        let counter = entries.last().unwrap().counter;
        let signature = Some(UpdateSignature::sign(&self.key(person), &self.session_id, counter, &last_digest, seen));
        let messages = Batch::of(entries).unwrap();
        let session_id = self.session_id.clone();
        let heard = self.hears(person, &session_id, Body::SyncUpdate(SyncUpdate { last_digest, messages, signature }));
        let peer = (self.people.len() == 2).then(|| address(1 - person));
        match heard.as_slice() {
            [ack] if ack == "sync_ack" => Ok(()),
            [] => Err("nothing yet".into()),
            [code] => {
                // What it sent behind the refused message is not taken before it announces itself again.
                self.announce(person, peer, None);
                Err(code.clone())
            }
            other => panic!("{other:?}"),
        }
    }

    /// The epoch that somebody would begin now, for these, and its secret.
    pub fn draft(&self, person: u8, recipients: Vec<Recipient>) -> (EpochEntry, EpochSecret) {
        epoch(&self.epochs().0, &self.key(person).device_id(), recipients, 7)
    }

    pub fn epoch_for(&mut self, person: u8, recipients: Vec<Recipient>) -> Result<(), String> {
        let (epoch, secret) = self.draft(person, recipients);
        self.update(person, vec![sealed(Kind::EPOCH, &epoch.to_bytes())])?;
        self.secrets.push(secret);
        Ok(())
    }

    /// The people who are in it by its log, or two.
    pub fn members(&self) -> Vec<u8> {
        let mut group = Group::named(&self.session_id, "");
        let is_group =
            self.entries().iter().filter(|entry| entry.message.kind == Kind::GROUP).map(|entry| group.take(entry).unwrap()).count() > 0;
        (0..self.people.len() as u8)
            .filter(|person| if is_group { group.member(&address(*person)).is_some() } else { *person < 2 })
            .collect()
    }

    /// Somebody begins an epoch, by the newest that there is.
    pub fn epoch(&mut self, person: u8) -> Result<(), String> {
        let recipients = self.members().into_iter().map(|person| self.recipient(person)).collect();
        self.epoch_for(person, recipients)
    }

    /// The entry of a text, encrypted in the last epoch, and its digest.
    pub fn text_entry(&self, person: u8, message: Message) -> (Entry, Digest) {
        let (entry, previous) = self.entry(person, 0, message, None);
        let entry = encrypted(entry, &previous, self.secrets.len() as u64, self.secrets.last().unwrap());
        let digest = entry.digest(&previous);
        (entry, digest)
    }

    pub fn text(&mut self, person: u8, text: &str) -> Result<(), String> {
        let (entry, digest) = self.text_entry(person, Message { ciphertext: text.into(), ..Message::default() });
        self.say(person, &[entry], digest)
    }

    /// How often accounts were read since that was last asked.
    pub fn reads(&mut self) -> usize {
        let asked = std::mem::take(&mut self.rooms.asked);
        asked.into_iter().filter(|kind| *kind == "read").count()
    }

    /// A second device of the first wallet is listed and leaves again, with or without another key.
    pub fn removes(&mut self, person: u8, renews: bool) {
        let mut other = Device::of(wallet(person), drawing(Records::default(), 50 + person), config(), 50 + person);
        other.talk(&mut self.rooms);
        other.sign();
        other.talk(&mut self.rooms);
        let devices = vec![other.id()];
        let claim = if renews {
            let generation = generation(&self.account(person), &devices);
            Claim::RemoveAndRenew { devices, kept: Vec::new(), generation }
        } else {
            Claim::Remove { devices, kept: Vec::new() }
        };
        assert_eq!(self.says_of_account(person, claim), [""; 0]);
    }

    /// A group of the first of so many with these, and whether its first epoch stands in the same update.
    pub fn group(count: u8, others: &[u8], with_epoch: bool) -> Hall {
        let mut hall = Hall::of(count);
        let addresses: Vec<String> = others.iter().map(|number| address(*number)).collect();
        let (group, begin) = Group::draft(&address(0), domains(), NONCE, "Walkers", &addresses, true).unwrap();
        hall.session_id = group.session_id().to_owned();
        assert_eq!(hall.announce(0, None, Some(NONCE)), [""; 0]);
        hall.rooms.asked.clear();
        if with_epoch {
            hall.with_epoch(0, begin, others).unwrap();
        } else {
            hall.update(0, vec![begin.message()]).unwrap();
        }
        for person in others {
            assert_eq!(hall.announce(*person, None, None), [""; 0]);
        }
        hall
    }

    /// Says something of the group, and the epoch that follows from it, in one update.
    pub fn with_epoch(&mut self, person: u8, statement: GroupStatement, others: &[u8]) -> Result<(), String> {
        let (entry, previous) = self.entry(person, 0, statement.message(), None);
        let digest = entry.digest(&previous);
        let (mut epochs, _) = self.epochs();
        let change = [GroupChange::Added(address(person))];
        epochs.take(&entry, &Said::Clear, &digest, &change);
        let recipients = [&[0][..], others].concat().into_iter().map(|person| self.recipient(person)).collect();
        let (epoch, secret) = epoch(&epochs, &self.key(person).device_id(), recipients, 8);
        self.update(person, vec![statement.message(), sealed(Kind::EPOCH, &epoch.to_bytes())])?;
        self.secrets.push(secret);
        Ok(())
    }
    /// Somebody signs in again, on another connection.
    pub fn back(&mut self, person: u8) {
        let device = &mut self.people[usize::from(person)];
        device.again(&mut self.rooms);
        device.talk(&mut self.rooms);
    }
}
