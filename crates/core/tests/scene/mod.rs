//! Devices that talk in one session, by chance, over a relay that has its key and rewrites its journal.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::client::{Event, Input, MessageView, StoredLog};
use solconnect_sync_core::entry::{Entry, first_digest, first_log_hash, next_log_hash};
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::frame::Frame;
use solconnect_sync_core::identity::{DeviceKey, UpdateSignature};
use solconnect_sync_core::ids::message_id;
use solconnect_sync_core::log::LogHead;
use solconnect_sync_core::message::Message;
use solconnect_sync_core::relay::{DeviceRow, StoredEntry};

use crate::rooms::{Rooms, WALLETS};
use crate::signer::{Device, strict};

pub struct Scene {
    random: Rng,
    session: String,
    rooms: Rooms,
    pub devices: Vec<Device>,
    /// Each text, and the device that wrote it.
    written: BTreeMap<String, String>,
}

/// Changes what was written in a stored entry.
pub fn bend(stored: &mut StoredEntry, change: impl FnOnce(&mut Entry)) {
    let mut entry = stored.body.entries().unwrap().remove(0);
    change(&mut entry);
    stored.body = Batch::of(&[entry]).unwrap();
}

impl Scene {
    /// Two to four devices, each of which has written.
    pub fn new(seed: u64) -> Scene {
        let (mut random, mut rooms) = (Rng::with_seed(seed), strict());
        let count = random.u8(2..=4);
        let devices: Vec<Device> = (1..=count).map(|number| Device::joined(number, &mut rooms)).collect();
        let session = devices[0].client.sessions()[0].session_id.clone();
        let mut scene = Scene { random, session, rooms, devices, written: BTreeMap::new() };
        for place in 0..scene.devices.len() {
            scene.write_alone(place);
        }
        scene.meet();
        scene
    }

    pub fn below(&mut self, count: usize) -> usize {
        self.random.usize(..count)
    }

    pub fn session(&self) -> &str {
        &self.session
    }

    /// What the journal has of the session.
    pub fn rows(&self) -> Vec<StoredEntry> {
        self.rooms.journal[&self.session].entries.clone()
    }

    /// What devices told the application.
    pub fn warnings(&self) -> Vec<ErrorCode> {
        self.devices.iter().flat_map(Device::warnings).collect()
    }

    fn write(&mut self, place: usize) {
        let text = format!("text {}", self.written.len());
        let (content_type, message_id, known) = (None, None, None);
        let session_id = self.session.clone();
        self.devices[place].feed(Input::Send { request: 4, session_id, text: text.clone(), content_type, message_id, known });
        self.written.insert(text, self.devices[place].id());
    }

    pub fn write_alone(&mut self, place: usize) {
        self.write(place);
        self.devices[place].talk(&mut self.rooms);
    }

    /// One writes, and all hear it.
    pub fn exchange(&mut self) {
        let place = self.below(self.devices.len());
        self.write_alone(place);
        self.meet();
    }

    /// A few messages. Not everybody hears each at once, and some store what they know of the log late.
    pub fn chat(&mut self) {
        for _ in 0..self.random.usize(2..=6) {
            let place = self.below(self.devices.len());
            self.write_alone(place);
            for place in 0..self.devices.len() {
                if self.random.bool() {
                    self.devices[place].talk(&mut self.rooms);
                }
                if self.random.bool() {
                    self.settle(place);
                }
            }
        }
    }

    /// Until all have heard everything and stored it.
    pub fn meet(&mut self) {
        for _ in 0..3 {
            for place in 0..self.devices.len() {
                self.devices[place].talk(&mut self.rooms);
            }
        }
        for place in 0..self.devices.len() {
            self.settle(place);
        }
    }

    /// What was acknowledged is stored.
    pub fn settle(&mut self, place: usize) {
        let device = &mut self.devices[place];
        device.now.monotonic_ms += 1_000;
        device.feed(Input::Timeout);
        device.talk(&mut self.rooms);
    }

    pub fn two_of_them(&mut self) -> (usize, usize) {
        let one = self.below(self.devices.len());
        let other = self.below(self.devices.len() - 1);
        (one, if other >= one { other + 1 } else { other })
    }

    /// Two write what the other does not know of, and these are the last entries of the log.
    pub fn write_at_once(&mut self) {
        self.meet();
        let (one, other) = self.two_of_them();
        self.write(one);
        self.write(other);
        self.meet();
    }

    /// One device comes back, the others hear nothing; it writes so many messages, and stores what it knows after each.
    pub fn only(&mut self, place: usize, count: usize) {
        self.come_back(place);
        for _ in 0..count {
            self.write_alone(place);
            self.settle(place);
        }
    }

    pub fn come_back(&mut self, place: usize) {
        self.devices[place].again(&mut self.rooms);
    }

    /// The relay dies and starts over the journal as it is now. All come back, in any order.
    pub fn restart(&mut self) {
        self.restart_relay();
        let mut places: Vec<usize> = (0..self.devices.len()).collect();
        self.random.shuffle(&mut places);
        for place in places {
            self.come_back(place);
        }
    }

    /// A device gives one of its wallet's messages another text, or none.
    pub fn change(&mut self, place: usize, message_id: &str, text: Option<&str>) {
        let (session_id, message_id) = (self.session.clone(), message_id.to_owned());
        self.devices[place].feed(Input::Edit { request: 13, session_id, message_id, text: text.map(str::to_owned) });
        self.devices[place].talk(&mut self.rooms);
    }

    /// What a device shows of the session.
    pub fn shown(&self, place: usize) -> Vec<MessageView> {
        let device = &self.devices[place];
        let entries = device.records.log(&self.session).into_iter().flat_map(|record| record.entries().unwrap());
        device.client.show(&self.session, entries.map(|entry| (entry, None)).collect(), true)
    }

    /// A backup is put back, which has whole updates.
    pub fn lose_some(&mut self) {
        let mut end = self.below(self.rows().len());
        while end > 0 && self.rows()[end - 1].signature.is_none() {
            end -= 1;
        }
        self.rewrite(|entries| entries.truncate(end));
    }

    pub fn restart_relay(&mut self) {
        self.rooms.restart();
    }

    /// The relay changes its journal, and makes log hashes and devices' rows that fit.
    pub fn rewrite(&mut self, change: impl FnOnce(&mut Vec<StoredEntry>)) {
        let rows = self.rooms.journal.get_mut(&self.session).unwrap();
        change(&mut rows.entries);
        let mut hash = first_log_hash(&self.session);
        for row in rows.devices.values_mut() {
            (row.last_counter, row.last_sequence, row.last_digest) = (0, 0, first_digest(&self.session, &row.device_id));
        }
        for (sequence, stored) in (1..).zip(&mut rows.entries) {
            let mut entry = stored.body.entries().unwrap().remove(0);
            entry.sequence_number = sequence;
            let row = rows.devices.get_mut(&stored.device_id).expect("a device of the session");
            let digest = entry.digest(&row.last_digest);
            (row.last_counter, row.last_sequence, row.last_digest) = (stored.counter, sequence, digest);
            hash = next_log_hash(&hash, &digest, entry.server_timestamp);
            (stored.sequence, stored.log_hash, stored.body) = (sequence, hash, Batch::of(&[entry]).unwrap());
        }
    }

    /// The relay makes up a device of a wallet, which writes behind all that all have. Without a key it signs nothing.
    pub fn make_up_device(&mut self, wallet: &str, key: Option<&DeviceKey>) {
        let session = self.session.clone();
        let device_id = key.map_or_else(|| "madeUpMadeUpMade7".to_owned(), DeviceKey::device_id);
        let last = self.rows().pop().expect("somebody has written");
        let seen = LogHead { sequence: last.sequence, hash: last.log_hash };
        let message = Message {
            id: message_id(&session, &device_id, "madeUp", 1),
            sender_wallet: wallet.to_owned(),
            ciphertext: "made up".into(),
            session_id: session.clone(),
            ..Message::default()
        };
        let entry = Entry {
            message,
            device_id: device_id.clone(),
            counter: 1,
            knows: last.sequence,
            sequence_number: last.sequence + 1,
            ..Entry::default()
        };
        let signature = key.map(|key| UpdateSignature::sign(key, &session, 1, &entry.digest(&first_digest(&session, &device_id)), seen));
        let row = DeviceRow { device_id: device_id.clone(), wallet: Some(wallet.to_owned()), ..DeviceRow::default() };
        self.rooms.journal.get_mut(&session).unwrap().devices.insert(device_id.clone(), row);
        let body = Batch::of(&[entry]).unwrap();
        let stored =
            StoredEntry { sequence: last.sequence + 1, device_id, counter: 1, key: None, log_hash: last.log_hash, signature, body };
        self.rewrite(|entries| entries.push(stored));
    }

    pub fn next_counter(&self, device_id: &str) -> u64 {
        self.rows().iter().filter(|stored| stored.device_id == device_id).map(|stored| stored.counter).max().unwrap_or_default() + 1
    }

    /// What one of them writes to somebody else.
    pub fn write_elsewhere(&mut self) -> StoredEntry {
        let place = self.below(self.devices.len());
        let device = &mut self.devices[place];
        device.feed(Input::OpenSession { request: 8, peer_wallet: WALLETS[1].into() });
        let other = device.client.sessions().into_iter().find(|found| found.session_id != self.session).unwrap().session_id;
        let (content_type, message_id, known) = (None, None, None);
        let text = "elsewhere".into();
        device.feed(Input::Send { request: 9, session_id: other.clone(), text, content_type, message_id, known });
        device.talk(&mut self.rooms);
        self.rooms.journal[&other].entries.last().unwrap().clone()
    }

    pub fn bend_what_all_hear(&mut self, bends: fn(&mut Frame)) {
        for device in &mut self.devices {
            device.bends = Some(bends);
        }
    }

    /// A device's person says that the relay's log counts; how many messages the device offers again.
    pub fn accept(&mut self, place: usize) -> u64 {
        let stored = self.devices[place].parted_logs();
        self.accept_with(place, stored)
    }

    /// The same, where this was read before.
    pub fn accept_with(&mut self, place: usize, stored: Vec<StoredLog>) -> u64 {
        let device = &mut self.devices[place];
        let count = device.accept(stored);
        device.talk(&mut self.rooms);
        count
    }

    /// What a device wrote and the relay has no more.
    pub fn own_behind(&self, place: usize) -> Vec<Entry> {
        let device = &self.devices[place];
        let records = device.records.log(&self.session);
        let entries = records.into_iter().flat_map(|record| record.entries().unwrap());
        let (end, own) = (self.rows().len() as u64, device.id());
        entries.filter(|entry| entry.sequence_number > end && entry.device_id == own).collect()
    }

    /// Everybody accepts, and then hears what the others offer again.
    pub fn all_accept(&mut self) {
        for place in 0..self.devices.len() {
            self.accept(place);
        }
        self.meet();
        self.meet();
    }

    pub fn written_count(&self) -> usize {
        self.written.len()
    }

    /// The texts that a device has stored, in order.
    pub fn texts(&self, place: usize) -> Vec<String> {
        let records = self.devices[place].records.log(&self.session);
        records.into_iter().flat_map(|record| record.entries().unwrap()).map(|entry| entry.message.ciphertext).collect()
    }

    /// Nothing is shown that nobody wrote, nothing is shown or stored twice, and what a device wrote it has or still sends.
    pub fn check(&self, seed: u64) {
        for (place, device) in self.devices.iter().enumerate() {
            let mut shown = BTreeSet::new();
            for event in &device.events {
                if let Event::MessageReceived { session_id, entry } = event
                    && *session_id == self.session
                {
                    let text = &entry.message.ciphertext;
                    assert!(self.written.contains_key(text), "seed {seed}: device {place} shows {text:?}");
                    assert!(shown.insert(text), "seed {seed}: device {place} shows {text:?} twice");
                }
            }
            let mut stored = self.texts(place);
            let unsent = device.client.queued().into_iter().filter(|message| message.session_id == self.session);
            let kept: BTreeSet<String> = stored.iter().cloned().chain(unsent.map(|message| message.text)).collect();
            let lost: Vec<&String> = self
                .written
                .iter()
                .filter(|(_, by)| **by == device.id())
                .map(|(text, _)| text)
                .filter(|text| !kept.contains(*text))
                .collect();
            assert!(lost.is_empty(), "seed {seed}: device {place} has lost {lost:?}");
            let count = stored.len();
            stored.sort();
            stored.dedup();
            assert_eq!(stored.len(), count, "seed {seed}: device {place} has stored something twice");
        }
    }

    /// All have all, and nothing was shown twice.
    pub fn check_all_have_all_once(&self, seed: u64) {
        self.check(seed);
        self.check_all_have_all(seed);
    }

    /// All have stored the same, and all that was written.
    pub fn check_all_have_all(&self, seed: u64) {
        for place in 0..self.devices.len() {
            assert_eq!(self.texts(place), self.texts(0), "seed {seed}");
            assert_eq!(self.devices[place].queued(), 0, "seed {seed}");
        }
        assert_eq!(self.texts(0).iter().collect::<BTreeSet<_>>(), self.written.keys().collect(), "seed {seed}");
    }
}
