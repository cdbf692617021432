//! A full group: 256 wallets, and eight devices of each. What it takes fits what it must.

mod account;
mod groups;
#[path = "conformance/memory.rs"]
mod memory;
mod rooms;
mod signer;

use groups::{Club, address, begin, joined};
use signer::{Device, strict};
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::client::{GroupWish, Input, MessageStatus, Reply};
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::ids::message_id;
use solconnect_sync_core::limits::{CLOCK_DEVICES_MAX, FRAME_BYTES_MAX, GROUP_MEMBERS_MAX};
use solconnect_sync_core::log::Log;
use solconnect_sync_core::message::Message;
use solconnect_sync_core::relay::{DeviceRow, StoredEntry};

const DEVICES_PER_WALLET: usize = 8;

/// Everybody is in it, with a device each that is there.
fn full() -> Club {
    let mut rooms = strict();
    let mut people: Vec<Device> = (0..=u8::MAX).map(|number| joined(&mut rooms, number, number)).collect();
    let others: Vec<u8> = (1..=u8::MAX).collect();
    let session_id = begin(&mut people[0], &"é".repeat(64), &others).unwrap().session_id;
    let mut club = Club { rooms, people, session_id };
    club.talk();
    for person in &mut club.people[1..] {
        person.feed(Input::AcceptSession { request: 7, session_id: club.session_id.clone() });
        assert!(matches!(person.replies.pop(), Some(Ok(Reply::Session(_)))));
    }
    club.talk();
    club
}

#[test]
fn in_a_full_group_receipts_of_all_fit_their_frames() {
    let mut club = full();
    assert_eq!(club.view(255).members.len(), GROUP_MEMBERS_MAX);
    club.write(0, "hello").unwrap();
    club.rooms.timeout(50);
    let frames: usize = club.people.iter().map(|person| club.rooms.lengths(person.connection).len()).sum();
    // Told one by one, they would be 65,000.
    assert!(frames <= 256 * 20, "{frames} frames tell that a message arrived");
    club.talk();
    for number in 1..=u8::MAX {
        let entry = club.entries(number).pop().unwrap();
        let (session_id, message_id, sequence_number) = (club.session_id.clone(), entry.message.id, entry.sequence_number);
        club.people[usize::from(number)].feed(Input::MarkRead { request: 5, session_id, message_id, sequence_number });
        assert_eq!(shown(&club).0, MessageStatus::Delivered, "{number} has not read it");
        club.people[usize::from(number)].talk(&mut club.rooms);
        club.people[0].talk(&mut club.rooms);
    }
    let (status, read_by) = shown(&club);
    assert_eq!((status, read_by.len()), (MessageStatus::Read, GROUP_MEMBERS_MAX - 1));
    // Who comes again hears all of them, in frames that fit.
    club.people[0].again(&mut club.rooms);
    assert_eq!(club.people[0].warnings(), []);
    assert_eq!(club.wish(0, GroupWish::Add(vec![account::owner("x.example").wallet])), Err(ErrorCode::LimitReached));
}

/// How far the last message of person 0 is, and who has read it.
fn shown(club: &Club) -> (MessageStatus, Vec<String>) {
    let entries = club.entries(0).into_iter().map(|entry| (entry, None)).collect();
    let message = club.people[0].client.show(&club.session_id, entries, false).pop().unwrap();
    (message.status, message.read_by.unwrap())
}

#[test]
fn eight_devices_of_each_wallet_write_in_a_full_group() {
    assert_eq!(CLOCK_DEVICES_MAX, GROUP_MEMBERS_MAX * DEVICES_PER_WALLET);
    let mut rooms = strict();
    let mut admin = joined(&mut rooms, 0, 0);
    let others: Vec<u8> = (1..=u8::MAX).collect();
    let session_id = begin(&mut admin, "Walkers", &others).unwrap().session_id;
    admin.talk(&mut rooms);
    // All devices but the admin's and one more have written.
    let rows = rooms.journal.get_mut(&session_id).unwrap();
    let mut log = Log::new(&session_id);
    rows.entries.iter().for_each(|stored| log.take(&stored.body.entries().unwrap()[0]).unwrap());
    for number in 0..CLOCK_DEVICES_MAX - 2 {
        let device_id = format!("device {number:04} of somebody");
        let message = Message {
            id: message_id(&session_id, &device_id, "start0", 1),
            sender_wallet: address((number % GROUP_MEMBERS_MAX) as u8),
            ciphertext: "x".into(),
            session_id: session_id.clone(),
            ..Message::default()
        };
        let sequence = log.end() + 1;
        let entry = Entry { message, device_id: device_id.clone(), counter: 1, sequence_number: sequence, ..Entry::default() };
        let wallet = Some(entry.message.sender_wallet.clone());
        log.take(&entry).unwrap();
        let last_digest = log.digest(&session_id, &device_id);
        let (last_counter, last_sequence, platform) = (1, sequence, "web".into());
        let row =
            DeviceRow { device_id: device_id.clone(), wallet, platform, last_counter, last_sequence, last_digest, ..DeviceRow::default() };
        rows.devices.insert(device_id.clone(), row);
        let body = Batch::of(&[entry]).unwrap();
        rows.entries.push(StoredEntry { sequence, device_id, counter: 1, key: None, log_hash: log.hash(), signature: None, body });
    }
    rooms.restart();
    admin.is_connected = false;
    let generation = admin.generation;
    admin.feed(Input::Disconnected { generation, reason: "lost".into() });
    admin.again(&mut rooms);
    assert_eq!(admin.client.session(&session_id).unwrap().last_synced_sequence, log.end(), "it catches up");
    // The last device that there is room for, and one more.
    for (number, code) in [(9, None), (10, Some(ErrorCode::LimitReached))] {
        let mut device = joined(&mut rooms, 1, number);
        device.feed(Input::AcceptSession { request: 7, session_id: session_id.clone() });
        device.talk(&mut rooms);
        device.events.clear();
        let (content_type, message_id, known) = (None, None, None);
        device.feed(Input::Send { request: 4, session_id: session_id.clone(), text: "me too".into(), content_type, message_id, known });
        device.talk(&mut rooms);
        assert_eq!((device.warnings().pop(), device.queued()), (code, usize::from(code.is_some())), "{number}");
    }
    assert!(rooms.journal[&session_id].devices.len() == CLOCK_DEVICES_MAX && FRAME_BYTES_MAX == 65_536);
}
