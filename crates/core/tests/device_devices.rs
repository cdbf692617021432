//! The devices of a wallet as each of them knows them, and what they may do to one another: the machines of devices and relay.

use crate::account;
use crate::account::{DOMAIN, key, owner};
use crate::memory::Records;
use crate::rooms::Rooms;
use crate::signer;
use crate::signer::{Device, all_talk, config, drawing, relay, strict};
use solconnect_sync_core::batch::Batch;
use solconnect_sync_core::client::{ClientConfig, ConnectionState, Input, Reply, SyncScope};
use solconnect_sync_core::error::{ErrorCode, SyncError};
use solconnect_sync_core::frame::{Body, Frame, Head, Payload, SyncResponse};
use solconnect_sync_core::identity::{Account, Claim, DeviceKey, Purpose, Statement};
use solconnect_sync_core::limits::ACCOUNT_WISHES_MAX;
use solconnect_sync_core::relay::{Doorkeeper, Input as RelayInput, Relay};

/// Two devices, of which the first is approved.
pub fn pair(rooms: &mut Rooms) -> [Device; 2] {
    let mut one = Device::joined(1, rooms);
    let mut other = Device::joined(2, rooms);
    all_talk(rooms, &mut [&mut one, &mut other]);
    [one, other]
}

/// The account as the relay's journal has it.
pub fn account_of(rooms: &Rooms) -> Account {
    let mut account = Account::new(owner(DOMAIN));
    for stored in &rooms.journal[&owner(DOMAIN).account_id].entries {
        account.take(&stored.body.entries().unwrap()[0]).unwrap().unwrap();
    }
    account
}

fn secret(device: &Device) -> DeviceKey {
    DeviceKey::from_secret(&device.records.identity.as_ref().unwrap().secret.clone().try_into().unwrap())
}

/// The relay says something of the account.
fn relay_says(device: &mut Device, response: SyncResponse) {
    let head = Head { session_id: owner(DOMAIN).account_id, ..Head::default() };
    let frame = Frame { head, body: Body::SyncResponse(response) }.to_bytes().unwrap();
    device.feed(Input::Received { generation: device.generation, frame: frame.into() });
}

#[test]
fn devices_know_each_other_also_offline() {
    let mut rooms = strict();
    let [one, other] = pair(&mut rooms);
    assert_eq!((one.listed(&[&other]), other.listed(&[&one])), ("me! 0".into(), "0! me".into()));
    let added = one.client.account_devices()[1].added_at;
    assert_eq!(added, rooms.now.wall_ms, "by the relay's time");
    let id = one.id();
    let alone = Device::over(drawing(other.records, 50), config(), 3);
    assert_eq!(alone.client.account_devices().iter().map(|device| device.id.clone()).collect::<Vec<_>>(), [id, alone.id()]);
    let elsewhere = Device::over(drawing(one.records, 51), ClientConfig { domains: vec!["other.example".into()], ..config() }, 4);
    assert_eq!(elsewhere.client.account_devices(), [], "another application has other devices");
}

#[test]
fn what_happened_before_a_device_came_is_no_news_to_it() {
    let mut rooms = strict();
    let [mut one, mut other] = pair(&mut rooms);
    let (first, second) = (one.id(), other.id());
    assert_eq!(one.told(), [format!("added {first}"), format!("added {second}"), format!("request {second}")]);
    assert_eq!(other.told(), [format!("added {second}")]);
    one.again(&mut rooms);
    assert_eq!(one.told(), [] as [String; 0], "nothing is told twice");
}

#[test]
fn what_is_asked_of_an_account_at_once_is_limited() {
    let mut rooms = strict();
    let [mut one, other] = pair(&mut rooms);
    one.replies.clear();
    for _ in 0..ACCOUNT_WISHES_MAX {
        one.approve(&other.id());
        assert_eq!(one.replies.pop(), None, "the relay has not answered yet");
    }
    one.approve(&other.id());
    assert_eq!(one.refused(), Some(ErrorCode::LimitReached));
    one.talk(&mut rooms);
    assert_eq!(one.replies.drain(..).collect::<Vec<_>>(), vec![Ok(Reply::Done); ACCOUNT_WISHES_MAX]);
    one.approve(&other.id());
    assert_eq!(one.refused(), None, "there is room again");
}

#[test]
fn an_approved_device_approves_another() {
    let mut rooms = strict();
    let [mut one, mut other] = pair(&mut rooms);
    let (first, second) = (one.id(), other.id());
    other.approve(&first);
    assert_eq!(other.refused(), None, "it is approved already");
    other.approve(&second);
    assert_eq!(other.refused(), Some(ErrorCode::DeviceNotApproved));
    other.remove(&first);
    assert_eq!(other.refused(), Some(ErrorCode::DeviceNotApproved));
    one.events.clear();
    other.events.clear();
    one.approve(&second);
    all_talk(&mut rooms, &mut [&mut one, &mut other]);
    assert_eq!((one.refused(), one.listed(&[&other]), other.listed(&[&one])), (None, "me! 0!".into(), "0! me!".into()));
    assert_eq!((one.told(), other.told()), (vec![format!("approved {second}")], vec![format!("approved {second}")]));
    let third = Device::joined(3, &mut rooms);
    other.talk(&mut rooms);
    assert_eq!(other.told(), [format!("added {}", third.id()), format!("request {}", third.id())]);
    other.approve(&third.id());
    other.talk(&mut rooms);
    assert_eq!(other.refused(), None);
    assert_eq!(account_of(&rooms).devices().iter().filter(|device| device.is_approved).count(), 3);
}

#[test]
fn a_removed_device_is_told_and_keeps_what_it_has() {
    let mut rooms = strict();
    let [mut one, mut other] = pair(&mut rooms);
    other.send("written");
    other.talk(&mut rooms);
    other.again(&mut rooms);
    let removed = other.id();
    one.events.clear();
    other.events.clear();
    rooms.closed.clear();
    one.remove(&removed);
    one.talk(&mut rooms);
    assert_eq!((one.refused(), one.listed(&[])), (None, "me!".into()));
    assert_eq!(rooms.closed, [(other.connection, 1008)], "the relay cuts it at once");
    other.talk(&mut rooms);
    assert_eq!((other.state(), other.listed(&[&one])), (ConnectionState::Offline, "0!".into()));
    let events = other.events.clone();
    assert_eq!((one.told(), other.told()), (vec![format!("removed {removed}")], vec![format!("removed {removed}")]));
    other.events = events;
    assert_eq!(other.needed(), [Some(ErrorCode::DeviceRemoved)]);
    // What is stored can be read, nothing is written, and nobody waits for the relay.
    assert_eq!(other.client.sessions()[0].last_synced_sequence, 1);
    other.send("refused");
    assert_eq!(other.refused(), Some(ErrorCode::DeviceRemoved));
    for call in [
        Input::Sync { request: 7, session_id: Some(other.client.sessions()[0].session_id.clone()), scope: SyncScope::Everything },
        Input::RemoveDevice { request: 8, device_id: one.id() },
    ] {
        other.feed(call);
        assert_eq!(other.refused(), Some(ErrorCode::DeviceRemoved));
    }
    one.remove(&removed);
    assert_eq!(one.refused(), None, "it is removed");
    one.approve(&removed);
    assert_eq!(one.refused(), Some(ErrorCode::UnknownDevice));
    one.remove("nobody");
    assert_eq!(one.refused(), Some(ErrorCode::UnknownDevice));
}

#[test]
fn the_wallet_signs_all_others_out() {
    let mut rooms = strict();
    let [mut lost, mut one] = pair(&mut rooms);
    one.send("before");
    one.talk(&mut rooms);
    // The only approved device is lost: no other one may do anything.
    one.remove(&lost.id());
    assert_eq!(one.refused(), Some(ErrorCode::DeviceNotApproved));
    let before = one.id();
    let declined = one.signed(Purpose::Reset);
    one.send("meanwhile");
    one.talk(&mut rooms);
    assert_eq!((one.id(), one.state(), one.queued()), (before.clone(), ConnectionState::Connected, 0), "nothing is so before it is signed");
    assert_eq!(one.client.offer(one.now, DOMAIN, Purpose::Join), None);
    one.now.wall_ms += 1;
    rooms.timeout(1);
    let reset = one.signed(Purpose::Reset);
    assert_ne!(reset, declined);
    one.events.clear();
    one.feed(Input::Certify { request: 3, certificate: reset });
    assert_eq!(one.refused(), None);
    one.send("after");
    one.again(&mut rooms);
    assert_eq!((one.state(), one.queued(), one.listed(&[])), (ConnectionState::Connected, 0, "me!".into()));
    assert_ne!(one.id(), before);
    assert_eq!(one.told(), [format!("removed {}", lost.id()), format!("removed {before}"), format!("added {}", one.id())]);
    lost.talk(&mut rooms);
    assert_eq!(lost.needed(), [Some(ErrorCode::DeviceRemoved)]);
    let again = Device::over(drawing(one.records.clone(), 90), config(), 3);
    assert_eq!(again.id(), one.id());
    // Also of one that was removed, or is new.
    lost.now.wall_ms = rooms.now.wall_ms + 1;
    rooms.timeout(1);
    let reset = lost.signed(Purpose::Reset);
    lost.feed(Input::Certify { request: 3, certificate: reset });
    lost.talk(&mut rooms);
    assert_eq!(lost.listed(&[]), "me!");
}

#[test]
fn a_device_may_remove_itself() {
    let mut rooms = strict();
    let [mut one, mut other] = pair(&mut rooms);
    let id = one.id();
    one.remove(&id);
    one.approve(&other.id());
    one.talk(&mut rooms);
    let last = one.refused();
    assert_eq!((one.refused(), last), (None, Some(ErrorCode::DeviceRemoved)), "what comes behind is not done");
    assert_eq!((one.needed(), one.state()), (vec![Some(ErrorCode::DeviceRemoved)], ConnectionState::Offline));
    other.talk(&mut rooms);
    assert_eq!(other.listed(&[]), "me");
}

#[test]
fn a_removed_device_comes_back_as_a_new_one() {
    let mut rooms = strict();
    let [mut one, mut other] = pair(&mut rooms);
    other.feed(Input::SetOffline { offline: true });
    other.send("kept");
    let removed = other.id();
    one.remove(&removed);
    one.talk(&mut rooms);
    other.feed(Input::SetOffline { offline: false });
    other.talk(&mut rooms);
    assert_eq!((other.state(), other.queued()), (ConnectionState::Offline, 1), "it was away when it was removed");
    assert_eq!(other.needed(), [Some(ErrorCode::DeviceRemoved)]);
    // It is remembered.
    let mut other = Device::over(drawing(other.records, 52), config(), 3);
    other.talk(&mut rooms);
    assert_eq!((other.needed(), other.state()), (vec![Some(ErrorCode::DeviceRemoved)], ConnectionState::Offline));
    assert!(other.client.was_removed());
    other.send("refused");
    assert_eq!(other.refused(), Some(ErrorCode::DeviceRemoved));
    // One signature, and it is another device; nothing is lost.
    other.sign();
    assert!(!other.client.was_removed());
    other.send("after");
    assert_eq!(other.refused(), None);
    all_talk(&mut rooms, &mut [&mut one, &mut other]);
    assert_ne!(other.id(), removed);
    assert_eq!((other.state(), other.queued(), other.listed(&[&one])), (ConnectionState::Connected, 0, "0! me".into()));
    let session = &rooms.journal[&other.client.sessions()[0].session_id];
    assert!(session.entries.iter().all(|entry| entry.device_id == other.id()));
    assert_eq!(session.entries.len(), 2);
    assert!(account_of(&rooms).was_removed(&removed));
}

#[test]
fn an_entry_of_a_removed_device_counts_nowhere() {
    let mut rooms = strict();
    let [mut one, mut other] = pair(&mut rooms);
    let (thief, second) = (secret(&other), other.id());
    one.approve(&second);
    all_talk(&mut rooms, &mut [&mut one, &mut other]);
    one.remove(&second);
    one.talk(&mut rooms);
    assert_eq!(one.listed(&[]), "me!");
    // A relay that lies passes on what the removed device says, and what lists its key again.
    let account = account_of(&rooms);
    let again = account::certificate(&owner(DOMAIN), &thief, Purpose::Join, one.now.wall_ms);
    for (number, claim) in [(4, Claim::Remove { devices: vec![one.id()], kept: vec![] }), (5, Claim::Join(again))] {
        let mut lied = Device::over(drawing(one.records.clone(), 60), config(), number);
        lied.talk(&mut rooms);
        let mut entry = Statement::sign(&thief, account.owner(), account.head(), claim).entry(account.owner(), 9, 5);
        (entry.sequence_number, entry.server_timestamp) = (account.head().sequence + 1, one.now.wall_ms);
        let messages = Batch::of(&[entry]).unwrap();
        relay_says(&mut lied, SyncResponse { messages, latest_sequence: account.head().sequence + 1, ..SyncResponse::default() });
        assert_eq!((lied.listed(&[]), lied.state()), ("me!".into(), ConnectionState::Connected), "{:?}", lied.events);
        assert!(!lied.client.was_removed());
    }
}

#[test]
fn a_change_that_comes_second_is_said_again() {
    let mut rooms = strict();
    let [mut one, mut other] = pair(&mut rooms);
    let mut more: Vec<Device> = (3..6).map(|number| Device::joined(number, &mut rooms)).collect();
    one.approve(&other.id());
    all_talk(&mut rooms, &mut [&mut one, &mut other]);
    one.replies.clear();
    other.replies.clear();
    // Both speak before either has heard the other.
    one.remove(&more[0].id());
    one.remove(&more[1].id());
    other.approve(&more[2].id());
    other.remove(&more[0].id());
    all_talk(&mut rooms, &mut [&mut one, &mut other]);
    assert_eq!([one.replies.len(), other.replies.len()], [2, 2]);
    assert!(one.replies.iter().chain(&other.replies).all(Result::is_ok), "{:?} {:?}", one.replies, other.replies);
    let last = more.pop().unwrap();
    assert_eq!(one.listed(&[&other, &last]), "me! 0! 1!");
    assert_eq!(account_of(&rooms).devices().len(), 3, "every entry in the log counts");
}

#[test]
fn who_cannot_reach_the_relay_changes_nothing() {
    let mut rooms = strict();
    let mut open = Rooms::over(|| relay(false));
    let mut plain = Device::over(Records::default(), ClientConfig::default(), 8);
    plain.remove("x");
    assert_eq!(plain.refused(), Some(ErrorCode::InvalidArgument));
    let mut unsigned = Device::new(9);
    unsigned.remove("x");
    assert_eq!(unsigned.replies.len(), 2, "it waits for the connection that is being made");
    unsigned.talk(&mut open);
    assert_eq!(unsigned.refused(), Some(ErrorCode::SignInRequired));
    let mut unsigned = Device::new(10);
    unsigned.talk(&mut rooms);
    unsigned.approve("x");
    assert_eq!(unsigned.refused(), Some(ErrorCode::SignInRequired));

    let [mut one, other] = pair(&mut rooms);
    one.feed(Input::SetOffline { offline: true });
    one.remove(&other.id());
    assert_eq!(one.refused(), Some(ErrorCode::RelayDisconnected));
    one.feed(Input::SetOffline { offline: false });
    one.remove(&other.id());
    one.feed(Input::Disconnected { generation: one.generation, reason: "no network".into() });
    assert_eq!(one.refused(), Some(ErrorCode::ConnectionFailed));
    // A relay that is lost in between may have done it.
    one.again(&mut rooms);
    one.remove(&other.id());
    let said: Vec<Vec<u8>> = one.sent.drain(..).collect();
    for frame in said {
        rooms.feed(RelayInput::Received { connection: one.connection, payload: Payload::Binary(frame.into()) });
    }
    one.feed(Input::Disconnected { generation: one.generation, reason: "lost".into() });
    assert_eq!(one.refused(), Some(ErrorCode::RelayDisconnected));
    one.is_connected = false;
    one.again(&mut rooms);
    assert_eq!(one.listed(&[]), "me!");
    one.remove(&other.id());
    assert_eq!(one.refused(), None);
}

#[test]
fn a_relay_that_does_not_store_a_change_refuses_it() {
    let mut rooms = strict();
    let [mut one, other] = pair(&mut rooms);
    rooms.held = Some(Default::default());
    one.remove(&other.id());
    one.talk(&mut rooms);
    rooms.answer(true);
    one.talk(&mut rooms);
    assert_eq!((one.refused(), one.state()), (Some(ErrorCode::RelayStorageFailed), ConnectionState::Connected));
    // What it has is read again: how much, and what.
    rooms.answer(false);
    rooms.answer(false);
    rooms.held = None;
    one.remove(&other.id());
    one.talk(&mut rooms);
    assert_eq!((one.refused(), one.listed(&[])), (None, "me!".into()));
}

#[test]
fn an_account_that_was_set_back_is_followed_no_further() {
    let mut rooms = strict();
    let [mut one, mut other] = pair(&mut rooms);
    one.remove(&other.id());
    one.talk(&mut rooms);
    // A relay that brings back who was removed.
    let account_id = owner(DOMAIN).account_id;
    let removal = rooms.journal.get_mut(&account_id).unwrap().entries.pop().unwrap();
    rooms.restart();
    one.events.clear();
    one.again(&mut rooms);
    assert_eq!((one.warnings(), one.listed(&[])), (vec![ErrorCode::RelayRolledBack], "me!".into()));
    one.remove(&other.id());
    assert_eq!(one.refused(), Some(ErrorCode::RelayRolledBack));
    // Another log of the same length.
    let rows = rooms.journal.get_mut(&account_id).unwrap();
    rows.entries.push(solconnect_sync_core::relay::StoredEntry { log_hash: [1; 32], ..removal });
    let body = rows.entries[2].body.entries().unwrap().pop().unwrap();
    let body = solconnect_sync_core::entry::Entry { server_timestamp: body.server_timestamp + 1, ..body };
    rows.entries[2].body = Batch::of(&[body]).unwrap();
    rooms.restart();
    one.events.clear();
    one.again(&mut rooms);
    assert_eq!(one.warnings(), [ErrorCode::RelayForked]);
    // Who is shown a log that does not go on from its own is not removed by it.
    other.again(&mut rooms);
    assert_eq!((other.warnings(), other.needed()), (vec![ErrorCode::RelayForked], vec![]));
}

#[test]
fn who_was_away_for_long_is_shown_all_up_to_its_removal() {
    let mut rooms = strict();
    let [mut one, mut other] = pair(&mut rooms);
    other.feed(Input::SetOffline { offline: true });
    for number in 3..33 {
        one.now.wall_ms += 24 * 3_600_000;
        rooms.timeout(24 * 3_600_000);
        let mut third = Device::new(number);
        third.now.wall_ms = one.now.wall_ms;
        third.talk(&mut rooms);
        third.sign();
        third.talk(&mut rooms);
    }
    one.again(&mut rooms);
    one.remove(&other.id());
    one.talk(&mut rooms);
    assert_eq!(one.refused(), None);
    let logs = |device: &Device| {
        let frames = device.heard.iter().filter(|frame| matches!(frame.body, Body::SyncResponse(_)));
        frames.count()
    };
    let before = logs(&other);
    other.feed(Input::SetOffline { offline: false });
    other.talk(&mut rooms);
    assert!(logs(&other) >= before + 2, "it does not fit one frame");
    assert_eq!((other.needed(), other.state()), (vec![Some(ErrorCode::DeviceRemoved)], ConnectionState::Offline));
}

#[test]
fn a_database_from_before_its_listing_learns_of_its_removal() {
    let mut rooms = strict();
    let mut one = Device::joined(1, &mut rooms);
    let mut other = Device::new(2);
    other.talk(&mut rooms);
    other.sign();
    let records = other.records.clone();
    other.talk(&mut rooms);
    one.talk(&mut rooms);
    one.remove(&other.id());
    one.talk(&mut rooms);
    assert_eq!(one.refused(), None);
    let mut old = Device::over(drawing(records, 60), config(), 3);
    old.talk(&mut rooms);
    assert_eq!((old.needed(), old.state()), (vec![Some(ErrorCode::DeviceRemoved)], ConnectionState::Offline));
    assert!(old.client.was_removed());
}

#[test]
fn an_account_that_was_set_back_is_followed_again_where_that_is_accepted() {
    let mut rooms = strict();
    let [mut one, other] = pair(&mut rooms);
    one.remove(&other.id());
    one.talk(&mut rooms);
    rooms.journal.get_mut(&owner(DOMAIN).account_id).unwrap().entries.pop();
    rooms.restart();
    one.again(&mut rooms);
    one.feed(Input::AcceptRelayLog { request: 9, stored: Vec::new() });
    assert_eq!(one.replies.last(), Some(&Ok(Reply::Count(0))));
    one.events.clear();
    one.again(&mut rooms);
    assert_eq!((one.warnings(), one.listed(&[&other])), (Vec::new(), "me! 0".into()), "who was removed is back");
    one.remove(&other.id());
    one.talk(&mut rooms);
    assert_eq!(one.listed(&[&other]), "me!");
}

#[test]
fn an_account_that_was_set_back_and_has_grown_is_noticed() {
    let mut rooms = strict();
    let [mut one, mut other] = pair(&mut rooms);
    let rows = rooms.journal.get_mut(&owner(DOMAIN).account_id).unwrap();
    rows.entries.clear();
    rows.devices.clear();
    rooms.restart();
    // The others come first, and then the log is longer than what this one has.
    other.again(&mut rooms);
    Device::joined(3, &mut rooms);
    Device::joined(4, &mut rooms);
    one.events.clear();
    one.again(&mut rooms);
    assert_eq!((one.warnings(), one.state()), (vec![ErrorCode::RelayForked], ConnectionState::Connected));
    one.remove(&other.id());
    assert_eq!(one.refused(), Some(ErrorCode::RelayForked));
}

#[test]
fn a_copy_is_listed_as_the_successor_of_its_key() {
    let mut rooms = strict();
    let [mut device, mut copy] = Device::copied(&mut rooms);
    all_talk(&mut rooms, &mut [&mut device, &mut copy]);
    assert_eq!((copy.listed(&[&device]), device.listed(&[&copy])), ("0! me!".into(), "me! 0!".into()), "nobody was asked");
    // Both fall together.
    let mut other = Device::joined(3, &mut rooms);
    device.talk(&mut rooms);
    device.approve(&other.id());
    all_talk(&mut rooms, &mut [&mut device, &mut other]);
    other.remove(&device.id());
    all_talk(&mut rooms, &mut [&mut other, &mut device, &mut copy]);
    assert_eq!(other.listed(&[]), "me!");
    assert_eq!((copy.needed(), device.needed()), (vec![Some(ErrorCode::DeviceRemoved)], vec![Some(ErrorCode::DeviceRemoved)]));
}

#[test]
fn a_store_that_is_made_anew_keeps_the_account() {
    let mut rooms = strict();
    let [mut one, other] = pair(&mut rooms);
    one.records = drawing(Records::default(), 1);
    one.is_connected = false;
    one.feed(Input::StoreClosed { error: SyncError::new(ErrorCode::StorageLost, "gone") });
    assert_eq!(one.client.account_devices().len(), 2);
    one.talk(&mut rooms);
    assert_eq!((one.state(), one.listed(&[&other])), (ConnectionState::Connected, "?! 0 me!".into()), "{:?}", one.events);
    let alone = Device::over(drawing(one.records, 53), config(), 3);
    assert_eq!(alone.client.account_devices().len(), 3);
}

#[test]
fn a_device_whose_secret_is_lost_keeps_what_it_knows() {
    let mut rooms = strict();
    let [one, other] = pair(&mut rooms);
    let mut records = drawing(other.records, 54);
    records.identity.as_mut().unwrap().secret.clear();
    let mut device = Device::over(records, config(), 3);
    assert_eq!(device.client.account_devices().len(), 2);
    device.talk(&mut rooms);
    device.again(&mut rooms);
    assert_eq!(device.needed(), [None], "the wallet is asked");
    device.sign();
    device.talk(&mut rooms);
    assert_eq!((device.state(), device.listed(&[&one])), (ConnectionState::Connected, "0! ? me".into()));
}

#[test]
fn a_database_from_before_sign_in_asks_the_wallet_once() {
    let mut open = Rooms::over(|| relay(false));
    let mut before = Device::over(Records::default(), ClientConfig::default(), 1);
    before.send("sent");
    before.talk(&mut open);
    let mut device = Device::over(drawing(before.records, 7), config(), 2);
    device.sign();
    let mut rooms = strict();
    device.talk(&mut rooms);
    device.again(&mut rooms);
    assert_eq!((device.needed(), device.state()), (vec![], ConnectionState::Connected));
    let again = Device::over(drawing(device.records.clone(), 8), config(), 3);
    assert_eq!(again.id(), device.id());
}

fn other_key() -> Rooms {
    Rooms::over(|| {
        Relay::with_sign_in(Doorkeeper {
            key: key(101),
            earlier: Vec::new(),
            names: vec![signer::RELAY.into()],
            is_required: true,
            secret: [3; 32],
        })
    })
}

#[test]
fn a_relay_of_another_key_is_told_nothing() {
    let mut rooms = strict();
    let mut device = Device::joined(1, &mut rooms);
    let mut elsewhere = other_key();
    device.is_connected = false;
    device.feed(Input::Disconnected { generation: device.generation, reason: "lost".into() });
    device.events.clear();
    device.again(&mut elsewhere);
    assert_eq!((device.warnings(), device.state()), (vec![ErrorCode::RelayKeyChanged], ConnectionState::Offline));
    assert!(device.sent.is_empty() && elsewhere.journal.is_empty());
    device.send("kept");
    device.feed(Input::Sync { request: 7, session_id: None, scope: SyncScope::Outbox });
    assert_eq!(device.refused(), Some(ErrorCode::RelayKeyChanged));
    // It is remembered, until the application says that it is right.
    let records = device.records;
    let mut still = Device::over(drawing(records.clone(), 70), config(), 3);
    still.talk(&mut elsewhere);
    assert_eq!(still.warnings(), [ErrorCode::RelayKeyChanged]);
    let named = ClientConfig { relay_key: Some(key(101).public()), ..config() };
    let mut trusting = Device::over(drawing(records, 71), named, 4);
    trusting.talk(&mut elsewhere);
    assert_eq!((trusting.state(), trusting.queued()), (ConnectionState::Connected, 0));
    let mut since = Device::over(drawing(trusting.records, 72), config(), 5);
    since.talk(&mut elsewhere);
    assert_eq!(since.state(), ConnectionState::Connected, "from then on that is the key");
}

#[test]
fn the_key_that_an_application_names_counts_from_the_first_time() {
    let mut device = Device::over(drawing(Records::default(), 1), ClientConfig { relay_key: Some(key(101).public()), ..config() }, 1);
    device.sign();
    device.talk(&mut strict());
    assert_eq!((device.warnings(), device.state()), (vec![ErrorCode::RelayKeyChanged], ConnectionState::Offline));
    assert!(device.records.identity.as_ref().is_some_and(|identity| identity.relay_key.is_empty()));
}

#[test]
fn a_wish_that_ends_with_a_removal_is_answered_where_that_is_not_stored() {
    let mut rooms = strict();
    let (mut one, mut two, three) = (Device::joined(1, &mut rooms), Device::joined(2, &mut rooms), Device::joined(3, &mut rooms));
    all_talk(&mut rooms, &mut [&mut one, &mut two]);
    one.approve(&two.id());
    all_talk(&mut rooms, &mut [&mut one, &mut two]);
    two.replies.clear();
    two.remove(&three.id());
    assert_eq!(two.replies, [], "it is on its way");
    one.remove(&two.id());
    one.talk(&mut rooms);
    two.fails = true;
    two.talk(&mut rooms);
    assert_eq!(two.replies.len(), 1, "{:?}", two.replies);
    assert!(two.refused().is_some());
}
