//! People with wallets and devices, and a group of them: real machines of both sides, over stores in memory.

use solconnect_sync_core::client::{Event, GroupWish, Input, Membership, Reply, SessionView};
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::identity::DeviceKey;
use solconnect_sync_core::ids::wallet_address;
use solconnect_sync_core::relay::Input as RelayInput;

use crate::memory::Records;
use crate::rooms::Rooms;
use crate::signer::{Device, config, drawing};

/// The key of a wallet by its number.
pub fn wallet(number: u8) -> DeviceKey {
    DeviceKey::from_secret(&[number.wrapping_add(100); 32])
}

pub fn address(number: u8) -> String {
    wallet_address(&wallet(number).public())
}

pub fn addresses(numbers: &[u8]) -> Vec<String> {
    numbers.iter().copied().map(address).collect()
}

/// A device of a wallet, signed in. Its own number must be another for each device.
pub fn joined(rooms: &mut Rooms, wallet_number: u8, number: u8) -> Device {
    let mut device = Device::of(wallet(wallet_number), drawing(Records::default(), number), config(), number);
    device.talk(rooms);
    device.sign();
    device.talk(rooms);
    if !device.records.identity.as_ref().is_some_and(|identity| identity.is_listed) {
        // A relay that lets strangers in has served it as one.
        device.again(rooms);
    }
    device.events.clear();
    device
}

/// A device that starts again over what it has stored.
pub fn again(device: Device, number: u8) -> Device {
    let records = drawing(device.records, number);
    Device::of(device.wallet, records, config(), number)
}

/// People 0, 1, 2 ... with a device each, and the group that the first of them has begun with some others.
pub struct Club {
    pub rooms: Rooms,
    pub people: Vec<Device>,
    pub session_id: String,
}

impl Club {
    /// So many people, of whom these are in the group; those who are have accepted it.
    pub fn new(mut rooms: Rooms, count: u8, others: &[u8]) -> Club {
        let mut people: Vec<Device> = (0..count).map(|number| joined(&mut rooms, number, number + 1)).collect();
        let session_id = begin(&mut people[0], "Walkers", others).unwrap().session_id;
        let mut club = Club { rooms, people, session_id };
        club.talk();
        others.iter().for_each(|number| club.accept(*number));
        club
    }

    pub fn of(count: u8, others: &[u8]) -> Club {
        Club::new(crate::signer::strict(), count, others)
    }

    /// Until nobody has anything to say.
    pub fn talk(&mut self) {
        for _ in 0..4 {
            for person in &mut self.people {
                person.talk(&mut self.rooms);
            }
        }
    }

    /// The connection of this one is lost.
    pub fn lose_connection(&mut self, number: usize) {
        let Device { generation, connection, .. } = self.people[number];
        self.rooms.feed(RelayInput::Closed { connection });
        self.people[number].is_connected = false;
        self.people[number].feed(Input::Disconnected { generation, reason: "lost".into() });
    }

    pub fn accept(&mut self, number: u8) {
        let session_id = self.session_id.clone();
        let person = &mut self.people[usize::from(number)];
        person.feed(Input::AcceptSession { request: 7, session_id });
        assert!(matches!(person.replies.pop(), Some(Ok(Reply::Session(_)))), "{number} accepts");
        self.talk();
    }

    /// Somebody wants something, and everybody hears of it.
    pub fn wish(&mut self, number: u8, wish: GroupWish) -> Result<(), ErrorCode> {
        let done = self.wishes(number, wish);
        self.talk();
        done
    }

    /// The same, and nobody has heard of it yet.
    pub fn wishes(&mut self, number: u8, wish: GroupWish) -> Result<(), ErrorCode> {
        let session_id = self.session_id.clone();
        let person = &mut self.people[usize::from(number)];
        person.feed(Input::Regroup { request: 8, session_id, wish });
        person.replies.pop().expect("an answer").map(|reply| assert_eq!(reply, Reply::Done)).map_err(|error| error.code)
    }

    pub fn add(&mut self, number: u8, others: &[u8]) -> Result<(), ErrorCode> {
        self.wish(number, GroupWish::Add(addresses(others)))
    }

    pub fn remove(&mut self, number: u8, others: &[u8]) -> Result<(), ErrorCode> {
        self.wish(number, GroupWish::Remove(addresses(others)))
    }

    /// Writes, without saying it.
    pub fn writes(&mut self, number: u8, text: &str) -> Result<(), ErrorCode> {
        let session_id = self.session_id.clone();
        let person = &mut self.people[usize::from(number)];
        let (content_type, message_id, known) = (None, None, None);
        person.feed(Input::Send { request: 4, session_id, text: text.into(), content_type, message_id, known });
        person.replies.pop().expect("an answer").map(|_| ()).map_err(|error| error.code)
    }

    pub fn write(&mut self, number: u8, text: &str) -> Result<(), ErrorCode> {
        let done = self.writes(number, text);
        self.talk();
        done
    }

    pub fn view(&self, number: u8) -> SessionView {
        self.people[usize::from(number)].client.session(&self.session_id).expect("a session")
    }

    /// The members as somebody knows them, by their numbers, admins with an exclamation mark.
    pub fn members(&self, number: u8) -> String {
        shown(&self.view(number))
    }

    pub fn membership(&self, number: u8) -> Membership {
        self.view(number).membership
    }

    /// The log as somebody has stored it.
    pub fn entries(&self, number: u8) -> Vec<Entry> {
        let records = self.people[usize::from(number)].records.log(&self.session_id);
        records.into_iter().flat_map(|record| record.batch.entries().expect("a batch")).collect()
    }

    /// The texts that somebody has stored and shows.
    pub fn texts(&self, number: u8) -> Vec<String> {
        let person = &self.people[usize::from(number)];
        let entries = self.entries(number).into_iter().map(|entry| (entry, None)).collect();
        person.client.show(&self.session_id, entries, false).into_iter().map(|message| message.text).collect()
    }

    /// What somebody was told since the last time that is an invitation: who added it, and the name.
    pub fn invited(&mut self, number: u8) -> Vec<(String, Option<String>)> {
        let told = |event: &Event| match event {
            Event::SessionInvited { peer_wallet, name, .. } => Some((peer_wallet.clone(), name.clone())),
            _ => None,
        };
        let invited = self.people[usize::from(number)].events.iter().filter_map(told).collect();
        self.people[usize::from(number)].events.clear();
        invited
    }
}

/// A group is begun.
pub fn begin(device: &mut Device, name: &str, others: &[u8]) -> Result<SessionView, SyncError> {
    device.feed(Input::OpenGroup { request: 6, name: name.into(), members: addresses(others) });
    match device.replies.pop().expect("an answer")? {
        Reply::Session(view) => Ok(view),
        other => panic!("{other:?}"),
    }
}

pub fn shown(view: &SessionView) -> String {
    let number = |wallet: &str| (0..100).find(|number| address(*number) == wallet).expect("a number");
    let members = view.members.iter().map(|member| format!("{}{}", number(&member.wallet), if member.is_admin { "!" } else { "" }));
    members.collect::<Vec<_>>().join(" ")
}
