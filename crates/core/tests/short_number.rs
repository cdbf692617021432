//! The short number: two devices of an account, of which one waits to be approved, show the same one, and nobody else's.

use crate::account::{DOMAIN, key, owner, wallet};
use crate::memory::Records;
use crate::rooms::{Rooms, the_error};
use crate::signer::{Device, all_talk, config, drawing, strict};
use serde_json::json;
use solconnect_sync_core::client::vault::Secret;
use solconnect_sync_core::client::{Event, Input, Native, Reply, Vault};
use solconnect_sync_core::error::ErrorCode;
use solconnect_sync_core::frame::{Body, Frame, Head, PROTOCOL_VERSION, Payload, ShortNumber};
use solconnect_sync_core::identity::DeviceKey;
use solconnect_sync_core::limits::{NUMBER_FRAMES_MAX, NUMBER_TRIES_MAX};
use solconnect_sync_core::relay::Input as RelayInput;

/// Nothing is said.
const NONE: [u8; 32] = [0; 32];

/// A device that encrypts and has signed in.
fn joined(rooms: &mut Rooms, number: u8) -> Device {
    let mut device = Device::encrypting(wallet(), drawing(Records::default(), number), config(), number);
    device.talk(rooms);
    device.sign();
    device.talk(rooms);
    device
}

/// The first is approved, the others wait.
fn waiting<const COUNT: usize>(rooms: &mut Rooms) -> [Device; COUNT] {
    let mut devices = std::array::from_fn(|place| joined(rooms, u8::try_from(place + 1).unwrap()));
    all_talk(rooms, &mut devices.each_mut());
    devices
}

/// Its machine begins anew over what it has stored, on a new connection.
fn begun_anew(rooms: &mut Rooms, device: Device, number: u8) -> Device {
    if device.is_connected {
        rooms.feed(RelayInput::Closed { connection: device.connection });
    }
    let mut device = Device::encrypting(device.wallet, drawing(device.records, number), config(), number);
    device.talk(rooms);
    device
}

/// What one device shows of another.
fn shown(device: &Device, other: &Device) -> Option<String> {
    let devices = device.client.account_devices();
    devices.into_iter().find(|listed| listed.id == other.id()).expect("it is listed").number
}

/// What was told of numbers since it was last asked.
fn told(device: &mut Device) -> Vec<Option<String>> {
    let events = std::mem::take(&mut device.events).into_iter();
    events.filter_map(|event| if let Event::DeviceNumber { device } = event { Some(device.number) } else { None }).collect()
}

/// The key of a device, from its store.
fn key_of(device: &Device) -> DeviceKey {
    DeviceKey::from_secret(device.records.identity.as_ref().unwrap().secret.first_chunk().unwrap())
}

/// What this device says to another, rightly signed.
fn says(from: &DeviceKey, to: &str, commitment: [u8; 32], random: [u8; 32]) -> ShortNumber {
    let mut said = ShortNumber { to: to.into(), commitment, random, ..ShortNumber::default() };
    said.signature = from.sign(&said.signed_bytes(&owner(DOMAIN).account_id, &from.device_id()));
    said
}

/// What a device has heard of numbers.
fn heard(device: &Device) -> Vec<ShortNumber> {
    let heard = device.heard.iter();
    heard.filter_map(|frame| if let Body::ShortNumber(heard) = &frame.body { Some(heard.clone()) } else { None }).collect()
}

/// A frame reaches a device as from the relay; what it is about to say.
fn take(device: &mut Device, said: ShortNumber) -> Vec<ShortNumber> {
    let head = Head { session_id: owner(DOMAIN).account_id, ..Head::default() };
    let frame = Frame { head, body: Body::ShortNumber(said) }.to_bytes().unwrap();
    device.sent.clear();
    device.feed(Input::Received { generation: device.generation, frame: frame.into() });
    let said = device.sent.drain(..).map(|bytes| Frame::from_bytes(&bytes).unwrap().body);
    said.filter_map(|body| if let Body::ShortNumber(said) = body { Some(said) } else { None }).collect()
}

/// The same of a frame that its device has signed.
fn hear(device: &mut Device, from: &DeviceKey, commitment: [u8; 32], random: [u8; 32]) -> Vec<ShortNumber> {
    let said = says(from, &device.id(), commitment, random);
    take(device, ShortNumber { from: from.device_id(), ..said })
}

/// What a device that waits is bound to, which it says to who says that it is there.
fn committed(device: &mut Device, other: &DeviceKey) -> [u8; 32] {
    let said = hear(device, other, NONE, NONE);
    assert_eq!(said.len(), 1);
    said[0].commitment
}

#[test]
fn both_devices_show_the_same_number() {
    let mut rooms = strict();
    let [mut laptop, mut phone] = waiting(&mut rooms);
    let number = shown(&laptop, &phone).expect("both are there");
    assert!(number.len() == 6 && number.bytes().all(|digit| digit.is_ascii_digit()), "{number}");
    assert_eq!(shown(&phone, &laptop), Some(number.clone()));
    assert_eq!((told(&mut laptop), told(&mut phone)), (vec![Some(number.clone())], vec![Some(number)]));
    assert_eq!((shown(&laptop, &laptop), shown(&phone, &phone)), (None, None));
    // None of it stays at the relay.
    assert_eq!(rooms.journal.len(), 1);
    assert_eq!(rooms.journal[&owner(DOMAIN).account_id].entries.len(), 5, "two devices, two seal keys, an account key");
}

#[test]
fn each_pair_of_devices_has_its_own_number() {
    let mut rooms = strict();
    let [mut laptop, mut tablet, mut phone, mut other] = waiting(&mut rooms);
    assert_ne!(shown(&laptop, &phone), shown(&laptop, &other), "another one asks at the same time");
    laptop.approve(&tablet.id());
    all_talk(&mut rooms, &mut [&mut laptop, &mut tablet, &mut phone, &mut other]);
    assert_eq!(shown(&laptop, &tablet), None, "there is nothing to compare any more");
    let pairs = [(&laptop, &phone), (&laptop, &other), (&tablet, &phone), (&tablet, &other)];
    let numbers: std::collections::BTreeSet<String> = pairs.iter().map(|(one, two)| shown(one, two).expect("a number")).collect();
    assert_eq!(numbers.len(), 4);
    pairs.iter().for_each(|(one, two)| assert_eq!(shown(one, two), shown(two, one)));
    assert_eq!((shown(&laptop, &tablet), shown(&phone, &other)), (None, None));
}

#[test]
fn a_number_stays_on_the_next_connection() {
    let mut rooms = strict();
    let [mut laptop, mut phone] = waiting(&mut rooms);
    let number = shown(&laptop, &phone);
    for _ in 0..2 * NUMBER_TRIES_MAX {
        phone.again(&mut rooms);
        laptop.again(&mut rooms);
        all_talk(&mut rooms, &mut [&mut laptop, &mut phone]);
    }
    assert_eq!((&shown(&laptop, &phone), &shown(&phone, &laptop)), (&number, &number));
    assert_eq!((told(&mut laptop).len(), told(&mut phone).len()), (1, 1));
}

#[test]
fn both_show_the_same_however_often_a_page_begins_anew() {
    let mut rooms = strict();
    let [mut laptop, mut phone] = waiting(&mut rooms);
    let number = shown(&laptop, &phone);
    assert!(number.is_some());
    for life in 0..2 * u8::try_from(NUMBER_TRIES_MAX).unwrap() {
        laptop = begun_anew(&mut rooms, laptop, 20 + life);
        assert_eq!(shown(&laptop, &phone), number, "also before the other one has said anything");
        all_talk(&mut rooms, &mut [&mut laptop, &mut phone]);
        phone = begun_anew(&mut rooms, phone, 40 + life);
        all_talk(&mut rooms, &mut [&mut laptop, &mut phone]);
        assert_eq!((&shown(&laptop, &phone), &shown(&phone, &laptop)), (&number, &number));
    }
    assert_eq!((told(&mut laptop), told(&mut phone)), (vec![], vec![]), "it is no news");
}

#[test]
fn who_has_lost_what_it_stored_shows_the_same_as_the_other() {
    let mut rooms = strict();
    let [mut laptop, mut phone] = waiting(&mut rooms);
    let mut numbers = vec![shown(&laptop, &phone)];
    for life in 0..3 {
        laptop.records.identity.as_mut().unwrap().numbers.clear();
        laptop = begun_anew(&mut rooms, laptop, 20 + life);
        all_talk(&mut rooms, &mut [&mut laptop, &mut phone]);
        numbers.push(shown(&laptop, &phone));
        assert_eq!(shown(&phone, &laptop), numbers[numbers.len() - 1]);
        phone.records.identity.as_mut().unwrap().numbers.clear();
        phone = begun_anew(&mut rooms, phone, 40 + life);
        all_talk(&mut rooms, &mut [&mut laptop, &mut phone]);
        numbers.push(shown(&laptop, &phone));
        assert_eq!(shown(&phone, &laptop), numbers[numbers.len() - 1]);
    }
    assert!(numbers.iter().all(Option::is_some), "{numbers:?}");
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers.len(), 7, "random bytes that were shown are never used again");
}

#[test]
fn a_number_that_could_not_be_stored_leaves_no_trace() {
    let mut rooms = strict();
    let [laptop, mut phone] = waiting(&mut rooms);
    let laptop_key = key_of(&laptop);
    phone.records.identity.as_mut().unwrap().numbers.clear();
    let mut phone = begun_anew(&mut rooms, phone, 20);
    let commitment = committed(&mut phone, &laptop_key);
    phone.fails = true;
    assert_eq!(hear(&mut phone, &laptop_key, commitment, [7; 32]), [], "what it is bound to is not shown");
    assert_eq!((shown(&phone, &laptop), told(&mut phone)), (None, vec![]));
    phone.fails = false;
    phone.again(&mut rooms);
    let opened = hear(&mut phone, &laptop_key, commitment, [8; 32]);
    assert_eq!(
        (opened.len(), opened[0].commitment, shown(&phone, &laptop).is_some()),
        (1, commitment, true),
        "the first answer that counts"
    );
}

#[test]
fn a_device_has_few_tries_at_another_number() {
    let mut rooms = strict();
    let [mut laptop, phone] = waiting(&mut rooms);
    let phone_key = key_of(&phone);
    for life in 1..NUMBER_TRIES_MAX {
        assert_eq!(hear(&mut laptop, &phone_key, [u8::try_from(life).unwrap(); 32], NONE).len(), 1);
        // Whoever takes the wallet over in between.
        laptop = begun_anew(&mut rooms, laptop, 20 + u8::try_from(life).unwrap());
    }
    for life in 100..102 {
        assert_eq!(hear(&mut laptop, &phone_key, [life; 32], NONE), []);
        assert_eq!(shown(&laptop, &phone), None);
    }
    laptop.approve(&phone.id());
    laptop.talk(&mut rooms);
    assert_eq!(laptop.replies.pop(), Some(Ok(Reply::Done)), "it can be approved all the same");
}

#[test]
fn who_answers_otherwise_is_given_few_tries_too() {
    let mut rooms = strict();
    let [laptop, mut phone] = waiting(&mut rooms);
    let laptop_key = key_of(&laptop);
    let mut commitment = committed(&mut phone, &laptop_key);
    for _ in 1..NUMBER_TRIES_MAX {
        // Of each commitment one answer counts. Another could be made for what the device has shown by then.
        let anew = hear(&mut phone, &laptop_key, commitment, [7; 32]);
        assert!(anew.len() == 1 && anew[0].commitment != commitment && anew[0].random == NONE, "{anew:?}");
        assert_eq!(shown(&phone, &laptop), None);
        commitment = anew[0].commitment;
        let opened = hear(&mut phone, &laptop_key, commitment, [8; 32]);
        assert!(opened.len() == 1 && opened[0].commitment == commitment && opened[0].random != NONE, "{opened:?}");
        assert!(shown(&phone, &laptop).is_some());
    }
    assert_eq!(hear(&mut phone, &laptop_key, commitment, [7; 32]), []);
    assert_eq!(shown(&phone, &laptop), None);
}

#[test]
fn random_bytes_chosen_late_give_no_number() {
    let mut rooms = strict();
    let [mut laptop, phone, third] = waiting(&mut rooms);
    let hostile = key_of(&third);
    let seal_key = Native.public_of(&seal_secret(&third)).unwrap();
    let commitment = Native.commitment(&owner(DOMAIN).account_id, &hostile.device_id(), &seal_key, &[1; 32]).unwrap();
    assert_eq!(hear(&mut laptop, &hostile, commitment, [1; 32]), [], "who has not been answered shows nothing");
    assert_eq!(hear(&mut laptop, &hostile, commitment, NONE).len(), 1);
    assert_eq!(shown(&laptop, &third), None, "the one before is not shown any more");
    // It would have the number of the device that is in the person's hand.
    hear(&mut laptop, &hostile, commitment, [2; 32]);
    assert_eq!(shown(&laptop, &third), None);
    hear(&mut laptop, &hostile, commitment, [1; 32]);
    assert!(shown(&laptop, &third).is_some(), "these are what it is bound to");
    assert_ne!(shown(&laptop, &third), shown(&laptop, &phone));
}

/// What is sealed to a device opens with this.
fn seal_secret(device: &Device) -> Secret {
    let secret = &device.records.identity.as_ref().unwrap().secret;
    Secret::new(*secret[32..].first_chunk().unwrap())
}

#[test]
fn another_seal_key_than_the_listed_one_gives_no_number() {
    let mut rooms = strict();
    let [mut laptop, mut phone] = waiting(&mut rooms);
    let stored = phone.records.identity.as_mut().unwrap();
    stored.secret[40] ^= 1;
    stored.numbers.clear();
    phone = begun_anew(&mut rooms, phone, 20);
    all_talk(&mut rooms, &mut [&mut laptop, &mut phone]);
    assert!(shown(&phone, &laptop).is_some(), "it has been answered");
    assert_eq!(shown(&laptop, &phone), None);
}

#[test]
fn what_another_device_has_signed_is_not_heard() {
    let mut rooms = strict();
    let [laptop, mut phone] = waiting(&mut rooms);
    phone.records.identity.as_mut().unwrap().numbers.clear();
    let mut phone = begun_anew(&mut rooms, phone, 20);
    let laptop_key = key_of(&laptop);
    let commitment = committed(&mut phone, &laptop_key);
    let answer = ShortNumber { from: laptop.id(), ..says(&laptop_key, &phone.id(), commitment, [9; 32]) };
    for said in [
        ShortNumber { signature: says(&key(50), &phone.id(), commitment, [9; 32]).signature, ..answer.clone() },
        ShortNumber { from: key(50).device_id(), ..says(&key(50), &phone.id(), commitment, [9; 32]) },
        ShortNumber { from: laptop.id(), ..says(&laptop_key, "another", commitment, [9; 32]) },
        ShortNumber { random: [8; 32], ..answer.clone() },
        ShortNumber { commitment: NONE, ..answer.clone() },
        ShortNumber { from: phone.id(), ..answer.clone() },
    ] {
        assert_eq!((take(&mut phone, said), shown(&phone, &laptop)), (vec![], None));
    }
    assert_eq!(take(&mut phone, answer).len(), 1);
    assert!(shown(&phone, &laptop).is_some());
}

#[test]
fn numbers_leave_with_the_request() {
    let mut rooms = strict();
    let [mut laptop, mut phone, mut other] = waiting(&mut rooms);
    laptop.approve(&phone.id());
    laptop.remove(&other.id());
    all_talk(&mut rooms, &mut [&mut laptop, &mut phone, &mut other]);
    assert_eq!((shown(&laptop, &phone), shown(&phone, &laptop)), (None, None));
    assert_eq!(laptop.client.account_devices().len(), 2);
    assert!(laptop.client.account_devices().iter().all(|device| device.number.is_none()));
}

#[test]
fn who_comes_later_is_greeted_whoever_was_first() {
    let mut rooms = strict();
    let [mut laptop, mut phone] = waiting(&mut rooms);
    for device in [&mut laptop, &mut phone] {
        rooms.feed(RelayInput::Closed { connection: device.connection });
        device.is_connected = false;
        device.records.identity.as_mut().unwrap().numbers.clear();
    }
    // The one that waits was there alone.
    let mut phone = begun_anew(&mut rooms, phone, 20);
    assert_eq!(shown(&phone, &laptop), None);
    let mut laptop = begun_anew(&mut rooms, laptop, 21);
    all_talk(&mut rooms, &mut [&mut laptop, &mut phone]);
    assert!(shown(&phone, &laptop).is_some());
    assert_eq!(shown(&laptop, &phone), shown(&phone, &laptop));
}

#[test]
fn nobody_is_answered_without_end() {
    let mut rooms = strict();
    let [mut laptop, phone] = waiting(&mut rooms);
    let phone = key_of(&phone);
    let answers = (0..1_000).map(|_| hear(&mut laptop, &phone, [4; 32], NONE).len()).sum::<usize>();
    assert_eq!(answers, usize::from(NUMBER_FRAMES_MAX) - 2, "two were of the number before");
}

/// What `to` hears last when a device that has signed in says this of a session or an account.
fn passed(rooms: &mut Rooms, from: &Device, to: &mut Device, session_id: &str, said: ShortNumber) -> Option<ShortNumber> {
    let (session_id, message_id) = (session_id.into(), "f".into());
    let head = Head { session_id, device_id: from.id(), message_id, protocol_version: Some(PROTOCOL_VERSION), ..Head::default() };
    let bytes = Frame { head, body: Body::ShortNumber(said) }.to_bytes().unwrap();
    to.heard.clear();
    rooms.feed(RelayInput::Received { connection: from.connection, payload: Payload::Binary(bytes.into()) });
    to.talk(rooms);
    heard(to).pop()
}

#[test]
fn the_relay_passes_on_between_who_waits_and_who_is_approved() {
    let mut rooms = strict();
    let [mut laptop, mut phone, mut other] = waiting(&mut rooms);
    let account_id = owner(DOMAIN).account_id;
    let said = says(&key_of(&phone), &laptop.id(), [4; 32], NONE);
    let of = |from: &Device| ShortNumber { from: from.id(), ..said.clone() };
    assert_eq!(passed(&mut rooms, &phone, &mut laptop, &account_id, of(&other)), Some(of(&phone)), "under the name of who has signed in");
    let to_other = ShortNumber { to: other.id(), ..said.clone() };
    assert_eq!(passed(&mut rooms, &phone, &mut other, &account_id, to_other.clone()), None, "both wait");
    assert_eq!(passed(&mut rooms, &phone, &mut laptop, &account_id, ShortNumber { to: "nobody".into(), ..said.clone() }), None);
    let for_phone = ShortNumber { to: phone.id(), ..said.clone() };
    assert_eq!(
        passed(&mut rooms, &laptop, &mut phone, &account_id, for_phone.clone()),
        Some(ShortNumber { from: laptop.id(), ..for_phone })
    );
    laptop.approve(&other.id());
    all_talk(&mut rooms, &mut [&mut laptop, &mut phone, &mut other]);
    assert_eq!(passed(&mut rooms, &phone, &mut other, &account_id, to_other.clone()), Some(ShortNumber { from: phone.id(), ..to_other }));
    assert_eq!(passed(&mut rooms, &other, &mut laptop, &account_id, said), None, "both are approved");
    assert_eq!(rooms.asked.iter().filter(|kind| **kind == "append").count(), rooms.journal[&account_id].entries.len(), "nothing is kept");
}

#[test]
fn only_devices_of_an_account_say_something_of_its_numbers() {
    let mut rooms = strict();
    let [mut laptop, mut phone] = waiting(&mut rooms);
    let said = says(&key_of(&phone), &laptop.id(), [4; 32], NONE);
    for session_id in ["account:another", "a session", ""] {
        assert_eq!(passed(&mut rooms, &phone, &mut laptop, session_id, said.clone()), None);
    }
    phone.heard.clear();
    phone.talk(&mut rooms);
    let codes = phone.heard.iter().filter_map(|frame| if let Body::Error(error) = &frame.body { Some(error.code) } else { None });
    assert_eq!(codes.collect::<Vec<_>>(), [ErrorCode::NotAMember; 3]);
    rooms.open(900);
    let frame = json!({ "type": "short_number", "sessionId": owner(DOMAIN).account_id, "deviceId": phone.id(), "messageId": "f", "protocolVersion": 1,
        "to": laptop.id(), "signature": "00".repeat(64) });
    rooms.hear(900);
    rooms.say(900, &frame);
    assert_eq!(the_error(&mut rooms, 900)["code"], "SIGN_IN_REQUIRED");
    laptop.heard.clear();
    laptop.talk(&mut rooms);
    assert_eq!(heard(&laptop), []);
}

/// It goes on at another relay.
fn moved(device: &mut Device, rooms: &mut Rooms) {
    device.is_connected = false;
    device.feed(Input::Disconnected { generation: device.generation, reason: "lost".into() });
    device.again(rooms);
}

#[test]
fn what_was_drawn_as_an_approved_device_is_no_commitment() {
    let mut rooms = strict();
    let [mut laptop, mut phone] = waiting(&mut rooms);
    let phone_key = key_of(&phone);
    let known = laptop.records.identity.as_ref().unwrap().numbers[0].clone();
    // The other relay's log begins with the hostile phone, and the person accepts it.
    let mut forged = strict();
    moved(&mut phone, &mut forged);
    moved(&mut laptop, &mut forged);
    laptop.accept(Vec::new());
    laptop.again(&mut forged);
    assert_eq!(laptop.listed(&[&phone]), "0! me");
    let said = committed(&mut laptop, &phone_key);
    let account_id = owner(DOMAIN).account_id;
    let number = |random: &[u8; 32]| Native.short_number(&account_id, &phone.id(), &said, &known.own, random).unwrap();
    let random = (0u64..).map(|tried| {
        let mut random = [1; 32];
        random[..8].copy_from_slice(&tried.to_be_bytes());
        random
    });
    let random = random.take(20_000_000).find(|random| number(random) == 123_456).unwrap();
    hear(&mut laptop, &phone_key, said, random);
    assert_ne!(shown(&laptop, &phone).as_deref(), Some("123456"), "the phone has chosen what the laptop shows");
}
