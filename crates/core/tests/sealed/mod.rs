//! People whose devices encrypt, and what can be seen of what they write. Needs the modules `account`, `memory`, `rooms` and `signer`
//! beside it.

use solconnect_sync_core::client::{ClientConfig, Input, Reply};
use solconnect_sync_core::identity::DeviceKey;
use solconnect_sync_core::ids::wallet_address;

use crate::account::key;
use crate::memory::Records;
use crate::rooms::Rooms;
use crate::signer::{Device, all_talk, config, drawing};

/// The wallet of a person.
pub fn wallet(person: u8) -> DeviceKey {
    key(150 + person)
}

pub fn address(person: u8) -> String {
    wallet_address(&wallet(person).public())
}

pub fn approving() -> ClientConfig {
    ClientConfig { approves_devices: true, ..config() }
}

/// A device of a person, signed in, that encrypts. Its own number must be another for each device.
pub fn joined(rooms: &mut Rooms, person: u8, number: u8) -> Device {
    let mut device = Device::encrypting(wallet(person), drawing(Records::default(), number), approving(), number);
    device.talk(rooms);
    device.sign();
    device.talk(rooms);
    device
}

/// It starts again over what it has stored.
pub fn again(device: Device, number: u8) -> Device {
    Device::encrypting(device.wallet, drawing(device.records, number), approving(), number)
}

pub fn open(device: &mut Device, person: u8) -> String {
    device.feed(Input::OpenSession { request: 2, peer_wallet: address(person) });
    match device.replies.pop() {
        Some(Ok(Reply::Session(view))) => view.session_id,
        other => panic!("{other:?}"),
    }
}

/// Time passes until nobody has anything to say or to do.
pub fn settle(rooms: &mut Rooms, devices: &mut [&mut Device]) {
    for _ in 0..8 {
        all_talk(rooms, devices);
        for device in devices.iter_mut() {
            device.now.monotonic_ms += 100;
            device.now.wall_ms += 100;
            device.feed(Input::Timeout);
        }
        rooms.timeout(100);
    }
}

pub fn write(device: &mut Device, session_id: &str, text: &str) {
    let (session_id, text) = (session_id.to_owned(), text.to_owned());
    device.feed(Input::Send { request: 4, session_id, text, content_type: None, message_id: None, known: None });
    assert!(matches!(device.replies.pop(), Some(Ok(Reply::Receipt(_)))));
}

/// The texts that a device shows of what it has stored.
pub fn texts(device: &Device, session_id: &str) -> Vec<String> {
    let entries = device.records.log(session_id).into_iter().flat_map(|record| record.entries().unwrap());
    let entries = entries.map(|entry| (entry, None)).collect();
    device.client.show(session_id, entries, true).into_iter().map(|message| message.text).collect()
}

/// The kinds of the entries that the relay has.
pub fn kinds(rooms: &Rooms, session_id: &str) -> Vec<u32> {
    let entries = rooms.journal[session_id].entries.iter();
    entries.map(|stored| stored.body.entries().unwrap()[0].message.kind.0).collect()
}

/// Whether a text stands anywhere in what the relay has stored.
pub fn relay_knows(rooms: &Rooms, text: &str) -> bool {
    let entries = rooms.journal.values().flat_map(|rows| &rows.entries);
    entries.flat_map(|stored| stored.body.entries().unwrap()).any(|entry| format!("{entry:?}").contains(text))
}

/// Alice and Bob, who have both been here, with a session that both have started.
pub fn pair(rooms: &mut Rooms) -> (Device, Device, String) {
    let (mut alice, mut bob) = (joined(rooms, 0, 1), joined(rooms, 1, 2));
    let session_id = open(&mut alice, 1);
    assert_eq!(open(&mut bob, 0), session_id);
    settle(rooms, &mut [&mut alice, &mut bob]);
    (alice, bob, session_id)
}
