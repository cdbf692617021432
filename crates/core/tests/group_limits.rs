//! A full group: 256 wallets, and eight devices of each. What it takes fits what it must.

use crate::account;
use crate::groups;
use crate::groups::{Club, address, begin, joined};
use crate::rooms;
use crate::rooms::Rooms;
use crate::signer::{Device, strict};
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::client::{GroupWish, Input, MessageStatus};
use solconnect_sync_core::entry::Entry;
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::identity::{
    Account, Certificate, Claim, DeviceKey, DomainSet, Offer, Owner, Purpose, Statement, UpdateSignature,
};
use solconnect_sync_core::ids::message_id;
use solconnect_sync_core::limits::{CLOCK_DEVICES_MAX, GROUP_MEMBERS_MAX, OFFER_MS};
use solconnect_sync_core::log::Log;
use solconnect_sync_core::message::Message;
use solconnect_sync_core::relay::{DeviceRow, StoredEntry, WatermarkRow};
use solconnect_sync_core::watermark::Watermark;

const DEVICES_PER_WALLET: usize = 8;

/// The relay goes away and comes back, and so does a device.
fn begin_again(rooms: &mut Rooms, device: &mut Device) {
    rooms.restart();
    device.is_connected = false;
    let generation = device.generation;
    device.feed(Input::Disconnected { generation, reason: "lost".into() });
    device.again(rooms);
}

/// The key of a device by its number.
fn device_key(number: usize) -> DeviceKey {
    let mut secret = [0xdd; 32];
    secret[..8].copy_from_slice(&(number as u64).to_be_bytes());
    DeviceKey::from_secret(&secret)
}

/// The relay has listed these devices in the account of a wallet.
fn list_devices(rooms: &mut Rooms, number: u8, devices: impl Iterator<Item = DeviceKey>) {
    let owner = Owner::new(&address(number), DomainSet::new(vec![account::DOMAIN.into()]).unwrap()).unwrap();
    let rows = rooms.journal.entry(owner.account_id.clone()).or_default();
    let mut account = Account::new(owner.clone());
    rows.entries.iter().for_each(|stored| drop(account.take(&stored.body.entries().unwrap()[0]).unwrap()));
    let issued_ms = rooms.now.wall_ms;
    for key in devices {
        let (device, purpose, expires_ms) = (key.public(), Purpose::Join, issued_ms + OFFER_MS);
        let (domain, wallet, account_id) = (account::DOMAIN.into(), owner.wallet.clone(), owner.account_id.clone());
        let text = Offer { domain, wallet, account_id, device, purpose, issued_ms, expires_ms }.text();
        let claim = Claim::Join(Certificate { signature: groups::wallet(number).sign(text.as_bytes()), text });
        let said = Statement::sign(&key, &owner, account.head(), claim).entry(&owner, 1, issued_ms);
        let sequence = account.head().sequence + 1;
        let entry = Entry { sequence_number: sequence, server_timestamp: issued_ms, ..said };
        account.take(&entry).unwrap().unwrap();
        let (device_id, log_hash) = (entry.device_id.clone(), account.log().hash());
        let body = Batch::of(&[entry]).unwrap();
        rows.entries.push(StoredEntry { sequence, device_id, counter: 1, key: None, log_hash, signature: None, body });
    }
}

#[test]
fn of_a_full_group_all_receipts_are_told_in_frames_that_fit() {
    let mut rooms = strict();
    let mut people = vec![joined(&mut rooms, 0, 0)];
    let others: Vec<u8> = (1..=u8::MAX).collect();
    let session_id = begin(&mut people[0], &"é".repeat(64), &others).unwrap().session_id;
    let mut club = Club { rooms, people, session_id };
    club.write(0, "hello").unwrap();
    assert_eq!(club.view(0).members.len(), GROUP_MEMBERS_MAX);
    // Of each wallet something else is known, and the last has not read it.
    for number in 1..=u8::MAX {
        let watermark = Watermark { delivered: 2, read: if number == u8::MAX { 1 } else { 2 } };
        let rows = club.rooms.journal.get_mut(&club.session_id).unwrap();
        rows.watermarks.insert(address(number), WatermarkRow { wallet: address(number), watermark });
    }
    begin_again(&mut club.rooms, &mut club.people[0]);
    let shown = |club: &Club| {
        let entries = club.entries(0).into_iter().map(|entry| (entry, None)).collect();
        let message = club.people[0].client.show(&club.session_id, entries, false).pop().unwrap();
        (message.status, message.read_by.unwrap().len())
    };
    assert_eq!(shown(&club), (MessageStatus::Delivered, GROUP_MEMBERS_MAX - 2));
    let rows = club.rooms.journal.get_mut(&club.session_id).unwrap();
    rows.watermarks.get_mut(&address(u8::MAX)).unwrap().watermark.read = 2;
    begin_again(&mut club.rooms, &mut club.people[0]);
    assert_eq!(shown(&club), (MessageStatus::Read, GROUP_MEMBERS_MAX - 1));
    assert_eq!(club.wish(0, GroupWish::Add(vec![rooms::WALLETS[0].into()])), Err(ErrorCode::LimitReached));
}

#[test]
fn that_a_message_arrived_is_told_of_all_at_once() {
    let others: Vec<u8> = (1..24).collect();
    let mut club = Club::of(24, &others);
    club.rooms.timeout(2_000);
    club.talk();
    club.write(0, "hello").unwrap();
    club.rooms.timeout(50);
    let frames: usize = club.people.iter().map(|person| club.rooms.lengths(person.connection).len()).sum();
    assert!((24..=2 * 24).contains(&frames), "{frames} frames; told one by one they are 500");
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
    for wallet in 0..GROUP_MEMBERS_MAX {
        let numbers = (wallet..CLOCK_DEVICES_MAX - 2).step_by(GROUP_MEMBERS_MAX);
        list_devices(&mut rooms, wallet as u8, numbers.map(device_key));
    }
    let rows = rooms.journal.get_mut(&session_id).unwrap();
    let mut log = Log::new(&session_id);
    let seen = log.log_head();
    rows.entries.iter().for_each(|stored| log.take(&stored.body.entries().unwrap()[0]).unwrap());
    for number in 0..CLOCK_DEVICES_MAX - 2 {
        let key = device_key(number);
        let device_id = key.device_id();
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
        let signature = Some(UpdateSignature::sign(&key, &session_id, 1, &last_digest, seen));
        let (last_counter, last_sequence, platform) = (1, sequence, "web".into());
        let row =
            DeviceRow { device_id: device_id.clone(), wallet, platform, last_counter, last_sequence, last_digest, ..DeviceRow::default() };
        rows.devices.insert(device_id.clone(), row);
        let body = Batch::of(&[entry]).unwrap();
        rows.entries.push(StoredEntry { sequence, device_id, counter: 1, key: None, log_hash: log.hash(), signature, body });
    }
    begin_again(&mut rooms, &mut admin);
    assert_eq!(admin.client.session(&session_id).unwrap().last_synced_sequence, log.end(), "it catches up");
    assert_eq!(admin.warnings(), []);
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
    assert!(rooms.journal[&session_id].devices.len() == CLOCK_DEVICES_MAX);
}
